//! `swarm join`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::swarm::SwarmJoin;
use wire::engine::system::Info;

/// Join a swarm as a node and/or manager.
#[derive(Args)]
pub(crate) struct Join {
    /// Advertised address (format: "<ip|interface>[:port]")
    #[arg(long)]
    advertise_addr: Option<String>,
    /// Availability of the node ("active", "pause", "drain")
    #[arg(long, default_value = "active")]
    availability: String,
    /// Address or interface to use for data path traffic (format: "<ip|interface>")
    #[arg(long)]
    data_path_addr: Option<String>,
    /// Listen address (format: "<ip|interface>[:port]")
    #[arg(long, default_value = "0.0.0.0:2377")]
    listen_addr: String,
    /// Token for entry into the swarm
    #[arg(long)]
    token: Option<String>,
    /// HOST:PORT of a manager
    remote: String,
}

impl Join {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let body = SwarmJoin {
            listen_addr: self.listen_addr,
            advertise_addr: self.advertise_addr.unwrap_or_default(),
            data_path_addr: self.data_path_addr.unwrap_or_default(),
            remote_addrs: vec![self.remote],
            join_token: self.token.unwrap_or_default(),
            availability: self.availability.to_lowercase(),
        };
        ctx.client.post("/swarm/join").json(&body)?.done().await?;
        let info: Info = ctx.client.get("/info").read().await?;
        say_line(if info.swarm.control_available {
            "This node joined a swarm as a manager."
        } else {
            "This node joined a swarm as a worker."
        });
        Ok(())
    }
}
