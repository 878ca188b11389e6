//! What is asked about tasks.
use super::Control;
use model::{NodeId, NodeState, ServiceId, Task, TaskId, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::Refusal;

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

    /// The tasks of a service that have (or had) a container, with the node to ask for each one's logs; nodes that are
    /// down are left out.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several services match.
    pub fn service_log_sources(&self, wanted: &str) -> Result<Vec<(Arc<Task>, NodeId)>, Refusal> {
        let service = self.find_service(wanted)?;
        let tables = self.tables();
        Ok(tables.tasks_of_service(&service.id).filter_map(|t| self.log_source(t)).collect())
    }

    /// The same for one task.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when several tasks match.
    pub fn task_log_source(&self, wanted: &str) -> Result<Option<(Arc<Task>, NodeId)>, Refusal> {
        Ok(self.log_source(&self.find_task(wanted)?))
    }

    fn log_source(&self, task: &Arc<Task>) -> Option<(Arc<Task>, NodeId)> {
        let node = task.node.clone()?;
        let up = self.tables().node(&node).is_some_and(|n| n.status.state == NodeState::Ready);
        (up && task.status.state >= TaskState::Starting && task.status.container.is_some())
            .then(|| (task.clone(), node))
    }

    /// The node that runs a container of the swarm, by the container's id (or a prefix of at least 12 digits) or the
    /// task's name.
    pub fn node_of_container(&self, wanted: &str) -> Option<(Arc<Task>, NodeId)> {
        let tables = self.tables();
        let is = |t: &Task| {
            let container = t.status.container.as_ref().map(|c| c.id.as_str()).unwrap_or_default();
            wanted.len() >= 12 && container.starts_with(wanted) || t.service.is_some() && t.container_name() == wanted
        };
        let mut found: Vec<&Arc<Task>> = tables.tasks().filter(|t| t.node.is_some() && is(t)).collect();
        found.sort_by_key(|t| t.status.state.is_terminal());
        found.first().and_then(|t| Some(((*t).clone(), t.node.clone()?)))
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
