//! `depends_on`: how far another service must have come before a new one is made. Only the first start waits.
use crate::Ctx;
use compose::Condition;
use wire::engine::Filters;
use wire::engine::service::Service;
use wire::engine::task::Task;

/// One thing to wait for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gate {
    /// The other service's whole name.
    pub(super) service: String,
    pub(super) condition: Condition,
}

/// What is seen of it.
#[derive(Debug, PartialEq)]
pub(super) enum Standing {
    Open,
    /// Not yet, and why.
    Closed(String),
    /// Never, and why.
    Never(String),
}

impl Gate {
    /// Looks.
    pub(super) async fn look(&self, ctx: &Ctx) -> anyhow::Result<Standing> {
        let mut filters = Filters::default();
        filters.add("name", &self.service);
        let services: Vec<Service> = ctx.client.get("/services").flag("status", true).filters(&filters).read().await?;
        let Some(service) = services.into_iter().find(|s| s.spec.name == self.service) else {
            return Ok(Standing::Closed(format!("{}, which is not there yet", self.service)));
        };
        let mut filters = Filters::default();
        filters.add("service", &service.id);
        let mut tasks: Vec<Task> = ctx.client.get("/tasks").filters(&filters).read().await?;
        // Of a job only what it was last asked for; failures too, for which "up to date" is not asked.
        if let Some(now) = service.job_status.as_ref().map(|j| j.job_iteration.index) {
            tasks.retain(|t| t.job_iteration.as_ref().is_none_or(|i| i.index == now));
        }
        Ok(self.judge(&service, &tasks))
    }

    fn judge(&self, service: &Service, tasks: &[Task]) -> Standing {
        let in_state = |state: &str| tasks.iter().filter(|t| t.status.state == state).count() as u64;
        let name = &self.service;
        match self.condition {
            Condition::Started if in_state("running") + in_state("complete") > 0 => Standing::Open,
            Condition::Started => Standing::Closed(format!("{name} to start")),
            Condition::Healthy => {
                let status = service.service_status.clone().unwrap_or_default();
                let wanted = status.desired_tasks.max(1);
                if status.running_tasks >= wanted && in_state("running") >= wanted {
                    Standing::Open
                } else {
                    Standing::Closed(format!("{name} to be healthy"))
                }
            }
            Condition::Completed => {
                let mode = &service.spec.mode;
                let wanted = match (&mode.replicated_job, &mode.replicated) {
                    (Some(job), _) => job.total_completions.unwrap_or(1),
                    (None, Some(replicated)) => replicated.replicas.unwrap_or(1),
                    (None, None) => tasks.len().max(1) as u64,
                };
                // One that failed and is not given up yet will have a successor.
                let given_up = |t: &Task| matches!(t.desired_state.as_str(), "shutdown" | "remove");
                let alive =
                    tasks.iter().any(|t| !is_over(&t.status.state) || t.status.state != "complete" && !given_up(t));
                match tasks.iter().rfind(|t| matches!(t.status.state.as_str(), "failed" | "rejected")) {
                    _ if in_state("complete") >= wanted => Standing::Open,
                    Some(failed) if !alive => Standing::Never(format!("{name} has failed: {}", failed.status.err)),
                    _ => Standing::Closed(format!("{name} to complete")),
                }
            }
        }
    }
}

fn is_over(state: &str) -> bool {
    matches!(state, "complete" | "shutdown" | "failed" | "rejected" | "orphaned" | "remove")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judge(condition: Condition, mode: serde_json::Value, status: (u64, u64), states: &[&str]) -> Standing {
        let service: Service = wire::engine::lenient::from_value(json!({
            "Spec": {"Name": "db", "Mode": mode},
            "ServiceStatus": {"RunningTasks": status.0, "DesiredTasks": status.1}
        }))
        .unwrap();
        let tasks: Vec<Task> = states
            .iter()
            .map(|s| {
                wire::engine::lenient::from_value({
                    let (state, desired) = s.split_once('>').unwrap_or((s, "shutdown"));
                    json!({"Status": {"State": state, "Err": "exit 3"}, "DesiredState": desired})
                })
                .unwrap()
            })
            .collect();
        Gate { service: "db".into(), condition }.judge(&service, &tasks)
    }

    #[test]
    fn gates_open_when_the_condition_holds() {
        use Condition::*;
        let replicated = |n: u64| json!({"Replicated": {"Replicas": n}});
        let job = json!({"ReplicatedJob": {"TotalCompletions": 2}});
        let closed = |why: &str| Standing::Closed(why.to_owned());
        let table = [
            (Started, replicated(2), (0, 2), vec![], closed("db to start")),
            (Started, replicated(2), (0, 2), vec!["starting"], closed("db to start")),
            (Started, replicated(2), (1, 2), vec!["running", "starting"], Standing::Open),
            (Healthy, replicated(2), (1, 2), vec!["running", "starting"], closed("db to be healthy")),
            (Healthy, replicated(2), (2, 2), vec!["running", "running"], Standing::Open),
            (Completed, job.clone(), (0, 2), vec!["complete", "running"], closed("db to complete")),
            (Completed, job.clone(), (0, 2), vec!["complete", "complete"], Standing::Open),
            (Completed, job.clone(), (0, 2), vec!["failed", "pending"], closed("db to complete")),
            (Completed, job.clone(), (0, 2), vec!["complete", "failed>complete"], closed("db to complete")),
            (Completed, job, (0, 2), vec!["complete", "failed"], Standing::Never("db has failed: exit 3".into())),
            (Completed, replicated(1), (0, 1), vec!["complete"], Standing::Open),
            (Completed, json!({"GlobalJob": {}}), (0, 1), vec![], closed("db to complete")),
        ];
        for (condition, mode, status, states, wanted) in table {
            assert_eq!(judge(condition, mode.clone(), status, &states), wanted, "{condition:?} {mode} {states:?}");
        }
    }
}
