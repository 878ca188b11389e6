//! The directory of each node, made from views of networks that all nodes share.
//!
//! A view changes only where one of its objects has changed, and a session compares views by pointer first: a change of
//! one network costs nothing for the others, and the way from one view to the next is found once for all sessions.
use model::directory::{NetworkDelta, NetworkView, PeerView, difference, networks_of};
use model::{Directory, DirectoryDelta, NetworkId, NetworkTarget, NodeId, NodeState, ObjectRef, Tables};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Views = BTreeMap<NetworkId, Arc<NetworkView>>;

/// The views of all networks at one revision, and what sessions have in common.
#[derive(Default)]
pub struct DirectoryCache {
    revision: Option<u64>,
    views: Views,
    /// Which nodes carry a network, for the view that this was found from.
    carriers: BTreeMap<NetworkId, (Arc<NetworkView>, Arc<BTreeSet<NodeId>>)>,
    /// The last way from one view to another: most sessions go it together.
    ways: BTreeMap<NetworkId, Way>,
}

/// From a view (or nothing) to another.
struct Way {
    from: Option<Arc<NetworkView>>,
    to: Arc<NetworkView>,
    delta: NetworkDelta,
}

impl DirectoryCache {
    /// The views as of `tables`. Pictures older than one already seen are answered with what is newest.
    pub fn views(&mut self, tables: &Tables) -> &Views {
        if self.revision.is_some_and(|r| r >= tables.revision()) {
            return &self.views;
        }
        match self.revision.and_then(|r| tables.changed_since(r)) {
            Some(changed) => {
                for object in changed.collect::<BTreeSet<_>>() {
                    self.refresh(tables, object);
                }
            }
            None => {
                let all: BTreeSet<_> =
                    tables.networks().map(|n| n.id.clone()).chain(self.views.keys().cloned()).collect();
                all.iter().for_each(|id| self.rebuild(tables, id));
            }
        }
        self.revision = Some(tables.revision());
        &self.views
    }

    /// Looks at a network as a whole.
    fn rebuild(&mut self, tables: &Tables, id: &NetworkId) {
        let Some(network) = tables.network(id) else {
            self.views.remove(id);
            self.carriers.remove(id);
            self.ways.remove(id);
            return;
        };
        let view = NetworkView::of(tables, network);
        if self.views.get(id).is_none_or(|old| **old != view) {
            self.views.insert(id.clone(), Arc::new(view));
        }
    }

    /// Looks at one changed object on the networks where it shows or shall show.
    fn refresh(&mut self, tables: &Tables, object: &ObjectRef) {
        if let ObjectRef::Network(id) = object {
            return self.rebuild(tables, id);
        }
        for id in self.touched(tables, object) {
            let Some(network) = tables.network(&id) else { continue };
            match self.views.get_mut(&id) {
                Some(view) => drop(NetworkView::refresh(view, tables, network, object)),
                None => self.rebuild(tables, &id),
            }
        }
    }

    /// The networks whose view a changed object may show in: those that show it, and those that it names now.
    fn touched(&self, tables: &Tables, object: &ObjectRef) -> BTreeSet<NetworkId> {
        let mut touched = BTreeSet::new();
        let mut shown = |test: &dyn Fn(&NetworkView) -> bool| {
            touched.extend(self.views.iter().filter(|(_, v)| test(v)).map(|(id, _)| id.clone()));
        };
        match object {
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
            ObjectRef::Network(_) | ObjectRef::Cluster(_) | ObjectRef::Secret(_) | ObjectRef::Config(_) => {}
        }
        touched
    }

    /// The nodes that carry a network.
    fn carriers(&mut self, id: &NetworkId, view: &Arc<NetworkView>) -> Arc<BTreeSet<NodeId>> {
        if let Some((of, carriers)) = self.carriers.get(id)
            && Arc::ptr_eq(of, view)
        {
            return carriers.clone();
        }
        let all = view.node_addrs.keys().chain(view.endpoints.values().map(|e| &e.node));
        let carriers = Arc::new(all.cloned().collect::<BTreeSet<_>>());
        self.carriers.insert(id.clone(), (view.clone(), carriers.clone()));
        carriers
    }

    /// The way from one view of a network to another.
    fn way(&mut self, id: &NetworkId, from: Option<&Arc<NetworkView>>, to: &Arc<NetworkView>) -> NetworkDelta {
        let same = |a: Option<&Arc<NetworkView>>, b: Option<&Arc<NetworkView>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if let Some(way) = self.ways.get(id)
            && same(way.from.as_ref(), from)
            && Arc::ptr_eq(&way.to, to)
        {
            return way.delta.clone();
        }
        let delta = NetworkDelta::between(from.map(|v| &**v), to);
        let way = Way { from: from.cloned(), to: to.clone(), delta: delta.clone() };
        self.ways.insert(id.clone(), way);
        delta
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
        let mut carriers = BTreeSet::from([node.clone()]);
        for (id, view) in &networks {
            carriers.extend(cache.carriers(id, view).iter().cloned());
        }
        let peers = carriers.iter().filter_map(|id| {
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
    pub fn delta(&self, next: &Self, cache: &mut DirectoryCache) -> DirectoryDelta {
        let networks = NetworkDelta::of_all(&self.networks, &next.networks, |id, old, new| match old {
            Some(same) if Arc::ptr_eq(same, new) => NetworkDelta::default(),
            _ => cache.way(id, old, new),
        });
        DirectoryDelta {
            from: self.revision,
            to: next.revision,
            data_path_port: next.data_path_port,
            peers: difference(&self.peers, &next.peers),
            networks,
        }
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

#[cfg(test)]
mod tests;
