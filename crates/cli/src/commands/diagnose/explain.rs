//! `explain`: why a task waits or failed, node by node, and what would help.
use crate::Ctx;
use crate::client::is_status;
use crate::commands::Done;
use crate::commands::stack::of_stack;
use crate::render::human::ago;
use crate::terminal::{say_line, tell};
use clap::Args;
use std::collections::BTreeMap;
use wire::engine::Filters;
use wire::engine::diagnosis::NodeFit;
use wire::engine::service::Service;
use wire::engine::task::Task;

/// Explain why a task, a service or a stack is not as it should be.
#[derive(Args)]
pub(crate) struct Explain {
    /// A task, a service or a stack
    name: String,
}

impl Explain {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let services = self.services(ctx).await?;
        if services.is_empty() {
            let task: Task = match ctx.client.get(format!("/tasks/{}", self.name)).read().await {
                Ok(task) => task,
                Err(e) if is_status(&e, 404) => anyhow::bail!("no task, service or stack is called {:?}", self.name),
                Err(e) => return Err(e),
            };
            let fits = fits(ctx, &task).await?;
            lines(&task, &fits, &ctx.name).iter().for_each(|l| say_line(l));
            return Ok(());
        }
        let mut ill = false;
        for service in &services {
            ill |= self.service(ctx, service).await?;
        }
        if !ill {
            tell("all is as it should be");
        }
        Ok(())
    }

    /// The service of that name, or those of the stack.
    async fn services(&self, ctx: &Ctx) -> anyhow::Result<Vec<Service>> {
        let with_status = |filters: &Filters| ctx.client.get("/services").flag("status", true).filters(filters);
        match ctx.client.get(format!("/services/{}", self.name)).read::<Service>().await {
            Ok(found) => {
                let mut filters = Filters::default();
                filters.add("id", &found.id);
                with_status(&filters).read().await
            }
            Err(e) if is_status(&e, 404) => with_status(&of_stack(&self.name)).read().await,
            Err(e) => Err(e),
        }
    }

    /// Whether there was something to say.
    async fn service(&self, ctx: &Ctx, service: &Service) -> anyhow::Result<bool> {
        let status = service.service_status.clone().unwrap_or_default();
        let mut filters = Filters::default();
        filters.add("service", &service.id);
        let tasks: Vec<Task> = ctx.client.get("/tasks").filters(&filters).read().await?;
        let update =
            service.update_status.as_ref().filter(|u| u.state != "completed" && u.state != "rollback_completed");
        let troubled = troubled(&tasks);
        let ill = status.running_tasks < status.desired_tasks || update.is_some() || !troubled.is_empty();
        say_line(&format!("{}: {} of {} tasks run", service.spec.name, status.running_tasks, status.desired_tasks));
        if let Some(update) = update {
            say_line(&format!("  update {}: {}", update.state.replace('_', " "), update.message));
            if update.state.ends_with("paused") {
                say_line(&format!(
                    "    fix: repair what failed and update again, or `{} service rollback {}`",
                    ctx.name, service.spec.name
                ));
            }
        }
        for (task, failures) in troubled {
            let fits = if task.node_id.is_empty() { fits(ctx, task).await? } else { Vec::new() };
            if failures > 1 {
                say_line(&format!("  {}: {failures} failures are remembered", name_of(task, service)));
            }
            for line in lines(task, &fits, &ctx.name) {
                say_line(&format!("  {line}"));
            }
        }
        Ok(ill)
    }
}

async fn fits(ctx: &Ctx, task: &Task) -> anyhow::Result<Vec<NodeFit>> {
    ctx.client.get(format!("/tasks/{}/explain", task.id)).read().await
}

fn name_of(task: &Task, service: &Service) -> String {
    if task.slot == 0 { service.spec.name.clone() } else { format!("{}.{}", service.spec.name, task.slot) }
}

fn has_failed(task: &Task) -> bool {
    matches!(task.status.state.as_str(), "failed" | "rejected")
}

/// For each place the newest task, if it does not run; or the newest failure of one that was just begun again.
fn troubled(tasks: &[Task]) -> Vec<(&Task, usize)> {
    let mut places: BTreeMap<(u64, &str), Vec<&Task>> = BTreeMap::new();
    for task in tasks {
        let node = if task.slot == 0 { task.node_id.as_str() } else { "" };
        places.entry((task.slot, node)).or_default().push(task);
    }
    let mut out = Vec::new();
    for mut place in places.into_values() {
        place.sort_by_key(|t| std::cmp::Reverse(t.created_at));
        let failures = place.iter().filter(|t| has_failed(t)).count();
        let Some(newest) = place.first() else { continue };
        match newest.status.state.as_str() {
            "running" | "complete" | "shutdown" | "remove" => {}
            // It is on its way again: what counts is why it had to be.
            "ready" | "preparing" | "starting" | "accepted" | "assigned" => {
                if let Some(failed) = place.iter().find(|t| has_failed(t)) {
                    out.push((*failed, failures));
                } else {
                    out.push((*newest, failures));
                }
            }
            _ => out.push((*newest, failures)),
        }
    }
    out
}

/// What there is to say about one task.
fn lines(task: &Task, fits: &[NodeFit], program: &str) -> Vec<String> {
    let id = crate::render::human::short_id(&task.id);
    let state = &task.status.state;
    let since = ago(task.status.timestamp.0).to_lowercase();
    let mut out = Vec::new();
    let why = if task.status.err.is_empty() { &task.status.message } else { &task.status.err };
    out.push(format!("task {id} is {state} since {}: {why}", since.trim_end_matches(" ago")));
    if task.node_id.is_empty() && !fits.is_empty() {
        let wide = fits.iter().map(|f| f.hostname.chars().count()).max().unwrap_or(0);
        for fit in fits {
            let word = if fit.refusal.is_empty() { "could have it" } else { &fit.refusal };
            out.push(format!("  {:<wide$}  {word}", fit.hostname));
        }
    }
    if let Some(fix) = fix(task, fits, program) {
        out.push(format!("  fix: {fix}"));
    }
    out
}

fn fix(task: &Task, fits: &[NodeFit], program: &str) -> Option<String> {
    let err = task.status.err.to_lowercase();
    let refused = |word: &str| fits.iter().any(|f| f.refusal.contains(word));
    let logs = format!("`{program} service logs {}`", crate::render::human::short_id(&task.id));
    if task.node_id.is_empty() {
        return match () {
            () if refused("reserved") => Some("lower the reservations, scale something down, or join a node".into()),
            () if refused("constraint") => {
                Some(format!("change the constraints, or `{program} node update --label-add KEY=VALUE NODE`"))
            }
            () if refused("available") => {
                Some(format!("`{program} node update --availability active NODE`, or bring the node up again"))
            }
            () if refused("port") => Some("publish another port, or run fewer replicas than nodes".into()),
            () if refused("replicas per node") => Some("raise max_replicas_per_node, or join a node".into()),
            () => None,
        };
    }
    match () {
        () if err.contains("no such image")
            || err.contains("pull access denied")
            || err.contains("manifest unknown") =>
        {
            Some(format!(
                "is the image's name right? For a private registry: `{program} login`, then deploy with --with-registry-auth"
            ))
        }
        () if err.contains("unhealthy") => {
            Some(format!("the health check failed: {logs}, and look at the check itself"))
        }
        () if err.contains("oom") || err.contains("(137)") => {
            Some(format!("it was killed, perhaps for its memory: raise the limit, and look into {logs}"))
        }
        () if err.contains("non-zero exit") => Some(format!("the program ended by itself: {logs}")),
        () if err.contains("executable file not found") || err.contains("no such file") => {
            Some("the command is not in the image: look at command and entrypoint".into())
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(slot: u64, node: &str, state: &str, err: &str, created: u64) -> Task {
        wire::engine::lenient::from_value(json!({
            "ID": format!("t{slot}{created}aaaaaaaaaaaa"), "Slot": slot, "NodeID": node,
            "Status": {"State": state, "Err": err, "Message": "starting"},
            "CreatedAt": format!("2026-01-01T00:00:{created:02}Z")
        }))
        .unwrap()
    }

    #[test]
    fn what_runs_is_not_explained() {
        let tasks = [
            task(1, "n", "failed", "task: non-zero exit (3)", 1),
            task(1, "n", "running", "", 2),
            task(2, "n", "failed", "task: non-zero exit (3)", 1),
            task(2, "n", "ready", "", 2),
            task(3, "", "pending", "no suitable node", 1),
        ];
        let found: Vec<_> = troubled(&tasks).into_iter().map(|(t, n)| (t.slot, t.status.state.as_str(), n)).collect();
        assert_eq!(found, [(2, "failed", 1), (3, "pending", 0)]);
    }

    #[test]
    fn a_waiting_task_is_explained_node_by_node() {
        let fit = |name: &str, refusal: &str| NodeFit {
            hostname: name.into(),
            refusal: refusal.into(),
            ..NodeFit::default()
        };
        let fits = [fit("one", "has too little left of what is reserved"), fit("three", "")];
        let text = lines(&task(3, "", "pending", "no suitable node", 1), &fits, "shoal").join("\n");
        assert!(text.contains("one    has too little left of what is reserved\n"), "{text}");
        assert!(text.contains("three  could have it\n"), "{text}");
        assert!(text.contains("fix: lower the reservations"), "{text}");
        let text = lines(&task(1, "n", "failed", "task: non-zero exit (3)", 1), &[], "shoal").join("\n");
        assert!(text.contains("fix: the program ended by itself: `shoal service logs t11"), "{text}");
    }
}
