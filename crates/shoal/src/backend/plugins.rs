//! Managed plugins.
use super::Backend;
use super::containers::reader;
use api::backend::*;
use async_trait::async_trait;
use wire::engine::plugin::Plugin;

#[async_trait]
impl Plugins for Backend {
    async fn list(&self) -> Answer<Vec<Plugin>> {
        Ok(self.0.plugins.list())
    }

    async fn inspect(&self, name: &str) -> Answer<Plugin> {
        self.0.plugins.get(name)
    }

    async fn create(&self, name: &str, tar: BodyStream) -> Answer<()> {
        let made = self.0.plugins.create(name, reader(tar)).await?;
        self.tell_plugin("create", &made);
        Ok(())
    }

    async fn configure(&self, name: &str, settings: Vec<String>) -> Answer<()> {
        self.0.plugins.configure(name, &settings).await
    }

    async fn remove(&self, name: &str) -> Answer<Plugin> {
        let gone = self.0.plugins.remove(name).await?;
        self.tell_plugin("remove", &gone);
        Ok(gone)
    }
}

impl Backend {
    fn tell_plugin(&self, action: &str, plugin: &Plugin) {
        self.0.events.tell("plugin", action, &plugin.id, [("name".to_owned(), plugin.name.clone())].into());
    }
}
