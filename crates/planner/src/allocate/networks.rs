//! A network's VXLAN identifier and subnets.
//!
//! ```text
//!  asked subnet ──► must not overlap ┐
//!  nothing asked ─► lowest free /24 of the pools that overlaps no network and no route of any machine ─► gateway .1
//!  ingress: vni 4096 and the first subnet;  others: vni from 4097 upward, lowest free
//! ```
use super::AllocationError;
use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{IpamConfig, Network, NetworkSubnet, ObjectRef, Subnet};
use std::net::{IpAddr, Ipv6Addr};

/// The routing mesh's identifier.
const VNI_INGRESS: u32 = 4096;
const VNI_MAX: u32 = 16_777_215;
/// Where a user may ask for identifiers.
const VNI_OPTION: &str = "com.docker.network.driver.overlay.vxlanid_list";

pub(crate) fn run(draft: &mut Draft<'_>, memory: &mut PlannerMemory) {
    for id in std::mem::take(&mut memory.dirty_networks) {
        let Some(stored) = draft.network(&id) else { continue };
        if stored.vni != 0 && !stored.subnets.is_empty() {
            continue;
        }
        let mut network = (**stored).clone();
        if draft.is_full() || memory.quarantine.why(&ObjectRef::Network(id.clone())).is_some() {
            memory.dirty_networks.insert(id);
            continue;
        }
        memory.quarantine.work_on(Some(ObjectRef::Network(id.clone())));
        match allocate(draft, &mut network) {
            Ok(()) => draft.put_network(network),
            Err(e) => {
                tracing::debug!(network = %network.id, name = network.spec.name, "network waits: {e}");
                memory.dirty_networks.insert(id);
            }
        }
    }
}

/// Gives what the network still lacks.
pub(crate) fn allocate(draft: &Draft<'_>, network: &mut Network) -> Result<(), AllocationError> {
    let mut next = network.clone();
    if next.vni == 0 {
        next.vni = vni(draft, &next)?;
    }
    if next.subnets.is_empty() {
        next.subnets = subnets(draft, &next)?;
    }
    *network = next;
    Ok(())
}

fn vni(draft: &Draft<'_>, network: &Network) -> Result<u32, AllocationError> {
    let taken = |vni: u32| {
        draft.tables.vni_holder(vni).is_some_and(|holder| *holder != network.id)
            || draft.touched_networks().any(|n| n.vni == vni && n.id != network.id)
    };
    let asked = network.spec.options.get(VNI_OPTION).and_then(|list| list.split(',').next()?.trim().parse().ok());
    if let Some(asked) = asked {
        return if taken(asked) { Err(AllocationError::VniTaken(asked)) } else { Ok(asked) };
    }
    let first = if network.spec.ingress { VNI_INGRESS } else { VNI_INGRESS + 1 };
    (first..=VNI_MAX).find(|vni| !taken(*vni)).ok_or(AllocationError::VniExhausted)
}

fn subnets(draft: &Draft<'_>, network: &Network) -> Result<Vec<NetworkSubnet>, AllocationError> {
    let busy = busy(draft, network);
    let mut given: Vec<NetworkSubnet> = Vec::new();
    for config in &network.spec.ipam {
        let Some(asked) = config.subnet else { continue };
        if let Some(with) = busy.networks.iter().chain(given.iter().map(|g| &g.subnet)).find(|b| b.overlaps(&asked)) {
            return Err(AllocationError::SubnetOverlaps { asked, with: *with });
        }
        if let Some(with) = busy.routes.iter().find(|b| b.overlaps(&asked)) {
            return Err(AllocationError::SubnetOverlaps { asked, with: *with });
        }
        given.push(subnet(asked, config)?);
    }
    // An entry without a subnet (only a gateway, a range or nothing) is served from the pools.
    let v4_asked = given.iter().any(|g| g.subnet.base.is_ipv4());
    let v6_asked = given.iter().any(|g| !g.subnet.base.is_ipv4());
    let rest = IpamConfig::default();
    if !v4_asked && (network.spec.ipv4 || !network.spec.ipv6 || !v6_asked) {
        let config = network.spec.ipam.iter().find(|c| c.subnet.is_none()).unwrap_or(&rest);
        given.insert(0, subnet(from_pools(draft, &busy)?, config)?);
    }
    if network.spec.ipv6 && !v6_asked {
        given.push(subnet(from_local_v6(draft, &busy)?, &rest)?);
    }
    Ok(given)
}

struct Busy {
    networks: Vec<Subnet>,
    routes: Vec<Subnet>,
}

/// What a new subnet may not touch. A machine's default route says nothing about its neighbourhood.
fn busy(draft: &Draft<'_>, network: &Network) -> Busy {
    let networks = draft.tables.networks().chain(draft.touched_networks()).filter(|n| n.id != network.id);
    let descriptions = draft.tables.nodes().filter_map(|n| n.description.as_ref());
    Busy {
        networks: networks.flat_map(|n| n.subnets.iter().map(|s| s.subnet)).collect(),
        routes: descriptions.flat_map(|d| d.routes.iter().copied()).filter(|r| r.prefix > 0).collect(),
    }
}

fn subnet(block: Subnet, config: &IpamConfig) -> Result<NetworkSubnet, AllocationError> {
    if block.size() < 4 {
        return Err(AllocationError::SubnetTooSmall(block));
    }
    let gateway = match config.gateway {
        Some(gateway) if !block.contains(gateway) => {
            return Err(AllocationError::Gateway { gateway, subnet: block });
        }
        Some(gateway) => gateway,
        None => block.nth(1).ok_or(AllocationError::SubnetTooSmall(block))?,
    };
    Ok(NetworkSubnet { subnet: block, range: config.range.filter(|r| block.contains(r.base)), gateway })
}

fn from_pools(draft: &Draft<'_>, busy: &Busy) -> Result<Subnet, AllocationError> {
    let cluster = draft.tables.cluster();
    let size = cluster.map_or(24, |c| if c.subnet_size == 0 { 24 } else { c.subnet_size });
    let pools = cluster.map(|c| c.default_addr_pool.clone()).filter(|p| !p.is_empty());
    let pools = pools.unwrap_or_else(|| vec![Subnet { base: IpAddr::from([10, 0, 0, 0]), prefix: 8 }]);
    let v4 = pools.iter().filter(|p| p.base.is_ipv4());
    v4.filter_map(|pool| first_free(pool, size.max(pool.prefix), busy)).next().ok_or(AllocationError::PoolExhausted)
}

/// A block of unique local addresses (RFC 4193) of this swarm's own, one /64 per network.
fn from_local_v6(draft: &Draft<'_>, busy: &Busy) -> Result<Subnet, AllocationError> {
    let id = draft.tables.cluster().map(|c| c.id.to_string()).unwrap_or_default();
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let base = Ipv6Addr::from((0xfd_u128 << 120) | (u128::from(hash & 0xff_ffff_ffff) << 80));
    let cut = |pool: &Subnet| pool.base.is_ipv6().then(|| first_free(pool, 64.max(pool.prefix), busy)).flatten();
    let pools = draft.tables.cluster().map(|c| c.default_addr_pool.clone()).unwrap_or_default();
    pools
        .iter()
        .find_map(cut)
        .or_else(|| first_free(&Subnet::containing(base.into(), 48), 64, busy))
        .ok_or(AllocationError::PoolExhausted)
}

/// The lowest block of `prefix` bits in `pool` that touches nothing; skips over what it meets.
fn first_free(pool: &Subnet, prefix: u8, busy: &Busy) -> Option<Subnet> {
    let step = 1u128.checked_shl(u32::from(pool.width() - prefix))?;
    let mut at = 0u128;
    while let Some(base) = pool.nth(at) {
        let block = Subnet::containing(base, prefix);
        match busy.networks.iter().chain(&busy.routes).find(|b| b.overlaps(&block)) {
            None => return Some(block),
            // A wide obstacle is left behind in one step.
            Some(b) if b.prefix < prefix => {
                let wide = 1u128.checked_shl(u32::from(pool.width() - b.prefix))?;
                at = (at / wide + 1).checked_mul(wide)?;
            }
            Some(_) => at = at.checked_add(step)?,
        }
    }
    None
}
