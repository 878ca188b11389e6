//! Global services: one task on each node that fits.
use super::make_task;
use super::slot::SlotKey;
use crate::draft::Draft;
use crate::enforce;
use crate::memory::PlannerMemory;
use model::{Availability, DesiredState, Node, NodeState, Service, TaskState};

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service) {
    let free: Vec<SlotKey> = draft
        .tables
        .nodes()
        .filter(|n| takes(service, n))
        .map(|n| SlotKey::Node(n.id.clone()))
        .filter(|key| !memory.roster(&service.id).held.contains(key))
        .collect();
    for key in free {
        if draft.is_full() {
            return;
        }
        // What still runs there (the node was drained or away a moment ago) stops first.
        let slot = memory.slot(draft, service, &key);
        let stopping = slot.past.iter().any(|t| !t.status.state.is_terminal() && t.status.state >= TaskState::Assigned);
        make_task(draft, service, &key, if stopping { DesiredState::Ready } else { DesiredState::Running });
        memory.roster(&service.id).held.insert(key);
    }
}

/// Whether a node gets a task of a global service.
pub(crate) fn takes(service: &Service, node: &Node) -> bool {
    node.status.state == NodeState::Ready
        && node.spec.availability == Availability::Active
        && enforce::fits(&service.spec.task.placement, node)
}
