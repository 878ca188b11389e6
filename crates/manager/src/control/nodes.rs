//! Changing and removing nodes.
use super::membership::check_demotion;
use super::{Control, check_version, failed_precondition};
use model::{NodeRole, NodeSpec, NodeState, StoreAction};
use wire::Refusal;

impl Control {
    /// Changes a node's labels, availability or wished role.
    ///
    /// # Errors
    /// Docker's.
    pub async fn update_node(&self, wanted: &str, version: u64, spec: NodeSpec) -> Result<(), Refusal> {
        let demoted = self
            .update(|tables| {
                let old = self.node_of(tables, wanted)?;
                check_version(old.meta.version, version)?;
                let demoted = old.spec.role == NodeRole::Manager && spec.role == NodeRole::Worker;
                if demoted {
                    check_demotion(tables, &old.id)?;
                }
                let mut node = (*old).clone();
                node.spec = spec;
                let raft_id = node.manager.as_ref().map(|m| m.raft_id).filter(|_| demoted);
                Ok((vec![StoreAction::Update(node.into())], raft_id))
            })
            .await?;
        if let Some(raft_id) = demoted {
            self.remove_manager(raft_id).await?;
        }
        Ok(())
    }

    /// Removes a node. Its certificate is refused from then on, also on connections that are open.
    ///
    /// # Errors
    /// Docker's.
    pub async fn remove_node(&self, wanted: &str, force: bool) -> Result<(), Refusal> {
        self.update(|tables| {
            let node = self.node_of(tables, wanted)?;
            if node.manager.is_some() || node.role == NodeRole::Manager {
                return Err(failed_precondition(format!(
                    "node {} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal",
                    node.id
                )));
            }
            if !force && node.status.state == NodeState::Ready {
                return Err(failed_precondition(format!("node {} is not down and can't be removed", node.id)));
            }
            let cluster = super::swarm::cluster(tables)?;
            let mut next = (*cluster).clone();
            // Until its certificate has run out by itself, at the latest a year from now.
            next.removed_nodes.retain(|_, at| self.store.now().since(*at) < next.spec.node_cert_expiry * 4);
            next.removed_nodes.insert(node.id.clone(), self.store.now());
            Ok((vec![StoreAction::Remove(node.id.clone().into()), StoreAction::Update(next.into())], ()))
        })
        .await
    }
}
