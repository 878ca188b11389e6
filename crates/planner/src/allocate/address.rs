//! The next free address of a network: upward from the one given last, with wrap-around, so that an address that was
//! just set free rests for as long as possible.
use super::AllocationError;
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{Network, NetworkSubnet, Subnet};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Gives one address per family that the network has, and marks them as taken in the draft.
pub(crate) fn next_free(
    draft: &mut Draft<'_>,
    memory: &mut PlannerMemory,
    network: &Network,
    asked: &[IpAddr],
) -> Result<Vec<(IpAddr, u8)>, AllocationError> {
    let mut given: Vec<(IpAddr, u8)> = Vec::new();
    for v4 in [true, false] {
        let of_family: Vec<(usize, &NetworkSubnet)> =
            network.subnets.iter().enumerate().filter(|(_, s)| s.subnet.base.is_ipv4() == v4).collect();
        if of_family.is_empty() {
            continue;
        }
        let wishes: Vec<IpAddr> = asked.iter().copied().filter(|a| a.is_ipv4() == v4).collect();
        let found = if wishes.is_empty() {
            of_family.iter().find_map(|(i, s)| next_in(draft, memory, network, *i, s)).ok_or_else(|| {
                let used = draft.tables.addresses_of(&network.id).filter(|(a, _)| a.is_ipv4() == v4).count() as u64;
                let size = of_family.iter().map(|(_, s)| usable(&s.subnet)).sum();
                AllocationError::NoAddress { network: network.spec.name.clone(), used, size }
            })
        } else {
            wishes
                .iter()
                .find_map(|wish| {
                    let (_, s) = of_family.iter().find(|(_, s)| s.subnet.contains(*wish))?;
                    (!draft.is_taken(&network.id, *wish)).then_some((*wish, s.subnet.prefix))
                })
                .ok_or_else(|| AllocationError::AddressTaken { network: network.spec.name.clone(), addr: wishes[0] })
        }?;
        given.push(found);
    }
    for (addr, _) in &given {
        draft.take_address(&network.id, *addr);
    }
    Ok(given)
}

/// How many addresses of a subnet can be held, the gateway's included.
fn usable(subnet: &Subnet) -> u64 {
    let unusable = if subnet.base.is_ipv4() { 2 } else { 1 };
    u64::try_from(subnet.size().saturating_sub(unusable)).unwrap_or(u64::MAX)
}

fn next_in(
    draft: &Draft<'_>,
    memory: &mut PlannerMemory,
    network: &Network,
    index: usize,
    subnet: &NetworkSubnet,
) -> Option<(IpAddr, u8)> {
    let block = subnet.range.unwrap_or(subnet.subnet);
    let reserved: BTreeSet<IpAddr> = network
        .spec
        .ipam
        .iter()
        .filter(|c| c.subnet == Some(subnet.subnet))
        .flat_map(|c| c.reserved.values().copied())
        .collect();
    let free = |addr: IpAddr| {
        addr != subnet.subnet.base
            && !(addr.is_ipv4() && addr == subnet.subnet.last())
            && addr != subnet.gateway
            && !reserved.contains(&addr)
            && !draft.is_taken(&network.id, addr)
    };
    let key = (network.id.clone(), index);
    let start = memory.cursors.get(&key).map_or(0, |last| last + 1);
    // Beyond this the block is full: more addresses than this cannot be held by objects.
    let probes = block.size().min(1 << 24);
    let found = (0..probes).map(|i| (start + i) % block.size()).find(|n| block.nth(*n).is_some_and(free))?;
    memory.cursors.insert(key, found);
    Some((block.nth(found)?, subnet.subnet.prefix))
}
