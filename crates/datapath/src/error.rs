//! What can go wrong on the road.
use kernel::netlink::NetlinkError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// An operation of the data path failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// No BPF file system for the pins.
    #[error("BPF file system at {}", path.display())]
    PinDir {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another VXLAN device of this namespace has the port.
    #[error(
        "UDP port {port} is in use by another VXLAN device of this network namespace ({}): another engine's overlay? \
         Stop it, or choose another --data-path-port",
        if devices.is_empty() { "not named by the kernel" } else { devices }
    )]
    PortTaken {
        /// The tunnels' port.
        port: u16,
        /// VXLAN devices that are here.
        devices: String,
    },
    /// The tunnel device could not be made.
    #[error("tunnel device {name}")]
    Device {
        /// Its name.
        name: String,
        /// Why.
        source: NetlinkError,
    },
    /// An interface is not there.
    #[error("no interface with index {0}")]
    NoInterface(u32),
    /// Interfaces could not be listed.
    #[error("interfaces")]
    Interfaces(#[source] NetlinkError),
    /// The object could not be loaded.
    #[error("eBPF object")]
    Object(#[source] Box<aya::EbpfError>),
    /// The verifier refused a program.
    #[error("eBPF program {name}")]
    Program {
        /// Which.
        name: &'static str,
        /// Why, with the verifier's words.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program could not be attached.
    #[error("attaching {program} to {interface}")]
    Attach {
        /// Which.
        program: &'static str,
        /// Where.
        interface: String,
        /// Why.
        source: Box<aya::programs::ProgramError>,
    },
    /// A link could not be pinned.
    #[error("pin {}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: aya::pin::PinError,
    },
    /// A pin could not be removed or read.
    #[error("pin {}", path.display())]
    PinFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A map was missing, of another shape, or full.
    #[error("eBPF map {name}")]
    Map {
        /// Which.
        name: &'static str,
        /// Why.
        source: aya::maps::MapError,
    },
    /// More backends than there is room for.
    #[error("no room for another backend: {0} are in use")]
    TooManyBackends(usize),
    /// A service has more backends than one set can hold.
    #[error("{addr}: {count} backends; one set holds at most {}", u16::MAX)]
    SetTooLarge {
        /// Which service.
        addr: IpAddr,
        /// How many.
        count: usize,
    },
    /// A container's namespace could not be entered.
    #[error("the container's network namespace")]
    Namespace(#[source] io::Error),
    /// Removing went on after these failures.
    #[error("left behind: {}", .0.join("; "))]
    Leftovers(Vec<String>),
}
