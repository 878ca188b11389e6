//! What happens to containers by themselves: their end, restarts by policy, and what a daemon finds when it starts.
use super::record::{Record, Status};
use super::{Container, Containers, now};
use runtime::{Exit, RecoveredState};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wire::Refusal;

/// First pause before a restart by policy; doubled each time (as dockerd does).
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A container that ran so long starts over with the shortest pause.
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(10);

impl Containers {
    /// Watches a running container for its end.
    pub(super) fn watch(&self, c: &Arc<Container>) {
        let (all, c) = (self.clone(), c.clone());
        tokio::spawn(async move {
            let exit = match all.inner.base.runtime.wait(&c.id).await {
                Ok(exit) => exit,
                Err(e) => {
                    tracing::error!(container = %c.id, error = %e, "a container's end cannot be told");
                    Exit { code: 137, at: now(), ..Exit::default() }
                }
            };
            // A restart begins a watcher of its own.
            if let Some(pause) = all.ended(&c, exit).await {
                all.restart_after(&c, pause).await;
            }
        });
    }

    /// Notes an end. Gives the pause before a restart, if the policy wants one.
    async fn ended(&self, c: &Arc<Container>, exit: Exit) -> Option<Duration> {
        let _gate = c.gate.lock().await;
        c.ending.store(true, Ordering::Relaxed);
        self.end_health(c);
        let _ = self.inner.base.runtime.delete(&c.id).await;
        let names: Vec<String> = c.record.read().networks.keys().cloned().collect();
        let ran = exit.at.since(c.record.read().state.started_at);
        self.unwire(c).await;
        if let Err(e) = self.inner.base.images.unmount(&c.id).await {
            tracing::warn!(container = %c.id, error = %e, "its root file system cannot be unmounted");
        }
        self.unmount_volumes(c).await;
        self.remove_shared_memory(&c.id);
        let again = restart_pause(&c.record.read(), exit.code, ran).filter(|_| !self.is_closing());
        if again.is_some() {
            c.record.write().restart_count += 1;
        }
        self.set_state(c, |s| {
            s.status = if again.is_some() { Status::Restarting } else { Status::Exited };
            s.pid = 0;
            s.exit_code = i64::from(exit.code);
            s.oom_killed = exit.oom_killed;
            s.finished_at = exit.at;
        });
        if exit.oom_killed {
            self.tell(c, "oom", &[]);
        }
        for name in names {
            self.tell_network("disconnect", &name, c);
        }
        let duration = ran.as_secs().to_string();
        self.tell(c, "die", &[("exitCode", &exit.code.to_string()), ("execDuration", &duration)]);
        let auto_remove = c.record.read().host_config.auto_remove;
        c.ending.store(false, Ordering::Relaxed);
        drop(_gate);
        if auto_remove
            && again.is_none()
            && let Err(e) = self.remove(&c.id, false, true).await
        {
            tracing::warn!(container = %c.id, error = %e, "a container that shall be removed at its end cannot be");
        }
        again
    }

    async fn restart_after(&self, c: &Arc<Container>, pause: Duration) {
        let mut status = c.status.subscribe();
        let changed = status.wait_for(|s| s.is_none_or(|(s, _)| s != Status::Restarting));
        if tokio::time::timeout(pause, changed).await.is_ok() {
            return;
        }
        let _gate = c.gate.lock().await;
        if c.status() != Status::Restarting || self.is_closing() {
            return;
        }
        if let Err(e) = self.launch(c).await {
            tracing::warn!(container = %c.id, error = %e, "cannot be restarted");
        }
    }

    /// Takes up what is on disk and in the kernel.
    pub(super) async fn load(&self) -> Result<(), Refusal> {
        let base = &self.inner.base;
        let folder = std::fs::read_dir(&base.dir)
            .map_err(|e| Refusal::internal(format!("cannot read {}: {e}", base.dir.display())))?;
        let mut recovered: HashMap<String, RecoveredState> =
            base.runtime.recover().await.into_iter().map(|r| (r.id, r.state)).collect();
        let mut known = BTreeSet::new();
        let mut later = Vec::new();
        for entry in folder.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            match Record::load(&base.dir, &id) {
                Ok(record) => {
                    known.insert(id.clone());
                    let c = Container::new(record);
                    {
                        let mut table = self.inner.table.write();
                        table.names.insert(c.record.read().name.clone(), id.clone());
                        table.by_id.insert(id.clone(), c.clone());
                    }
                    self.hold_volumes(&c);
                    let state = recovered.remove(&id);
                    self.take_up(&c, state).await;
                    later.push(c);
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    // A creation that was cut off.
                    let _ = base.images.remove_rootfs(&id).await;
                    self.forget_files(&id);
                    let _ = std::fs::remove_dir_all(entry.path());
                }
                Err(e) => {
                    known.insert(id.clone());
                    tracing::error!(container = %id, error = %e, "its record is damaged; the container is left alone");
                }
            }
        }
        for id in recovered.into_keys() {
            tracing::warn!(container = %id, "runs without a record and is ended");
            let _ = base.runtime.signal(&id, super::signals::KILL).await;
            let _ = tokio::time::timeout(Duration::from_secs(5), base.runtime.wait(&id)).await;
            let _ = base.runtime.delete(&id).await;
        }
        if let Err(e) = base.networks.reap(known).await {
            tracing::warn!(error = %e, "leftovers of the networks cannot be removed");
        }
        let all = self.clone();
        tokio::spawn(async move { all.start_by_policy(later).await });
        Ok(())
    }

    async fn take_up(&self, c: &Arc<Container>, state: Option<RecoveredState>) {
        let was_up = c.status().is_up();
        match state {
            Some(RecoveredState::Running { pid, started_at }) => {
                self.set_state(c, |s| {
                    s.status = if s.status == Status::Paused { Status::Paused } else { Status::Running };
                    s.pid = i64::from(pid);
                    s.started_at = if started_at.is_never() { s.started_at } else { started_at };
                });
                self.note_endpoints(c);
                self.begin_health(c);
                self.watch(c);
            }
            // Settled before the doors open: nobody is shown a container as running that has ended.
            Some(RecoveredState::Exited(exit)) if was_up => {
                if let Some(pause) = self.ended(c, exit).await {
                    let (all, c) = (self.clone(), c.clone());
                    tokio::spawn(async move { all.restart_after(&c, pause).await });
                }
            }
            Some(RecoveredState::Exited(_) | RecoveredState::Created { .. }) => {
                let _ = self.inner.base.runtime.signal(&c.id, super::signals::KILL).await;
                let _ = self.inner.base.runtime.delete(&c.id).await;
                self.unwire(c).await;
                let _ = self.inner.base.images.unmount(&c.id).await;
                self.remove_shared_memory(&c.id);
            }
            None if was_up => {
                // The machine was restarted: nothing of it is left.
                self.unwire(c).await;
                self.set_state(c, |s| {
                    s.status = Status::Exited;
                    s.pid = 0;
                    s.exit_code = 255;
                    s.finished_at = now();
                });
            }
            // The daemon may have been killed while it was being started.
            None => self.unwire(c).await,
        }
        if c.status() == Status::Removing {
            self.record_status_exited(c);
            let _ = self.remove(&c.id, true, false).await;
        }
    }

    /// Volumes do not remember who uses them.
    fn hold_volumes(&self, c: &Container) {
        for m in c.record.read().mounts.iter().filter(|m| m.point.typ == "volume") {
            if let Err(e) = self.inner.base.volumes.hold(&m.point.name, &c.id) {
                tracing::warn!(container = %c.id, error = %e, "a volume of a container is missing");
            }
        }
    }

    fn record_status_exited(&self, c: &Container) {
        c.record.write().state.status = Status::Exited;
    }

    /// What shall run by its policy and does not. Tasks are the agent's.
    async fn start_by_policy(&self, all: Vec<Arc<Container>>) {
        for c in all {
            let wanted = {
                let r = c.record.read();
                let policy = r.host_config.restart_policy.name.as_str();
                let by_policy = match policy {
                    "always" => true,
                    "unless-stopped" => !r.stopped_by_user,
                    "on-failure" => r.state.exit_code != 0 && !r.stopped_by_user,
                    _ => false,
                };
                by_policy
                    && r.task.is_none()
                    && matches!(r.state.status, Status::Exited | Status::Restarting)
                    && !r.state.started_at.is_never()
            };
            if !wanted {
                if c.status() == Status::Restarting {
                    self.set_state(&c, |s| s.status = Status::Exited);
                }
                continue;
            }
            let _gate = c.gate.lock().await;
            if let Err(e) = self.launch(&c).await {
                tracing::warn!(container = %c.id, error = %e, "cannot be started again");
            }
        }
    }
}

/// The pause before a restart, if the policy wants one.
fn restart_pause(r: &Record, code: i32, ran: Duration) -> Option<Duration> {
    let policy = &r.host_config.restart_policy;
    let again = match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => code != 0 && (policy.maximum_retry_count == 0 || r.restart_count < policy.maximum_retry_count),
        _ => false,
    };
    if !again || r.stopped_by_user {
        return None;
    }
    if ran >= BACKOFF_RESET_AFTER {
        return Some(BACKOFF_MIN);
    }
    let doubled = BACKOFF_MIN.saturating_mul(1u32.checked_shl(r.restart_count.clamp(0, 16) as u32).unwrap_or(u32::MAX));
    Some(doubled.min(BACKOFF_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_follow_the_policy_with_growing_pauses() {
        let mut r = Record::default();
        assert_eq!(restart_pause(&r, 1, Duration::ZERO), None);
        r.host_config.restart_policy.name = "on-failure".into();
        r.host_config.restart_policy.maximum_retry_count = 2;
        assert_eq!(restart_pause(&r, 0, Duration::ZERO), None);
        assert_eq!(restart_pause(&r, 1, Duration::ZERO), Some(BACKOFF_MIN));
        r.restart_count = 1;
        assert_eq!(restart_pause(&r, 1, Duration::ZERO), Some(BACKOFF_MIN * 2));
        r.restart_count = 2;
        assert_eq!(restart_pause(&r, 1, Duration::ZERO), None);
        r.host_config.restart_policy.name = "always".into();
        r.restart_count = 60;
        assert_eq!(restart_pause(&r, 0, Duration::ZERO), Some(BACKOFF_MAX));
        r.stopped_by_user = true;
        assert_eq!(restart_pause(&r, 0, Duration::ZERO), None);
    }
}
