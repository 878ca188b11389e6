//! Waits until a service is as wished, and shows how its tasks come along.
//!
//! ```text
//!  looking ──as wished──► stable? ──monitor time passed, still as wished──► converged
//!     ▲                      │
//!     └──a task failed───────┘          paused by the engine: an error; job done: converged at once
//! ```
//! What has ended and will not be started again ends the waiting too: as an error if it failed.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::task::capital;
use crate::render::human::ellipsis;
use crate::terminal::{Live, interrupted, tell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wire::engine::Filters;
use wire::engine::node::Node;
use wire::engine::service::Service;
use wire::engine::task::Task;

/// How long a service must stay as wished, unless its update configuration says otherwise.
const MONITOR_DEFAULT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// More tasks than this get no lines of their own.
const LINES_MAX: u64 = 20;
/// A service of which nothing lives for so long is not started again: the engine makes the successor of a task that has
/// ended in the same step in which it gives that one up.
const OVER_AFTER: Duration = Duration::from_secs(1);

/// How far a service is.
#[derive(Debug, Default, PartialEq)]
struct Standing {
    /// Tasks as they should be, and how many there should be.
    done: u64,
    wanted: u64,
    /// A line for each slot or node: its key and its text.
    lines: Vec<(String, String)>,
    job: bool,
    /// Nothing lives, and nothing waits to.
    over: Option<Over>,
}

/// How a service came to its end.
#[derive(Clone, Debug, PartialEq)]
enum Over {
    Well,
    /// With what the last task said.
    Failed(String),
}

/// Waits. An interrupt ends the waiting, not the update.
pub(crate) async fn converge(ctx: &Ctx, id: &str, quiet: bool) -> Done {
    let mut live = Live::new(quiet);
    let mut waiting = Waiting::default();
    loop {
        tokio::select! {
            over = waiting.look(ctx, id, &mut live, "") => {
                if over? == Look::Done {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            () = interrupted() => {
                tell(&format!("Operation continuing in background.\nUse `{} service ps {id}` to check progress.", ctx.name));
                return Ok(());
            }
        }
    }
}

/// What a look found.
#[derive(Debug, PartialEq)]
pub(crate) enum Look {
    Open,
    Done,
}

/// How far the waiting for one service is.
#[derive(Default)]
pub(crate) struct Waiting {
    since: Option<Instant>,
    over_since: Option<Instant>,
    rollback: bool,
    /// Shown at the end.
    message: Option<String>,
}

impl Waiting {
    /// One look. `prefix`: before each line's name.
    pub(crate) async fn look(&mut self, ctx: &Ctx, id: &str, live: &mut Live, prefix: &str) -> anyhow::Result<Look> {
        let service: Service = ctx.client.get(format!("/services/{id}")).read().await?;
        if let Some(status) = &service.update_status {
            match status.state.as_str() {
                "updating" => self.rollback = false,
                "paused" => anyhow::bail!("service update paused: {}", status.message),
                "rollback_started" => {
                    if !self.rollback && !status.message.is_empty() {
                        live.set(&format!("{prefix}rollback"), status.message.clone());
                    }
                    self.rollback = true;
                }
                "rollback_paused" => anyhow::bail!("service rollback paused: {}", status.message),
                "rollback_completed" if self.since.is_none() => {
                    self.message = Some(status.message.clone());
                    self.rollback = true;
                }
                _ => {}
            }
        }
        let standing = standing_of(ctx, &service).await?;
        show(&standing, self.rollback, live, prefix);
        let verify = format!("{prefix}verify");
        let updates = service.update_status.as_ref().is_some_and(|s| s.completed_at.is_none());
        if standing.done < standing.wanted
            && !updates
            && let Some(over) = &standing.over
        {
            if self.over_since.get_or_insert_with(Instant::now).elapsed() >= OVER_AFTER {
                return ended_for_good(over, &standing, live, prefix);
            }
        } else {
            self.over_since = None;
        }
        if standing.done < standing.wanted {
            if self.since.take().is_some() {
                live.set(&verify, "Detected task failure");
            }
            return Ok(Look::Open);
        }
        if standing.job {
            live.set(&format!("{prefix}job complete"), "");
            return Ok(Look::Done);
        }
        let monitor = service.spec.update_config.as_ref().map(|c| c.monitor).filter(|m| *m > 0);
        let monitor = monitor.map_or(MONITOR_DEFAULT, |m| Duration::from_nanos(m.unsigned_abs()));
        let passed = self.since.get_or_insert_with(Instant::now).elapsed();
        if passed >= monitor {
            live.set(&verify, format!("Service {id} converged"));
            if let Some(message) = self.message.take() {
                live.set(&format!("{prefix}rollback"), message);
            }
            return Ok(Look::Done);
        }
        let left = (monitor - passed).as_secs() + 1;
        live.set(&verify, format!("Waiting {left} seconds to verify that tasks are stable..."));
        Ok(Look::Open)
    }
}

fn ended_for_good(over: &Over, standing: &Standing, live: &mut Live, prefix: &str) -> anyhow::Result<Look> {
    match over {
        Over::Well => {
            live.set(&format!("{prefix}ended"), "its tasks have completed");
            Ok(Look::Done)
        }
        Over::Failed(why) if standing.job => {
            anyhow::bail!("the job has failed, with {} of {} complete: {why}", standing.done, standing.wanted)
        }
        Over::Failed(why) => anyhow::bail!("its tasks have failed and are not started again: {why}"),
    }
}

fn show(standing: &Standing, rollback: bool, live: &mut Live, prefix: &str) {
    let what = if rollback {
        "rolling back update"
    } else if standing.job {
        "job progress"
    } else {
        "overall progress"
    };
    let unit = if standing.job { "complete" } else { "tasks" };
    live.set(&format!("{prefix}{what}"), format!("{} out of {} {unit}", standing.done, standing.wanted));
    for (key, text) in &standing.lines {
        live.set(&format!("{prefix}{key}"), text.clone());
    }
}

async fn standing_of(ctx: &Ctx, service: &Service) -> anyhow::Result<Standing> {
    let mut filters = Filters::default();
    filters.add("service", &service.id);
    filters.add("_up-to-date", "true");
    let tasks: Vec<Task> = ctx.client.get("/tasks").filters(&filters).read().await?;
    if service.spec.mode.global.is_some() || service.spec.mode.global_job.is_some() {
        let nodes: Vec<Node> = ctx.client.get("/nodes").read().await?;
        let active = nodes.into_iter().filter(|n| n.status.state != "down" && n.spec.availability == "active");
        let names: BTreeMap<String, String> = active.map(|n| (n.id, n.description.hostname)).collect();
        return Ok(global(&tasks, &names, service));
    }
    Ok(replicated(&tasks, service))
}

fn order(state: &str) -> usize {
    const STATES: [&str; 14] = [
        "new",
        "allocated",
        "pending",
        "assigned",
        "accepted",
        "preparing",
        "ready",
        "starting",
        "running",
        "complete",
        "shutdown",
        "failed",
        "rejected",
        "remove",
    ];
    STATES.iter().position(|s| *s == state).unwrap_or(STATES.len())
}

fn ended(state: &str) -> bool {
    order(state) > order("running")
}

/// The task of each slot that counts: the newest that shall live.
fn current<'t, K: Ord>(tasks: impl Iterator<Item = &'t Task>, key: impl Fn(&Task) -> K) -> BTreeMap<K, &'t Task> {
    let mut out: BTreeMap<K, &Task> = BTreeMap::new();
    for task in tasks {
        let better = |old: &&Task| {
            let rank = |t: &Task| (!ended(&t.desired_state), t.created_at);
            rank(task) > rank(old)
        };
        let key = key(task);
        if out.get(&key).is_none_or(better) {
            out.insert(key, task);
        }
    }
    out
}

/// Whether all has ended, and the planner has seen it and made no successors. Tasks that were stopped say nothing.
fn over(tasks: &[&Task]) -> Option<Over> {
    // A job's task that has completed stays wished to.
    let done = |t: &Task| t.status.state == "complete" && t.desired_state == "complete";
    let lives = |t: &Task| !ended(&t.status.state) || !given_up(&t.desired_state) && !done(t);
    if tasks.is_empty() || tasks.iter().any(|t| lives(t)) {
        return None;
    }
    let failed = |t: &&&Task| matches!(t.status.state.as_str(), "failed" | "rejected");
    match tasks.iter().filter(failed).max_by_key(|t| t.created_at) {
        Some(task) => Some(Over::Failed(task.status.err.clone())),
        None => tasks.iter().any(|t| t.status.state == "complete").then_some(Over::Well),
    }
}

fn given_up(desired: &str) -> bool {
    matches!(desired, "shutdown" | "remove")
}

fn line(task: &Task) -> String {
    if !task.status.err.is_empty() {
        return ellipsis(&task.status.err.replace('\n', " "), 75);
    }
    if ended(&task.desired_state) && task.desired_state != "complete" {
        String::new()
    } else {
        capital(&task.status.state).to_lowercase()
    }
}

fn replicated(tasks: &[Task], service: &Service) -> Standing {
    if let Some(job) = &service.spec.mode.replicated_job {
        let iteration = service.job_status.as_ref().map(|j| j.job_iteration.index);
        let of_now = |t: &&Task| t.job_iteration.as_ref().map(|i| i.index) == iteration || iteration.is_none();
        let of_now: Vec<&Task> = tasks.iter().filter(of_now).collect();
        let done = of_now.iter().filter(|t| t.status.state == "complete").count() as u64;
        let wanted = job.total_completions.unwrap_or(1);
        let mut standing = Standing { done, wanted, job: true, over: over(&of_now), ..Standing::default() };
        if wanted <= LINES_MAX {
            // A job's slots begin at 0.
            let slots = current(of_now.into_iter(), |t| t.slot);
            standing.lines = slots.iter().map(|(n, task)| (format!("{}/{wanted}", n + 1), line(task))).collect();
        }
        return standing;
    }
    let wanted = service.spec.mode.replicated.as_ref().and_then(|r| r.replicas).unwrap_or(1);
    let slots = current(tasks.iter(), |t| t.slot);
    // Of each slot the newest counts: what failed before it ended well is forgiven.
    let newest: Vec<&Task> = slots.values().copied().collect();
    let mut standing = Standing { wanted, over: over(&newest), ..Standing::default() };
    for (n, task) in slots.values().filter(|t| !ended(&t.desired_state) || t.desired_state == "complete").enumerate() {
        if task.status.state == "running" && !ended(&task.desired_state) {
            standing.done += 1;
        }
        if wanted <= LINES_MAX && (n as u64) < wanted {
            standing.lines.push((format!("{}/{wanted}", n + 1), line(task)));
        }
    }
    // Those that are too many must go before all is well.
    let alive = tasks.iter().filter(|t| t.status.state == "running" && !ended(&t.desired_state)).count() as u64;
    if alive > wanted {
        standing.done = standing.done.min(wanted.saturating_sub(1));
    }
    standing
}

fn global(tasks: &[Task], nodes: &BTreeMap<String, String>, service: &Service) -> Standing {
    let job = service.spec.mode.global_job.is_some();
    let per_node = current(tasks.iter(), |t| t.node_id.clone());
    let newest: Vec<&Task> = per_node.values().copied().collect();
    let mut standing = Standing { job, over: over(&newest), ..Standing::default() };
    for (node, task) in per_node {
        let Some(name) = nodes.get(&node) else { continue };
        standing.wanted += 1;
        let good = if job { task.status.state == "complete" } else { task.status.state == "running" };
        standing.done += u64::from(good);
        standing.lines.push((name.clone(), line(task)));
    }
    if standing.lines.len() as u64 > LINES_MAX {
        standing.lines.clear();
    }
    // Nothing is there yet; where no node fits, the engine makes no task and there is nothing to wait for.
    if tasks.is_empty()
        && !nodes.is_empty()
        && service.spec.task_template.placement.as_ref().is_none_or(|p| p.constraints.is_empty())
    {
        standing.wanted = nodes.len() as u64;
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(slot: u64, state: &str, desired: &str, created: u64) -> Task {
        wire::engine::lenient::from_value(json!({
            "Slot": slot, "NodeID": format!("n{slot}"), "Status": {"State": state}, "DesiredState": desired,
            "CreatedAt": format!("2026-01-01T00:00:{created:02}Z")
        }))
        .unwrap()
    }

    fn service(mode: serde_json::Value) -> Service {
        wire::engine::lenient::from_value(json!({"Spec": {"Mode": mode}})).unwrap()
    }

    #[test]
    fn replicated_services_are_counted_by_slot() {
        let s = service(json!({"Replicated": {"Replicas": 2}}));
        let table = [
            (vec![], 0),
            (vec![task(1, "running", "running", 1), task(2, "starting", "running", 1)], 1),
            (vec![task(1, "running", "running", 1), task(2, "running", "running", 1)], 2),
            (
                vec![
                    task(1, "failed", "shutdown", 1),
                    task(1, "running", "running", 2),
                    task(2, "running", "running", 1),
                ],
                2,
            ),
            (
                vec![task(1, "running", "shutdown", 1), task(1, "ready", "ready", 2), task(2, "running", "running", 1)],
                1,
            ),
            (
                vec![
                    task(1, "running", "running", 1),
                    task(2, "running", "running", 1),
                    task(3, "running", "running", 1),
                ],
                1,
            ),
        ];
        for (tasks, done) in table {
            assert_eq!(replicated(&tasks, &s).done, done, "{tasks:?}");
        }
    }

    #[test]
    fn what_ended_for_good_is_known_from_what_is_tried_again() {
        let table = [
            (vec![], None),
            (vec![task(0, "failed", "complete", 1)], None),
            (vec![task(0, "failed", "shutdown", 1)], Some(Over::Failed(String::new()))),
            (vec![task(0, "failed", "shutdown", 1), task(0, "ready", "ready", 2)], None),
            (
                vec![task(0, "complete", "complete", 1), task(1, "failed", "shutdown", 1)],
                Some(Over::Failed(String::new())),
            ),
            (vec![task(0, "complete", "shutdown", 1)], Some(Over::Well)),
            (vec![task(0, "shutdown", "shutdown", 1)], None),
            (vec![task(0, "running", "shutdown", 1)], None),
        ];
        for (tasks, wanted) in table {
            assert_eq!(over(&tasks.iter().collect::<Vec<_>>()), wanted, "{tasks:?}");
        }
        let s = service(json!({"Replicated": {"Replicas": 1}}));
        let got = replicated(&[task(1, "failed", "shutdown", 1), task(1, "complete", "shutdown", 2)], &s);
        assert_eq!((got.done, got.over), (0, Some(Over::Well)));
    }

    #[test]
    fn jobs_and_globals() {
        let s = service(json!({"ReplicatedJob": {"TotalCompletions": 2}}));
        let got = replicated(&[task(0, "complete", "complete", 1), task(1, "running", "complete", 1)], &s);
        assert_eq!((got.done, got.wanted, got.job, got.over), (1, 2, true, None));
        assert_eq!(got.lines, [("1/2".to_owned(), "complete".to_owned()), ("2/2".to_owned(), "running".to_owned())]);
        let s = service(json!({"Global": {}}));
        let nodes = [("n1".to_owned(), "host1".to_owned())].into();
        let got = global(&[task(1, "running", "running", 1)], &nodes, &s);
        assert_eq!((got.done, got.wanted), (1, 1));
        assert_eq!(got.lines, [("host1".to_owned(), "running".to_owned())]);
        assert_eq!(global(&[], &nodes, &s).wanted, 1);
    }
}
