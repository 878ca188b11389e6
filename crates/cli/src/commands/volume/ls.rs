//! `volume ls`.
use crate::Ctx;
use crate::commands::{Done, FilterArg};
use crate::render::human::size;
use crate::render::list::{Show, Table, labels, print, row};
use crate::spec::pairs;
use clap::Args;
use serde_json::Value;
use wire::engine::volume::VolumeList;

const VOLUMES: Table = Table {
    headers: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
    default: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

/// List volumes.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let call = ctx.client.get("/volumes").filters(&pairs::filters(&self.filter.filter)?);
        let mut volumes = call.read::<VolumeList>().await?.volumes;
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let rows: Vec<Value> = volumes
            .iter()
            .map(|v| {
                let usage = v.usage_data.as_ref();
                row! {
                    "Name": v.name.clone(),
                    "Driver": v.driver.clone(),
                    "Scope": v.scope.clone(),
                    "Mountpoint": v.mountpoint.clone(),
                    "Labels": labels(&v.labels.clone().unwrap_or_default()),
                    "Links": usage.map_or("N/A".into(), |u| u.ref_count.to_string()),
                    "Size": usage.map_or("N/A".into(), |u| size(u.size)),
                    "Availability": "N/A",
                    "Group": "N/A",
                    "Status": "N/A",
                }
            })
            .collect();
        print(&VOLUMES, &self.show, &rows)
    }
}
