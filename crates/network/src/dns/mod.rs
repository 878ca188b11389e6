//! Names: the embedded DNS server that every sandbox sees at 127.0.0.11.
//!
//! * [`NameTable`] is pure data, built whole from the network directory and the local networks ([`table`]).
//! * One packet, one decision without I/O: [`lookup`]; the wire format: [`packet`].
//! * [`DnsServer`] opens the sockets inside the sandboxes and serves them from the daemon's runtime ([`server`]).
//! * What is not ours is relayed to the host's resolvers ([`forward`]).
//! * `/etc/resolv.conf`, `/etc/hosts`, `/etc/hostname`: [`files`].
//!
//! Never here: knowledge of tasks' life cycles, DNS zones, or a lock on the way of a lookup.
pub mod files;
pub mod forward;
pub mod lookup;
pub mod packet;
pub mod server;
pub mod table;
#[cfg(test)]
mod tests;

pub use files::{DnsWishes, HostsFile, ResolvConf, hostname_file};
pub use lookup::{Scope, Upstream};
pub use server::{DnsError, DnsServer, RESOLVER};
pub use table::{LocalEndpoint, LocalNames, NameTable};
