//! How the truth changes: a transaction is a list of [`StoreAction`]s that is applied whole or refused whole.
use crate::object::*;
use crate::{ClusterId, ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

macro_rules! kinds {
    ($($kind:ident, $id:ident, $word:literal;)*) => {
        /// Any object of the store.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum Object { $($kind($kind)),* }
        /// A name for any object of the store.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum ObjectRef { $($kind($id)),* }
        /// The kinds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum ObjectKind { $($kind),* }
        impl Object {
            /// Its name.
            pub fn reference(&self) -> ObjectRef { match self { $(Self::$kind(o) => ObjectRef::$kind(o.id.clone())),* } }
            /// Its bookkeeping.
            pub fn meta(&self) -> Meta { match self { $(Self::$kind(o) => o.meta),* } }
            /// Its bookkeeping, for the store.
            pub fn meta_mut(&mut self) -> &mut Meta { match self { $(Self::$kind(o) => &mut o.meta),* } }
            /// Its kind.
            pub fn kind(&self) -> ObjectKind { match self { $(Self::$kind(_) => ObjectKind::$kind),* } }
        }
        impl ObjectRef {
            /// Its kind.
            pub fn kind(&self) -> ObjectKind { match self { $(Self::$kind(_) => ObjectKind::$kind),* } }
            /// The id's text.
            pub fn id(&self) -> &str { match self { $(Self::$kind(id) => id.as_str()),* } }
        }
        impl ObjectKind {
            /// Docker's word.
            pub fn as_str(self) -> &'static str { match self { $(Self::$kind => $word),* } }
        }
        $(impl From<$kind> for Object { fn from(o: $kind) -> Self { Self::$kind(o) } }
          impl From<$id> for ObjectRef { fn from(id: $id) -> Self { Self::$kind(id) } })*
    };
}

kinds! {
    Cluster, ClusterId, "cluster";
    Node, NodeId, "node";
    Service, ServiceId, "service";
    Task, TaskId, "task";
    Network, NetworkId, "network";
    Secret, SecretId, "secret";
    Config, ConfigId, "config";
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)]
pub enum StoreAction {
    /// A new object; refused if the id or a unique key is taken. `meta` is filled in by the store.
    Create(Object),
    /// A changed object. `meta.version` must be the stored one ("update out of sequence" otherwise).
    Update(Object),
    /// Gone; removing what is not there is refused.
    Remove(ObjectRef),
}

/// Why a transaction was refused. Nothing of it has been applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("{kind} {id} already exists", kind = .0.kind().as_str(), id = .0.id())]
    Exists(ObjectRef),
    #[error("{kind} {id} not found", kind = .0.kind().as_str(), id = .0.id())]
    NotFound(ObjectRef),
    #[error("update out of sequence")]
    OutOfSequence(ObjectRef),
    #[error("name conflicts with an existing object: {kind} {name} already exists", kind = .kind.as_str())]
    NameConflict { kind: ObjectKind, name: String },
    #[error("address {addr} on network {network} is held by {holder}")]
    AddressTaken { network: NetworkId, addr: IpAddr, holder: String },
    #[error("vni {vni} is held by network {holder}")]
    VniTaken { vni: u32, holder: NetworkId },
    #[error("port '{port}/{protocol}' is already in use by service {holder}")]
    PortTaken { port: u16, protocol: String, holder: ServiceId },
}
