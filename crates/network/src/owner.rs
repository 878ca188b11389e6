//! (being filled) The one owner of the machine's networks.
use crate::error::NetworkError;
use crate::handle::{Config, Shown, VerifyReport};
use crate::local::{LocalNetwork, LocalNetworkSpec};
use crate::sandbox::{NameFiles, SandboxSpec};
use crate::{Attach, EndpointInfo};
use arc_swap::ArcSwap;
use model::{Directory, NetworkId, NodeId, Subnet, TaskId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use wire::Refusal;

pub(crate) struct Owner {}

fn later<T>() -> Result<T, NetworkError> {
    Err(Refusal::unimplemented("networks are not built yet").into())
}

impl Owner {
    pub(crate) fn open(_: Config, _: Arc<ArcSwap<Shown>>, _: tokio::runtime::Handle) -> Result<Self, NetworkError> {
        Ok(Self {})
    }
    pub(crate) fn create_local(&mut self, _: LocalNetworkSpec) -> Result<Arc<LocalNetwork>, NetworkError> {
        later()
    }
    pub(crate) fn remove_local(&mut self, _: &str) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn ensure_gwbridge(&mut self) -> Result<Arc<LocalNetwork>, NetworkError> {
        later()
    }
    pub(crate) fn create_sandbox(&mut self, _: SandboxSpec) -> Result<Option<PathBuf>, NetworkError> {
        later()
    }
    pub(crate) fn remove_sandbox(&mut self, _: &str) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn connect(&mut self, _: &str, _: Attach) -> Result<EndpointInfo, NetworkError> {
        later()
    }
    pub(crate) fn disconnect(&mut self, _: &str, _: &str) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn rename(&mut self, _: &str, _: &str) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn name_files(&mut self, _: &str) -> Result<NameFiles, NetworkError> {
        later()
    }
    pub(crate) fn enter_swarm(&mut self, _: NodeId, _: IpAddr, _: u16) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn apply_directory(&mut self, _: Directory) -> Result<u64, NetworkError> {
        later()
    }
    pub(crate) fn leave_swarm(&mut self) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn live_connections(&mut self, _: &TaskId) -> usize {
        0
    }
    pub(crate) fn verify(&mut self) -> Result<VerifyReport, NetworkError> {
        later()
    }
    pub(crate) fn routed(&mut self) -> Result<Vec<Subnet>, NetworkError> {
        later()
    }
    pub(crate) fn reap(&mut self, _: &BTreeSet<String>) -> Result<(), NetworkError> {
        later()
    }
    pub(crate) fn overlay_mtu_of(&mut self, _: &NetworkId) -> Result<u32, NetworkError> {
        later()
    }
}
