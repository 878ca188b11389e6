//! Removing containers.
use super::record::{Record, Status};
use super::{Containers, refuse_image, signals};
use wire::Refusal;

impl Containers {
    /// Removes a container; with `force` it is killed first; with `volumes` its anonymous volumes go too.
    ///
    /// # Errors
    /// 404; 409 when it runs and `force` is not given, or its removal is under way.
    pub async fn remove(&self, id: &str, force: bool, volumes: bool) -> Result<(), Refusal> {
        let c = self.find(id)?;
        if c.status() == Status::Removing {
            return Err(Refusal::conflict(format!("removal of container {id} is already in progress")));
        }
        if c.status().is_up() || c.status() == Status::Restarting {
            let (name, status) = {
                let r = c.record.read();
                (r.name.clone(), r.state.status)
            };
            if !force {
                let advice = match status {
                    Status::Paused => "unpause and then stop the container before removal or force remove",
                    _ => "stop the container before removal or force remove",
                };
                return Err(Refusal::conflict(format!(
                    "cannot remove container \"/{name}\": container is {}: {advice}",
                    status.as_str()
                )));
            }
            // Its end must not remove it before us.
            c.record.write().host_config.auto_remove = false;
            c.record.write().host_config.restart_policy.name = "no".into();
            if status == Status::Restarting {
                self.set_state(&c, |s| s.status = Status::Exited);
            } else {
                self.kill(&c.id, "KILL").await.or_else(|e| if c.status().is_up() { Err(e) } else { Ok(()) })?;
                let mut status = c.status.subscribe();
                let down = status.wait_for(|s| s.is_none_or(|(s, _)| !s.is_up()));
                let _ = tokio::time::timeout(std::time::Duration::from_secs(10), down).await;
            }
        }
        let _gate = c.gate.lock().await;
        match c.status() {
            Status::Removing => {
                return Err(Refusal::conflict(format!("removal of container {id} is already in progress")));
            }
            s if s.is_up() => {
                return Err(Refusal::conflict(format!("cannot remove container {id}: it could not be killed")));
            }
            _ if !self.inner.table.read().by_id.contains_key(&c.id) => {
                return Err(Refusal::not_found(format!("No such container: {id}")));
            }
            _ => {}
        }
        self.set_state(&c, |s| s.status = Status::Removing);
        let record = c.record.read().clone();
        let base = &self.inner.base;
        let _ = base.runtime.signal(&c.id, signals::KILL).await;
        let _ = base.runtime.delete(&c.id).await;
        if !base.networks.endpoints(&c.id).is_empty() {
            self.unwire(&c).await;
        }
        if let Err(e) = base.images.remove_rootfs(&c.id).await {
            self.set_state(&c, |s| {
                s.status = Status::Dead;
                s.error = e.to_string();
            });
            return Err(refuse_image(e));
        }
        self.forget_files(&c.id);
        self.give_back_volumes(&record, volumes).await;
        let dir = Record::dir(&base.dir, &c.id);
        if let Err(e) = std::fs::remove_dir_all(&dir) {
            tracing::warn!(dir = %dir.display(), error = %e, "a container's folder cannot be removed");
        }
        {
            let mut table = self.inner.table.write();
            table.by_id.remove(&c.id);
            table.names.remove(&record.name);
        }
        for exec in c.exec_ids.lock().drain(..) {
            self.inner.execs.lock().remove(&exec);
        }
        self.tell(&c, "destroy", &[]);
        c.status.send_replace(None);
        Ok(())
    }

    /// Removes those that do not run and that `takes` agrees to. Gives ids and the bytes won.
    ///
    /// # Errors
    /// None at present; what cannot be removed is left.
    pub async fn prune(
        &self,
        takes: impl Fn(&wire::engine::Map, model::Timestamp) -> bool,
    ) -> Result<(Vec<String>, u64), Refusal> {
        let mut gone = Vec::new();
        let mut bytes = 0;
        for c in self.all() {
            let candidate = {
                let r = c.record.read();
                matches!(r.state.status, Status::Created | Status::Exited | Status::Dead)
                    && r.task.is_none()
                    && takes(&r.config.labels, r.created)
            };
            if !candidate {
                continue;
            }
            let size = self.inner.base.images.rootfs_size(&c.id).await.map_or(0, |(rw, _)| rw);
            if self.remove(&c.id, false, false).await.is_ok() {
                gone.push(c.id.clone());
                bytes += size;
            }
        }
        self.inner.base.events.tell("container", "prune", "", [("reclaimed".to_owned(), bytes.to_string())].into());
        Ok((gone, bytes))
    }
}
