//! `container logs`.
use crate::Ctx;
use crate::client::demultiplex_body;
use crate::commands::Done;
use crate::render::human::now;
use crate::spec::units::moment;
use clap::Args;
use wire::engine::container::ContainerInspect;

/// Fetch the logs of a container.
#[derive(Args)]
pub(crate) struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp or relative
    #[arg(long)]
    until: Option<String>,
    container: String,
}

impl Logs {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let point = |text: &Option<String>, flag: &str| {
            text.as_deref()
                .map(|t| moment(t, now()))
                .transpose()
                .map_err(|e| anyhow::anyhow!("invalid value for \"{flag}\": {e}"))
        };
        let c: ContainerInspect = ctx.client.get(format!("/containers/{}/json", self.container)).read().await?;
        let body = ctx
            .client
            .get(format!("/containers/{}/logs", c.id))
            .query("stdout", 1)
            .query("stderr", 1)
            .flag("details", self.details)
            .flag("follow", self.follow)
            .flag("timestamps", self.timestamps)
            .query("tail", &self.tail)
            .text("since", &point(&self.since, "since")?.unwrap_or_default())
            .text("until", &point(&self.until, "until")?.unwrap_or_default())
            .stream()
            .await?;
        demultiplex_body(body, c.config.tty).await
    }
}
