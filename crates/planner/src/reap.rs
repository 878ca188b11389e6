//! What is over is forgotten: history beyond the limit, removed tasks once they have ended, tasks of nodes that are
//! gone for good.
//!
//! ```text
//!  desired shutdown/remove, never handed to a node ─────────► row deleted at once
//!  desired remove, ended ───────────────────────────────────► row deleted
//!  desired remove, its node left by itself a minute ago, or is down for so long that the task's lease has run out
//!                                                          ─► row deleted
//!  on a node that was removed, or is down for 24 h (it has stopped everything by then)
//!                                                          ─► orphaned (its addresses are free again)
//!  ended, in a slot with more tasks than the history limit ─► oldest rows deleted
//! ```
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use crate::orchestrate::slot::{Slot, SlotKey};
use model::lease;
use model::{DesiredState, NodeState, ObjectRef, Service, ServiceId, Task, TaskState, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Longer than a node that has left needs to stop its tasks, and than any lease.
const FENCED_AFTER: Duration = Duration::from_secs(60);

enum Verdict {
    Keep,
    LookAgain(Timestamp),
    Delete,
    Orphan,
}

/// The tasks of one slot of a service that is still there.
pub(crate) fn history(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service, key: &SlotKey) {
    let tasks: Vec<Arc<Task>> =
        memory.roster(&service.id).tasks(key).filter_map(|id| draft.task(id)).cloned().collect();
    for task in &tasks {
        judge(draft, memory, task);
    }
    // Most slots have no history to cut.
    if tasks.iter().any(|t| !t.desired.wants_to_run()) {
        let slot = memory.slot(draft, service, key);
        trim(draft, service, key, &slot);
    }
}

/// Tasks of a service that is not.
pub(crate) fn removed_service(draft: &mut Draft<'_>, memory: &mut PlannerMemory, id: &ServiceId) {
    for task in draft.tasks_of_service(id) {
        if draft.is_full() {
            return;
        }
        judge(draft, memory, &task);
    }
}

/// Attachments of plain containers.
pub(crate) fn loose_tasks(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    while !draft.is_full()
        && let Some(id) = memory.dirty_loose.pop_first()
    {
        let Some(task) = draft.task(&id).cloned() else { continue };
        if memory.quarantine.why(&ObjectRef::Task(id.clone())).is_some() {
            continue;
        }
        memory.quarantine.work_on(Some(ObjectRef::Task(id.clone())));
        if task.status.state.is_terminal() {
            draft.remove_task(&id);
        } else {
            judge(draft, memory, &task);
        }
    }
}

fn judge(draft: &mut Draft<'_>, memory: &mut PlannerMemory, task: &Arc<Task>) {
    match verdict(draft, memory, task) {
        Verdict::Keep => {}
        Verdict::LookAgain(at) => memory.wake_task(task, at),
        Verdict::Delete => draft.remove_task(&task.id),
        Verdict::Orphan => {
            let mut orphan = (**task).clone();
            orphan.status.state = TaskState::Orphaned;
            orphan.status.timestamp = draft.now;
            orphan.status.message = "Task belonged to a node that has been deleted".into();
            orphan.desired = orphan.desired.max(DesiredState::Shutdown);
            draft.put_task(orphan);
        }
    }
}

fn verdict(draft: &Draft<'_>, memory: &PlannerMemory, task: &Task) -> Verdict {
    let state = task.status.state;
    let unwanted = !task.desired.wants_to_run();
    if unwanted && state < TaskState::Assigned {
        return Verdict::Delete;
    }
    if state.is_terminal() {
        return if task.desired == DesiredState::Remove { Verdict::Delete } else { Verdict::Keep };
    }
    let Some(id) = &task.node else { return Verdict::Keep };
    let Some(node) = draft.node(id) else { return Verdict::Orphan };
    if !matches!(node.status.state, NodeState::Down | NodeState::Disconnected) {
        return Verdict::Keep;
    }
    // A leap of the clock is no time that has passed.
    let away = |limit: Duration| node.status.since.after(limit + memory.leap_while_away(id));
    // What is not leased may run on where nobody sees it: as long as it can, it keeps its addresses.
    let keeps = !task.leased && task.networks.iter().any(|n| !n.addresses.is_empty());
    if task.desired == DesiredState::Remove && (!keeps || node.status.state == NodeState::Disconnected) {
        let at = away(FENCED_AFTER);
        return if at <= draft.now { Verdict::Delete } else { Verdict::LookAgain(at) };
    }
    let at = away(lease::ORPHAN_AFTER);
    if at <= draft.now { Verdict::Orphan } else { Verdict::LookAgain(at) }
}

/// Cuts a slot's history. Jobs keep theirs: it is their result.
fn trim(draft: &mut Draft<'_>, service: &Service, key: &SlotKey, slot: &Slot) {
    if service.spec.mode.is_job() {
        return;
    }
    let attempts = service.spec.task.restart.as_ref().map_or(0, |r| r.max_attempts);
    let limit = match draft.tables.cluster().map_or(5, |c| c.spec.task_history_limit) {
        _ if attempts > 0 => attempts as usize + 1,
        n => match usize::try_from(n) {
            Ok(n) => n,
            Err(_) => return,
        },
    };
    let node_gone = matches!(key, SlotKey::Node(n) if draft.node(n).is_none());
    let limit = if node_gone { 0 } else { limit };
    let excess = (slot.live.len() + slot.past.len()).saturating_sub(limit);
    for task in slot.past.iter().filter(|t| t.status.state.is_terminal()).take(excess) {
        draft.remove_task(&task.id);
    }
}
