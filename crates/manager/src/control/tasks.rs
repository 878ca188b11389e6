//! What is asked about tasks.
use super::Control;
use model::{NodeState, ServiceId, Tables, Task, TaskId, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::Refusal;
use wire::agent::ContainerPlace;

impl Control {
    /// The tasks that are what their service wishes now, of these services (none named: of all).
    pub fn up_to_date(&self, services: &BTreeSet<ServiceId>) -> BTreeSet<TaskId> {
        let tables = self.tables();
        let wanted = tables.services().filter(|s| services.is_empty() || services.contains(&s.id));
        let current = wanted.flat_map(|s| {
            let tasks = tables.tasks_of_service(&s.id).filter(|t| planner::is_up_to_date(&tables, s, t));
            tasks.map(|t| t.id.clone())
        });
        current.collect()
    }

    /// The tasks of a service that have (or had) a container, with where each one's log is. Empty when there is no such
    /// service.
    pub fn service_log_sources(&self, service: &ServiceId) -> Vec<(Arc<Task>, ContainerPlace)> {
        let tables = self.tables();
        tables.tasks_of_service(service).filter_map(|t| log_source(&tables, t)).collect()
    }

    /// The same for one task.
    pub fn task_log_source(&self, task: &TaskId) -> Option<(Arc<Task>, ContainerPlace)> {
        let tables = self.tables();
        log_source(&tables, tables.task(task)?)
    }

    /// Where a container of the swarm is, by what a user may call it: the container's id or a prefix of it, its name
    /// (`web.1.<task>`), its task's id or, for the one that runs, the slot's name (`web.1`).
    ///
    /// # Errors
    /// Docker's: `NotFound`, or `Invalid` when several ids begin so.
    pub fn place_of_container(&self, wanted: &str) -> Result<ContainerPlace, Refusal> {
        let tables = self.tables();
        let task = container_task(&tables, wanted)?;
        place_of(&tables, &task).ok_or_else(|| no_such_container(wanted))
    }

    /// Removes a task's row (Docker has no command for it; attachments use it).
    pub(super) async fn remove_task(&self, id: &model::TaskId) -> Result<(), Refusal> {
        self.update(|tables| {
            let there = tables.task(id).is_some();
            Ok((there.then(|| model::StoreAction::Remove(id.clone().into())).into_iter().collect(), ()))
        })
        .await
    }
}

fn no_such_container(wanted: &str) -> Refusal {
    Refusal::not_found(format!("No such container: {wanted}"))
}

fn log_source(tables: &Tables, task: &Arc<Task>) -> Option<(Arc<Task>, ContainerPlace)> {
    (task.status.state >= TaskState::Starting).then_some(())?;
    Some((task.clone(), place_of(tables, task)?))
}

fn place_of(tables: &Tables, task: &Task) -> Option<ContainerPlace> {
    let node = task.node.clone()?;
    let container = Some(container_id(task).to_owned()).filter(|c| !c.is_empty())?;
    let row = tables.node(&node);
    let state = row.map_or(NodeState::Unknown, |n| n.status.state);
    let hostname = row.and_then(|n| n.description.as_ref()).map(|d| d.hostname.clone());
    Some(ContainerPlace {
        name: if task.service.is_some() { task.container_name() } else { container.clone() },
        container,
        hostname: hostname.unwrap_or_else(|| node.to_string()),
        node,
        unreachable: (state != NodeState::Ready).then(|| format!("{state:?}").to_lowercase()),
    })
}

/// Of a service's task the one that its node made; of an attachment the plain one that was there before.
fn container_id(task: &Task) -> &str {
    match (&task.status.container, &task.spec.attachment) {
        (Some(c), _) => &c.id,
        (None, Some(a)) => &a.container_id,
        (None, None) => "",
    }
}

/// Full id, then names, then a prefix of the id. Of several with one name the one that runs, or ran last, is meant.
fn container_task(tables: &Tables, wanted: &str) -> Result<Arc<Task>, Refusal> {
    let with_container = || tables.tasks().filter(|t| t.node.is_some() && !container_id(t).is_empty());
    let newest = |named: &dyn Fn(&Task) -> bool| {
        with_container()
            .filter(|t| named(t))
            .max_by_key(|t| (!t.status.state.is_terminal(), t.status.timestamp))
            .cloned()
    };
    let slot = |t: &Task| t.slot > 0 && format!("{}.{}", t.service_name, t.slot) == wanted;
    let named = |t: &Task| match &t.spec.attachment {
        Some(a) => a.names.first().is_some_and(|n| n == wanted),
        // A bare task id names the task: clients ask for containers of that name first.
        None => t.container_name() == wanted,
    };
    let found = newest(&|t| container_id(t) == wanted)
        .or_else(|| newest(&named))
        .or_else(|| newest(&|t| t.service.is_some() && slot(t)));
    if let Some(task) = found {
        return Ok(task);
    }
    // A container on several networks has a task for each.
    let mut found: Vec<&Arc<Task>> =
        with_container().filter(|t| !wanted.is_empty() && container_id(t).starts_with(wanted)).collect();
    found.sort_by_key(|t| container_id(t));
    found.dedup_by_key(|t| container_id(t));
    match found.as_slice() {
        [] => Err(no_such_container(wanted)),
        [one] => Ok((*one).clone()),
        _ => Err(Refusal::invalid(format!("multiple IDs found with provided prefix: {wanted}"))),
    }
}
