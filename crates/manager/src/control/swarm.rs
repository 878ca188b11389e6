//! The swarm's own row: settings and join tokens.
use super::{Control, check_version, invalid};
use cluster::ca::{JoinToken, crypto};
use model::{Cluster, ClusterSpec, StoreAction, Tables};
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotate {
    /// The worker's join token.
    pub worker_token: bool,
    /// The manager's join token.
    pub manager_token: bool,
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
            check(&old.spec, &spec)?;
            let mut next = (*old).clone();
            next.spec = spec;
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

fn check(old: &ClusterSpec, new: &ClusterSpec) -> Result<(), Refusal> {
    if new.name != old.name {
        return Err(invalid("modification of cluster name is not allowed"));
    }
    if new.node_cert_expiry < crypto::NODE_LIFE_MIN {
        return Err(invalid("minimum certificate expiry time is: 1h0m0s"));
    }
    if new.autolock {
        return Err(Refusal::unimplemented("locking managers with an unlock key (autolock) is not supported"));
    }
    Ok(())
}
