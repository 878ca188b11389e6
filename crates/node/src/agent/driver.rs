//! One task's driver: the single owner of its container, from assignment to removal.
//!
//! ```text
//!            prepare            (desired ≥ running)  start         healthy
//! Accepted ─► Preparing ─► Ready ──────────────────► Starting ───────────► Running ─┬─► Complete | Failed
//!                │                                      │ lease over: killed ──────►│ Shutdown
//!                │                                      │                           │ (desired ≥ shutdown)
//!                ▼                                      ▼                           ▼
//!             Rejected                                Failed          barrier ─► drained ─► stop ─► Shutdown
//! ```
//! A stop wish is looked at before every step; steps themselves are never cut in the middle, so nothing half-made stays.
use super::executor::{Dependencies, Ended, Executor, Found};
use model::lease::Fence;
use model::{ContainerStatus, DesiredState, Task, TaskId, TaskState, TaskStatus, Timestamp};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use wire::agent::Assignment;

/// The barrier is waited for this long; then the manager is taken for unreachable and the task is stopped all the same.
const BARRIER_WAIT: Duration = Duration::from_secs(3);
/// Live connections are waited for this long before the stop signal, unless the service says otherwise.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// How often live connections are counted while draining.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// Looks in a row without a live connection before the stop signal.
const DRAIN_LOOKS: u32 = 2;

/// What the manager wants of the task: the assignment, or to forget it.
pub type Wish = Option<Assignment>;

/// What a driver needs of the world.
pub struct Surroundings {
    /// The machine.
    pub executor: Arc<dyn Executor>,
    /// Where observed states go.
    pub reports: mpsc::UnboundedSender<(TaskId, TaskStatus)>,
    /// The revision that every live node has applied.
    pub all_applied: watch::Receiver<u64>,
    /// Secrets, configs, node.
    pub dependencies: watch::Receiver<Arc<Dependencies>>,
    /// What must have stopped because no leader has been heard for too long.
    pub fence: watch::Receiver<Fence>,
    /// Whether it has been said how long tasks may run.
    pub heard: watch::Receiver<bool>,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// Drives one task until it is to be forgotten and its container is gone.
pub async fn drive(first: Assignment, mut wish: watch::Receiver<Wish>, around: Surroundings) {
    let mut driver = Driver { task: first.task, status: TaskStatus::default(), around };
    driver.status = driver.task.status.clone();
    if driver.task.spec.attachment.is_some() {
        // A plain container's place on an overlay: the container is its owner's, there is nothing to run.
        driver.status.ready = true;
        driver.report(TaskState::Running, "started", "");
        while wish.borrow_and_update().as_ref().is_some_and(|a| a.task.desired.wants_to_run()) {
            if wish.changed().await.is_err() {
                return;
            }
        }
        return driver.report(TaskState::Shutdown, "shutdown", "");
    }
    driver.run(&mut wish).await;
    // Only the manager's word ends a driver.
    while wish.borrow_and_update().is_some() {
        if wish.changed().await.is_err() {
            return;
        }
    }
    if let Err(e) = driver.around.executor.remove(&driver.task).await {
        tracing::warn!(task = %driver.task.id, error = %e, "the container of a forgotten task cannot be removed");
    }
}

struct Driver {
    task: Task,
    status: TaskStatus,
    around: Surroundings,
}

impl Driver {
    async fn run(&mut self, wish: &mut watch::Receiver<Wish>) {
        match self.around.executor.find(&self.task).await {
            Some(Found::Running { container, pid }) => {
                self.status.container = Some(ContainerStatus { id: container, pid, exit_code: 0 });
                return self.supervise(wish).await;
            }
            Some(Found::Ended { container, end }) => {
                self.status.container = Some(ContainerStatus { id: container, pid: 0, exit_code: end.code });
                return self.report_end(wish, end);
            }
            Some(Found::Prepared { container }) => {
                self.status.container = Some(ContainerStatus { id: container, pid: 0, exit_code: 0 });
                self.report(TaskState::Ready, "prepared", "");
            }
            None if self.task.status.state.is_terminal() => return,
            None if wants_stop(wish) => return self.report(TaskState::Shutdown, "shutdown", ""),
            None => {
                if !self.prepare().await {
                    return;
                }
            }
        }
        if !self.start_wished(wish).await {
            return self.report(TaskState::Shutdown, "shutdown", "");
        }
        self.report(TaskState::Starting, "starting", "");
        let leased = wish.borrow().as_ref().is_some_and(|a| a.task.leased);
        if let Err(e) = self.around.executor.watch_over(&self.task, leased).await {
            return self.report(TaskState::Failed, "starting", &format!("starting container failed: {e}"));
        }
        match self.around.executor.start(&self.task).await {
            Ok(started) => {
                if let Some(c) = &mut self.status.container {
                    c.pid = started.pid;
                }
                self.status.host_ports = started.host_ports;
            }
            Err(e) => {
                return self.report(TaskState::Failed, "starting", &format!("starting container failed: {e}"));
            }
        }
        self.supervise(wish).await;
    }

    async fn prepare(&mut self) -> bool {
        self.report(TaskState::Accepted, "accepted", "");
        self.report(TaskState::Preparing, "preparing", "");
        let deps = self.around.dependencies.borrow().clone();
        match self.around.executor.prepare(&self.task, &deps).await {
            Ok(container) => {
                self.status.container = Some(ContainerStatus { id: container, pid: 0, exit_code: 0 });
                self.report(TaskState::Ready, "prepared", "");
                true
            }
            Err(e) => {
                self.report(TaskState::Rejected, "preparing", &e.message);
                false
            }
        }
    }

    /// From started to ended.
    async fn supervise(&mut self, wish: &mut watch::Receiver<Wish>) {
        let watched = watch_over(self.around.executor.clone(), self.task.clone(), wish.clone());
        tokio::select! {
            () = self.supervise_to_its_end(wish) => {}
            never = watched => match never {},
        }
    }

    async fn supervise_to_its_end(&mut self, wish: &mut watch::Receiver<Wish>) {
        let executor = self.around.executor.clone();
        let task = self.task.clone();
        let ended = executor.ended(&task);
        let lease_over = lease_over(self.around.fence.clone(), wish.clone());
        tokio::pin!(ended, lease_over);
        tokio::select! {
            biased;
            end = &mut ended => return self.finish(wish, end).await,
            () = &mut lease_over => return self.fenced(&mut ended).await,
            () = stop_wished(wish) => {}
            () = executor.healthy(&task) => {
                self.status.ready = true;
                self.report(TaskState::Running, "started", "");
                tokio::select! {
                    biased;
                    end = &mut ended => return self.finish(wish, end).await,
                    () = &mut lease_over => return self.fenced(&mut ended).await,
                    () = stop_wished(wish) => {}
                }
            }
        }
        tokio::select! {
            biased;
            end = &mut ended => return self.finish(wish, end).await,
            () = &mut lease_over => return self.fenced(&mut ended).await,
            () = self.drained(wish) => {}
        }
        tokio::select! {
            () = self.stop() => {}
            // The grace period may be longer than the lease.
            () = &mut lease_over => return self.fenced(&mut ended).await,
        }
        let end = timeout(Duration::from_secs(30), ended).await.unwrap_or_default();
        self.finish(wish, Ended { unhealthy: false, ..end }).await;
    }

    /// No leader has heard this node for so long that another may be about to run the task: it ends now.
    async fn fenced(&mut self, ended: &mut (impl Future<Output = Ended> + Unpin)) {
        tracing::warn!(task = %self.task.id, "no leader has been heard for too long; the task is stopped so that it never runs twice");
        if let Err(e) = self.around.executor.kill(&self.task).await {
            tracing::error!(task = %self.task.id, error = %e, "a task whose lease has run out cannot be killed");
        }
        let end = timeout(Duration::from_secs(30), ended).await.unwrap_or_default();
        self.status.ready = false;
        if let Some(c) = &mut self.status.container {
            c.pid = 0;
            c.exit_code = end.code;
        }
        let why = "the node was cut off from the managers, and the task was stopped there so that it never runs twice";
        self.report(TaskState::Shutdown, "shutdown", why);
    }

    /// Waits for the word to start (`true`) or to stop (`false`). While the lease is over nothing starts.
    async fn start_wished(&self, wish: &mut watch::Receiver<Wish>) -> bool {
        let mut fence = self.around.fence.clone();
        let mut heard = self.around.heard.clone();
        loop {
            let (wanted, leased) = match wish.borrow_and_update().as_ref() {
                Some(a) => (a.task.desired, a.task.leased),
                None => return false,
            };
            let fenced = fence.borrow_and_update().stops(leased);
            match wanted {
                DesiredState::Running | DesiredState::Complete if !fenced && *heard.borrow_and_update() => return true,
                DesiredState::Ready | DesiredState::Running | DesiredState::Complete => {}
                _ => return false,
            }
            let open = tokio::select! {
                changed = wish.changed() => changed.is_ok(),
                changed = fence.changed() => changed.is_ok(),
                changed = heard.changed() => changed.is_ok(),
            };
            if !open {
                return std::future::pending().await;
            }
        }
    }

    /// Resolves when the task may be sent its stop signal without a client noticing.
    async fn drained(&self, wish: &watch::Receiver<Wish>) {
        let (after, drain) = match &*wish.borrow() {
            Some(a) => (a.stop_after.unwrap_or(0), drain_time(&a.task)),
            None => (0, Duration::ZERO),
        };
        let mut applied = self.around.all_applied.clone();
        if timeout(BARRIER_WAIT, applied.wait_for(|r| *r >= after)).await.is_err() {
            tracing::warn!(task = %self.task.id, revision = after, "not every node has confirmed the drain; stopping all the same");
        }
        // A connection that was begun just before the last node had applied may still be on its way: one look is not enough.
        let until = Instant::now() + drain;
        let mut quiet = 0;
        while Instant::now() < until && quiet < DRAIN_LOOKS {
            quiet = if self.around.executor.live_connections(&self.task).await > 0 { 0 } else { quiet + 1 };
            sleep(DRAIN_POLL).await;
        }
    }

    async fn stop(&self) {
        if let Err(e) = self.around.executor.stop(&self.task).await {
            tracing::warn!(task = %self.task.id, error = %e, "a task's container cannot be stopped");
        }
    }

    async fn finish(&mut self, wish: &watch::Receiver<Wish>, end: Ended) {
        if end.unhealthy {
            self.stop().await;
        }
        self.report_end(wish, end);
    }

    fn report_end(&mut self, wish: &watch::Receiver<Wish>, end: Ended) {
        self.status.ready = false;
        if let Some(c) = &mut self.status.container {
            c.pid = 0;
            c.exit_code = end.code;
        }
        let detail = if end.unhealthy { "dockerexec: unhealthy container" } else { end.detail.as_str() };
        if wants_stop(wish) {
            self.report(TaskState::Shutdown, "shutdown", "");
        } else if end.code == 0 && !end.unhealthy {
            self.report(TaskState::Complete, "finished", "");
        } else if detail.is_empty() {
            self.report(TaskState::Failed, "started", &format!("task: non-zero exit ({})", end.code));
        } else {
            self.report(TaskState::Failed, "started", &format!("task: non-zero exit ({}): {detail}", end.code));
        }
    }

    fn report(&mut self, state: TaskState, message: &str, err: &str) {
        if state < self.status.state || self.status.state.is_terminal() {
            return;
        }
        tracing::debug!(task = %self.task.id, from = self.status.state.as_str(), to = state.as_str(), err);
        self.status.state = state;
        self.status.timestamp = (self.around.now)();
        self.status.message = message.to_owned();
        self.status.err = err.to_owned();
        let _ = self.around.reports.send((self.task.id.clone(), self.status.clone()));
    }
}

fn wants_stop(wish: &watch::Receiver<Wish>) -> bool {
    wish.borrow().as_ref().is_none_or(|a| !a.task.desired.wants_to_run())
}

/// Resolves when the task shall stop. Never when the sender is gone: then the daemon itself is going down.
async fn stop_wished(wish: &mut watch::Receiver<Wish>) {
    loop {
        if wants_stop(wish) {
            return;
        }
        if wish.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Keeps the task's watchdog the one that its service now wants.
async fn watch_over(executor: Arc<dyn Executor>, task: Task, mut wish: watch::Receiver<Wish>) -> Infallible {
    let mut told = None;
    loop {
        let leased = wish.borrow_and_update().as_ref().map(|a| a.task.leased);
        if let Some(leased) = leased.filter(|now| told != Some(*now)) {
            match executor.watch_over(&task, leased).await {
                Ok(()) => told = Some(leased),
                Err(e) => tracing::warn!(task = %task.id, error = %e, "a task cannot be given its watchdog"),
            }
        }
        if wish.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Resolves when the task's lease has run out.
async fn lease_over(mut fence: watch::Receiver<Fence>, mut wish: watch::Receiver<Wish>) {
    loop {
        let leased = wish.borrow_and_update().as_ref().is_some_and(|a| a.task.leased);
        if fence.borrow_and_update().stops(leased) {
            return;
        }
        let open = tokio::select! {
            changed = wish.changed() => changed.is_ok(),
            changed = fence.changed() => changed.is_ok(),
        };
        if !open {
            return std::future::pending().await;
        }
    }
}

fn drain_time(task: &Task) -> Duration {
    model::service_labels::drain_timeout(&task.service_labels).unwrap_or(DRAIN_WAIT)
}

#[cfg(test)]
mod tests;
