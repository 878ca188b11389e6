//! Replicated services: slots 1…N, the lowest free one first.
use super::make_task;
use super::slot::{Slot, SlotKey};
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{DesiredState, NodeId, Service};
use std::collections::BTreeMap;

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service, replicas: u64) {
    let held = memory.roster(&service.id).held.len() as u64;
    if held < replicas {
        grow(draft, memory, service, replicas - held);
    } else if held > replicas {
        let keys = memory.roster(&service.id).held.clone();
        let slots: BTreeMap<SlotKey, Slot> =
            keys.into_iter().map(|key| (key.clone(), memory.slot(draft, service, &key))).collect();
        shrink(draft, slots, replicas);
    }
}

fn grow(draft: &mut Draft<'_>, memory: &mut PlannerMemory, service: &Service, missing: u64) {
    let mut free = Vec::new();
    let mut next = 1;
    for key in &memory.roster(&service.id).held {
        let SlotKey::Number(held) = key else { continue };
        free.extend((next..*held).take((missing as usize).saturating_sub(free.len())));
        next = (*held + 1).max(next);
        if free.len() as u64 >= missing {
            break;
        }
    }
    let rest = (missing as usize).saturating_sub(free.len());
    for n in free.into_iter().chain((next..).take(rest)) {
        if draft.is_full() {
            return;
        }
        let key = SlotKey::Number(n);
        make_task(draft, service, &key, DesiredState::Running);
        memory.roster(&service.id).held.insert(key);
    }
}

/// Slots that do not run go first, then those of the nodes that have most; of equals the highest number.
fn shrink(draft: &mut Draft<'_>, held: BTreeMap<SlotKey, Slot>, replicas: u64) {
    let mut on_node: BTreeMap<Option<NodeId>, u64> = BTreeMap::new();
    let mut ranked: Vec<(bool, u64, SlotKey, Slot)> = Vec::with_capacity(held.len());
    let (running, idle): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, slot)| slot.runs());
    for (key, slot) in running.into_iter().chain(idle) {
        let node = slot.live.iter().find_map(|t| t.node.clone());
        let nth = on_node.entry(node).or_default();
        *nth += 1;
        ranked.push((!slot.runs(), *nth, key, slot));
    }
    ranked.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
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
