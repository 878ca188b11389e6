//! `swarm ca`.
use super::update::external_ca;
use crate::Ctx;
use crate::commands::Done;
use crate::spec::units;
use crate::terminal::{say, say_line, tell};
use clap::Args;
use wire::engine::node::Node;
use wire::engine::swarm::Swarm;

/// Display and rotate the root CA.
#[derive(Args)]
pub(crate) struct Ca {
    /// Path to the PEM-formatted root CA certificate to use for the new cluster
    #[arg(long)]
    ca_cert: Option<String>,
    /// Path to the PEM-formatted root CA key to use for the new cluster
    #[arg(long)]
    ca_key: Option<String>,
    /// Validity period for node certificates (ns|us|ms|s|m|h)
    #[arg(long, value_parser = units::duration)]
    cert_expiry: Option<i64>,
    /// Exit immediately instead of waiting for the root rotation to converge
    #[arg(short, long)]
    detach: bool,
    /// Specifications of one or more certificate signing endpoints
    #[arg(long)]
    external_ca: Vec<String>,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// Rotate the swarm CA
    #[arg(long)]
    rotate: bool,
}

impl Ca {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut swarm: Swarm = ctx.client.get("/swarm").read().await?;
        if !self.rotate {
            let other = self.ca_cert.is_some()
                || self.ca_key.is_some()
                || self.cert_expiry.is_some()
                || !self.external_ca.is_empty();
            anyhow::ensure!(
                !other,
                "`--ca-cert`, `--ca-key`, `--cert-expiry` and `--external-ca` flags require the `--rotate` flag to update the CA"
            );
            anyhow::ensure!(!swarm.tls_info.trust_root.is_empty(), "No CA information available");
            say_line(swarm.tls_info.trust_root.trim_end());
            return Ok(());
        }
        let file = |path: &Option<String>| match path {
            Some(path) => std::fs::read_to_string(path).map_err(|e| anyhow::anyhow!("open {path}: {e}")),
            None => Ok(String::new()),
        };
        let ca = &mut swarm.spec.ca_config;
        ca.force_rotate += 1;
        ca.signing_ca_cert = file(&self.ca_cert)?;
        ca.signing_ca_key = file(&self.ca_key)?;
        if let Some(expiry) = self.cert_expiry {
            ca.node_cert_expiry = expiry;
        }
        if !self.external_ca.is_empty() {
            ca.external_cas = self.external_ca.iter().map(|t| external_ca(t)).collect::<anyhow::Result<_>>()?;
        }
        ctx.client.post("/swarm/update").query("version", swarm.version.index).json(&swarm.spec)?.done().await?;
        if self.detach {
            return Ok(());
        }
        loop {
            let now: Swarm = ctx.client.get("/swarm").read().await?;
            if !now.root_rotation_in_progress {
                say(&now.tls_info.trust_root);
                return Ok(());
            }
            if !self.quiet {
                let nodes: Vec<Node> = ctx.client.get("/nodes").read().await?;
                let done = nodes
                    .iter()
                    .filter(|n| n.description.tls_info.cert_issuer_subject == now.tls_info.cert_issuer_subject)
                    .count();
                tell(&format!("rotated TLS certificates: {done}/{} nodes", nodes.len()));
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }
}
