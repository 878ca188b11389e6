//! `node update`, `promote`, `demote`.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::task::node_id;
use crate::terminal::{say_line, tell};
use clap::Args;
use wire::engine::node::{Node, NodeSpec};

/// Update a node.
#[derive(Args)]
pub(crate) struct Update {
    /// Availability of the node ("active", "pause", "drain")
    #[arg(long)]
    availability: Option<String>,
    /// Add or update a node label ("key=value")
    #[arg(long)]
    label_add: Vec<String>,
    /// Remove a node label if exists
    #[arg(long)]
    label_rm: Vec<String>,
    /// Role of the node ("worker", "manager")
    #[arg(long)]
    role: Option<String>,
    node: String,
}

impl Update {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut missing = None;
        change(ctx, &self.node, |spec| {
            if let Some(role) = &self.role {
                spec.role = role.to_lowercase();
            }
            if let Some(availability) = &self.availability {
                spec.availability = availability.to_lowercase();
            }
            for label in &self.label_rm {
                if spec.labels.remove(label).is_none() {
                    missing.get_or_insert_with(|| label.clone());
                }
            }
            spec.labels.extend(crate::spec::pairs::map(&self.label_add));
            missing.is_none()
        })
        .await?;
        if let Some(label) = missing {
            anyhow::bail!("key {label} doesn't exist in node's labels");
        }
        say_line(&self.node);
        Ok(())
    }
}

/// Reads a node's spec, changes it, writes it back if the change says so.
async fn change(ctx: &Ctx, name: &str, with: impl FnOnce(&mut NodeSpec) -> bool) -> Done {
    let mut node: Node = ctx.client.get(format!("/nodes/{}", node_id(ctx, name).await?)).read().await?;
    if !with(&mut node.spec) {
        return Ok(());
    }
    ctx.client
        .post(format!("/nodes/{}/update", node.id))
        .query("version", node.version.index)
        .json(&node.spec)?
        .done()
        .await
}

/// Promote one or more nodes to manager in the swarm.
#[derive(Args)]
pub(crate) struct Promote {
    #[arg(required = true)]
    nodes: Vec<String>,
}

/// Demote one or more nodes from manager in the swarm.
#[derive(Args)]
pub(crate) struct Demote {
    #[arg(required = true)]
    nodes: Vec<String>,
}

async fn role(ctx: &Ctx, nodes: &[String], role: &str, done: &str) -> Done {
    for name in nodes {
        let mut changed = false;
        change(ctx, name, |spec| {
            changed = spec.role != role;
            role.clone_into(&mut spec.role);
            changed
        })
        .await?;
        match changed {
            true => say_line(&done.replace("{}", name)),
            false => tell(&format!("Node {name} is already a {role}.")),
        }
    }
    Ok(())
}

impl Promote {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        role(ctx, &self.nodes, "manager", "Node {} promoted to a manager in the swarm.").await
    }
}

impl Demote {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        role(ctx, &self.nodes, "worker", "Manager {} demoted in the swarm.").await
    }
}
