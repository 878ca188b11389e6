//! `service ps`.
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::commands::task::{TaskShow, list, node_id};
use crate::commands::{Done, FilterArg};
use crate::spec::pairs;
use crate::terminal::tell;
use clap::Args;
use wire::engine::Filters;
use wire::engine::service::Service;

/// List the tasks of one or more services.
#[derive(Args)]
pub(crate) struct Tasks {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    how: TaskShow,
    #[arg(required = true)]
    services: Vec<String>,
}

impl Tasks {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let asked = pairs::filters(&self.filter.filter)?;
        let mut filters = Filters::default();
        for key in ["id", "name", "desired-state", "label", "runtime", "_up-to-date"] {
            asked.get(key).for_each(|v| filters.add(key, v));
        }
        asked.allow(&["id", "name", "desired-state", "label", "runtime", "_up-to-date", "node"])?;
        for node in asked.get("node") {
            filters.add("node", &node_id(ctx, node).await?);
        }
        let mut failed = false;
        for name in &self.services {
            match ctx.client.get(format!("/services/{name}")).read::<Service>().await {
                Ok(service) => filters.add("service", &service.id),
                Err(e) if is_status(&e, 404) => {
                    failed = true;
                    tell(&format!("no such service: {name}"));
                }
                Err(e) => return Err(e),
            }
        }
        if filters.has("service") {
            list(ctx, &filters, &self.how).await?;
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}
