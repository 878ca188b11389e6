//! `swarm init`.
use super::update::Settings;
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say;
use clap::Args;
use wire::engine::swarm::SwarmInit;

/// Initialize a swarm.
#[derive(Args)]
pub(crate) struct Init {
    /// Advertised address (format: "<ip|interface>[:port]")
    #[arg(long)]
    advertise_addr: Option<String>,
    /// Enable manager autolocking (requiring an unlock key to start a stopped manager)
    #[arg(long)]
    autolock: bool,
    /// Availability of the node ("active", "pause", "drain")
    #[arg(long, default_value = "active")]
    availability: String,
    /// Address or interface to use for data path traffic (format: "<ip|interface>")
    #[arg(long)]
    data_path_addr: Option<String>,
    /// Port number to use for data path traffic (1024 - 49151)
    #[arg(long, default_value_t = 0)]
    data_path_port: u32,
    /// Default address pool in CIDR format
    #[arg(long)]
    default_addr_pool: Vec<String>,
    /// Default address pool subnet mask length
    #[arg(long, default_value_t = 24)]
    default_addr_pool_mask_length: u32,
    /// Force create a new cluster from current state
    #[arg(long)]
    force_new_cluster: bool,
    /// Listen address (format: "<ip|interface>[:port]")
    #[arg(long, default_value = "0.0.0.0:2377")]
    listen_addr: String,
    #[command(flatten)]
    settings: Settings,
}

impl Init {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut body = SwarmInit {
            listen_addr: self.listen_addr,
            advertise_addr: self.advertise_addr.unwrap_or_default(),
            data_path_addr: self.data_path_addr.unwrap_or_default(),
            data_path_port: self.data_path_port,
            force_new_cluster: self.force_new_cluster,
            auto_lock_managers: self.autolock,
            availability: self.availability.to_lowercase(),
            default_addr_pool: self.default_addr_pool,
            subnet_size: self.default_addr_pool_mask_length,
            ..SwarmInit::default()
        };
        body.spec.encryption_config.auto_lock_managers = self.autolock;
        self.settings.apply(&mut body.spec)?;
        let node: String = ctx.client.post("/swarm/init").json(&body)?.read().await.map_err(|e| {
            let text = e.to_string();
            match text.contains("could not choose an IP address to advertise")
                || text.contains("could not find the system's IP address")
            {
                true => e.context("specify one with --advertise-addr"),
                false => e,
            }
        })?;
        say(&format!("Swarm initialized: current node ({node}) is now a manager.\n\n"));
        super::token::show_command(ctx, "worker").await?;
        say(&format!(
            "To add a manager to this swarm, run '{} swarm join-token manager' and follow the instructions.\n\n",
            ctx.name
        ));
        if self.autolock {
            super::unlock::show_key(ctx).await?;
        }
        Ok(())
    }
}
