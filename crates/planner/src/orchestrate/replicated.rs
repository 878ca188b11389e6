//! Replicated services: slots 1…N, the lowest free one first.
use super::make_task;
use super::restart::{is_finished, replace};
use super::slot::{Slot, SlotKey, slots};
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{DesiredState, NodeId, Service};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn run(draft: &mut Draft<'_>, _memory: &mut PlannerMemory, service: &Service, replicas: u64) {
    let slots = slots(draft, service);
    for (key, slot) in &slots {
        if draft.is_full() {
            return;
        }
        replace(draft, service, key, slot);
    }
    let mut held: BTreeMap<&SlotKey, &Slot> = BTreeMap::new();
    for (key, slot) in &slots {
        if !slot.live.is_empty() || is_finished(draft, service, slot) {
            held.insert(key, slot);
        }
    }
    if (held.len() as u64) < replicas {
        grow(draft, service, &held, replicas);
    } else if held.len() as u64 > replicas {
        shrink(draft, held, replicas);
    }
}

fn grow(draft: &mut Draft<'_>, service: &Service, held: &BTreeMap<&SlotKey, &Slot>, replicas: u64) {
    let used: BTreeSet<u64> =
        held.keys().filter_map(|k| if let SlotKey::Number(n) = k { Some(*n) } else { None }).collect();
    let missing = replicas - held.len() as u64;
    let free = (1..).filter(|n| !used.contains(n)).take(usize::try_from(missing).unwrap_or(usize::MAX));
    for n in free {
        if draft.is_full() {
            return;
        }
        let key = SlotKey::Number(n);
        make_task(draft, service, &key, DesiredState::Running);
    }
}

/// Slots that do not run go first, then those of the nodes that have most; of equals the highest number.
fn shrink(draft: &mut Draft<'_>, held: BTreeMap<&SlotKey, &Slot>, replicas: u64) {
    let mut on_node: BTreeMap<Option<NodeId>, u64> = BTreeMap::new();
    let mut ranked: Vec<(bool, u64, &SlotKey, &Slot)> = Vec::with_capacity(held.len());
    let (running, idle): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, slot)| slot.runs());
    for (key, slot) in running.into_iter().chain(idle) {
        let node = slot.live.iter().find_map(|t| t.node.clone());
        let nth = on_node.entry(node).or_default();
        *nth += 1;
        ranked.push((!slot.runs(), *nth, key, slot));
    }
    ranked.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    for (_, _, _, slot) in ranked.split_off(usize::try_from(replicas).unwrap_or(usize::MAX)).into_iter().rev() {
        if draft.is_full() {
            return;
        }
        for task in slot.all() {
            // As it is in the draft: it may have been retired a moment ago.
            if let Some(task) = draft.task(&task.id).cloned() {
                draft.stop(&task, DesiredState::Remove);
            }
        }
    }
}
