//! Services.
use super::Backend;
use api::backend::*;
use async_trait::async_trait;
use model::*;
use std::sync::Arc;

#[async_trait]
impl Services for Backend {
    async fn list(&self) -> Answer<Vec<Arc<Service>>> {
        Ok(self.0.membership.manager()?.control().tables().services().cloned().collect())
    }
    async fn create(&self, spec: ServiceSpec, _auth: Option<String>) -> Answer<(ServiceId, Vec<String>)> {
        Ok((self.0.membership.manager()?.control().create_service(spec).await?, Vec::new()))
    }
    async fn update(
        &self,
        id: &ServiceId,
        version: u64,
        spec: ServiceSpec,
        _auth: RegistryAuth,
    ) -> Answer<Vec<String>> {
        self.0.membership.manager()?.control().update_service(id.as_str(), version, spec).await?;
        Ok(Vec::new())
    }
    async fn rollback(&self, id: &ServiceId, version: u64) -> Answer<Vec<String>> {
        self.0.membership.manager()?.control().rollback_service(id.as_str(), version).await?;
        Ok(Vec::new())
    }
    async fn remove(&self, id: &ServiceId) -> Answer<()> {
        self.0.membership.manager()?.control().remove_service(id.as_str()).await
    }

    async fn logs(&self, which: LogSelector, query: LogQuery) -> Answer<Logs> {
        super::service_logs::open(&self.0.membership, which, query)
    }
}
