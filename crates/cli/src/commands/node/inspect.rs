//! `node inspect`.
use crate::Ctx;
use crate::commands::task::{capital, node_id};
use crate::commands::{Done, InspectArgs, inspect_each};
use crate::render::human::{binary_size, date_exact};
use crate::terminal::say;
use base64::Engine as _;
use clap::Args;
use std::fmt::Write;
use wire::engine::node::Node;

/// Display detailed information on one or more nodes.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    args: InspectArgs,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
}

impl Inspect {
    pub(crate) async fn run(mut self, ctx: &Ctx) -> Done {
        for name in &mut self.args.names {
            *name = node_id(ctx, name).await?;
        }
        if !self.pretty {
            let path = |name: &str| format!("/nodes/{name}");
            return inspect_each(ctx, &self.args.names, self.args.format.as_deref(), path, &[]).await;
        }
        anyhow::ensure!(self.args.format.is_none(), "--format is incompatible with human friendly format");
        for name in &self.args.names {
            let node: Node = ctx.client.get(format!("/nodes/{name}")).read().await?;
            let text = pretty(&node)?;
            // As in Docker, an empty line follows unless the certificates come last.
            say(&if node.description.tls_info.trust_root.is_empty() { text + "\n" } else { text });
        }
        Ok(())
    }
}

fn pretty(n: &Node) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "ID:\t\t\t{}", n.id)?;
    if !n.spec.name.is_empty() {
        writeln!(out, "Name:\t\t\t{}", n.spec.name)?;
    }
    if !n.spec.labels.is_empty() {
        writeln!(out, "Labels:")?;
        for (k, v) in &n.spec.labels {
            writeln!(out, " - {k}{}{v}", if v.is_empty() { "" } else { "=" })?;
        }
    }
    writeln!(out, "Hostname:              \t{}", n.description.hostname)?;
    writeln!(out, "Joined at:             \t{}", date_exact(n.created_at.0).replace(" +0000 UTC", " +0000 utc"))?;
    writeln!(out, "Status:")?;
    writeln!(out, " State:\t\t\t{}", capital(&n.status.state))?;
    if !n.status.message.is_empty() {
        writeln!(out, " Message:              \t{}", capital(&n.status.message))?;
    }
    writeln!(out, " Availability:         \t{}", capital(&n.spec.availability))?;
    if !n.status.addr.is_empty() {
        writeln!(out, " Address:\t\t{}", n.status.addr)?;
    }
    if let Some(m) = &n.manager_status {
        writeln!(out, "Manager Status:")?;
        writeln!(out, " Address:\t\t{}", m.addr)?;
        writeln!(out, " Raft Status:\t\t{}", capital(&m.reachability))?;
        writeln!(out, " Leader:\t\t{}", if m.leader { "Yes" } else { "No" })?;
    }
    let d = &n.description;
    writeln!(out, "Platform:")?;
    writeln!(out, " Operating System:\t{}", d.platform.os)?;
    writeln!(out, " Architecture:\t\t{}", d.platform.architecture)?;
    writeln!(out, "Resources:")?;
    writeln!(out, " CPUs:\t\t\t{}", d.resources.nano_cpus / 1_000_000_000)?;
    writeln!(out, " Memory:\t\t{}", binary_size(d.resources.memory_bytes as f64))?;
    if !d.engine.plugins.is_empty() {
        writeln!(out, "Plugins:")?;
        let mut kinds: Vec<&str> = d.engine.plugins.iter().map(|p| p.typ.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let names: Vec<&str> = d.engine.plugins.iter().filter(|p| p.typ == kind).map(|p| p.name.as_str()).collect();
            writeln!(out, " {kind}:\t\t{}", names.join(", "))?;
        }
    }
    writeln!(out, "Engine Version:\t\t{}", d.engine.engine_version)?;
    if !d.engine.labels.is_empty() {
        writeln!(out, "Engine Labels:")?;
        for (k, v) in &d.engine.labels {
            writeln!(out, " - {k}{}{v}", if v.is_empty() { "" } else { "=" })?;
        }
    }
    if !d.tls_info.trust_root.is_empty() {
        let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        writeln!(out, "TLS Info:\n TrustRoot:\n{}", d.tls_info.trust_root)?;
        writeln!(out, " Issuer Subject:\t{}", encoded(&d.tls_info.cert_issuer_subject.0))?;
        writeln!(out, " Issuer Public Key:\t{}", encoded(&d.tls_info.cert_issuer_public_key.0))?;
    }
    Ok(out)
}
