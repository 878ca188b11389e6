//! The rows that a new swarm begins with: the swarm itself, its first node, the routing mesh's network.
use crate::clock;
use crate::options::{InitOptions, Place};
use cluster::ca::{JoinToken, Peer, UnlockKey, crypto};
use model::{
    Cluster, ManagerStatus, Network, NetworkSpec, Node, NodeRole, NodeSpec, NodeState, NodeStatus, StoreAction, Tables,
};

const INGRESS: &str = "ingress";

/// What a new swarm begins with.
pub struct FirstRows<'a> {
    /// As asked.
    pub options: &'a InitOptions,
    /// PEM certificate of the root.
    pub root: &'a str,
    /// PEM key of the root.
    pub root_key: &'a str,
    /// The first manager.
    pub peer: &'a Peer,
    /// Where it is.
    pub place: &'a Place,
    /// Its number in raft.
    pub raft_id: u64,
}

impl FirstRows<'_> {
    /// The transaction that makes them.
    pub fn actions(&self, tables: &Tables) -> Result<Vec<StoreAction>, String> {
        let cluster = self.cluster();
        // The ingress network takes its subnet from the swarm's pool, which must be there first.
        let mut with_cluster = tables.clone();
        let create = vec![StoreAction::Create(cluster.clone().into())];
        with_cluster.apply(create, clock::now()).map_err(|e| e.to_string())?;
        let mut ingress = self.ingress();
        planner::allocate_network(&with_cluster, &mut ingress).map_err(|e| e.to_string())?;
        let rows: [model::Object; 3] = [cluster.into(), self.node().into(), ingress.into()];
        Ok(rows.into_iter().map(StoreAction::Create).collect())
    }

    fn cluster(&self) -> Cluster {
        let o = self.options;
        Cluster {
            id: self.peer.cluster.clone(),
            meta: Default::default(),
            spec: o.spec.clone(),
            root_ca_cert: self.root.to_owned(),
            root_ca_key: self.root_key.to_owned(),
            join_secret_worker: JoinToken::fresh_secret(crypto::random()),
            join_secret_manager: JoinToken::fresh_secret(crypto::random()),
            default_addr_pool: o.default_addr_pool.clone(),
            subnet_size: o.subnet_size,
            data_path_port: o.data_path_port,
            removed_nodes: Default::default(),
            unlock_key: o.spec.autolock.then(|| UnlockKey::fresh().to_string()),
            rotation: None,
        }
    }

    fn node(&self) -> Node {
        let o = self.options;
        let description = model::NodeDescription { hostname: o.hostname.clone(), ..Default::default() };
        let addr = self.place.advertise;
        Node {
            id: self.peer.node.clone(),
            meta: Default::default(),
            spec: NodeSpec { role: NodeRole::Manager, availability: o.availability, ..Default::default() },
            description: Some(description),
            status: NodeStatus { state: NodeState::Unknown, addr: addr.ip().to_string(), ..Default::default() },
            role: NodeRole::Manager,
            manager: Some(ManagerStatus { raft_id: self.raft_id, addr, leader: true, reachable: true }),
            data_path_addr: Some(o.data_path_addr.unwrap_or(addr.ip())),
            attachments: Vec::new(),
        }
    }

    fn ingress(&self) -> Network {
        let spec = NetworkSpec {
            name: INGRESS.into(),
            driver: "overlay".into(),
            ipv4: true,
            ingress: true,
            ..Default::default()
        };
        Network { id: clock::fresh(), meta: Default::default(), spec, vni: 0, subnets: Vec::new() }
    }
}
