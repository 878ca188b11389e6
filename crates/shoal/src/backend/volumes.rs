//! Volumes.
use super::Backend;
use api::backend::*;
use async_trait::async_trait;
use node::volumes::{VolumePrune, VolumeSpec};
use wire::engine::Time;
use wire::engine::volume::*;

#[async_trait]
impl Volumes for Backend {
    async fn create(&self, body: VolumeCreate) -> Answer<Volume> {
        if body.cluster_volume_spec.is_some() {
            return Err(wire::Refusal::unimplemented("cluster volumes (CSI) are not supported by this engine"));
        }
        let create =
            VolumeSpec { name: body.name, driver: body.driver, options: body.driver_opts, labels: body.labels };
        let made = self.0.volumes.create(create).await?;
        Ok(shown(&made))
    }

    async fn list(&self) -> Answer<Vec<ListedVolume>> {
        let all = self.0.volumes.list();
        let one = |v: &std::sync::Arc<node::volumes::Volume>| ListedVolume {
            volume: shown(v),
            in_use: !self.0.containers.volume_users(&v.name).is_empty(),
        };
        Ok(all.iter().map(one).collect())
    }

    async fn inspect(&self, name: &str) -> Answer<Volume> {
        self.0.volumes.get(name).map(|v| shown(&v))
    }

    async fn remove(&self, name: &str, force: bool) -> Answer<()> {
        self.0.volumes.remove(name, force).await
    }

    async fn prune(&self, query: PruneQuery) -> Answer<VolumesPruned> {
        let words = |key: &str| query.filters.get(key).map(str::to_owned).collect();
        let filter = VolumePrune { all: query.all, labels: words("label"), not_labels: words("label!") };
        let (gone, space_reclaimed) = self.0.volumes.prune(filter).await?;
        let pruned = VolumesPruned { volumes_deleted: Some(gone), space_reclaimed };
        let reclaimed = [("reclaimed".to_owned(), pruned.space_reclaimed.to_string())].into();
        self.0.events.tell("volume", "prune", "", reclaimed);
        Ok(pruned)
    }
}

fn shown(v: &node::volumes::Volume) -> Volume {
    Volume {
        created_at: Some(Time(model::Timestamp(v.created_unix_nanos))),
        driver: "local".into(),
        labels: Some(v.labels.clone()).filter(|l| !l.is_empty()),
        mountpoint: v.mountpoint.display().to_string(),
        name: v.name.clone(),
        options: Some(v.options.clone()).filter(|o| !o.is_empty()),
        scope: "local".into(),
        ..Volume::default()
    }
}
