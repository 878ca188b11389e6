//! Networks of the swarm on this node: from the managers' directory to the packet road.
pub mod desired;
pub mod ingress;
pub mod seal;
