//! Gives what must be unique: VXLAN identifiers, subnets, addresses, published ports.
//!
//! An allocation is nothing but a field of the object that holds it; what is free is read off the tables' unique keys,
//! so nothing leaks and nothing is rebuilt. The same functions serve the planner and, at once, the control calls.
mod address;
pub(crate) mod networks;
pub(crate) mod nodes;
pub(crate) mod services;
pub(crate) mod tasks;

pub(crate) use address::next_free;

use crate::draft::Draft;
use crate::memory::PlannerMemory;
use model::{Network, NetworkId, Protocol, Service, Subnet, Tables, Timestamp};

/// Why something could not be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// An asked-for subnet shares addresses with another network or with what a machine routes.
    #[error("Pool overlaps with other one on this address space")]
    SubnetOverlaps {
        /// As asked.
        asked: Subnet,
        /// With what.
        with: Subnet,
    },
    /// Every subnet of the pools is in use.
    #[error("could not find an available, non-overlapping subnet among the swarm's address pools")]
    PoolExhausted,
    /// A subnet without room for a gateway and one address.
    #[error("subnet {0} is too small")]
    SubnetTooSmall(Subnet),
    /// The gateway lies outside.
    #[error("invalid gateway {gateway}: it is not in subnet {subnet}")]
    Gateway {
        /// As asked.
        gateway: std::net::IpAddr,
        /// Where it should be.
        subnet: Subnet,
    },
    /// All identifiers are in use.
    #[error("no free VXLAN identifier")]
    VniExhausted,
    /// The asked-for identifier is in use.
    #[error("VXLAN identifier {0} is already in use by another network")]
    VniTaken(u32),
    /// A service publishes, but there is no routing mesh.
    #[error("service needs ingress network, but no ingress network is present")]
    NoIngress,
    /// The network is not there or has no subnet yet.
    #[error("network {0} not found")]
    NoNetwork(NetworkId),
    /// The network is full.
    #[error("network {network}: no free address ({used} of {size} in use)")]
    NoAddress {
        /// Its name.
        network: String,
        /// Held addresses.
        used: u64,
        /// Addresses that can be held.
        size: u64,
    },
    /// The asked-for address is not to be had.
    #[error("network {network}: address {addr} is already in use or not in its subnets")]
    AddressTaken {
        /// Its name.
        network: String,
        /// As asked.
        addr: std::net::IpAddr,
    },
    /// Docker's sentence.
    #[error("port '{port}' is already in use by service '{name}' ({id}) as an ingress port")]
    PortTaken {
        /// As asked.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The holder's name.
        name: String,
        /// The holder's id.
        id: model::ServiceId,
    },
    /// The same port twice in one service.
    #[error("EndpointSpec: duplicate published ports provided")]
    PortTwice,
    /// 30000–32767 are all in use.
    #[error("no free port between 30000 and 32767")]
    PortsExhausted,
}

/// Gives a network its identifier, its subnets and their gateways, at once. What it already has stays.
///
/// # Errors
/// See [`AllocationError`]; the network is then unchanged.
pub fn allocate_network(tables: &Tables, network: &mut Network) -> Result<(), AllocationError> {
    let mut none = NoRandom;
    let draft = Draft::new(tables, Timestamp::default(), &mut none);
    networks::allocate(&draft, network)
}

/// Gives a service its published ports and virtual addresses, at once. What it has and still needs stays.
///
/// # Errors
/// See [`AllocationError`]; the service is then unchanged.
pub fn allocate_service(tables: &Tables, service: &mut Service) -> Result<(), AllocationError> {
    let mut none = NoRandom;
    let mut draft = Draft::new(tables, Timestamp::default(), &mut none);
    services::allocate(&mut draft, &mut PlannerMemory::default(), service)
}

/// Allocation makes no ids.
struct NoRandom;

impl crate::Random for NoRandom {
    fn id_bytes(&mut self) -> [u8; 17] {
        [0; 17]
    }
    fn number(&mut self) -> u64 {
        0
    }
}
