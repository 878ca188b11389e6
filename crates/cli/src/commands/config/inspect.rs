//! `config inspect`.
use crate::Ctx;
use crate::commands::{Done, InspectArgs, inspect_each};
use crate::render::human::date_exact;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::config::Config;

/// Display detailed information on one or more configs.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    args: InspectArgs,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
}

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if !self.pretty {
            return inspect_each(
                ctx,
                &self.args.names,
                self.args.format.as_deref(),
                |name| format!("/configs/{name}"),
                &[],
            )
            .await;
        }
        anyhow::ensure!(self.args.format.is_none(), "--format is incompatible with human friendly format");
        for name in &self.args.names {
            say_line(&pretty(&ctx.client.get(format!("/configs/{name}")).read().await?));
        }
        Ok(())
    }
}

fn pretty(o: &Config) -> String {
    let mut out = format!("ID:\t\t\t{}\nName:\t\t\t{}\n", o.id, o.spec.name);
    if !o.spec.labels.is_empty() {
        out.push_str("Labels:\n");
    }
    for (k, v) in &o.spec.labels {
        out.push_str(&format!(" - {k}{}{v}\n", if v.is_empty() { "" } else { "=" }));
    }
    let at = |t: wire::engine::Time| date_exact(t.0).replace("+0000 UTC", "+0000 utc");
    out.push_str(&format!("Created at:            \t{}\n", at(o.created_at)));
    out.push_str(&format!("Updated at:            \t{}\n", at(o.updated_at)));
    out.push_str(&format!("Data:\n{}\n", String::from_utf8_lossy(&o.spec.data.0)));
    out
}
