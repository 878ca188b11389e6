//! Typed Linux: namespaces, netlink, nftables, mounts, cgroups, processes. Knows no Docker word.
//!
//! The only crate (besides the eBPF loader) with `unsafe` and raw descriptors; each block says why it is sound.
#![allow(unsafe_code)]

pub mod activation;
pub mod beneath;
pub mod bpffs;
pub mod cgroup;
pub mod clock;
pub mod icmp;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod offload;
pub mod overlay;
pub mod process;
pub mod pty;
pub mod signal;
pub mod socket;
pub mod sysctl;
pub mod tun;
pub mod watch;
