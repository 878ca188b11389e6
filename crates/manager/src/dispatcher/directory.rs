//! The directory of each node, made from views of networks that all nodes share.
//!
//! A view is made anew only when one of its objects has changed, and a session compares views by pointer first: a change
//! of one network costs nothing for the others.
use model::directory::{NetworkView, PeerView, networks_of};
use model::{Directory, DirectoryDelta, NetworkId, NetworkTarget, NodeId, NodeState, ObjectRef, Tables};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Views = BTreeMap<NetworkId, Arc<NetworkView>>;

/// The views of all networks at one revision.
#[derive(Default)]
pub struct DirectoryCache {
    revision: Option<u64>,
    views: Views,
}

impl DirectoryCache {
    /// The views as of `tables`. Pictures older than one already seen are answered with what is newest.
    pub fn views(&mut self, tables: &Tables) -> &Views {
        if self.revision.is_some_and(|r| r >= tables.revision()) {
            return &self.views;
        }
        let touched = match self.revision.and_then(|r| tables.changed_since(r)) {
            Some(changed) => {
                let mut touched = BTreeSet::new();
                for object in changed {
                    self.touch(tables, object, &mut touched);
                }
                touched
            }
            None => tables.networks().map(|n| n.id.clone()).chain(self.views.keys().cloned()).collect(),
        };
        for id in touched {
            match tables.network(&id) {
                None => drop(self.views.remove(&id)),
                Some(network) => {
                    let view = NetworkView::of(tables, network);
                    if self.views.get(&id).is_none_or(|old| **old != view) {
                        self.views.insert(id, Arc::new(view));
                    }
                }
            }
        }
        self.revision = Some(tables.revision());
        &self.views
    }

    /// The networks whose view a changed object may show in: those that show it, and those that it names now.
    fn touch(&self, tables: &Tables, object: &ObjectRef, touched: &mut BTreeSet<NetworkId>) {
        let mut shown = |test: &dyn Fn(&NetworkView) -> bool| {
            touched.extend(self.views.iter().filter(|(_, v)| test(v)).map(|(id, _)| id.clone()));
        };
        match object {
            ObjectRef::Network(id) => drop(touched.insert(id.clone())),
            ObjectRef::Node(id) => {
                shown(&|v| v.node_addrs.contains_key(id));
                touched
                    .extend(tables.node(id).into_iter().flat_map(|n| n.attachments.iter().map(|a| a.network.clone())));
            }
            ObjectRef::Service(id) => {
                shown(&|v| v.services.contains_key(id));
                if let Some(s) = tables.service(id) {
                    touched.extend(s.spec.task.networks.iter().filter_map(|n| swarm(&n.target)));
                    touched.extend(tables.ingress().filter(|_| !s.ports.is_empty()).map(|n| n.id.clone()));
                }
            }
            ObjectRef::Task(id) => {
                shown(&|v| v.endpoints.contains_key(id));
                touched.extend(
                    tables.task(id).into_iter().flat_map(|t| t.networks.iter().filter_map(|n| swarm(&n.network))),
                );
            }
            ObjectRef::Cluster(_) | ObjectRef::Secret(_) | ObjectRef::Config(_) => {}
        }
    }
}

fn swarm(target: &NetworkTarget) -> Option<NetworkId> {
    match target {
        NetworkTarget::Swarm(id) => Some(id.clone()),
        NetworkTarget::Predefined(_) => None,
    }
}

/// What one node shall know, sharing the views.
#[derive(Clone, Default)]
pub struct Picture {
    revision: u64,
    data_path_port: u16,
    peers: BTreeMap<NodeId, PeerView>,
    networks: Views,
}

impl Picture {
    /// As of `tables`. Equal to [`Directory::for_node`] with the nodes' states, and who is silent, as the mask.
    pub fn of(cache: &mut DirectoryCache, tables: &Tables, node: &NodeId, masked: &BTreeSet<NodeId>) -> Self {
        let views = cache.views(tables);
        let networks: Views = networks_of(tables, node)
            .into_iter()
            .filter_map(|id| Some((id.clone(), views.get(&id)?.clone())))
            .collect();
        let carriers: BTreeSet<&NodeId> = networks
            .values()
            .flat_map(|n| n.node_addrs.keys().chain(n.endpoints.values().map(|e| &e.node)))
            .chain([node])
            .collect();
        let peers = carriers.into_iter().filter_map(|id| {
            let n = tables.node(id)?;
            let hostname = n.description.as_ref().map(|d| d.hostname.clone()).unwrap_or_default();
            let alive = id == node || n.status.state == NodeState::Ready && !masked.contains(id);
            let encryption_key = n.description.as_ref().and_then(|d| d.encryption_key);
            Some((id.clone(), PeerView { hostname, addr: n.data_path_addr?, alive, encryption_key }))
        });
        let peers = peers.collect();
        let data_path_port = tables.cluster().map_or(4789, |c| c.data_path_port);
        Self { revision: tables.revision(), data_path_port, peers, networks }
    }

    /// All of it.
    pub fn whole(&self) -> Directory {
        Directory {
            revision: self.revision,
            data_path_port: self.data_path_port,
            peers: self.peers.clone(),
            networks: self.networks.iter().map(|(id, v)| (id.clone(), (**v).clone())).collect(),
        }
    }

    /// The way from here to `next`; empty but for the revisions when nothing changed.
    pub fn delta(&self, next: &Self) -> DirectoryDelta {
        let apart = |a: &Views, b: &Views| {
            let changed = a.iter().filter(|(id, v)| b.get(*id).is_none_or(|o| !Arc::ptr_eq(o, v)));
            changed.map(|(id, v)| (id.clone(), (**v).clone())).collect()
        };
        let part = |p: &Self, networks| Directory {
            revision: p.revision,
            data_path_port: p.data_path_port,
            peers: p.peers.clone(),
            networks,
        };
        let old = part(self, apart(&self.networks, &next.networks));
        old.delta(&part(next, apart(&next.networks, &self.networks)))
    }

    /// Whether another node is shown, or one is masked or no longer is: that may change within a revision.
    pub fn differs_in_peers(&self, other: &Self) -> bool {
        self.peers != other.peers
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}
