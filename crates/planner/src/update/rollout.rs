//! One step of an update: judge the slots, then pause, roll back, complete, or take the next stale slots.
use super::dirty::{asked_for_successors, is_current};
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use crate::orchestrate::make_task;
use crate::orchestrate::restart::is_finished;
use crate::orchestrate::slot::{Slot, SlotKey, slots};
use model::service_labels;
use model::{
    DesiredState, FailureAction, PublishMode, RestartCondition, Service, Task, TaskId, TaskState, Timestamp,
    UpdateConfig, UpdateOrder, UpdateState, UpdateStatus,
};
use std::sync::Arc;
use std::time::Duration;

/// Where a slot stands in the update.
enum Progress {
    /// Not touched by this update, and right as it is.
    Untouched,
    /// To be replaced.
    Stale,
    /// Replaced, and its new task has not come up or ended yet (or the delay after that is not over).
    InFlight,
    /// Replaced.
    Settled(Timestamp),
}

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service) {
    let state = service.update.as_ref().map(|u| u.state);
    let under_way = matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted));
    let made_from_this = memory.roster(&service.id).is_made_from(service.spec_version);
    // Changed before the first plan saw it: there are no old tasks, but who asked for the update waits to hear of it.
    let unseen = made_from_this && state.is_none() && asked_for_successors(service);
    // The common case: every task was made from this very spec and no update is under way.
    if made_from_this && !under_way && !unseen {
        return;
    }
    let slots: Vec<(SlotKey, Slot)> = slots(draft, service).into_iter().collect();
    for (_, slot) in &slots {
        finish_start_first(draft, service, slot);
    }
    if matches!(state, Some(UpdateState::Paused | UpdateState::RollbackPaused)) {
        return;
    }
    let rolling_back = state == Some(UpdateState::RollbackStarted);
    let config = if rolling_back { &service.spec.rollback } else { &service.spec.update };
    let config = config.clone().unwrap_or_default();
    let began = match &service.update {
        Some(update) if under_way => update.started_at,
        _ if unseen => slots.iter().flat_map(|(_, s)| s.all()).map(|t| t.meta.created_at).min().unwrap_or(draft.now),
        _ => draft.now,
    };
    let round = Round { service, config: &config, began };

    let mut stale = Vec::new();
    let mut in_flight = 0u64;
    let mut settled: Vec<Timestamp> = Vec::new();
    let mut failed: Vec<TaskId> = Vec::new();
    let mut stuck: Vec<Arc<Task>> = Vec::new();
    for (key, slot) in &slots {
        match round.progress(draft, memory, slot) {
            Progress::Untouched => {}
            Progress::Stale => stale.push((key, slot)),
            Progress::InFlight => in_flight += 1,
            Progress::Settled(at) => settled.push(at),
        }
        failed.extend(round.failure(draft, memory, slot));
        stuck.extend(round.overdue(draft, memory, slot));
    }
    if !under_way {
        if stale.is_empty() && (!unseen || slots.is_empty()) {
            return;
        }
        set_status(draft, service, UpdateState::Updating, "update in progress", began, false);
    }
    let total = stale.len() as u64 + in_flight + settled.len() as u64;
    if let Some(culprit) = failed.last()
        && failed.len() as f32 > config.max_failure_ratio * total as f32
        && fail(draft, service, &config, rolling_back, &failure_of(culprit), began)
    {
        return;
    }
    if let Some(why) = no_progress(service, &stuck) {
        if fail(draft, service, &config, rolling_back, &why, began) {
            return;
        }
        let state = if rolling_back { UpdateState::RollbackStarted } else { UpdateState::Updating };
        set_status(draft, service, state, &format!("update goes on although delayed {why}"), began, false);
    }
    if stale.is_empty() && in_flight == 0 {
        complete(draft, memory, service, &config, rolling_back, began, settled.iter().max().copied());
        return;
    }
    let room = match config.parallelism {
        0 => u64::MAX,
        n => n.saturating_sub(in_flight),
    };
    for (key, slot) in stale.into_iter().take(usize::try_from(room).unwrap_or(usize::MAX)) {
        if draft.is_full() {
            return;
        }
        replace(draft, service, &config, key, slot);
    }
}

struct Round<'a> {
    service: &'a Service,
    config: &'a UpdateConfig,
    began: Timestamp,
}

impl Round<'_> {
    /// The tasks that this update made in the slot, oldest first.
    fn made<'s>(&self, draft: &Draft<'_>, slot: &'s Slot) -> Vec<&'s Arc<Task>> {
        slot.all().filter(|t| t.meta.created_at >= self.began && is_current(draft, self.service, t)).collect()
    }

    fn progress(&self, draft: &Draft<'_>, memory: &mut PlannerMemory, slot: &Slot) -> Progress {
        let live_current = slot.live.iter().any(|t| is_current(draft, self.service, t));
        let live_stale = slot.live.iter().any(|t| !is_current(draft, self.service, t));
        let made = self.made(draft, slot);
        let came_up = made.iter().filter(|t| t.status.state >= TaskState::Running).map(|t| t.status.timestamp).min();
        if live_stale && live_current {
            return Progress::InFlight;
        }
        if live_stale {
            // A start-first replacement that failed is tried again, but not in a tight loop.
            let again = came_up.map(|_| {
                let last = made.iter().map(|t| t.status.timestamp).max().unwrap_or_default();
                last.after(self.service.spec.task.restart.clone().unwrap_or_default().delay)
            });
            return match again {
                Some(at) if at > draft.now => {
                    memory.wake_service(&self.service.id, at);
                    Progress::InFlight
                }
                _ => Progress::Stale,
            };
        }
        if slot.live.is_empty() {
            let stale = slot.past.last().is_some_and(|t| !is_current(draft, self.service, t));
            return if stale && is_finished(draft, self.service, slot) { Progress::Stale } else { Progress::Untouched };
        }
        if made.is_empty() {
            return Progress::Untouched;
        }
        match came_up {
            None => Progress::InFlight,
            Some(at) if at.after(self.config.delay) > draft.now => {
                memory.wake_service(&self.service.id, at.after(self.config.delay));
                Progress::InFlight
            }
            Some(at) => Progress::Settled(at),
        }
    }

    /// The task that has kept the slot waiting for longer than the update's deadline.
    fn overdue(&self, draft: &Draft<'_>, memory: &mut PlannerMemory, slot: &Slot) -> Option<Arc<Task>> {
        let deadline = service_labels::progress_deadline(&self.service.spec.labels)?;
        let made = self.made(draft, slot);
        if made.iter().any(|t| t.status.state == TaskState::Running) {
            return None;
        }
        // Those that were told to go (drained nodes, say) kept nobody waiting.
        let begin = made.iter().filter(|t| t.status.state != TaskState::Shutdown).map(|t| t.meta.created_at).min()?;
        let last = made.iter().rev().find(|t| t.desired.wants_to_run())?;
        let at = begin.after(deadline);
        if at > draft.now {
            memory.wake_service(&self.service.id, at);
            return None;
        }
        Some((*last).clone())
    }

    /// A task that this update made in the slot and that ended before, or soon after, it came up.
    fn failure(&self, draft: &Draft<'_>, memory: &PlannerMemory, slot: &Slot) -> Option<TaskId> {
        let any = self.service.spec.task.restart.as_ref().is_none_or(|r| r.condition == RestartCondition::Any);
        let failed = |t: &Task| {
            let ended_badly = match t.status.state {
                TaskState::Failed | TaskState::Rejected => true,
                TaskState::Complete => any,
                _ => false,
            };
            ended_badly
                && t.draining_since.is_none()
                && match memory.life(&t.id) {
                    Some(Some(ran)) => t.status.timestamp.since(ran) <= self.config.monitor,
                    Some(None) => true,
                    // Ended before this leader looked: certain if it never came so far, or its whole life was short.
                    None => {
                        t.status.state == TaskState::Rejected
                            || t.status.timestamp.since(t.meta.created_at) <= self.config.monitor
                    }
                }
        };
        self.made(draft, slot).into_iter().find(|t| failed(t)).map(|t| t.id.clone())
    }
}

/// Where both an old and a new task live, the old one goes as soon as the new one runs.
fn finish_start_first(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    if slot.live.len() < 2 {
        return;
    }
    let (current, stale): (Vec<_>, Vec<_>) = slot.live.iter().partition(|t| is_current(draft, service, t));
    if current.iter().any(|t| t.status.state == TaskState::Running) {
        for task in stale {
            draft.stop(task, DesiredState::Shutdown);
        }
    }
}

fn replace(draft: &mut Draft<'_>, service: &Service, config: &UpdateConfig, key: &SlotKey, slot: &Slot) {
    let start_first = config.order == UpdateOrder::StartFirst && !blocks_start_first(service);
    // What was never handed to a node has nothing to keep up.
    let up = slot.live.iter().any(|t| t.status.state >= TaskState::Assigned);
    if start_first && up {
        make_task(draft, service, key, DesiredState::Running);
        return;
    }
    for task in &slot.live {
        draft.stop(task, DesiredState::Shutdown);
    }
    make_task(draft, service, key, if up { DesiredState::Ready } else { DesiredState::Running });
}

/// Old and new could never be side by side: a port of the node, a place on it or an asked-for address is held by the
/// old one, or the user has said that two must not run.
pub(crate) fn blocks_start_first(service: &Service) -> bool {
    let host_port = |p: &model::PortConfig| p.publish_mode == PublishMode::Host && p.published_port != 0;
    service.spec.labels.get(service_labels::FENCE).is_some_and(|f| f == "always")
        || service.spec.task.placement.max_replicas > 0
        || service.spec.task.networks.iter().any(|n| !n.addresses.is_empty())
        || service.spec.endpoint.iter().flat_map(|e| &e.ports).any(host_port)
}

fn failure_of(culprit: &TaskId) -> String {
    format!("due to failure or early termination of task {culprit}")
}

/// Which tasks stand in the way, and why each does.
fn no_progress(service: &Service, stuck: &[Arc<Task>]) -> Option<String> {
    const NAMED_MAX: usize = 3;
    let deadline = service_labels::progress_deadline(&service.spec.labels)?;
    let first = stuck.first()?;
    let says = |t: &Arc<Task>| {
        let why = if t.status.err.is_empty() { t.status.message.as_str() } else { t.status.err.as_str() };
        format!("task {} is {}: {why}", t.container_name(), t.status.state.as_str())
    };
    let mut named = says(first);
    for task in stuck.iter().take(NAMED_MAX).skip(1) {
        named += "; ";
        named += &says(task);
    }
    if stuck.len() > NAMED_MAX {
        named += &format!("; and {} more", stuck.len() - NAMED_MAX);
    }
    Some(format!("because nothing came up within {} s: {named}", deadline.as_secs_f64()))
}

/// Acts on too many failures, or on a task that does not come up. `false`: the update goes on.
fn fail(
    draft: &mut Draft<'_>,
    service: &Service,
    config: &UpdateConfig,
    rolling_back: bool,
    why: &str,
    began: Timestamp,
) -> bool {
    match config.failure_action {
        FailureAction::Continue => return false,
        _ if rolling_back => {
            set_status(draft, service, UpdateState::RollbackPaused, &format!("rollback paused {why}"), began, false);
        }
        FailureAction::Rollback if service.previous_spec.is_some() => {
            let mut back = current_row(draft, service);
            if let Some(previous) = back.previous_spec.take() {
                back.spec = *previous;
            }
            draft.put_service(back.clone());
            let message = format!("update rolled back {why}");
            set_status(draft, &back, UpdateState::RollbackStarted, &message, draft.now, false);
        }
        _ => set_status(draft, service, UpdateState::Paused, &format!("update paused {why}"), began, false),
    }
    true
}

fn complete(
    draft: &mut Draft<'_>,
    memory: &mut PlannerMemory,
    service: &Service,
    config: &UpdateConfig,
    rolling_back: bool,
    began: Timestamp,
    last: Option<Timestamp>,
) {
    // The last task is watched as long as the others were.
    let watch = if config.delay >= config.monitor { config.delay + Duration::from_secs(1) } else { config.monitor };
    if let Some(last) = last
        && last.after(watch) > draft.now
    {
        memory.wake_service(&service.id, last.after(watch));
        return;
    }
    let (state, message) = if rolling_back {
        (UpdateState::RollbackCompleted, "rollback completed")
    } else {
        (UpdateState::Completed, "update completed")
    };
    set_status(draft, service, state, message, began, true);
}

fn current_row(draft: &Draft<'_>, service: &Service) -> Service {
    draft.service(&service.id).map_or_else(|| service.clone(), |s| (**s).clone())
}

fn set_status(
    draft: &mut Draft<'_>,
    service: &Service,
    state: UpdateState,
    message: &str,
    started_at: Timestamp,
    over: bool,
) {
    let mut row = current_row(draft, service);
    let completed_at = over.then_some(draft.now);
    row.update = Some(UpdateStatus { state, started_at, completed_at, message: message.into() });
    draft.put_service(row);
}
