//! Whether a task may stay where it is: the constraint enforcer.
//!
//! A task leaves only when its node fits neither the placement it was made with nor the one its service asks for now; a
//! node that merely does not fit a new placement is a matter for the updater.
use crate::schedule::constraint::Constraint;
use model::{Node, Placement, Service, Task};

/// Why a node must not keep a task.
pub(crate) fn misfit(service: &Service, task: &Task, node: &Node) -> Option<&'static str> {
    let now = &service.spec.task.placement;
    if constraints_hold(&task.spec.placement, node) || (*now != task.spec.placement && constraints_hold(now, node)) {
        return None;
    }
    Some("assigned node no longer meets constraints")
}

/// Whether all constraints hold. One that cannot be read never holds.
pub(crate) fn constraints_hold(placement: &Placement, node: &Node) -> bool {
    placement.constraints.iter().all(|text| text.parse::<Constraint>().is_ok_and(|c| c.holds(node)))
}

/// Whether constraints and platforms suit a node.
pub(crate) fn fits(placement: &Placement, node: &Node) -> bool {
    constraints_hold(placement, node) && crate::schedule::filter::platform_fits(placement, node)
}
