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
use model::{DesiredState, Service, ServiceId, ServiceMode};

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    let mut again = Vec::new();
    while !draft.is_full()
        && let Some(id) = memory.dirty_services.pop_first()
    {
        memory.clear_timer(&id);
        match draft.service(&id).cloned() {
            Some(stored) => {
                let mut service = (*stored).clone();
                allocate_service(draft, memory, &mut service);
                one(draft, memory, &service);
            }
            None => {
                memory.service_troubles.remove(&id);
                removed(draft, &id);
                reap::removed_service(draft, memory, &id);
            }
        }
        // A full draft may have cut this service's work short.
        if draft.is_full() {
            again.push(id);
        }
    }
    memory.dirty_services.extend(again);
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

fn one(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service) {
    match service.spec.mode {
        ServiceMode::Replicated { replicas } => {
            replicated::run(draft, memory, service, replicas);
            update::run(draft, memory, service);
        }
        ServiceMode::Global => {
            global::run(draft, memory, service);
            update::run(draft, memory, service);
        }
        ServiceMode::ReplicatedJob { max_concurrent, total_completions } => {
            jobs::replicated(draft, memory, service, max_concurrent, total_completions);
        }
        ServiceMode::GlobalJob => jobs::global(draft, memory, service),
    }
    restart::promote(draft, memory, service);
    reap::history(draft, memory, service);
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
