//! Looking for what is wrong, where it may be.
use super::Backend;
use crate::doctor::{self, Subject};
use api::backend::{Answer, Diagnosis, SwarmRole, System};
use async_trait::async_trait;
use kernel::icmp::Echo;
use kernel::netns::NetNs;
use model::Task;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::Refusal;
use wire::engine::diagnosis::{EchoReport, Finding, NodeFit};

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

#[async_trait]
impl Diagnosis for Backend {
    async fn doctor(&self) -> Answer<Vec<Finding>> {
        let role = self.swarm_role();
        let mut subject = Subject {
            data_root: self.0.settings.data_root.clone(),
            in_swarm: matches!(role, SwarmRole::Worker | SwarmRole::Manager),
            manager: role == SwarmRole::Manager,
            ..Subject::alone()
        };
        if let Ok(manager) = self.0.membership.manager() {
            let tables = manager.control().tables();
            let own = self.0.membership.node_id();
            let others = tables.nodes().filter(|n| Some(&n.id) != own.as_ref());
            subject.peers = others.filter_map(|n| n.status.addr.parse().ok()).collect();
            if let Ok(cluster) = manager.control().swarm() {
                subject.tunnel_port = cluster.data_path_port;
            }
        }
        tokio::task::spawn_blocking(move || doctor::examine(&subject))
            .await
            .map_err(|e| Refusal::internal(format!("the examination broke off: {e}")))
    }

    async fn echo(&self, container: Option<&str>, address: IpAddr, count: u32) -> Answer<EchoReport> {
        let ns = match container {
            None => None,
            Some(name) => {
                let found = api::backend::Containers::inspect(self, name, false).await?;
                if !found.state.running {
                    return Err(Refusal::conflict(format!("container {name} is not running")));
                }
                let key = found.network_settings.sandbox_key;
                // A container on the host's network has no sandbox of its own.
                if key.is_empty() { None } else { Some(key) }
            }
        };
        let asked = tokio::task::spawn_blocking(move || match ns {
            None => Ok(ask(address, count)),
            Some(path) => NetNs::open(path.as_ref()).and_then(|ns| ns.run(|| ask(address, count))),
        });
        let asked = asked.await.map_err(|e| Refusal::internal(format!("the question broke off: {e}")))?;
        asked.map_err(|e| Refusal::internal(format!("the container's network cannot be entered: {e}")))
    }

    async fn explain(&self, task: &Arc<Task>) -> Answer<Vec<NodeFit>> {
        let tables = self.0.membership.manager()?.control().tables();
        let hostname = |id: &model::NodeId| {
            let node = tables.node(id);
            node.and_then(|n| n.description.as_ref().map(|d| d.hostname.clone())).unwrap_or_else(|| id.to_string())
        };
        Ok(planner::explain(&tables, task)
            .into_iter()
            .map(|(id, refusal)| NodeFit {
                hostname: hostname(&id),
                node_id: id.to_string(),
                refusal: refusal.map(|(_, sentence)| sentence).unwrap_or_default(),
            })
            .collect())
    }
}

fn ask(address: IpAddr, count: u32) -> EchoReport {
    let mut report = EchoReport { address: address.to_string(), ..EchoReport::default() };
    let echo = match Echo::open(address, rand::random()) {
        Ok(echo) => echo,
        Err(e) => {
            report.error = e.to_string();
            return report;
        }
    };
    for n in 0..count {
        if n > 0 {
            std::thread::sleep(PAUSE);
        }
        report.sent += 1;
        match echo.ask(n as u16, ANSWER_WITHIN) {
            Ok(Some(time)) => report.times_nanos.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            Ok(None) => {}
            Err(e) => report.error = e.to_string(),
        }
    }
    report
}
