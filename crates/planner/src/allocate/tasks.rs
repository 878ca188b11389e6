//! New → Pending: a task gets its addresses. One that cannot have them stays new and says why; it holds nobody up.
use super::next_free;
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{NetworkId, NetworkTarget, ObjectRef, Task, TaskId, TaskNetwork, TaskState};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    let made: Vec<TaskId> =
        draft.touched_tasks().filter(|t| t.status.state == TaskState::New).map(|t| t.id.clone()).collect();
    let waiting: Vec<TaskId> = memory.new_tasks.iter().filter(|t| !memory.is_refused(t)).cloned().collect();
    let mut full = BTreeMap::new();
    for id in made.iter().chain(&waiting).collect::<BTreeSet<_>>() {
        // A task made in this very plan goes on in the same action.
        if draft.is_full() && !made.contains(id) {
            break;
        }
        let Some(task) = draft.task(id).cloned() else { continue };
        if task.status.state != TaskState::New || !task.desired.wants_to_run() {
            continue;
        }
        let mut next = (*task).clone();
        let owner = task.service.clone().map_or_else(|| ObjectRef::Task(id.clone()), ObjectRef::Service);
        if let Some(why) = memory.quarantine.why(&owner) {
            next.status.err = why.to_owned();
            memory.refuse(id);
            draft.put_task(next);
            continue;
        }
        memory.quarantine.work_on(Some(owner));
        match allocate(draft, memory, &mut next, &mut full) {
            Ok(()) => {
                next.status.state = TaskState::Pending;
                next.status.timestamp = draft.now;
                next.status.message = "pending task scheduling".into();
                next.status.err.clear();
            }
            Err(why) => {
                next = (*task).clone();
                next.status.err = why;
                memory.refuse(id);
            }
        }
        draft.put_task(next);
    }
}

fn allocate(
    draft: &mut Draft<'_>,
    memory: &mut PlannerMemory,
    task: &mut Task,
    full: &mut BTreeMap<NetworkId, String>,
) -> Result<(), String> {
    if task.networks.is_empty() {
        task.networks = task
            .spec
            .networks
            .iter()
            .map(|n| TaskNetwork {
                network: n.target.clone(),
                addresses: Vec::new(),
                aliases: n.aliases.clone(),
                driver_opts: n.driver_opts.clone(),
            })
            .collect();
    }
    if let Some(service) = &task.service
        && let Some(why) = memory.service_troubles.get(service)
    {
        return Err(why.clone());
    }
    for at in &mut task.networks {
        let NetworkTarget::Swarm(id) = &at.network else { continue };
        if !at.addresses.is_empty() {
            continue;
        }
        let asked = task.spec.networks.iter().find(|n| n.target == at.network).map(|n| n.addresses.clone());
        let asked = asked.unwrap_or_default();
        if let Some(why) = full.get(id).filter(|_| asked.is_empty()) {
            return Err(why.clone());
        }
        let network = draft.network(id).cloned().ok_or_else(|| format!("network {id} not found"))?;
        if network.subnets.is_empty() {
            return Err(format!("network {}: no subnet yet", network.spec.name));
        }
        at.addresses = next_free(draft, memory, &network, &asked).map_err(|e| {
            if asked.is_empty() {
                full.insert(id.clone(), e.to_string());
            }
            e.to_string()
        })?;
    }
    Ok(())
}
