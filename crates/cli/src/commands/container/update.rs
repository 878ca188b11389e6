//! `container update`.
use super::flags::restart_policy;
use crate::Ctx;
use crate::commands::{Done, each};
use crate::spec::units;
use crate::terminal::tell;
use clap::Args;
use wire::engine::container::{ContainerUpdateBody, ContainerUpdated};

/// Update configuration of one or more containers.
#[derive(Args)]
pub(crate) struct Update {
    /// Block IO (relative weight), between 10 and 1000
    #[arg(long)]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS period
    #[arg(long)]
    cpu_period: Option<i64>,
    /// Limit CPU CFS quota
    #[arg(long)]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long)]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_parser = units::nano_cpus)]
    cpus: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_parser = units::bytes)]
    memory: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_parser = units::bytes)]
    memory_reservation: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_parser = units::bytes_or_unlimited)]
    memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long)]
    restart: Option<String>,
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Update {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let body = ContainerUpdateBody {
            blkio_weight: self.blkio_weight.unwrap_or(0),
            cpu_period: self.cpu_period.unwrap_or(0),
            cpu_quota: self.cpu_quota.unwrap_or(0),
            cpu_shares: self.cpu_shares.unwrap_or(0),
            nano_cpus: self.cpus.unwrap_or(0),
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
            memory: self.memory.unwrap_or(0),
            memory_reservation: self.memory_reservation.unwrap_or(0),
            memory_swap: self.memory_swap.unwrap_or(0),
            pids_limit: self.pids_limit,
            restart_policy: self.restart.as_deref().map(restart_policy).transpose()?.unwrap_or_default(),
            ..ContainerUpdateBody::default()
        };
        anyhow::ensure!(
            body != ContainerUpdateBody::default(),
            "you must provide one or more flags when using this command"
        );
        each(&self.containers, async |name| {
            let done: ContainerUpdated =
                ctx.client.post(format!("/containers/{name}/update")).json(&body)?.read().await?;
            done.warnings.iter().for_each(|w| tell(w));
            Ok(())
        })
        .await
    }
}
