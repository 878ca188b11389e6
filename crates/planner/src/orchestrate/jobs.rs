//! Jobs: tasks that are meant to end. An iteration runs until each slot (or node) has completed once; a changed job
//! begins a new iteration, and what is left of the old one is removed.
use super::restart::is_finished;
use super::slot::{Slot, SlotKey, slots};
use super::{global, make_task};
use crate::draft::Draft;
use model::{DesiredState, Service, TaskState};

pub(crate) fn replicated(draft: &mut Draft<'_>, service: &Service, max_concurrent: u64, total: u64) {
    let slots = slots(draft, service);
    let completed = |s: &Slot| s.all().any(|t| t.status.state == TaskState::Complete);
    let active = slots.values().filter(|s| !s.live.is_empty() && !completed(s)).count() as u64;
    let at_once = if max_concurrent == 0 { total } else { max_concurrent };
    let mut room = at_once.saturating_sub(active);
    // A job's slots begin at 0, as clients that show its progress expect.
    for n in 0..total {
        if room == 0 || draft.is_full() {
            return;
        }
        let key = SlotKey::Number(n);
        let slot = slots.get(&key);
        if slot.is_some_and(|s| !s.live.is_empty() || completed(s) || is_finished(draft, service, s)) {
            continue;
        }
        make_task(draft, service, &key, DesiredState::Complete);
        room -= 1;
    }
}

pub(crate) fn global(draft: &mut Draft<'_>, service: &Service) {
    let slots = slots(draft, service);
    let nodes: Vec<_> = draft.tables.nodes().filter(|n| global::takes(service, n)).map(|n| n.id.clone()).collect();
    for node in nodes {
        if draft.is_full() {
            return;
        }
        let key = SlotKey::Node(node);
        let done = |s: &Slot| {
            !s.live.is_empty()
                || s.all().any(|t| t.status.state == TaskState::Complete)
                || is_finished(draft, service, s)
        };
        if !slots.get(&key).is_some_and(done) {
            make_task(draft, service, &key, DesiredState::Complete);
        }
    }
}

/// Begins a new iteration if tasks of the current one were made from another spec, and removes what is older.
pub(crate) fn iterate(draft: &mut Draft<'_>, service: &Service) -> Service {
    let mut service = service.clone();
    let tasks = draft.tasks_of_service(&service.id);
    let outdated = tasks.iter().any(|t| {
        t.job_iteration == Some(service.job_iteration)
            && t.desired != DesiredState::Remove
            && t.spec_version != service.spec_version
            && t.spec != service.spec.task
    });
    if outdated {
        service.job_iteration += 1;
        service.job_last_execution = draft.now;
        draft.put_service(service.clone());
    } else if service.job_last_execution.is_never() {
        service.job_last_execution = draft.now;
        draft.put_service(service.clone());
    }
    for task in tasks.iter().filter(|t| t.job_iteration != Some(service.job_iteration)) {
        draft.stop(task, DesiredState::Remove);
    }
    service
}
