//! Swarm networks.
use super::{Control, failed_precondition, invalid, lookup};
use crate::clock;
use model::{
    DesiredState, Network, NetworkId, NetworkSpec, NetworkTarget, ObjectKind, PublishMode, StoreAction, Tables, Task,
    TaskState,
};
use std::time::Duration;
use wire::Refusal;

/// The networks that every machine has.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];
const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";
/// How long a removal waits for tasks that are stopping.
const STOPPING_TIMEOUT: Duration = Duration::from_secs(12);

impl Control {
    /// A new network, with its identifier and subnets.
    ///
    /// # Errors
    /// Docker's.
    pub async fn create_network(&self, mut spec: NetworkSpec) -> Result<NetworkId, Refusal> {
        check(&spec)?;
        if spec.driver.is_empty() {
            spec.driver = "overlay".into();
        }
        spec.ipv4 |= !spec.ipv6;
        // A subnet says as much as the flag: its addresses are given, so the network does not claim to have none.
        spec.ipv6 |= spec.ipam.iter().any(|c| c.subnet.as_ref().is_some_and(|s| s.base.is_ipv6()));
        let id: NetworkId = clock::fresh();
        self.update(|tables| {
            if tables.by_name(ObjectKind::Network, &spec.name).is_some() {
                return Err(Refusal::conflict(format!("network with name {} already exists", spec.name)));
            }
            if spec.ingress
                && let Some(there) = tables.ingress()
            {
                return Err(Refusal::conflict(format!("ingress network ({}) is already present", there.id)).as_rpc());
            }
            let mut network = Network { id: id.clone(), meta: Default::default(), spec, vni: 0, subnets: Vec::new() };
            planner::allocate_network(tables, &mut network).map_err(|e| invalid(e.to_string()))?;
            Ok((vec![StoreAction::Create(network.into())], id))
        })
        .await
    }

    /// Removes a network that no service and no container uses. Tasks that are already stopping are waited for, so that
    /// the network does not vanish under them.
    ///
    /// # Errors
    /// Docker's.
    pub async fn remove_network(&self, wanted: &str) -> Result<(), Refusal> {
        let network = lookup::network(&self.tables(), wanted)?;
        check_unused(&self.tables(), &network)?;
        let mut changed = self.store.watch_revision();
        let stopped = async {
            while self.tables().tasks().any(|t| uses(t, &network.id) && !t.status.state.is_terminal()) {
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        if tokio::time::timeout(STOPPING_TIMEOUT, stopped).await.is_err() {
            tracing::warn!(network = %network.spec.name, "removed although tasks on it are still stopping");
        }
        self.update(|tables| {
            let network = lookup::network(tables, network.id.as_str())?;
            check_unused(tables, &network)?;
            // The nodes' own addresses on it go with it.
            let mut actions = Vec::new();
            for node in tables.nodes().filter(|n| n.attachments.iter().any(|a| a.network == network.id)) {
                let mut node = (**node).clone();
                node.attachments.retain(|a| a.network != network.id);
                actions.push(StoreAction::Update(node.into()));
            }
            actions.push(StoreAction::Remove(network.id.clone().into()));
            Ok((actions, ()))
        })
        .await
    }
}

fn check(spec: &NetworkSpec) -> Result<(), Refusal> {
    if spec.name.trim().is_empty() {
        return Err(invalid("name must be provided"));
    }
    if PREDEFINED.contains(&spec.name.as_str()) {
        // The space at the end is Docker's.
        return Err(Refusal::forbidden(format!("operation is not permitted on predefined {} network ", spec.name)));
    }
    if spec.labels.contains_key(PREDEFINED_LABEL) {
        let text = format!(
            "label {PREDEFINED_LABEL} is for internally created predefined networks and cannot be applied by users"
        );
        return Err(Refusal::forbidden(text).as_rpc());
    }
    if !matches!(spec.driver.as_str(), "" | "overlay") {
        let text = format!("could not find plugin {0} in v1 plugin registry: plugin not found", spec.driver);
        return Err(Refusal::not_found(text));
    }
    if spec.ingress && spec.attachable {
        return Err(invalid("ingress network cannot be attachable"));
    }
    if spec.ingress && spec.options.get("encrypted").is_some_and(|v| v != "false") {
        return Err(invalid("ingress network cannot be encrypted: leave out --opt encrypted"));
    }
    Ok(())
}

fn uses(task: &Task, network: &NetworkId) -> bool {
    task.networks.iter().any(|n| matches!(&n.network, NetworkTarget::Swarm(id) if id == network))
}

fn check_unused(tables: &Tables, network: &Network) -> Result<(), Refusal> {
    let target = NetworkTarget::Swarm(network.id.clone());
    if network.spec.ingress {
        let publishes = |s: &&std::sync::Arc<model::Service>| {
            let ports = s.spec.endpoint.iter().flat_map(|e| &e.ports);
            ports.into_iter().any(|p| p.publish_mode == PublishMode::Ingress)
        };
        if let Some(s) = tables.services().find(publishes) {
            let text = format!("ingress network cannot be removed because service {} depends on it", s.id);
            return Err(failed_precondition(text));
        }
    }
    if let Some(s) = tables.services().find(|s| s.spec.task.networks.iter().any(|n| n.target == target)) {
        return Err(failed_precondition(format!("network {} is in use by service {}", network.id, s.id)));
    }
    let running = |t: &&std::sync::Arc<Task>| {
        uses(t, &network.id) && t.desired <= DesiredState::Complete && t.status.state <= TaskState::Running
    };
    // A task whose service is gone is about to be stopped; only a container's attachment holds the network.
    if let Some(t) =
        tables.tasks().filter(|t| t.service.as_ref().is_none_or(|s| tables.service(s).is_some())).find(running)
    {
        return Err(failed_precondition(format!("network {} is in use by task {}", network.id, t.id)));
    }
    Ok(())
}
