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
    async fn create(&self, mut spec: ServiceSpec, auth: Option<String>) -> Answer<(ServiceId, Vec<String>)> {
        set_credentials(&mut spec, auth.map(PullCredentials));
        if spec.name.is_empty() {
            spec.name = node::clock::random_name(0);
        }
        Ok((self.0.membership.manager()?.control().create_service(spec).await?, Vec::new()))
    }
    async fn update(
        &self,
        id: &ServiceId,
        version: u64,
        mut spec: ServiceSpec,
        auth: RegistryAuth,
    ) -> Answer<Vec<String>> {
        let manager = self.0.membership.manager()?;
        let of = |spec: &ServiceSpec| spec.task.container.as_ref().map(|c| c.pull_credentials.clone());
        let kept = || {
            let tables = manager.control().tables();
            let service = tables.services().find(|s| s.id == *id)?.clone();
            match &auth {
                RegistryAuth::FromPreviousSpec => service.previous_spec.as_deref().and_then(of),
                _ => of(&service.spec),
            }
        };
        let credentials = match &auth {
            RegistryAuth::Given(text) => Some(PullCredentials(text.clone())),
            RegistryAuth::FromSpec | RegistryAuth::FromPreviousSpec => kept(),
        };
        set_credentials(&mut spec, credentials);
        manager.control().update_service(id.as_str(), version, spec).await?;
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

fn set_credentials(spec: &mut ServiceSpec, credentials: Option<PullCredentials>) {
    if let (Some(container), Some(credentials)) = (&mut spec.task.container, credentials) {
        container.pull_credentials = credentials;
    }
}
