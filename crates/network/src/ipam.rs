//! Choosing blocks and addresses. Pure: what is taken is an argument.
use crate::local::Pool;
use model::Subnet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Docker's blocks for networks that name none: 172.17–172.31 by /16, then 192.168 by /20.
pub fn default_pools() -> Vec<(Subnet, u8)> {
    let block = |a: [u8; 4], prefix| Subnet::containing(IpAddr::V4(Ipv4Addr::from(a)), prefix);
    let mut pools =
        vec![(block([172, 17, 0, 0], 16), 16), (block([172, 18, 0, 0], 16), 16), (block([172, 19, 0, 0], 16), 16)];
    pools.extend([
        (block([172, 20, 0, 0], 14), 16),
        (block([172, 24, 0, 0], 14), 16),
        (block([172, 28, 0, 0], 14), 16),
    ]);
    pools.push((block([192, 168, 0, 0], 16), 20));
    pools
}

/// The first block of the pools that overlaps nothing that is taken.
pub fn choose_block(pools: &[(Subnet, u8)], taken: &[Subnet]) -> Option<Subnet> {
    pools.iter().find_map(|(pool, prefix)| {
        let bits = u32::from(prefix.checked_sub(pool.prefix)?);
        let step = 1u128 << (pool.width() - prefix);
        // A pool cut into millions is not walked to its end.
        (0..1u128 << bits.min(16)).find_map(|i| {
            let block = Subnet { base: pool.nth(i * step)?, prefix: *prefix };
            (!taken.iter().any(|t| t.overlaps(&block))).then_some(block)
        })
    })
}

/// A unique local /64 for a network that wants IPv6 and names no block, from its id.
pub fn local_ipv6_block(id: &str) -> Subnet {
    let digits: Vec<u8> = id.bytes().filter_map(|b| (b as char).to_digit(16).map(|d| d as u8)).collect();
    let mut octets = [0u8; 16];
    octets[0] = 0xfd;
    for (i, pair) in digits.chunks(2).take(7).enumerate() {
        octets[i + 1] = pair.iter().fold(0, |a, d| a << 4 | d);
    }
    Subnet::containing(IpAddr::from(octets), 64)
}

/// The first address of a block: the gateway, unless said otherwise.
pub fn first_address(subnet: &Subnet) -> IpAddr {
    subnet.nth(u128::from(subnet.size() > 2)).unwrap_or(subnet.base)
}

/// Whether an address of the block may be given to anybody.
pub fn is_usable(subnet: &Subnet, addr: IpAddr) -> bool {
    let edge = addr == subnet.base || (addr.is_ipv4() && addr == subnet.last());
    subnet.contains(addr) && (!edge || subnet.size() <= 2)
}

/// The lowest free address of a pool.
pub fn choose_address(pool: &Pool, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let from = pool.range.unwrap_or(pool.subnet);
    let free = |a: &IpAddr| {
        is_usable(&pool.subnet, *a)
            && *a != pool.gateway
            && !taken.contains(a)
            && !pool.reserved.values().any(|r| r == a)
    };
    (0..from.size().min(1 << 20)).map_while(|n| from.nth(n)).find(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn net(s: &str) -> Subnet {
        s.parse().unwrap()
    }

    fn pool(subnet: &str, range: Option<&str>) -> Pool {
        let subnet = net(subnet);
        let reserved = BTreeMap::from([("router".to_owned(), subnet.nth(3).unwrap())]);
        Pool { subnet, range: range.map(net), gateway: first_address(&subnet), reserved }
    }

    #[test]
    fn the_default_blocks_are_dockers() {
        let mut taken = Vec::new();
        let mut texts = Vec::new();
        while let Some(b) = choose_block(&default_pools(), &taken) {
            texts.push(b.to_string());
            taken.push(b);
        }
        assert_eq!(texts.len(), 15 + 16);
        assert_eq!(
            (&*texts[0], &*texts[14], &*texts[15], &*texts[30]),
            ("172.17.0.0/16", "172.31.0.0/16", "192.168.0.0/20", "192.168.240.0/20")
        );
    }

    #[test]
    fn blocks_that_the_machine_routes_are_skipped() {
        let taken = [net("172.16.0.0/13"), net("172.24.5.0/24")];
        assert_eq!(choose_block(&default_pools(), &taken).unwrap().to_string(), "172.25.0.0/16");
        assert_eq!(choose_block(&[], &taken), None);
    }

    #[test]
    fn addresses_are_given_lowest_first_without_the_edges() {
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(a) = choose_address(&pool("10.0.0.0/29", None), &taken) {
            taken.insert(a);
            given.push(a.to_string());
        }
        assert_eq!(given, ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        let a = choose_address(&pool("10.0.0.0/24", Some("10.0.0.128/25")), &taken).unwrap();
        assert_eq!(a.to_string(), "10.0.0.128");
        let v6 = choose_address(&pool("fd00::/64", None), &taken).unwrap();
        assert_eq!(v6.to_string(), "fd00::2");
    }

    #[test]
    fn an_ipv6_block_comes_from_the_id() {
        assert_eq!(local_ipv6_block("0123456789abcdef").to_string(), "fd01:2345:6789:abcd::/64");
    }
}
