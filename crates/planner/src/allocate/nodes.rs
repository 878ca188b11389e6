//! A node's own (load-balancer) address on each network that it takes part in: `ingress` always, and each overlay for
//! which it has an unfinished task. Given back when the last such task is gone.
use super::next_free;
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{NetworkId, Node, NodeAttachment, NodeId, NodeState, ObjectRef};
use std::collections::BTreeSet;

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    let touched: Vec<NodeId> =
        draft.touched_tasks().filter(|t| !t.networks.is_empty()).filter_map(|t| t.node.clone()).collect();
    memory.dirty_nodes.extend(touched);
    let mut waiting = BTreeSet::new();
    while !draft.is_full()
        && let Some(id) = memory.dirty_nodes.pop_first()
    {
        let Some(stored) = draft.node(&id).cloned() else { continue };
        if memory.quarantine.why(&ObjectRef::Node(id.clone())).is_some() {
            continue;
        }
        memory.quarantine.work_on(Some(ObjectRef::Node(id.clone())));
        let mut node = (*stored).clone();
        let needed = needed(draft, memory, &node);
        node.attachments.retain(|a| needed.contains(&a.network));
        for network in &needed {
            if node.attachments.iter().any(|a| a.network == *network) {
                continue;
            }
            let Some(network) = draft.network(network).cloned() else { continue };
            match next_free(draft, memory, &network, &[]) {
                Ok(given) => node.attachments.extend(
                    // One line per network, as Docker shows it: the IPv4 address if there is one.
                    given.first().map(|(addr, prefix)| NodeAttachment {
                        network: network.id.clone(),
                        addr: *addr,
                        prefix: *prefix,
                    }),
                ),
                Err(e) => {
                    tracing::debug!(node = %node.id, "no load-balancer address: {e}");
                    waiting.insert(node.id.clone());
                }
            }
        }
        draft.put_node(node);
    }
    memory.dirty_nodes.extend(waiting);
}

fn needed(draft: &Draft<'_>, memory: &PlannerMemory, node: &Node) -> BTreeSet<NetworkId> {
    let mut needed = BTreeSet::new();
    // What a node once has it keeps while it is away: its containers may still be running.
    if let Some(ingress) = draft.ingress().filter(|n| !n.subnets.is_empty())
        && (node.status.state == NodeState::Ready || node.attachments.iter().any(|a| a.network == ingress.id))
    {
        needed.insert(ingress.id.clone());
    }
    let has_subnet = |id: &&NetworkId| draft.network(id).is_some_and(|n| !n.subnets.is_empty());
    needed.extend(memory.loads.get(&node.id).networks().filter(has_subnet).cloned());
    needed
}
