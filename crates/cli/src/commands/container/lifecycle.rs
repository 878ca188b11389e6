//! Verbs that are one call for each container.
use crate::Ctx;
use crate::commands::{Done, each};
use clap::Args;

/// Stop one or more running containers.
#[derive(Args)]
pub(crate) struct Stop {
    /// Signal to send to the container
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, visible_alias = "timeout")]
    time: Option<i64>,
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Restart one or more containers.
#[derive(Args)]
pub(crate) struct Restart {
    /// Signal to send to the container
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short, long, visible_alias = "timeout")]
    time: Option<i64>,
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Kill one or more running containers.
#[derive(Args)]
pub(crate) struct Kill {
    /// Signal to send to the container
    #[arg(short, long)]
    signal: Option<String>,
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Pause all processes within one or more containers.
#[derive(Args)]
pub(crate) struct Pause {
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Unpause all processes within one or more containers.
#[derive(Args)]
pub(crate) struct Unpause {
    #[arg(required = true)]
    containers: Vec<String>,
}

async fn end(ctx: &Ctx, verb: &str, containers: &[String], signal: Option<&str>, time: Option<i64>) -> Done {
    each(containers, async |name| {
        let mut call = ctx.client.post(format!("/containers/{name}/{verb}")).text("signal", signal.unwrap_or_default());
        if let Some(seconds) = time {
            call = call.query("t", seconds);
        }
        call.done().await
    })
    .await
}

impl Stop {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        end(ctx, "stop", &self.containers, self.signal.as_deref(), self.time).await
    }
}

impl Restart {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        end(ctx, "restart", &self.containers, self.signal.as_deref(), self.time).await
    }
}

impl Kill {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        end(ctx, "kill", &self.containers, self.signal.as_deref(), None).await
    }
}

impl Pause {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        end(ctx, "pause", &self.containers, None, None).await
    }
}

impl Unpause {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        end(ctx, "unpause", &self.containers, None, None).await
    }
}
