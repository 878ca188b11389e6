//! Commands run in containers.
use super::Backend;
use super::containers::attached;
use api::backend::*;
use async_trait::async_trait;
use futures::StreamExt;
use wire::engine::exec::{ExecConfig, ExecInspect};

#[async_trait]
impl Execs for Backend {
    async fn create(&self, container: &str, config: ExecConfig) -> Answer<String> {
        self.0.containers.exec_create(container, config).await
    }

    async fn start(&self, id: &str, how: ExecStartQuery) -> Answer<Option<Attached>> {
        let streams = self.0.containers.exec_start(id, how.console_size).await?;
        if !how.detach {
            return Ok(Some(attached(streams)));
        }
        // Nobody listens: read on, so that it does not block.
        let mut streams = attached(streams);
        tokio::spawn(async move { while streams.output.next().await.is_some() {} });
        Ok(None)
    }

    async fn resize(&self, id: &str, height: u16, width: u16) -> Answer<()> {
        self.0.containers.exec_resize(id, height, width).await
    }

    async fn elsewhere(&self, id: &str) -> bool {
        !self.0.containers.has_exec(id)
    }

    async fn inspect(&self, id: &str) -> Answer<ExecInspect> {
        self.0.containers.exec_inspect(id)
    }
}
