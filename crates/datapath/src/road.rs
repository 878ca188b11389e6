//! The handle.
use crate::attach::{self, Gate};
use crate::counters::{Counters, FlowEvent, reason};
use crate::desired::Desired;
use crate::device;
use crate::error::DatapathError;
use crate::flows::{self, FlowInfo};
use crate::layout;
use crate::maps::Maps;
use crate::reconcile::Ledger;
use aya::{Ebpf, EbpfLoader};
use kernel::netlink::Mark;
use kernel::netns::NetNs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/road.o"));

/// Port of a container's loopback that 127.0.0.11:53 is served from.
pub const DNS_PORT: u16 = 61_053;

/// Raised when a map's layout changes: pins of another layout are not ours to read.
const LAYOUT: &str = "v3";

/// How the road is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// A directory for pins; made a BPF file system if it is not on one.
    pub pin_dir: PathBuf,
    /// UDP port of the tunnels.
    pub tunnel_port: u16,
    /// Entries of the flow table (two per flow); `None`: by the machine's memory. Only matters when the map is made.
    pub flow_entries: Option<u32>,
    /// Flow events per second and CPU for [`Datapath::take_events`]; 0: none.
    pub events_per_second: u32,
    /// Whose road it is: engines that share a namespace do not touch each other's devices.
    pub mark: Mark,
}

impl Config {
    /// With defaults for all but the pin directory and the owner: port 4789, flow table by memory, no events.
    pub fn new(pin_dir: impl Into<PathBuf>, mark: Mark) -> Self {
        Self { pin_dir: pin_dir.into(), tunnel_port: 4789, flow_entries: None, events_per_second: 0, mark }
    }
}

/// A container's interface on an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Host side of the veth.
    pub ifindex: u32,
    /// The network.
    pub vni: u32,
    /// What the container may call itself there: the first of each family counts.
    pub addresses: Vec<IpAddr>,
}

/// What [`Datapath::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries (a service with its backends counts as one) that were written or removed.
    pub changes: u64,
}

/// The data plane of one node (one network namespace). Blocking; one owner.
pub struct Datapath {
    dir: PathBuf,
    root: PathBuf,
    ebpf: Ebpf,
    maps: Maps,
    ledger: Ledger,
    desired: Option<Desired>,
    mark: Mark,
}

impl std::fmt::Debug for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datapath").field("pins", &self.dir).finish_non_exhaustive()
    }
}

impl Datapath {
    /// Makes (or finds) the tunnel device in the current network namespace, loads the programs around the pinned maps,
    /// and gives them to all links of an earlier run. Traffic goes on meanwhile. A tunnel device at another port goes.
    pub fn open(config: Config) -> Result<Self, DatapathError> {
        let dir = config.pin_dir.join(LAYOUT);
        let pin_dir = |source| DatapathError::PinDir { path: config.pin_dir.clone(), source };
        kernel::bpffs::mount(&config.pin_dir).map_err(pin_dir)?;
        std::fs::create_dir_all(&dir).map_err(pin_dir)?;
        remove_other_layouts(&config.pin_dir);
        let tunnel_ifindex = device::make(config.tunnel_port, &config.mark)?;
        let mut ebpf = load(&dir, config.flow_entries.unwrap_or_else(flow_entries_by_memory))?;
        let mut maps = Maps::take(&mut ebpf)?;
        let mut ledger = Ledger::read(&mut maps)?;
        let settings =
            layout::Settings { tunnel_ifindex, events_per_second: config.events_per_second, ..ledger.settings() };
        ledger.set_settings(&mut maps, settings)?;
        let mut road = Self { dir, root: config.pin_dir, ebpf, maps, ledger, desired: None, mark: config.mark };
        road.take_over_links(tunnel_ifindex);
        attach::attach(&mut road.ebpf, &road.dir, Gate::Overlay, tunnel_ifindex)?;
        device::remove(&road.mark, Some(tunnel_ifindex))?;
        Ok(road)
    }

    /// New programs for the links that an earlier process pinned; links of interfaces that are gone are let go.
    fn take_over_links(&mut self, tunnel_ifindex: u32) {
        for (gate, ifindex) in attach::pinned(&self.dir) {
            if gate == Gate::Overlay && ifindex == tunnel_ifindex {
                continue;
            }
            let gone = match attach::interface_name(ifindex) {
                Ok(_) if gate != Gate::Overlay => attach::attach(&mut self.ebpf, &self.dir, gate, ifindex).err(),
                Ok(_) => Some(DatapathError::NoInterface(ifindex)),
                Err(e) => Some(e),
            };
            if let Some(error) = gone {
                tracing::info!(ifindex, program = gate.program(), %error, "an old link is let go");
                let _ = attach::detach(&self.dir, gate, ifindex);
                if matches!(gate, Gate::Container | Gate::Exit) {
                    let _ = self.maps.ports.remove(&ifindex);
                }
            }
        }
    }

    /// Makes the host side of a veth a port of a network: what comes out of the container goes on the road.
    pub fn attach_port(&mut self, port: &Port) -> Result<(), DatapathError> {
        self.maps.ports.set(&port.ifindex, &port_value(port.vni, &port.addresses))?;
        attach::attach(&mut self.ebpf, &self.dir, Gate::Container, port.ifindex)
    }

    /// Undoes [`Self::attach_port`]; also to be called after the interface is gone. Fine if it was none.
    pub fn detach_port(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        self.maps.ports.remove(&ifindex)?;
        attach::detach(&self.dir, Gate::Container, ifindex)
    }

    /// Lets answers to clients of the mesh be taken off the host side of a container's other way out. `ingress` are the
    /// container's addresses on the ingress network: a UDP server that is bound to no address answers with that of the
    /// exit instead, and is recognised by these.
    pub fn attach_exit(&mut self, ifindex: u32, ingress: &[IpAddr]) -> Result<(), DatapathError> {
        self.maps.ports.set(&ifindex, &port_value(0, ingress))?;
        attach::attach(&mut self.ebpf, &self.dir, Gate::Exit, ifindex)
    }

    /// Undoes [`Self::attach_exit`]; also to be called after the interface is gone.
    pub fn detach_exit(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        self.maps.ports.remove(&ifindex)?;
        attach::detach(&self.dir, Gate::Exit, ifindex)
    }

    /// Serves published ports to what comes in by this interface.
    pub fn attach_uplink(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        attach::attach(&mut self.ebpf, &self.dir, Gate::Outside, ifindex)
    }

    /// Undoes [`Self::attach_uplink`].
    pub fn detach_uplink(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        attach::detach(&self.dir, Gate::Outside, ifindex)
    }

    /// Interfaces that are ports, made so by this or an earlier process: to find those that nobody owns.
    pub fn attached_ports(&self) -> Result<Vec<u32>, DatapathError> {
        Ok(self.maps.ports.entries()?.into_iter().filter(|(_, p)| p.vni != 0).map(|(ifindex, _)| ifindex).collect())
    }

    /// The same for exits.
    pub fn attached_exits(&self) -> Result<Vec<u32>, DatapathError> {
        Ok(self.maps.ports.entries()?.into_iter().filter(|(_, p)| p.vni == 0).map(|(ifindex, _)| ifindex).collect())
    }

    /// Makes the maps equal to `desired`.
    pub fn apply(&mut self, desired: &Desired) -> Result<Applied, DatapathError> {
        let changes = self.ledger.apply(&mut self.maps, desired)?;
        self.desired = Some(desired.clone());
        Ok(Applied { changes })
    }

    /// Reads the kernel's maps and repairs what differs from the last [`Self::apply`]; how much that was. Sweeps ended
    /// flows as well. To be called on a timer (a walk over the flow table: not more often than some seconds).
    pub fn verify(&mut self) -> Result<u64, DatapathError> {
        if let Some(wait) = self.ledger.grace_left() {
            std::thread::sleep(wait);
        }
        let mut seen = Ledger::read(&mut self.maps)?;
        seen.carry_over(&self.ledger);
        self.ledger = seen;
        let changes = match &self.desired {
            Some(desired) => self.ledger.apply(&mut self.maps, desired)?,
            None => 0,
        };
        flows::sweep(&mut self.maps)?;
        Ok(changes)
    }

    /// Live connections to a backend of this node, however they came (by name, by address, through the mesh); for a
    /// backend elsewhere, those that this node balanced. TCP: not closed. UDP: a packet within ten seconds.
    pub fn live_connections(&self, vni: u32, addr: IpAddr) -> Result<usize, DatapathError> {
        Ok(flows::list(&self.maps)?.iter().filter(|f| f.vni == vni && f.backend.0 == addr && flows::is_live(f)).count())
    }

    /// The flow table, for people.
    pub fn flows(&self) -> Result<Vec<FlowInfo>, DatapathError> {
        flows::list(&self.maps)
    }

    /// What the programs counted.
    pub fn counters(&self) -> Result<Counters, DatapathError> {
        Counters::read(&self.maps)
    }

    /// Flow events since the last call (at most `most`).
    pub fn take_events(&mut self, most: usize) -> Vec<FlowEvent> {
        let mut events = Vec::new();
        while events.len() < most {
            let Some(item) = self.maps.events.next() else { break };
            if item.len() < size_of::<layout::Event>() {
                continue;
            }
            // SAFETY: the item is long enough (checked), `Event` is plain data, and the read allows any alignment.
            let e: layout::Event = unsafe { std::ptr::read_unaligned(item.as_ptr().cast()) };
            let end = |addr: layout::Addr, port: [u8; 2]| (IpAddr::from(addr), u16::from_be_bytes(port));
            events.push(FlowEvent {
                at_ns: e.at_ns,
                reason: reason(e.reason),
                ifindex: e.ifindex,
                protocol: e.key.proto,
                vni: (e.key.side == 0).then_some(e.key.scope),
                source: end(e.key.src, e.key.sport),
                destination: end(e.key.dst, e.key.dport),
                backend: (e.to != layout::Tuple::default()).then(|| end(e.to.dst, e.to.dport)),
            });
        }
        events
    }

    /// Serves 127.0.0.11:53 of a container (UDP and TCP) from [`DNS_PORT`]. It stays for the life of the namespace.
    pub fn attach_dns_redirect(&mut self, ns: &NetNs) -> Result<(), DatapathError> {
        let program = attach::program(&mut self.ebpf, "dns_redirect")?;
        ns.run(|| attach::attach_filter(program, "dns_redirect", "lo")).map_err(DatapathError::Namespace)?
    }

    /// Removes links, maps, pins and the tunnel device. Goes on after a failure and tells all of them at the end.
    pub fn close_and_remove(self) -> Result<(), DatapathError> {
        let Self { dir, root, ebpf, maps, mark, .. } = self;
        drop((ebpf, maps));
        remove(&dir, &root, &mark)
    }

    /// [`Self::close_and_remove`] for what an earlier process left, without opening it.
    pub fn remove_leftovers(pin_dir: &Path, mark: &Mark) -> Result<(), DatapathError> {
        remove(&pin_dir.join(LAYOUT), pin_dir, mark)
    }
}

/// Lets go of the programs and maps of another version's layout: flows that only it knows end.
fn remove_other_layouts(root: &Path) {
    for old in std::fs::read_dir(root).into_iter().flatten().flatten().filter(|e| e.file_name() != LAYOUT) {
        for (gate, ifindex) in attach::pinned(&old.path()) {
            let _ = attach::detach(&old.path(), gate, ifindex);
        }
        for entry in std::fs::read_dir(old.path()).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
        let _ = std::fs::remove_dir(old.path());
    }
}

fn remove(dir: &Path, root: &Path, mark: &Mark) -> Result<(), DatapathError> {
    let mut left = Vec::new();
    for (gate, ifindex) in attach::pinned(dir) {
        left.extend(attach::detach(dir, gate, ifindex).err().map(|e| e.to_string()));
    }
    left.extend(device::remove(mark, None).err().map(|e| e.to_string()));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let gone = std::fs::remove_file(entry.path());
        left.extend(gone.err().map(|e| format!("{}: {e}", entry.path().display())));
    }
    let _ = std::fs::remove_dir(dir);
    left.extend(kernel::bpffs::unmount(root).err().map(|e| format!("{}: {e}", root.display())));
    if left.is_empty() { Ok(()) } else { Err(DatapathError::Leftovers(left)) }
}

fn port_value(vni: u32, addresses: &[IpAddr]) -> layout::Port {
    let of = |v4: bool| addresses.iter().find(|a| a.is_ipv4() == v4).map_or_else(Default::default, |a| (*a).into());
    layout::Port { addr4: of(true), addr6: of(false), vni, pad: 0 }
}

fn load(dir: &Path, flow_entries: u32) -> Result<Ebpf, DatapathError> {
    // BPF_F_IPV6 of bpf_l4_csum_replace; older kernels refuse unknown flags.
    let ipv6_flag: u64 = if attach::kernel_at_least(6, 16) { 1 << 7 } else { 0 };
    let mut ebpf = EbpfLoader::new()
        .default_map_pin_directory(dir)
        .map_max_entries("flows", flow_entries)
        .override_global("ipv6_checksum_flag", &ipv6_flag, true)
        .override_global("dns_port", &DNS_PORT, true)
        .load(OBJECT)
        .map_err(|e| DatapathError::Object(Box::new(e)))?;
    for name in ["from_container", "from_overlay", "from_outside", "from_exit", "dns_redirect"] {
        let program = attach::program(&mut ebpf, name)?;
        program.load().map_err(|source| DatapathError::Program { name, source: Box::new(source) })?;
    }
    Ok(ebpf)
}

/// 16 entries for each MiB of memory, between 32 thousand and a million.
fn flow_entries_by_memory() -> u32 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_kb =
        text.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let entries = total_kb.unwrap_or(0) / 1024 * 16;
    (entries.clamp(1 << 15, 1 << 20) as u32).next_power_of_two().min(1 << 20)
}
