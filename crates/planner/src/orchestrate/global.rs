//! Global services: one task on each node that fits.
use super::make_task;
use super::restart::{is_finished, replace};
use super::slot::{SlotKey, slots};
use crate::draft::Draft;
use crate::enforce;
use crate::memory::PlannerMemory;
use model::{Availability, DesiredState, Node, NodeState, Service, TaskState};

pub(crate) fn run(draft: &mut Draft<'_>, _memory: &mut PlannerMemory, service: &Service) {
    let slots = slots(draft, service);
    for (key, slot) in &slots {
        if draft.is_full() {
            return;
        }
        replace(draft, service, key, slot);
    }
    let nodes: Vec<_> = draft.tables.nodes().filter(|n| takes(service, n)).map(|n| n.id.clone()).collect();
    for node in nodes {
        if draft.is_full() {
            return;
        }
        let key = SlotKey::Node(node);
        let slot = slots.get(&key);
        if slot.is_some_and(|s| !s.live.is_empty() || is_finished(draft, service, s)) {
            continue;
        }
        // What still runs there (the node was drained or away a moment ago) stops first.
        let stopping = slot.is_some_and(|s| {
            s.past.iter().any(|t| !t.status.state.is_terminal() && t.status.state >= TaskState::Assigned)
        });
        make_task(draft, service, &key, if stopping { DesiredState::Ready } else { DesiredState::Running });
    }
}

/// Whether a node gets a task of a global service.
pub(crate) fn takes(service: &Service, node: &Node) -> bool {
    node.status.state == NodeState::Ready
        && node.spec.availability == Availability::Active
        && enforce::fits(&service.spec.task.placement, node)
}
