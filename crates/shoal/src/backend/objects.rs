//! The swarm itself, nodes, tasks, secrets, configs.
use super::Backend;
use api::backend::*;
use async_trait::async_trait;
use manager::control::Rotate as RotateTokens;
use model::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::engine::swarm::{SwarmInit, SwarmJoin};

#[async_trait]
impl Swarm for Backend {
    async fn init(&self, request: SwarmInit, spec: ClusterSpec) -> Answer<NodeId> {
        self.0.membership.init(request, spec).await
    }
    async fn join(&self, request: SwarmJoin) -> Answer<()> {
        self.0.membership.join(request).await
    }
    async fn leave(&self, force: bool) -> Answer<()> {
        self.0.membership.leave(force).await
    }

    async fn inspect(&self) -> Answer<SwarmView> {
        let manager = self.0.membership.manager()?;
        let tokens = manager.control().join_tokens()?;
        Ok(SwarmView {
            cluster: manager.control().swarm()?,
            tls: self.0.membership.tls(&manager),
            worker_token: tokens.worker,
            manager_token: tokens.manager,
        })
    }

    async fn update(&self, version: u64, spec: ClusterSpec, rotate: Rotate) -> Answer<()> {
        let rotate = RotateTokens {
            worker_token: rotate.worker_token,
            manager_token: rotate.manager_token,
            unlock_key: rotate.unlock_key,
            root_key: rotate.root_key,
        };
        self.0.membership.manager()?.control().update_swarm(version, spec, rotate).await
    }

    async fn unlock(&self, key: &str) -> Answer<()> {
        self.0.membership.unlock(key).await
    }
    async fn unlock_key(&self) -> Answer<String> {
        Ok(self.0.membership.manager()?.control().swarm()?.unlock_key.clone().unwrap_or_default())
    }
    async fn backup(&self) -> Answer<Vec<u8>> {
        self.0.membership.backup().await
    }
    async fn restore(&self, wish: SwarmRestore) -> Answer<NodeId> {
        self.0.membership.restore(wish).await
    }
}

#[async_trait]
impl Nodes for Backend {
    async fn list(&self) -> Answer<Vec<Arc<Node>>> {
        Ok(self.0.membership.manager()?.nodes())
    }
    async fn own_id(&self) -> Option<NodeId> {
        self.0.membership.node_id()
    }
    async fn update(&self, id: &NodeId, version: u64, spec: NodeSpec) -> Answer<()> {
        self.0.membership.manager()?.control().update_node(id.as_str(), version, spec).await
    }
    async fn remove(&self, id: &NodeId, force: bool) -> Answer<()> {
        self.0.membership.manager()?.control().remove_node(id.as_str(), force).await
    }
}

#[async_trait]
impl Tasks for Backend {
    async fn list(&self) -> Answer<Vec<Arc<Task>>> {
        Ok(self.0.membership.manager()?.control().tables().tasks().cloned().collect())
    }
    async fn networks(&self) -> Answer<Vec<Arc<Network>>> {
        Ok(self.0.membership.manager()?.control().tables().networks().cloned().collect())
    }
    async fn up_to_date(&self, services: &BTreeSet<ServiceId>) -> Answer<BTreeSet<TaskId>> {
        Ok(self.0.membership.manager()?.control().up_to_date(services))
    }
}

#[async_trait]
impl Secrets for Backend {
    async fn list(&self) -> Answer<Vec<Arc<Secret>>> {
        Ok(self.0.membership.manager()?.control().tables().secrets().cloned().collect())
    }
    async fn create(&self, spec: SecretSpec) -> Answer<SecretId> {
        self.0.membership.manager()?.control().create_secret(spec).await
    }
    async fn update(&self, id: &SecretId, version: u64, spec: SecretSpec) -> Answer<()> {
        self.0.membership.manager()?.control().update_secret(id.as_str(), version, spec).await
    }
    async fn remove(&self, id: &SecretId) -> Answer<()> {
        self.0.membership.manager()?.control().remove_secret(id.as_str()).await
    }
}

#[async_trait]
impl Configs for Backend {
    async fn list(&self) -> Answer<Vec<Arc<Config>>> {
        Ok(self.0.membership.manager()?.control().tables().configs().cloned().collect())
    }
    async fn create(&self, spec: ConfigSpec) -> Answer<ConfigId> {
        self.0.membership.manager()?.control().create_config(spec).await
    }
    async fn update(&self, id: &ConfigId, version: u64, spec: ConfigSpec) -> Answer<()> {
        self.0.membership.manager()?.control().update_config(id.as_str(), version, spec).await
    }
    async fn remove(&self, id: &ConfigId) -> Answer<()> {
        self.0.membership.manager()?.control().remove_config(id.as_str()).await
    }
}
