//! `stack ls`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::list::{Show, Table, print, row};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::engine::Filters;
use wire::engine::service::Service;

const STACKS: Table = Table {
    headers: &[
        ("Name", "NAME"),
        ("Services", "SERVICES"),
        ("Orchestrator", "ORCHESTRATOR"),
        ("Namespace", "NAMESPACE"),
    ],
    default: "{{.Name}}\t{{.Services}}",
    quiet: "{{.Name}}",
};

/// List stacks.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut filters = Filters::default();
        filters.add("label", compose::LABEL_NAMESPACE);
        let services: Vec<Service> = ctx.client.get("/services").filters(&filters).read().await?;
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for service in &services {
            if let Some(stack) = service.spec.labels.get(compose::LABEL_NAMESPACE) {
                *counts.entry(stack).or_default() += 1;
            }
        }
        let rows: Vec<Value> = counts
            .iter()
            .map(|(name, n)| row! {"Name": *name, "Services": n.to_string(), "Orchestrator": "Swarm", "Namespace": ""})
            .collect();
        print(&STACKS, &self.show, &rows)
    }
}
