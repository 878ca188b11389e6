//! `config inspect`.
use crate::Ctx;
use crate::commands::{Done, InspectArgs, inspect_each};
use clap::Args;

/// Display detailed information on one or more configs.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    args: InspectArgs,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
}

const PRETTY: &str = "ID:\t\t\t{{.ID}}\nName:\t\t\t{{.Spec.Name}}\n{{if .Spec.Labels}}Labels:\n{{range $k, $v := .Spec.Labels}} - {{$k}}{{if $v}}={{$v}}{{end}}\n{{end}}{{end}}Created at:            \t{{.CreatedAt}}\nUpdated at:            \t{{.UpdatedAt}}";

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let format = if self.pretty { Some(PRETTY) } else { self.args.format.as_deref() };
        inspect_each(ctx, &self.args.names, format, |name| format!("/configs/{name}"), &[]).await
    }
}
