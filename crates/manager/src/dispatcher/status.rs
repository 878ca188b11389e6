//! What nodes observe of their tasks: checked against the rules, and written together.
use cluster::Store;
use cluster::store::UpdateError;
use model::task_state::Owner;
use model::{NodeId, StoreAction, Tables, Task, TaskId, TaskState, TaskStatus, Timestamp};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Reports that come within this time are written together.
const BATCH: Duration = Duration::from_millis(10);
/// A node's sentences are kept in the swarm's tables: longer ones are cut.
const SENTENCE_BYTES_MAX: usize = 8 << 10;
/// Tasks in one transaction.
const BATCH_TASKS_MAX: usize = 1000;

/// What one node told.
pub struct Report {
    /// Which node.
    pub node: NodeId,
    /// Of which tasks, in order.
    pub statuses: Vec<(TaskId, TaskStatus)>,
}

/// Why a report of a task is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// There is no such task (any more).
    Unknown,
    /// It belongs to another node.
    NotYours,
    /// It would go backwards, or leave a state that is not the agent's to leave.
    Order,
    /// It says what is known already.
    Same,
}

/// Whether `node` may say this of the task.
///
/// # Errors
/// See [`Declined`].
pub fn check(task: Option<&Task>, node: &NodeId, next: &TaskStatus) -> Result<(), Declined> {
    let task = task.ok_or(Declined::Unknown)?;
    if task.node.as_ref() != Some(node) {
        return Err(Declined::NotYours);
    }
    if task.status == (TaskStatus { timestamp: task.status.timestamp, ..next.clone() }) {
        return Err(Declined::Same);
    }
    let now = task.status.state;
    // Within a state the agent that owns it may add details (readiness, ports, an error); after the end nobody may.
    let detail = now == next.state && now.owner() == Owner::Agent;
    let step = now.may_become(next.state, Owner::Agent) && next.state <= TaskState::Rejected;
    if detail || step { Ok(()) } else { Err(Declined::Order) }
}

/// The transaction for a batch, by the latest tables. Later reports of a task build on earlier ones.
///
/// The instants are the leader's, `now`: nodes' clocks may be minutes apart, and delays, windows and the watch over an
/// update are counted from these.
pub fn transaction(tables: &Tables, reports: &[Report], now: Timestamp) -> Vec<StoreAction> {
    let mut changed: BTreeMap<&TaskId, Task> = BTreeMap::new();
    for report in reports {
        for (id, status) in &report.statuses {
            let task = changed.get(id).or_else(|| tables.task(id).map(|t| &**t));
            match check(task, &report.node, status) {
                Ok(()) => {
                    if let Some(task) = task {
                        let mut task = task.clone();
                        let same_state = task.status.state == status.state;
                        let timestamp = if same_state { task.status.timestamp } else { now };
                        task.status = TaskStatus { timestamp, ..status.clone() };
                        cut(&mut task.status.message);
                        cut(&mut task.status.err);
                        changed.insert(id, task);
                    }
                }
                Err(Declined::Same | Declined::Unknown) => {}
                Err(why) => {
                    tracing::warn!(task = %id, node = %report.node, ?why, state = ?status.state, "report not taken")
                }
            }
        }
    }
    changed.into_values().map(|t| StoreAction::Update(t.into())).collect()
}

fn cut(sentence: &mut String) {
    if sentence.len() > SENTENCE_BYTES_MAX {
        let end = (0..=SENTENCE_BYTES_MAX).rev().find(|at| sentence.is_char_boundary(*at)).unwrap_or_default();
        sentence.truncate(end);
    }
}

/// Collects and writes until `stop`.
pub async fn write(store: Store, mut reports: mpsc::Receiver<Report>, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        while let Some(first) = reports.recv().await {
            let mut batch = vec![first];
            let end = tokio::time::Instant::now() + BATCH;
            while batch.iter().map(|r| r.statuses.len()).sum::<usize>() < BATCH_TASKS_MAX {
                match tokio::time::timeout_at(end, reports.recv()).await {
                    Ok(Some(more)) => batch.push(more),
                    _ => break,
                }
            }
            let done = store.update(|tables| Ok::<_, Infallible>((transaction(tables, &batch, store.now()), ()))).await;
            match done {
                Ok(()) => {}
                // The nodes will tell the next leader everything again.
                Err(UpdateError::NotLeader(_)) => {}
                Err(e) => tracing::error!("statuses cannot be written: {e}"),
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{DesiredState, EndpointSpec, Id};

    fn node(n: u8) -> NodeId {
        NodeId::from_random([n; 17])
    }

    fn task(state: TaskState) -> Task {
        Task {
            id: TaskId::from_random([9; 17]),
            meta: Default::default(),
            spec: Default::default(),
            spec_version: 1,
            service: None,
            service_name: "web".into(),
            service_labels: Default::default(),
            slot: 1,
            node: Some(node(1)),
            status: TaskStatus { state, ..Default::default() },
            desired: DesiredState::Running,
            networks: Vec::new(),
            endpoint: EndpointSpec::default(),
            draining_since: None,
            job_iteration: None,
            leased: false,
            generic: Vec::new(),
        }
    }

    #[test]
    fn only_the_agent_of_the_tasks_node_moves_it_and_only_forward() {
        use TaskState::*;
        let says = |state| TaskStatus { state, ..Default::default() };
        let t = |s| check(Some(&task(s)), &node(1), &says(Running));
        assert_eq!(t(Assigned), Ok(()));
        assert_eq!(t(Starting), Ok(()));
        assert_eq!(t(Running), Err(Declined::Same));
        assert_eq!(t(Pending), Err(Declined::Order), "the scheduler owns it");
        assert_eq!(t(Failed), Err(Declined::Order), "it has ended");
        assert_eq!(check(Some(&task(Running)), &node(2), &says(Failed)), Err(Declined::NotYours));
        assert_eq!(check(Some(&task(Running)), &node(1), &says(Preparing)), Err(Declined::Order));
        assert_eq!(check(Some(&task(Running)), &node(1), &says(Orphaned)), Err(Declined::Order));
        assert_eq!(check(None, &node(1), &says(Running)), Err(Declined::Unknown));
        let ready = TaskStatus { ready: true, ..says(Running) };
        assert_eq!(check(Some(&task(Running)), &node(1), &ready), Ok(()));
    }

    #[test]
    fn a_batch_builds_on_itself() {
        let mut tables = Tables::default();
        let t = task(TaskState::Assigned);
        tables.apply(vec![StoreAction::Create(t.clone().into())], Default::default()).unwrap();
        let says = |state| (t.id.clone(), TaskStatus { state, ..Default::default() });
        let report =
            |states: Vec<TaskState>| Report { node: node(1), statuses: states.into_iter().map(says).collect() };
        use TaskState::*;
        let reports = [report(vec![Accepted, Running]), report(vec![Preparing])];
        let actions = transaction(&tables, &reports, Timestamp(7));
        assert_eq!(actions.len(), 1);
        tables.apply(actions, Default::default()).unwrap();
        assert_eq!(tables.task(&t.id).unwrap().status.state, Running);
        assert_eq!(tables.task(&t.id).unwrap().status.timestamp, Timestamp(7), "whatever the node's clock says");
        assert!(transaction(&tables, &[report(vec![Running])], Timestamp(9)).is_empty(), "nothing new");
    }
}
