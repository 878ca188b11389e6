//! `config ls`.
use crate::Ctx;
use crate::commands::{Done, FilterArg};
use crate::render::human::ago;
use crate::render::list::{Show, Table, labels, print, row};
use crate::spec::pairs;
use clap::Args;
use serde_json::Value;
use wire::engine::config::Config;

const TABLE: Table = Table {
    headers: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("CreatedAt", "CREATED"),
        ("UpdatedAt", "UPDATED"),
        ("Labels", "LABELS"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
    quiet: "{{.ID}}",
};

/// List configs.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let call = ctx.client.get("/configs").filters(&pairs::filters(&self.filter.filter)?);
        let mut found: Vec<Config> = call.read().await?;
        found.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let rows: Vec<Value> = found
            .iter()
            .map(|o| {
                row! {
                    "ID": o.id.clone(),
                    "Name": o.spec.name.clone(),
                    "CreatedAt": ago(o.created_at.0),
                    "UpdatedAt": ago(o.updated_at.0),
                    "Labels": labels(&o.spec.labels),
                }
            })
            .collect();
        print(&TABLE, &self.show, &rows)
    }
}
