//! `node ps`.
use crate::Ctx;
use crate::client::Exit;
use crate::commands::task::{TaskShow, node_id, print_tasks};
use crate::commands::{Done, FilterArg};
use crate::spec::pairs;
use crate::terminal::tell;
use clap::Args;
use wire::engine::node::Node;
use wire::engine::task::Task;

/// List tasks running on one or more nodes, defaults to current node.
#[derive(Args)]
pub(crate) struct Tasks {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    how: TaskShow,
    nodes: Vec<String>,
}

impl Tasks {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let names = if self.nodes.is_empty() { vec!["self".to_owned()] } else { self.nodes };
        let (mut tasks, mut failed): (Vec<Task>, bool) = (Vec::new(), false);
        for name in &names {
            let node: anyhow::Result<Node> =
                async { ctx.client.get(format!("/nodes/{}", node_id(ctx, name).await?)).read().await }.await;
            match node {
                Ok(node) => {
                    let mut filters = pairs::filters(&self.filter.filter)?;
                    filters.add("node", &node.id);
                    tasks.extend(ctx.client.get("/tasks").filters(&filters).read::<Vec<Task>>().await?);
                }
                Err(e) => {
                    failed = true;
                    tell(&format!("{e:#}"));
                }
            }
        }
        if !failed || !tasks.is_empty() {
            print_tasks(ctx, tasks, &self.how).await?;
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}
