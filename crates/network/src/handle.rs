//! The handle: asks, in order, the one thread that owns the machine's networks.
use crate::error::NetworkError;
use crate::local::{LocalNetwork, LocalNetworkSpec};
use crate::overlay::seal::Identity;
use crate::owner::Owner;
use crate::sandbox::{NameFiles, SandboxSpec};
use crate::{Attach, EndpointInfo};
use arc_swap::ArcSwap;
use model::{Directory, IpamConfig, NetworkId, NodeId, Subnet, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::Refusal;

/// Requests that may wait for the owner.
const QUEUE_MAX: usize = 256;
/// How often the kernel is compared with what it should be.
const VERIFY_EVERY: Duration = Duration::from_secs(10);

/// Where the networks live.
#[derive(Clone, Debug)]
pub struct Config {
    /// Saved state (`<data-root>/network`).
    pub data_dir: PathBuf,
    /// Namespaces are mounted in `<exec_dir>/netns`. Two daemons must have different ones: names of nftables tables
    /// are derived from it.
    pub exec_dir: PathBuf,
    /// Pins of the eBPF programs; on a bpffs.
    pub pin_dir: PathBuf,
    /// What is behind `bridge` (`--bridge`).
    pub bridge: DefaultBridge,
    /// Subnets of `bridge` (`--bip`, `--fixed-cidr` and theirs for IPv6); for a family without one: the first free pool.
    pub bridge_subnets: Vec<IpamConfig>,
    /// Whether `bridge` has IPv6 too (`--ipv6`).
    pub bridge_ipv6: bool,
    /// Driver options of `bridge`, over the usual ones (`--mtu`, `--icc` …).
    pub bridge_options: BTreeMap<String, String>,
    /// Blocks with the prefix length to cut them into, for networks without a subnet. Empty: Docker's.
    pub pools: Vec<(Subnet, u8)>,
    /// The machine's resolv.conf.
    pub host_resolv_conf: PathBuf,
}

/// What is behind the network `bridge`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DefaultBridge {
    /// `docker0`, or a name of our own where another engine of this namespace has that.
    #[default]
    Own,
    /// A bridge that somebody else made, with its addresses.
    Foreign(String),
    /// There is no such network.
    None,
}

/// What can be read without asking the owner.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) locals: Vec<Arc<LocalNetwork>>,
    /// Attachments by container id.
    pub(crate) endpoints: BTreeMap<String, Vec<EndpointInfo>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) tunnels_apart: Option<String>,
}

/// What [`Networks::verify`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Of everything that the directory makes this node's data path be; equal desires have equal digests.
    pub digest: u64,
    /// The revision that is applied; 0 before the first.
    pub revision: u64,
    /// Differences that were found in the kernel and repaired.
    pub repaired: u64,
    /// Ports of the routing mesh that another process of this node holds, so that clients on the node reach that one.
    pub ports_taken: usize,
}

type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// The machine's networks. Clones share one owner, which ends with the last of them; everything stays in the kernel.
#[derive(Clone)]
pub struct Networks {
    jobs: mpsc::Sender<Job>,
    shown: Arc<ArcSwap<Shown>>,
    encryption_key: Option<[u8; 32]>,
}

impl Networks {
    /// Restores what was saved, compares it with the kernel, and makes what is missing. Works in the network namespace
    /// of the calling thread. Must be called on a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// When the saved state cannot be read, or the kernel refuses something that every network needs.
    pub async fn open(config: Config) -> Result<Self, NetworkError> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE_MAX);
        let (opened, result) = oneshot::channel();
        let shown = Arc::<ArcSwap<Shown>>::default();
        let identity = Identity::fresh();
        let encryption_key = identity.as_ref().map(Identity::public);
        let (show, runtime) = (shown.clone(), tokio::runtime::Handle::current());
        // Before the first await: the thread inherits the namespace of the caller.
        std::thread::Builder::new()
            .name("networks".into())
            .spawn(move || {
                let mut owner = match Owner::open(config, identity, show, runtime) {
                    Ok(owner) => owner,
                    Err(e) => return drop(opened.send(Err(e))),
                };
                if opened.send(Ok(())).is_err() {
                    return;
                }
                while let Some(job) = queue.blocking_recv() {
                    job(&mut owner);
                }
            })
            .map_err(|source| NetworkError::Start { what: "thread of the networks", source })?;
        result.await.map_err(|_| NetworkError::Gone)??;
        tokio::spawn(keep_verifying(jobs.downgrade()));
        Ok(Self { jobs, shown, encryption_key })
    }

    /// This node's public key for encrypted networks; `None` where it cannot carry them.
    pub fn encryption_key(&self) -> Option<[u8; 32]> {
        self.encryption_key
    }

    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Owner) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |owner| drop(answer.send(job(owner))));
        self.jobs.send(job).await.map_err(|_| NetworkError::Gone)?;
        result.await.map_err(|_| NetworkError::Gone)?
    }

    /// Makes a network of this machine.
    ///
    /// # Errors
    /// Docker's: 409 "network with name X already exists", 403 "Pool overlaps with other one on this address space",
    /// 400 for a driver that we do not have.
    pub async fn create_local(&self, spec: LocalNetworkSpec) -> Result<Arc<LocalNetwork>, Refusal> {
        Ok(self.ask(move |o| o.create_local(spec)).await?)
    }

    /// Removes a network of this machine, by id or name.
    ///
    /// # Errors
    /// Docker's: 404, 403 "X is a pre-defined network and cannot be removed", 403 "error while removing network: …".
    pub async fn remove_local(&self, key: &str) -> Result<(), Refusal> {
        let key = key.to_owned();
        Ok(self.ask(move |o| o.remove_local(&key)).await?)
    }

    /// The networks of this machine, with their containers, by name.
    pub fn locals(&self) -> Vec<Arc<LocalNetwork>> {
        self.shown.load().locals.clone()
    }

    /// A network of this machine by id, name, or an unambiguous beginning of its id.
    ///
    /// # Errors
    /// 404 "network X not found", 400 when several ids begin so.
    pub fn local(&self, key: &str) -> Result<Arc<LocalNetwork>, Refusal> {
        crate::local::find(&self.shown.load().locals, key).cloned()
    }

    /// Makes docker_gwbridge, if it is not there (the first overlay attachment does so by itself).
    ///
    /// # Errors
    /// When no address block is left, or the kernel refuses.
    pub async fn ensure_gwbridge(&self) -> Result<Arc<LocalNetwork>, Refusal> {
        Ok(self.ask(Owner::ensure_gwbridge).await?)
    }

    /// Makes the sandbox of a container. Already there: only its spec is renewed. Returns the namespace's file, `None`
    /// for the machine's own namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Option<PathBuf>, Refusal> {
        Ok(self.ask(move |o| o.create_sandbox(spec)).await?)
    }

    /// Removes a sandbox with all its attachments; fine if there is none.
    ///
    /// # Errors
    /// What could not be removed; the rest is.
    pub async fn remove_sandbox(&self, container_id: &str) -> Result<(), Refusal> {
        let id = container_id.to_owned();
        Ok(self.ask(move |o| o.remove_sandbox(&id)).await?)
    }

    /// Attaches a sandbox to a network. On an error nothing has changed.
    ///
    /// # Errors
    /// Docker's: 404 for the network, 403 "Address already in use", 500 "driver failed programming external
    /// connectivity on endpoint …".
    pub async fn connect(&self, container_id: &str, attach: Attach) -> Result<EndpointInfo, Refusal> {
        let id = container_id.to_owned();
        Ok(self.ask(move |o| o.connect(&id, attach)).await?)
    }

    /// Takes a sandbox off a network (id or name; of the swarm or of this machine).
    ///
    /// # Errors
    /// 500 as Docker's "container X is not connected to network Y".
    pub async fn disconnect(&self, container_id: &str, network: &str) -> Result<(), Refusal> {
        let (id, network) = (container_id.to_owned(), network.to_owned());
        Ok(self.ask(move |o| o.disconnect(&id, &network)).await?)
    }

    /// The attachments of a container, in the order in which they were made.
    pub fn endpoints(&self, container_id: &str) -> Vec<EndpointInfo> {
        self.shown.load().endpoints.get(container_id).cloned().unwrap_or_default()
    }

    /// The attachments on one network (of the swarm or of this machine), by container id.
    pub fn endpoints_on(&self, network_id: &str) -> Vec<(String, EndpointInfo)> {
        let shown = self.shown.load();
        let all = shown.endpoints.iter().flat_map(|(c, es)| es.iter().map(move |e| (c, e)));
        all.filter(|(_, e)| e.network_id == network_id).map(|(c, e)| (c.clone(), e.clone())).collect()
    }

    /// A container got another name.
    ///
    /// # Errors
    /// When the state cannot be saved.
    pub async fn rename(&self, container_id: &str, name: &str) -> Result<(), Refusal> {
        let (id, name) = (container_id.to_owned(), name.to_owned());
        Ok(self.ask(move |o| o.rename(&id, &name)).await?)
    }

    /// The texts of a container's `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname`, by its present attachments.
    ///
    /// # Errors
    /// 404 when it has no sandbox.
    pub async fn name_files(&self, container_id: &str) -> Result<NameFiles, Refusal> {
        let id = container_id.to_owned();
        Ok(self.ask(move |o| o.name_files(&id)).await?)
    }

    /// Makes this machine a node of a swarm: tunnel device, eBPF programs, routing mesh.
    ///
    /// # Errors
    /// When the kernel refuses, or another tunnel has the port.
    pub async fn enter_swarm(&self, node: NodeId, data_path_addr: IpAddr, port: u16) -> Result<(), Refusal> {
        Ok(self.ask(move |o| o.enter_swarm(node, data_path_addr, port)).await?)
    }

    /// Makes the data path and the names be what the directory says, both together. Returns its revision. An older
    /// directory than the applied one is refused.
    ///
    /// # Errors
    /// When the machine is in no swarm, or the kernel refuses.
    pub async fn apply_directory(&self, directory: Directory) -> Result<u64, NetworkError> {
        self.ask(move |o| o.apply_directory(directory)).await
    }

    /// The directory as last applied.
    pub fn directory(&self) -> Arc<Directory> {
        self.shown.load().directory.clone()
    }

    /// Why overlays of this node reach no other node, if so: another engine of the namespace has the tunnels' port.
    pub fn tunnels_apart(&self) -> Option<String> {
        self.shown.load().tunnels_apart.clone()
    }

    /// Takes everything of the swarm out of the kernel. Attachments to overlays are cut.
    ///
    /// # Errors
    /// What could not be removed; the rest is.
    pub async fn leave_swarm(&self) -> Result<(), Refusal> {
        Ok(self.ask(Owner::leave_swarm).await?)
    }

    /// The daemon is going down: takes out of the kernel what nobody needs meanwhile. The next `open` makes it anew.
    ///
    /// # Errors
    /// What could not be removed; it does no harm.
    pub async fn rest(&self) -> Result<(), Refusal> {
        Ok(self.ask(Owner::rest).await?)
    }

    /// Connections that are alive on the addresses of a task, on all its networks; 0 when it is not here.
    pub async fn live_connections(&self, task: &TaskId) -> usize {
        let task = task.clone();
        self.ask(move |o| Ok(o.live_connections(&task))).await.unwrap_or(0)
    }

    /// Compares the kernel with what it should be and repairs it.
    ///
    /// # Errors
    /// When a repair fails.
    pub async fn verify(&self) -> Result<VerifyReport, NetworkError> {
        self.ask(Owner::verify).await
    }

    /// What the data path has counted, by name; nothing outside a swarm.
    pub async fn counters(&self) -> Vec<(&'static str, u64)> {
        self.ask(|o| Ok(o.counters())).await.unwrap_or_default()
    }

    /// Blocks that this machine routes, for the choice of swarm subnets.
    pub async fn routes(&self) -> Vec<Subnet> {
        self.ask(|o| o.routed()).await.unwrap_or_default()
    }

    /// Removes the sandboxes of all containers but `known`.
    ///
    /// # Errors
    /// What could not be removed; the rest is.
    pub async fn reap(&self, known: BTreeSet<String>) -> Result<(), Refusal> {
        Ok(self.ask(move |o| o.reap(&known)).await?)
    }

    /// Interface MTU that containers get on an overlay.
    ///
    /// # Errors
    /// When the machine is in no swarm.
    pub async fn overlay_mtu(&self, network: &NetworkId) -> Result<u32, Refusal> {
        let network = network.clone();
        Ok(self.ask(move |o| o.overlay_mtu_of(&network)).await?)
    }
}

async fn keep_verifying(jobs: mpsc::WeakSender<Job>) {
    let mut tick = tokio::time::interval(VERIFY_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let Some(jobs) = jobs.upgrade() else { return };
        let job: Job = Box::new(|owner| match owner.verify() {
            Ok(VerifyReport { repaired: 0, .. }) => {}
            Ok(report) => {
                tracing::warn!(repaired = report.repaired, "the kernel's networks differed and were repaired")
            }
            Err(e) => tracing::error!(error = crate::error::chain(&e), "the kernel's networks could not be repaired"),
        });
        // A full queue is busy with better things.
        let _ = jobs.try_send(job);
    }
}
