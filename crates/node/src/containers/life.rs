//! Start, stop, kill, pause, restart, wait, rename, update: what moves a container through its life.
use super::record::Status;
use super::{Container, Containers, launch, now, refuse, refuse_image, signals};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use wire::Refusal;
use wire::engine::container::{ContainerUpdateBody, ContainerWait};
use wire::engine::mount::MountPoint;

/// Docker's time before a stopped container is killed.
const STOP_TIMEOUT_SECS: i64 = 10;

/// How often a process that was told to stop before it could hear is looked at.
const HANDLER_POLL: Duration = Duration::from_millis(20);

/// What containers get over their own time when the daemon ends (dockerd's).
const CLOSING_GRACE: Duration = Duration::from_secs(5);

/// What a wait waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// That it does not run.
    #[default]
    NotRunning,
    /// Its next end.
    NextExit,
    /// That it has been removed.
    Removed,
}

fn volumes_of(c: &Container) -> Vec<MountPoint> {
    c.record.read().mounts.iter().filter(|m| m.point.typ == "volume").map(|m| m.point.clone()).collect()
}

impl Containers {
    /// Starts a container.
    ///
    /// # Errors
    /// 304 when it runs; Docker's words for everything else.
    pub async fn start(&self, id: &str) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let _gate = c.gate.lock().await;
        match c.status() {
            Status::Running => return Err(Refusal::not_modified("")),
            Status::Paused => return Err(Refusal::conflict("cannot start a paused container, try unpause instead")),
            Status::Removing | Status::Dead => {
                return Err(Refusal::conflict("container is marked for removal and cannot be started"));
            }
            Status::Created | Status::Exited | Status::Restarting => {}
        }
        {
            let mut r = c.record.write();
            r.restart_count = 0;
            r.stopped_by_user = false;
        }
        let started = self.launch(&c).await;
        if let Err(e) = &started {
            tracing::info!(container = %c.id, error = %e, "cannot be started");
            if c.record.read().host_config.auto_remove {
                drop(_gate);
                let _ = self.remove(&c.id, true, true).await;
            }
        }
        started
    }

    /// Starts the processes. The gate is held by the caller.
    pub(super) async fn launch(&self, c: &Arc<Container>) -> Result<(), Refusal> {
        match self.try_launch(c).await {
            Ok(()) => Ok(()),
            Err((code, refusal)) => {
                c.waiting.lock().clear();
                let _ = self.inner.base.runtime.delete(&c.id).await;
                self.unwire(c).await;
                let _ = self.inner.base.images.unmount(&c.id).await;
                self.unmount_volumes(c).await;
                self.remove_shared_memory(&c.id);
                self.set_state(c, |s| {
                    s.status = if s.status == Status::Created { Status::Created } else { Status::Exited };
                    s.exit_code = code;
                    s.error = refusal.message.clone();
                    s.pid = 0;
                });
                Err(refusal)
            }
        }
    }

    async fn try_launch(&self, c: &Arc<Container>) -> Result<(), (i64, Refusal)> {
        let base = &self.inner.base;
        let other = |r: Refusal| (128, r);
        let image = c.record.read().image_id.clone();
        self.check_sources(c).map_err(other)?;
        for mount in volumes_of(c) {
            base.volumes.mount(&mount.name, &c.id).await.map_err(other)?;
            let (place, write) = (("destination", mount.destination.as_str()), mount.rw.to_string());
            let more =
                [("container", c.id.as_str()), place, ("read/write", &write), ("propagation", &mount.propagation)];
            base.volumes.tell(&mount.name, "mount", &more);
        }
        let rootfs = base.images.rootfs(&c.id, &image).await.map_err(|e| other(refuse_image(e)))?;
        let network_ns = self.wire(c).await.map_err(other)?;
        let mut launch = self.launch_of(&c.record.read(), &rootfs.merged, network_ns).map_err(other)?;
        let shared = self.shared_memory(c).map_err(other)?;
        launch.mounts.extend(shared.filter(|s| launch.mounts.iter().all(|m| m.target != s.target)));
        let failed = |e: runtime::LaunchError| {
            // Docker: what the user's command caused is 400, the rest 500.
            let refusal = if matches!(e.exit_code, 126 | 127) {
                Refusal::invalid(e.message)
            } else {
                Refusal::internal(e.message)
            };
            (i64::from(e.exit_code), refusal)
        };
        let created = base.runtime.create(&launch).await.map_err(failed)?;
        let waiting = std::mem::take(&mut *c.waiting.lock());
        for client in waiting {
            if let Ok(io) = base.runtime.attach(&c.id).await {
                let _ = client.send(io);
            }
        }
        let watchdog = c.watchdog.lock().clone();
        if let Some(watchdog) = watchdog {
            let set = base.runtime.set_watchdog(&c.id, &watchdog).await;
            set.map_err(|e| other(Refusal::internal(crate::chain(&e))))?;
        }
        base.runtime.start(&c.id).await.map_err(failed)?;
        self.set_state(c, |s| {
            s.status = Status::Running;
            s.pid = i64::from(created.pid);
            s.exit_code = 0;
            s.error.clear();
            s.oom_killed = false;
            s.started_at = now();
            s.health = None;
        });
        let names: Vec<String> = c.record.read().networks.keys().cloned().collect();
        for name in names {
            self.tell_network("connect", &name, c);
        }
        self.tell(c, "start", &[]);
        self.begin_health(c);
        self.watch(c);
        Ok(())
    }

    /// What options of its volumes mounted is unmounted with their last container.
    pub(super) async fn unmount_volumes(&self, c: &Container) {
        let volumes = &self.inner.base.volumes;
        for MountPoint { name, .. } in volumes_of(c) {
            match volumes.unmount(&name, &c.id).await {
                Ok(()) => volumes.tell(&name, "unmount", &[("container", &c.id)]),
                Err(e) => tracing::warn!(container = %c.id, volume = name, error = %e, "a volume cannot be unmounted"),
            }
        }
    }

    /// Sources of binds may have gone since the creation.
    fn check_sources(&self, c: &Container) -> Result<(), Refusal> {
        let r = c.record.read();
        for m in r.mounts.iter().filter(|m| m.point.typ == "bind" && m.strict) {
            if !std::path::Path::new(&m.point.source).exists() {
                return Err(Refusal::invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    m.point.source
                )));
            }
        }
        Ok(())
    }

    /// Asks a container to end, and kills it after `timeout_secs` (negative: never).
    ///
    /// # Errors
    /// 304 when it does not run.
    pub async fn stop(&self, id: &str, signal: &str, timeout_secs: Option<i64>) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let stopped = self.stop_container(&c, signal, timeout_secs).await;
        if stopped.is_ok() {
            self.tell(&c, "stop", &[]);
        }
        stopped
    }

    async fn stop_container(&self, c: &Arc<Container>, signal: &str, timeout_secs: Option<i64>) -> Result<(), Refusal> {
        c.record.write().stopped_by_user = true;
        self.end(c, signal, timeout_secs).await
    }

    /// Ends every container, for the daemon ends; what its policy says is started again with the next one. Those that
    /// take longer than `within` are killed (`None`: they are waited for). Containers that ask for more time get it.
    pub async fn end_all(&self, within: Option<Duration>) {
        self.inner.closing.store(true, Ordering::Relaxed);
        let up: Vec<_> = self.all().into_iter().filter(|c| c.status().is_up()).collect();
        let asked = |c: &Arc<Container>| c.record.read().config.stop_timeout.unwrap_or(STOP_TIMEOUT_SECS);
        let longest = up.iter().map(asked).map(|secs| u64::try_from(secs).ok()).max_by_key(|s| s.unwrap_or(u64::MAX));
        let within = match (within, longest.flatten()) {
            (Some(within), Some(longest)) => Some(within.max(Duration::from_secs(longest) + CLOSING_GRACE)),
            _ => None,
        };
        let mut ends = JoinSet::new();
        for c in up.iter().cloned() {
            let all = self.clone();
            ends.spawn(async move {
                if let Err(e) = all.end(&c, "", None).await {
                    tracing::warn!(container = %c.id, error = %e, "does not end with the daemon");
                }
                // The end is written down, and what it had is given back, under the gate.
                drop(c.gate.lock().await);
            });
        }
        let Some(within) = within else { return drop(ends.join_all().await) };
        if tokio::time::timeout(within, ends.join_all()).await.is_err() {
            for c in up.iter().filter(|c| c.status().is_up()) {
                let _ = self.send(c, signals::KILL).await;
            }
        }
    }

    async fn end(&self, c: &Arc<Container>, signal: &str, timeout_secs: Option<i64>) -> Result<(), Refusal> {
        let (status, signal, timeout) = {
            let r = c.record.read();
            let signal = if signal.is_empty() { Some(launch::stop_signal(&r)) } else { signals::number(signal) };
            let signal = signal.ok_or_else(|| Refusal::invalid("invalid signal"))?;
            (r.state.status, signal, timeout_secs.or(r.config.stop_timeout).unwrap_or(STOP_TIMEOUT_SECS))
        };
        match status {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                self.set_state(c, |s| s.status = Status::Exited);
                return Ok(());
            }
            _ => return Err(Refusal::not_modified("")),
        }
        let mut ended = c.status.subscribe();
        let over = |s: &Option<(Status, u64)>| s.is_none_or(|(s, _)| !s.is_up());
        let pid = u32::try_from(c.record.read().state.pid).unwrap_or_default();
        self.send(c, signal).await?;
        let early = kernel::process::drops_signal(pid, signal);
        if status == Status::Paused {
            let _ = self.unpause(&c.id).await;
        }
        let wait = async {
            // A process that is still coming up has no handler yet, and the kernel has dropped the signal.
            while early && kernel::process::drops_signal(pid, signal) {
                if let Ok(ended) = tokio::time::timeout(HANDLER_POLL, ended.wait_for(over)).await {
                    return ended.map(drop);
                }
            }
            if early && self.inner.base.runtime.signal(&c.id, signal).await.is_ok() {
                tracing::debug!(container = %c.id, signal, "told again, now that it listens");
            }
            ended.wait_for(over).await.map(drop)
        };
        let in_time = if timeout < 0 {
            wait.await.is_ok()
        } else {
            tokio::time::timeout(Duration::from_secs(timeout as u64), wait).await.is_ok()
        };
        if !in_time {
            self.send(c, signals::KILL).await?;
            let wait = ended.wait_for(over);
            if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
                return Err(Refusal::internal(format!(
                    "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                    c.id
                )));
            }
        }
        Ok(())
    }

    /// Sends a signal; fine if it ends meanwhile.
    async fn send(&self, c: &Container, signal: i32) -> Result<(), Refusal> {
        match self.inner.base.runtime.signal(&c.id, signal).await {
            Ok(()) => {
                self.tell(c, "kill", &[("signal", &signal.to_string())]);
                Ok(())
            }
            Err(runtime::RuntimeError::NotRunning(_) | runtime::RuntimeError::Unknown(_)) => Ok(()),
            Err(e) => Err(refuse(e)),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// 409 when it does not run, 400 for an unknown signal.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let number = if signal.is_empty() { Some(signals::KILL) } else { signals::number(signal) };
        let number = number.ok_or_else(|| Refusal::invalid(format!("Invalid signal: {signal}")))?;
        if !c.status().is_up() {
            return Err(Refusal::conflict(format!("cannot kill container: {id}: container {} is not running", c.id)));
        }
        let mut ended = c.status.subscribe();
        let fatal = number == signals::KILL;
        {
            let mut r = c.record.write();
            if fatal || number == launch::stop_signal(&r) {
                r.stopped_by_user = true;
            }
        }
        self.send(&c, number).await?;
        // A frozen process dies of nothing.
        if c.status() == Status::Paused && (fatal || number == launch::stop_signal(&c.record.read())) {
            let _ = self.unpause(&c.id).await;
        }
        if fatal {
            let gone = ended.wait_for(|s| s.is_none_or(|(s, _)| !s.is_up()));
            let _ = tokio::time::timeout(Duration::from_secs(10), gone).await;
        }
        Ok(())
    }

    /// Stops and starts.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub async fn restart(&self, id: &str, signal: &str, timeout_secs: Option<i64>) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let auto_remove = std::mem::take(&mut c.record.write().host_config.auto_remove);
        let stopped = match self.stop_container(&c, signal, timeout_secs).await {
            Err(e) if e.kind != wire::RefusalKind::NotModified => Err(e),
            _ => Ok(()),
        };
        let started = match stopped {
            Ok(()) => self.start(&c.id).await,
            Err(e) => Err(e),
        };
        c.record.write().host_config.auto_remove = auto_remove;
        started.map_err(|e| Refusal { message: format!("Cannot restart container {id}: {}", e.message), ..e })?;
        self.tell(&c, "restart", &[]);
        Ok(())
    }

    /// Freezes it.
    ///
    /// # Errors
    /// 409 when it does not run or is frozen.
    pub async fn pause(&self, id: &str) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let _gate = c.gate.lock().await;
        match c.status() {
            Status::Running => {}
            Status::Paused => return Err(Refusal::conflict(format!("container {} is already paused", c.id))),
            _ => return Err(Refusal::conflict(format!("container {} is not running", c.id))),
        }
        self.inner.base.runtime.pause(&c.id).await.map_err(refuse)?;
        self.set_state(&c, |s| s.status = Status::Paused);
        self.tell(&c, "pause", &[]);
        Ok(())
    }

    /// Thaws it.
    ///
    /// # Errors
    /// 409 when it is not frozen.
    pub async fn unpause(&self, id: &str) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let _gate = c.gate.lock().await;
        if c.status() != Status::Paused {
            return Err(Refusal::conflict(format!("Container {} is not paused", c.id)));
        }
        self.inner.base.runtime.unpause(&c.id).await.map_err(refuse)?;
        self.set_state(&c, |s| s.status = Status::Running);
        self.tell(&c, "unpause", &[]);
        Ok(())
    }

    /// Finds the container at once; the future ends when the condition holds.
    ///
    /// # Errors
    /// 404.
    pub fn wait(
        &self,
        id: &str,
        until: Until,
    ) -> Result<impl Future<Output = ContainerWait> + Send + 'static, Refusal> {
        let c = self.find(id)?;
        let mut status = c.status.subscribe();
        let ends = status.borrow().map_or(0, |(_, n)| n);
        Ok(async move {
            let met = |s: &Option<(Status, u64)>| match (until, s) {
                (_, None) => true,
                // An end counts, also when a restart follows it.
                (Until::NotRunning, Some((s, n))) => !s.is_up() && (*n > ends || *s != Status::Restarting),
                (Until::NextExit, Some((s, n))) => *n > ends && !s.is_up(),
                (Until::Removed, Some(_)) => false,
            };
            let _ = status.wait_for(met).await;
            let r = c.record.read();
            // What a start failed for is the start's answer, not the wait's.
            ContainerWait { error: None, status_code: r.state.exit_code }
        })
    }

    /// Size of its terminal.
    ///
    /// # Errors
    /// 409 when it does not run.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), Refusal> {
        let c = self.find(id)?;
        if !c.status().is_up() {
            return Err(Refusal::conflict(format!("container {} is not running", c.id)));
        }
        self.inner.base.runtime.resize(&c.id, rows, columns).await.map_err(refuse)?;
        self.tell(&c, "resize", &[("height", &rows.to_string()), ("width", &columns.to_string())]);
        Ok(())
    }

    /// A new name.
    ///
    /// # Errors
    /// 409 when it is taken.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), Refusal> {
        let c = self.find(id)?;
        let _gate = c.gate.lock().await;
        if name.is_empty() {
            return Err(Refusal::invalid("Neither old nor new names may be empty"));
        }
        let old = c.record.read().name.clone();
        if name.trim_start_matches('/') == old {
            return Err(Refusal::invalid("Renaming a container with the same name as its current name"));
        }
        let name = self.reserve_name(name, &c.id)?;
        self.inner.table.write().names.remove(&old);
        c.record.write().name = name.clone();
        self.save(&c);
        if c.status().is_up() {
            self.inner.base.networks.rename(&c.id, &name).await?;
            self.note_endpoints(&c);
        }
        self.tell(&c, "rename", &[("oldName", &format!("/{old}"))]);
        Ok(())
    }

    /// New limits and restart policy; zero fields stay.
    ///
    /// # Errors
    /// 400 for impossible limits.
    pub async fn update(&self, id: &str, wish: ContainerUpdateBody) -> Result<Vec<String>, Refusal> {
        let c = self.find(id)?;
        let _gate = c.gate.lock().await;
        let mut host = c.record.read().host_config.clone();
        fn given<T: Default + PartialEq>(v: &T) -> bool {
            *v != T::default()
        }
        macro_rules! take {
            ($($field:ident),*) => {$( if given(&wish.$field) { host.$field = wish.$field.clone(); } )*};
        }
        take!(
            memory,
            memory_reservation,
            nano_cpus,
            cpu_shares,
            cpu_period,
            cpu_quota,
            cpu_realtime_period,
            cpu_realtime_runtime,
            cpuset_cpus,
            cpuset_mems,
            blkio_weight,
            memory_swap
        );
        if let Some(limit) = wish.pids_limit {
            host.pids_limit = Some(limit.max(0));
        }
        if wish.memory != 0 && wish.memory_swap == 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
            return Err(Refusal::invalid(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ));
        }
        if wish.nano_cpus != 0 {
            (host.cpu_period, host.cpu_quota) = (0, 0);
        }
        if !wish.restart_policy.name.is_empty() {
            if host.auto_remove && wish.restart_policy.name != "no" {
                return Err(Refusal::conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                ));
            }
            host.restart_policy = wish.restart_policy.clone();
        }
        super::configure::check_resources(&host)?;
        super::configure::check_restart(&host)?;
        if c.status().is_up() {
            let mut limits = launch::resources(&host);
            if wish.pids_limit.is_some_and(|limit| limit <= 0) {
                limits.pids_limit = -1;
            }
            self.inner.base.runtime.update(&c.id, &limits).await.map_err(refuse)?;
        }
        c.record.write().host_config = host;
        self.save(&c);
        self.tell(&c, "update", &[]);
        Ok(Vec::new())
    }
}
