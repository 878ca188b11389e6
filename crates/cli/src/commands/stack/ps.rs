//! `stack ps` and `stack services`.
use super::{check_name, of_stack};
use crate::Ctx;
use crate::commands::service::ls::list;
use crate::commands::task::{TaskShow, node_id, print_tasks};
use crate::commands::{Done, FilterArg};
use crate::render::list::Show;
use crate::spec::pairs;
use crate::terminal::tell;
use clap::Args;
use wire::engine::Filters;
use wire::engine::service::Service;
use wire::engine::task::Task;

fn with(stack: &str, asked: &Filters, keys: &[&str]) -> Filters {
    let mut filters = of_stack(stack);
    for key in keys {
        asked.get(key).for_each(|v| filters.add(key, v));
    }
    filters
}

/// List the tasks in the stack.
#[derive(Args)]
pub(crate) struct Tasks {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    how: TaskShow,
    stack: String,
}

impl Tasks {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        let asked = pairs::filters(&self.filter.filter)?;
        asked.allow(&["id", "name", "node", "desired-state", "label", "service"])?;
        let mut filters = with(&self.stack, &asked, &["id", "name", "desired-state", "label", "service"]);
        for node in asked.get("node") {
            filters.add("node", &node_id(ctx, node).await?);
        }
        let tasks: Vec<Task> = ctx.client.get("/tasks").filters(&filters).read().await?;
        anyhow::ensure!(!tasks.is_empty() || !asked.is_empty(), "nothing found in stack: {}", self.stack);
        print_tasks(ctx, tasks, &self.how).await
    }
}

/// List the services in the stack.
#[derive(Args)]
pub(crate) struct Services {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    show: Show,
    stack: String,
}

impl Services {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        let asked = pairs::filters(&self.filter.filter)?;
        asked.allow(&["id", "name", "mode", "label", "runtime"])?;
        let filters = with(&self.stack, &asked, &["id", "name", "mode", "label", "runtime"]);
        let found: Vec<Service> = ctx.client.get("/services").filters(&filters).read().await?;
        if found.is_empty() {
            tell(&format!("Nothing found in stack: {}", self.stack));
            return Ok(());
        }
        list(ctx, &filters, &self.show).await
    }
}
