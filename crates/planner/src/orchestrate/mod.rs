//! Keeps as many tasks as each service asks for.
//!
//! ```text
//!   slot (a number, or a node of a global service)
//!   ┌───────────────────────────────────────────────────────────────┐
//!   │ past: desired shutdown, kept as history   live: desired ready │
//!   │ failed ◄─ failed ◄─ stopped ◄──────────── or running          │
//!   └───────────────────────────────────────────────────────────────┘
//!   ended or lost live task ─► past, and (if the policy lets) a new live one, held at *ready* until its time
//! ```
//! Everything is read off the tasks themselves: which slots live, whose turn it is, when a held task may start. A new
//! leader therefore goes on where the old one stopped.
mod global;
mod jobs;
mod replicated;
pub(crate) mod restart;
pub(crate) mod slot;
mod task_factory;

pub(crate) use task_factory::make_task;

use crate::allocate;
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use crate::{reap, update};
use model::{DesiredState, ObjectRef, Service, ServiceId, ServiceMode, UpdateState, UpdateStatus};
use restart::{is_finished, replace};
use slot::SlotKey;
use std::collections::BTreeSet;

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    while !draft.is_full()
        && let Some((id, slots)) = memory.take_dirty_service()
    {
        if let Some(why) = memory.quarantine.why_service(&id) {
            let why = format!("{ASIDE}{why}");
            leave_aside(draft, &id, &why);
            continue;
        }
        memory.quarantine.work_on(Some(ObjectRef::Service(id.clone())));
        match draft.service(&id).cloned() {
            Some(stored) => {
                let mut service = (*stored).clone();
                // It was left aside, and is tried again.
                if service.update.as_ref().is_some_and(|u| u.message.starts_with(ASIDE)) {
                    service.update = None;
                }
                allocate_service(draft, memory, &mut service);
                one(draft, memory, &service, slots);
            }
            None => {
                memory.service_troubles.remove(&id);
                removed(draft, &id);
                reap::removed_service(draft, memory, &id);
            }
        }
        // A full draft may have cut this service's work short.
        if draft.is_full() {
            memory.mark_slots(&id, BTreeSet::new());
        }
    }
}

/// How the reason begins that a service shows while it is left aside.
const ASIDE: &str = "this service is left as it is for now: ";

/// Shows why nothing happens.
fn leave_aside(draft: &mut Draft<'_>, id: &ServiceId, why: &str) {
    let Some(service) = draft.service(id).filter(|s| s.update.as_ref().is_none_or(|u| u.message != why)) else {
        return;
    };
    let mut row = (**service).clone();
    row.update = Some(UpdateStatus {
        state: UpdateState::Paused,
        started_at: draft.now,
        completed_at: None,
        message: why.to_owned(),
    });
    draft.put_service(row);
}

fn allocate_service(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &mut Service) {
    match allocate::services::allocate(draft, memory, service) {
        Ok(()) => {
            if memory.service_troubles.remove(&service.id).is_some() {
                memory.supply += 1;
            }
            draft.put_service(service.clone());
        }
        Err(e) => {
            if memory.service_troubles.insert(service.id.clone(), e.to_string()).as_ref() != Some(&e.to_string()) {
                tracing::warn!(service = %service.id, name = service.spec.name, "service waits: {e}");
            }
            // Whatever sets an address or a port free does not name this service.
            memory.wake_service(&service.id, draft.now.after(std::time::Duration::from_secs(1)));
        }
    }
}

fn one(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service, slots: BTreeSet<SlotKey>) {
    match service.spec.mode {
        ServiceMode::Replicated { replicas } => {
            if tend(draft, memory, service, slots) {
                replicated::run(draft, memory, service, replicas);
                update::run(draft, memory, service);
            }
        }
        ServiceMode::Global => {
            if tend(draft, memory, service, slots) {
                global::run(draft, memory, service);
                update::run(draft, memory, service);
            }
        }
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            let service = &jobs::iterate(draft, service);
            if tend(draft, memory, service, slots) {
                jobs::replicated(draft, service, max_concurrent, total_completions);
            }
        }
        ServiceMode::GlobalJob => {
            let service = &jobs::iterate(draft, service);
            if tend(draft, memory, service, slots) {
                jobs::global(draft, service);
            }
        }
    }
}

/// Looks after slots: what ended or was lost gets a successor, what was held may start, what is over is forgotten.
/// `false`: the draft is full, and the rest is for the next plan.
fn tend(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service, mut slots: BTreeSet<SlotKey>) -> bool {
    while let Some(key) = slots.pop_first() {
        if draft.is_full() {
            slots.insert(key);
            memory.mark_slots(&service.id, slots);
            return false;
        }
        memory.clear_slot_timer(&service.id, &key);
        let slot = memory.slot(draft, service, &key);
        let held = !slot.live.is_empty() || is_finished(draft, service, &slot);
        let roster = memory.roster(&service.id);
        if held {
            roster.held.insert(key.clone());
        } else {
            roster.held.remove(&key);
        }
        replace(draft, service, &key, &slot);
        restart::renew_lease(draft, service, &slot);
        restart::promote(draft, memory, service, &key);
        reap::history(draft, memory, service, &key);
    }
    true
}

/// A service that is gone takes its tasks along.
fn removed(draft: &mut Draft<'_>, id: &ServiceId) {
    for task in draft.tasks_of_service(id) {
        if draft.is_full() {
            return;
        }
        draft.stop(&task, DesiredState::Remove);
    }
}
