//! When a task has ended or was lost, and when its successor may start.
//!
//! ```text
//!  live task…                                 successor in the same slot
//!  ended by itself, policy lets ────────────► held at ready, running after `delay`
//!  ended by itself, policy forbids ─────────► none: the slot stays finished
//!  on a node that is down or gone ──────────► running at once; a leased task's successor is held at ready until the
//!                                             node has certainly stopped it (`model::lease`)
//!  on a drained or no more fitting node ────► held at ready until the old one has stopped;
//!                                             with start-first updates: running at once, the old one stops after
//! ```
//! The restart policy speaks of containers that end: a task that was lost with its node is always replaced. Attempts
//! are counted from the tasks in the slot (as many are kept as that needs), so a new leader counts the same.
use super::make_task;
use super::slot::{Slot, SlotKey};
use crate::draft::Draft;
use crate::enforce;
use crate::memory::PlannerMemory;
use crate::update::{blocks_start_first, is_current};
use model::lease;
use model::{
    Availability, DesiredState, NodeState, RestartCondition, RestartPolicy, Service, Task, TaskState, Timestamp,
    UpdateOrder,
};
use std::time::Duration;

/// A successor does not wait longer than this for a task that does not stop.
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);

/// What has become of a live task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Lives on.
    Lives,
    /// Its container ended or could not be made.
    Ended,
    /// Its node is down or gone.
    Lost,
    /// Its node shall not have it any more.
    Unwelcome(&'static str),
}

pub(crate) fn fate(draft: &Draft<'_>, service: &Service, task: &Task) -> Fate {
    if task.status.state.is_terminal() {
        return Fate::Ended;
    }
    let Some(node) = &task.node else { return Fate::Lives };
    let Some(node) = draft.node(node) else { return Fate::Lost };
    if matches!(node.status.state, NodeState::Down | NodeState::Disconnected) {
        return Fate::Lost;
    }
    if node.spec.availability == Availability::Drain {
        return Fate::Unwelcome("");
    }
    match enforce::misfit(service, task, node) {
        Some(why) => Fate::Unwelcome(why),
        None => Fate::Lives,
    }
}

/// Whether the policy lets a slot whose last task has ended by itself be filled again.
pub(crate) fn may_restart(draft: &Draft<'_>, service: &Service, slot: &Slot, ended: &Task) -> bool {
    let policy = service.spec.task.restart.clone().unwrap_or_default();
    let by_itself = |t: &Task| matches!(t.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected);
    if !by_itself(ended) {
        return true;
    }
    match policy.condition {
        RestartCondition::None => return false,
        RestartCondition::OnFailure if ended.status.state == TaskState::Complete => return false,
        _ if service.spec.mode.is_job() && ended.status.state == TaskState::Complete => return false,
        _ => {}
    }
    // A changed service starts counting anew.
    if policy.max_attempts == 0 || ended.spec_version != service.spec_version {
        return true;
    }
    let window = policy.window.filter(|w| !w.is_zero());
    let recent = |t: &Task| window.is_none_or(|w| draft.now.since(t.status.timestamp) < w);
    let runs = slot.all().filter(|t| by_itself(t) && t.spec_version == ended.spec_version && recent(t)).count();
    runs as u64 <= policy.max_attempts
}

/// Whether the slot has come to its end: its last task ended by itself and is not to be run again.
pub(crate) fn is_finished(draft: &Draft<'_>, service: &Service, slot: &Slot) -> bool {
    slot.live.is_empty()
        && slot
            .past
            .last()
            .is_some_and(|last| last.status.state.is_terminal() && !may_restart(draft, service, slot, last))
}

/// Retires live tasks that have ended or are lost, and makes their successors.
pub(crate) fn replace(draft: &mut Draft<'_>, service: &Service, key: &SlotKey, slot: &Slot) {
    if slot.live.len() > 1 {
        keep_one(draft, service, slot);
    }
    let mut alive = slot.live.len();
    for task in &slot.live {
        let fate = fate(draft, service, task);
        if fate == Fate::Lives {
            continue;
        }
        if matches!(fate, Fate::Unwelcome(_)) && moves_start_first(service, key, task) {
            move_start_first(draft, service, key, slot, task);
            continue;
        }
        alive -= 1;
        draft.stop(task, DesiredState::Shutdown);
        if let Fate::Unwelcome(why) = fate
            && !why.is_empty()
            && let Some(stopped) = draft.task(&task.id)
        {
            let mut told = (**stopped).clone();
            told.status.message = "task rejected by constraint enforcer".into();
            told.status.err = why.into();
            draft.put_task(told);
        }
        // During a start-first update the other live task holds the slot.
        if alive > 0 || (fate == Fate::Ended && !may_restart(draft, service, slot, task)) {
            continue;
        }
        // A slot that is a node has to wait for its node.
        if matches!(key, SlotKey::Node(_)) && fate != Fate::Ended {
            continue;
        }
        let wanted = if service.spec.mode.is_job() { DesiredState::Complete } else { DesiredState::Running };
        let held = match fate {
            // Where it was it may still be running until its lease has run out.
            Fate::Lost => task.leased,
            Fate::Ended => !policy(service).delay.is_zero(),
            _ => task.status.state >= TaskState::Assigned,
        };
        make_task(draft, service, key, if held { DesiredState::Ready } else { wanted });
    }
}

/// Of two good tasks in a slot (a node was drained and taken back, say) one that runs stays.
fn keep_one(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    let good = |t: &&std::sync::Arc<Task>| is_current(draft, service, t) && fate(draft, service, t) == Fate::Lives;
    let good: Vec<_> = slot.live.iter().filter(good).collect();
    let Some(keep) = good.iter().rev().find(|t| t.status.state == TaskState::Running) else { return };
    for task in good.iter().filter(|t| t.id != keep.id) {
        draft.stop(task, DesiredState::Shutdown);
    }
}

/// Whether a task that has to leave its node goes only when its successor runs.
fn moves_start_first(service: &Service, key: &SlotKey, task: &Task) -> bool {
    service.spec.update.as_ref().is_some_and(|u| u.order == UpdateOrder::StartFirst)
        && !service.spec.mode.is_job()
        && matches!(key, SlotKey::Number(_))
        && task.status.state == TaskState::Running
        && !blocks_start_first(service)
}

fn move_start_first(draft: &mut Draft<'_>, service: &Service, key: &SlotKey, slot: &Slot, task: &Task) {
    let successors = slot.live.iter().filter(|t| t.id != task.id && fate(draft, service, t) == Fate::Lives);
    match successors.max_by_key(|t| t.status.state) {
        Some(successor) if successor.status.state == TaskState::Running => draft.stop(task, DesiredState::Shutdown),
        Some(_) => {}
        None => drop(make_task(draft, service, key, DesiredState::Running)),
    }
}

fn policy(service: &Service) -> RestartPolicy {
    service.spec.task.restart.clone().unwrap_or_default()
}

/// Tells living tasks whether they are leased by what their service is now. A node that is away cannot hear it: what it
/// was told last stays true.
pub(crate) fn renew_lease(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    let leased = lease::is_leased(&service.spec);
    for task in slot.live.iter().filter(|t| t.leased != leased) {
        let hears = |n: &model::NodeId| draft.node(n).is_some_and(|n| n.status.state == NodeState::Ready);
        let Some(task) = draft.task(&task.id).filter(|t| !t.status.state.is_terminal()) else { continue };
        if task.node.as_ref().is_none_or(hears) {
            let mut next = (**task).clone();
            next.leased = leased;
            draft.put_task(next);
        }
    }
}

/// Lets the held tasks of a slot start when their time has come.
pub(crate) fn promote(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service, key: &SlotKey) {
    let slot = memory.slot(draft, service, key);
    for task in slot.live.iter().filter(|t| t.desired == DesiredState::Ready) {
        match start_at(draft, memory, service, &slot, task) {
            Some(at) if at <= draft.now => {
                let mut next = (**task).clone();
                next.desired = if service.spec.mode.is_job() { DesiredState::Complete } else { DesiredState::Running };
                draft.put_task(next);
            }
            Some(at) => memory.wake_slot(&service.id, key, at),
            None => {}
        }
    }
}

/// Whether the task was handed to a node that is no longer there, which nobody has written down yet.
fn lost_its_node(draft: &Draft<'_>, task: &Task) -> bool {
    let alive = task.status.state >= TaskState::Assigned && !task.status.state.is_terminal();
    alive && task.node.as_ref().is_some_and(|n| draft.node(n).is_none())
}

/// When a held task may start.
fn start_at(
    draft: &Draft<'_>,
    memory: &PlannerMemory,
    service: &Service,
    slot: &Slot,
    task: &Task,
) -> Option<Timestamp> {
    let Some(before) = slot.predecessor(task) else { return Some(draft.now) };
    match before.status.state {
        // What was told to stop (by an update, a drained node) is no failure, however it ended.
        TaskState::Complete | TaskState::Failed | TaskState::Rejected if before.draining_since.is_none() => {
            Some(task.meta.created_at.after(policy(service).delay))
        }
        // Its node was removed by force, and may not know that.
        s if before.leased && (s == TaskState::Orphaned || lost_its_node(draft, before)) => {
            Some(draft.now.after(lease::ended_after().saturating_sub(memory.orphaned_for(&before.id))))
        }
        s if s.is_terminal() || s < TaskState::Assigned => Some(draft.now),
        _ => {
            let node = before.node.as_ref().and_then(|n| draft.node(n));
            if let Some(node) = node.filter(|n| before.leased && n.status.state == NodeState::Down) {
                return Some(draft.now.after(lease::replace_after().saturating_sub(memory.away_for(&node.id))));
            }
            let away = node.is_none_or(|n| matches!(n.status.state, NodeState::Down | NodeState::Disconnected));
            let grace = service.spec.task.container.as_ref().and_then(|c| c.stop_grace_period).unwrap_or_default();
            let patience = STOP_WAIT_MAX.max(grace + STOP_WAIT_MAX / 2);
            Some(if away { draft.now } else { task.meta.created_at.after(patience) })
        }
    }
}
