//! Docker's JSON types ⇄ the nouns of [`model`], by hand. `*_in` parses what a client sends and refuses what the model
//! cannot hold, naming the option; `*_out` shows what is held. `in(out(x)) == x` for every valid spec.
pub mod container_spec;
pub mod network;
pub mod node;
pub mod secret;
pub mod service;
pub mod swarm;
pub mod task;

pub use network::{network_out, network_spec_in, swarm_network_out};
pub use node::{node_out, node_spec_in, node_spec_out};
pub use secret::{config_out, config_spec_in, secret_out, secret_spec_in};
pub use service::{insert_defaults, ports_out, service_out, service_spec_in, service_spec_out, service_status};
pub use swarm::{availability_in, cluster_info_out, cluster_spec_merge, cluster_spec_out, swarm_out};
pub use task::task_out;

use crate::Refusal;
use std::time::Duration;

fn duration_in(nanos: i64, what: &str) -> Result<Duration, Refusal> {
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| Refusal::invalid(format!("{what} must not be negative")))
}

fn duration_out(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

fn version(meta: &model::Meta) -> super::swarm::ObjectVersion {
    super::swarm::ObjectVersion { index: meta.version }
}

/// 501 for an option that exists in Docker and not here.
fn unsupported(option: &str) -> Refusal {
    Refusal::unimplemented(format!("{option} is not supported"))
}
