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
use model::{Node, NodeId, ObjectRef, ServiceId, Task, TaskState};
use refusal::Refusals;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    // What this draft places and retires counts.
    for task in draft.touched_tasks() {
        if let Some(stored) = draft.tables.task(&task.id) {
            memory.loads.try_remove(stored);
        }
        memory.loads.try_add(task);
    }
    let waits = |t: &&Arc<Task>| t.status.state == TaskState::Pending && t.desired.wants_to_run();
    let alike = |t: &Task| (t.service.clone(), t.spec_version, t.node.clone());
    let mut groups: BTreeMap<Alike, Group> = BTreeMap::new();
    for task in draft.touched_tasks().filter(waits) {
        groups.entry(alike(task)).or_default().made.push(task.clone());
    }
    for id in memory.pending_tasks.iter().filter(|t| !memory.is_refused(t)) {
        let Some(task) = draft.task(id).filter(waits) else { continue };
        if !draft.touches(id) {
            groups.entry(alike(task)).or_default().waiting.push(task.clone());
        }
    }
    for ((service, _, node), tasks) in groups {
        if let Some(why) = service.as_ref().and_then(|s| memory.quarantine.why_service(s)) {
            let why = Reason { err: why.to_owned(), message: WAITING.to_owned() };
            tasks.all(draft).for_each(|t| wait(draft, memory, &t, &why));
            continue;
        }
        memory.quarantine.work_on(service.map(ObjectRef::Service));
        match node {
            Some(node) => tasks.all(draft).for_each(|t| preassigned(draft, memory, &t, &node)),
            None => group(draft, memory, tasks),
        }
    }
}

/// Tasks of one service, spec and node (if they have one) ask for the same.
type Alike = (Option<ServiceId>, u64, Option<NodeId>);

/// Tasks that are alike.
#[derive(Default)]
struct Group {
    /// This draft makes or changes them: to place them costs no further action.
    made: Vec<Arc<Task>>,
    /// They have been waiting.
    waiting: Vec<Arc<Task>>,
}

impl Group {
    /// As many as the draft has room for.
    fn all(self, draft: &Draft<'_>) -> impl Iterator<Item = Arc<Task>> + use<> {
        let room = draft.limit.saturating_sub(draft.len());
        self.made.into_iter().chain(self.waiting.into_iter().take(room))
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
fn group(draft: &mut Draft<'_>, memory: &mut PlannerMemory, tasks: Group) {
    let Some(first) = tasks.made.first().or(tasks.waiting.first()).cloned() else { return };
    let requirements = Requirements::of(&first);
    let service = first.service.as_ref();
    let suspects = service.map(|s| memory.suspects(s, draft.now)).unwrap_or_default();
    if first.spec.placement.preferences.is_empty() && suspects.is_empty() {
        let room = draft.limit.saturating_sub(draft.len());
        let wanted = tasks.made.len() + tasks.waiting.len().min(room);
        if let Some(nodes) = fresh_nodes(draft, memory, &requirements, service, wanted) {
            tasks.all(draft).zip(nodes).for_each(|(task, node)| assign(draft, memory, &task, &node));
            return;
        }
    }
    let mut refusals = Refusals::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    for node in draft.tables.nodes() {
        let load = memory.loads.get(&node.id);
        match refuse(&requirements, node, load) {
            Some(why) => refusals.add(&node.id, why),
            None => candidates.push(Candidate {
                node: node.clone(),
                suspect: suspects.contains(&node.id),
                own: load.of_service(service),
                all: load.active,
            }),
        }
    }
    let mut spread = spread::Spread::of(&first.spec.placement.preferences, &candidates);
    let mut why = None;
    // Those for whom there is no node may be any number: each costs an action only if its reason changes.
    for (n, task) in tasks.made.iter().chain(&tasks.waiting).enumerate() {
        if n >= tasks.made.len() && draft.is_full() {
            return;
        }
        let Some(at) = spread.choose(&candidates) else {
            let why = why.get_or_insert_with(|| Reason::of(draft, memory, &requirements, &refusals));
            wait(draft, memory, task, why);
            continue;
        };
        let node = candidates[at].node.clone();
        assign(draft, memory, task, &node);
        spread.placed(at, &mut candidates[at]);
        if let Some(why) = refuse(&requirements, &node, memory.loads.get(&node.id)) {
            refusals.add(&node.id, why);
            spread.close(at, &candidates[at]);
        }
    }
}

/// The least loaded nodes that fit and have no task of the service yet, if there are enough for one each: these would be
/// chosen one after the other, and the rest of the nodes need not be looked at.
fn fresh_nodes(
    draft: &Draft<'_>,
    memory: &PlannerMemory,
    requirements: &Requirements,
    service: Option<&ServiceId>,
    wanted: usize,
) -> Option<Vec<Arc<Node>>> {
    if memory.loads.nodes() < wanted {
        return None;
    }
    let fresh = memory.loads.by_tasks().filter_map(|id| {
        let load = memory.loads.get(id);
        let node = draft.tables.node(id).filter(|_| load.of_service(service) == 0)?;
        refuse(requirements, node, load).is_none().then(|| node.clone())
    });
    let nodes: Vec<Arc<Node>> = fresh.take(wanted).collect();
    (nodes.len() == wanted).then_some(nodes)
}

/// A task that already has its node only has to fit there.
fn preassigned(draft: &mut Draft<'_>, memory: &mut PlannerMemory, task: &Arc<Task>, node: &NodeId) {
    let Some(node) = draft.node(node).cloned() else { return };
    let mut load = memory.loads.get(&node.id).clone();
    // It counts as one of the node's tasks already.
    load.remove(task);
    let requirements = Requirements::of(task);
    match refuse(&requirements, &node, &load) {
        None => assign(draft, memory, task, &node),
        Some(why) => {
            let mut refusals = Refusals::default();
            refusals.add(&node.id, why);
            let text = filter::explain(&requirements, &node, &load, why);
            let name = node.description.as_ref().map_or(node.id.as_str(), |d| d.hostname.as_str());
            let why = Reason { err: refusals.to_string(), message: format!("{WAITING}: {name}: {text}") };
            wait(draft, memory, task, &why);
        }
    }
}

fn assign(draft: &mut Draft<'_>, memory: &mut PlannerMemory, task: &Arc<Task>, node: &Arc<Node>) {
    let mut next = (**task).clone();
    next.node = Some(node.id.clone());
    next.status.state = TaskState::Assigned;
    next.status.timestamp = draft.now;
    next.status.message = "scheduler assigned task to node".into();
    next.status.err.clear();
    let reserved = &next.spec.resources.reservations.generic;
    if !reserved.is_empty() {
        let has = node.description.as_ref().map(|d| d.resources.generic.clone()).unwrap_or_default();
        next.generic = memory.loads.get(&node.id).claim(reserved, &has);
    }
    let next = Arc::new(next);
    memory.loads.try_remove(task);
    memory.loads.try_add(&next);
    memory.refused.remove(&task.id);
    draft.put_task_shared(next);
}

/// What a task that waits says of itself.
struct Reason {
    /// Docker's sentence.
    err: String,
    /// Node by node.
    message: String,
}

impl Reason {
    fn of(draft: &Draft<'_>, memory: &PlannerMemory, requirements: &Requirements, refusals: &Refusals) -> Self {
        let nodes =
            refusal::node_by_node(requirements, refusals, |id| Some((&**draft.tables.node(id)?, memory.loads.get(id))));
        let message = if nodes.is_empty() { WAITING.to_owned() } else { format!("{WAITING}: {nodes}") };
        Self { err: refusals.to_string(), message }
    }
}

/// Docker's words for a task that waits for a node.
const WAITING: &str = "pending task scheduling";

fn wait(draft: &mut Draft<'_>, memory: &mut PlannerMemory, task: &Arc<Task>, why: &Reason) {
    memory.refuse(&task.id);
    if task.status.err == why.err && task.status.message == why.message {
        return;
    }
    let mut next = (**task).clone();
    next.status.err = why.err.clone();
    next.status.message = why.message.clone();
    next.status.timestamp = draft.now;
    draft.put_task(next);
}
