//! `container port`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::container::ContainerInspect;

/// List port mappings or a specific mapping for the container.
#[derive(Args)]
pub(crate) struct Port {
    container: String,
    /// PRIVATE_PORT[/PROTO]
    private_port: Option<String>,
}

impl Port {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let c: ContainerInspect = ctx.client.get(format!("/containers/{}/json", self.container)).read().await?;
        let shown =
            |ip: &str, port: &str| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        if let Some(wanted) = &self.private_port {
            let key = if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
            let Some(Some(bindings)) = c.network_settings.ports.get(&key) else {
                anyhow::bail!("no public port '{key}' published for {}", self.container);
            };
            bindings.iter().for_each(|b| say_line(&shown(&b.host_ip, &b.host_port)));
            return Ok(());
        }
        for (name, bindings) in &c.network_settings.ports {
            for b in bindings.iter().flatten() {
                say_line(&format!("{name} -> {}", shown(&b.host_ip, &b.host_port)));
            }
        }
        Ok(())
    }
}
