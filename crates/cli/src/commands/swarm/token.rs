//! `swarm join-token`.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::task::node_id;
use crate::terminal::say;
use clap::Args;
use wire::engine::node::Node;
use wire::engine::swarm::Swarm;

/// Manage join tokens.
#[derive(Args)]
pub(crate) struct JoinToken {
    /// Only display token
    #[arg(short, long)]
    quiet: bool,
    /// Rotate join token
    #[arg(long)]
    rotate: bool,
    /// worker or manager
    role: String,
}

impl JoinToken {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let worker = match self.role.as_str() {
            "worker" => true,
            "manager" => false,
            other => anyhow::bail!("unknown role {other}"),
        };
        if self.rotate {
            let swarm: Swarm = ctx.client.get("/swarm").read().await?;
            let call = ctx
                .client
                .post("/swarm/update")
                .query("version", swarm.version.index)
                .query("rotateWorkerToken", worker)
                .query("rotateManagerToken", !worker)
                .json(&swarm.spec)?;
            call.done().await?;
            if !self.quiet {
                say(&format!("Successfully rotated {} join token.\n\n", self.role));
            }
        }
        if self.quiet {
            let swarm: Swarm = ctx.client.get("/swarm").read().await?;
            say(&format!("{}\n", if worker { swarm.join_tokens.worker } else { swarm.join_tokens.manager }));
            return Ok(());
        }
        show_command(ctx, &self.role).await
    }
}

/// The command that joins.
pub(super) async fn show_command(ctx: &Ctx, role: &str) -> Done {
    let swarm: Swarm = ctx.client.get("/swarm").read().await?;
    let node: Node = ctx.client.get(format!("/nodes/{}", node_id(ctx, "self").await?)).read().await?;
    let Some(manager) = node.manager_status else { return Ok(()) };
    let token = if role == "worker" { swarm.join_tokens.worker } else { swarm.join_tokens.manager };
    say(&format!(
        "To add a {role} to this swarm, run the following command:\n\n    {} swarm join --token {token} {}\n\n",
        ctx.name, manager.addr
    ));
    Ok(())
}
