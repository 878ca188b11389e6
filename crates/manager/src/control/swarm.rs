//! The swarm's own row: settings and join tokens.
use super::{Control, check_version, invalid};
use cluster::ca::{JoinToken, RootCa, UnlockKey, crypto};
use model::{Cluster, ClusterSpec, NodeDescription, RootRotation, StoreAction, Tables, WorkersMay};
use std::sync::Arc;
use wire::Refusal;

/// The tokens that machines join with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokens {
    /// For workers.
    pub worker: String,
    /// For managers.
    pub manager: String,
}

/// Which secrets to draw anew.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rotate {
    /// The worker's join token.
    pub worker_token: bool,
    /// The manager's join token.
    pub manager_token: bool,
    /// The key that unlocks managers.
    pub unlock_key: bool,
    /// PEM key of the root that a person gave with the settings: it takes the place of the present one.
    pub root_key: Option<String>,
}

impl Control {
    /// The swarm's row.
    ///
    /// # Errors
    /// `Unavailable` while it has not been read yet.
    pub fn swarm(&self) -> Result<Arc<Cluster>, Refusal> {
        cluster(&self.tables())
    }

    /// The join tokens.
    ///
    /// # Errors
    /// As [`Control::swarm`].
    pub fn join_tokens(&self) -> Result<JoinTokens, Refusal> {
        let c = self.swarm()?;
        let token = |secret: &str| JoinToken::new(&c.root_ca_cert, secret).to_string();
        Ok(JoinTokens { worker: token(&c.join_secret_worker), manager: token(&c.join_secret_manager) })
    }

    /// Changes the settings, draws tokens anew.
    ///
    /// # Errors
    /// Docker's.
    pub async fn update_swarm(&self, version: u64, spec: ClusterSpec, rotate: Rotate) -> Result<(), Refusal> {
        self.update(|tables| {
            let old = cluster(tables)?;
            check_version(old.meta.version, version)?;
            if spec.name != old.spec.name {
                return Err(invalid("modification of cluster name is not allowed"));
            }
            check_settings(&spec)?;
            let mut next = (*old).clone();
            if let Some(key) = &rotate.root_key {
                let (given, key) = RootCa::given(&spec.signing_ca_cert, key).map_err(|e| invalid(e.to_string()))?;
                if given.cert_pem().trim() != old.root_ca_cert.trim() {
                    next.rotation = Some(begin_rotation(&old, given, key)?);
                }
            } else if spec.force_rotate != old.spec.force_rotate {
                let (fresh, key) = RootCa::generate().map_err(not_rotated)?;
                next.rotation = Some(begin_rotation(&old, fresh, key)?);
            }
            next.spec = spec;
            if !next.spec.autolock {
                next.unlock_key = None;
            } else if next.unlock_key.is_none() || rotate.unlock_key {
                next.unlock_key = Some(UnlockKey::fresh().to_string());
            }
            if rotate.worker_token {
                next.join_secret_worker = JoinToken::fresh_secret(crypto::random());
            }
            if rotate.manager_token {
                next.join_secret_manager = JoinToken::fresh_secret(crypto::random());
            }
            Ok((vec![StoreAction::Update(next.into())], ()))
        })
        .await
    }
}

pub(super) fn cluster(tables: &Tables) -> Result<Arc<Cluster>, Refusal> {
    let starting =
        "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.";
    tables.cluster().cloned().ok_or_else(|| Refusal::unavailable(starting))
}

/// What a swarm can be set to, at its beginning and later.
pub(crate) fn check_settings(new: &ClusterSpec) -> Result<(), Refusal> {
    WorkersMay::from_labels(&new.labels).map_err(|e| invalid(e.to_string()))?;
    if new.node_cert_expiry < crypto::NODE_LIFE_MIN {
        return Err(invalid("minimum certificate expiry time is: 1h0m0s"));
    }
    if new.snapshot_interval == 0 {
        return Err(invalid("the interval between snapshots must be at least 1 entry"));
    }
    if new.keep_old_snapshots > 0 {
        return Err(Refusal::unimplemented(
            "keeping old snapshots (--max-snapshots) is not supported: take a backup with shoal swarm backup instead",
        ));
    }
    Ok(())
}

fn not_rotated(e: cluster::ca::CaError) -> Refusal {
    Refusal::internal(format!("the root certificate cannot be rotated: {e}"))
}

/// A new root, and the present one's word for it.
fn begin_rotation(c: &Cluster, next: RootCa, key: String) -> Result<RootRotation, Refusal> {
    let now = RootCa::from_pem(&c.root_ca_cert, &c.root_ca_key).map_err(not_rotated)?;
    let cross_signed = now.cross_sign(&next).map_err(not_rotated)?;
    Ok(RootRotation { cert: next.cert_pem().to_owned(), key, cross_signed })
}

/// Whether a node's certificate and trust are those that are wanted now; one that has told neither is not asked.
pub(crate) fn trusts_rightly(c: &Cluster, told: &NodeDescription) -> bool {
    let (signer, _) = c.signer();
    let key = cluster::ca::issuer_of(signer).map(|(_, key)| key).unwrap_or_default();
    told.trust_root.trim() == c.trusted().trim() && told.cert_issuer_public_key == key
}

/// The end of a rotation, once every node has a certificate of the new root.
pub(crate) fn finish_rotation(tables: &Tables) -> Vec<StoreAction> {
    let Some(c) = tables.cluster() else { return Vec::new() };
    let Some(rotation) = &c.rotation else { return Vec::new() };
    if !tables.nodes().all(|n| n.description.as_ref().is_some_and(|d| trusts_rightly(c, d))) {
        return Vec::new();
    }
    let mut next = (**c).clone();
    next.root_ca_cert = rotation.cert.clone();
    next.root_ca_key = rotation.key.clone();
    next.rotation = None;
    vec![StoreAction::Update(next.into())]
}
