//! Pending → Assigned: which node a task goes to.
//!
//! ```text
//!  task ─► filters: ready, resources, plugins, constraints, platform, host ports, max replicas ─► fitting nodes
//!       ─► preferences (spread over label values) ─► nodes that did not keep failing the service
//!       ─► fewest tasks of the service ─► fewest tasks in all ─► lowest id
//! ```
//! A task that fits nowhere keeps the reasons, as data ([`refusal::Refusals`]) and as Docker's sentence.
pub(crate) mod constraint;
pub(crate) mod filter;
pub(crate) mod load;
pub(crate) mod refusal;
mod spread;

use crate::draft::Draft;
use crate::memory::PlannerMemory;
use filter::{Requirements, refuse};
use load::NodeLoad;
use model::{Node, NodeId, ServiceId, Task, TaskId, TaskState};
use refusal::Refusals;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    let made: BTreeSet<TaskId> =
        draft.touched_tasks().filter(|t| t.status.state == TaskState::Pending).map(|t| t.id.clone()).collect();
    let waiting = memory.pending_tasks.iter().filter(|t| !memory.is_refused(t));
    let mut groups: BTreeMap<Alike, Vec<Arc<Task>>> = BTreeMap::new();
    let mut budget = crate::ACTIONS_MAX.saturating_sub(draft.len()) + made.len();
    for id in made.iter().chain(waiting.filter(|t| !made.contains(*t))) {
        let Some(task) = draft.task(id) else { continue };
        if task.status.state != TaskState::Pending || !task.desired.wants_to_run() {
            continue;
        }
        if budget == 0 {
            break;
        }
        budget -= 1;
        let key = (task.service.clone(), task.spec_version, task.node.clone());
        groups.entry(key).or_default().push(task.clone());
    }
    if groups.is_empty() {
        return;
    }
    let mut loads = Loads::of(draft, memory);
    for ((_, _, node), tasks) in groups {
        match node {
            Some(node) => tasks.iter().for_each(|t| preassigned(draft, memory, &mut loads, t, &node)),
            None => group(draft, memory, &mut loads, &tasks),
        }
    }
}

/// Tasks of one service, spec and node (if they have one) ask for the same.
type Alike = (Option<ServiceId>, u64, Option<NodeId>);

/// What nodes carry: as stored, plus what this draft places and retires.
struct Loads {
    changed: BTreeMap<NodeId, NodeLoad>,
}

impl Loads {
    fn of(draft: &Draft<'_>, memory: &PlannerMemory) -> Self {
        let mut loads = Self { changed: BTreeMap::new() };
        for task in draft.touched_tasks() {
            if let Some(stored) = draft.tables.task(&task.id)
                && let Some(node) = &stored.node
            {
                loads.change(memory, node, |l| l.remove(stored));
            }
            if let Some(node) = &task.node {
                loads.change(memory, node, |l| l.add(task));
            }
        }
        loads
    }
    fn get<'l>(&'l self, memory: &'l PlannerMemory, node: &NodeId) -> &'l NodeLoad {
        self.changed.get(node).or_else(|| memory.loads.get(node)).unwrap_or(&load::NONE)
    }
    fn change(&mut self, memory: &PlannerMemory, node: &NodeId, f: impl FnOnce(&mut NodeLoad)) {
        let load = self.changed.entry(node.clone());
        f(load.or_insert_with(|| memory.loads.get(node).cloned().unwrap_or_default()));
    }
}

/// A node that fits, with what decides between such nodes.
pub(crate) struct Candidate {
    pub node: Arc<Node>,
    /// Whether the service kept failing there.
    pub suspect: bool,
    /// Tasks of the service there.
    pub own: u64,
    /// Tasks there.
    pub all: u64,
}

/// Places tasks that are alike: one pass over the nodes, then one step per task.
fn group(draft: &mut Draft<'_>, memory: &mut PlannerMemory, loads: &mut Loads, tasks: &[Arc<Task>]) {
    let Some(first) = tasks.first() else { return };
    let requirements = Requirements::of(first);
    let mut refusals = Refusals::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    let suspects = first.service.as_ref().map(|s| memory.suspects(s, draft.now)).unwrap_or_default();
    for node in draft.tables.nodes() {
        let load = loads.get(memory, &node.id);
        match refuse(&requirements, node, load) {
            Some(why) => refusals.add(&node.id, why),
            None => candidates.push(Candidate {
                node: node.clone(),
                suspect: suspects.contains(&node.id),
                own: load.of_service(first.service.as_ref()),
                all: load.active,
            }),
        }
    }
    let mut spread = spread::Spread::of(&first.spec.placement.preferences, &candidates);
    for task in tasks {
        let Some(at) = spread.choose(&candidates) else {
            wait(draft, memory, task, &refusals.to_string());
            continue;
        };
        let node = candidates[at].node.clone();
        let task = assign(draft, memory, loads, task, &node);
        spread.placed(at, &mut candidates[at]);
        if let Some(why) = refuse(&requirements, &node, loads.get(memory, &task)) {
            refusals.add(&node.id, why);
            spread.close(at, &candidates[at]);
        }
    }
}

/// A task that already has its node only has to fit there.
fn preassigned(draft: &mut Draft<'_>, memory: &mut PlannerMemory, loads: &mut Loads, task: &Arc<Task>, node: &NodeId) {
    let Some(node) = draft.node(node).cloned() else { return };
    let mut load = loads.get(memory, &node.id).clone();
    // It counts as one of the node's tasks already.
    load.remove(task);
    match refuse(&Requirements::of(task), &node, &load) {
        None => drop(assign(draft, memory, loads, task, &node)),
        Some(why) => {
            let mut refusals = Refusals::default();
            refusals.add(&node.id, why);
            wait(draft, memory, task, &refusals.to_string());
        }
    }
}

fn assign(
    draft: &mut Draft<'_>,
    memory: &mut PlannerMemory,
    loads: &mut Loads,
    task: &Arc<Task>,
    node: &Arc<Node>,
) -> NodeId {
    let mut next = (**task).clone();
    next.node = Some(node.id.clone());
    next.status.state = TaskState::Assigned;
    next.status.timestamp = draft.now;
    next.status.message = "scheduler assigned task to node".into();
    next.status.err.clear();
    loads.change(memory, &node.id, |l| {
        if task.node.is_some() {
            l.remove(task);
        }
        l.add(&next);
    });
    memory.refused.remove(&task.id);
    draft.put_task(next);
    node.id.clone()
}

fn wait(draft: &mut Draft<'_>, memory: &mut PlannerMemory, task: &Arc<Task>, why: &str) {
    memory.refuse(&task.id);
    if task.status.err == why {
        return;
    }
    let mut next = (**task).clone();
    next.status.err = why.to_owned();
    next.status.timestamp = draft.now;
    draft.put_task(next);
}
