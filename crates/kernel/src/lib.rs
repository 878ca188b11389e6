//! Typed Linux: namespaces, netlink, nftables, mounts, cgroups, processes. Knows no Docker word.
//!
//! The only crate (besides the eBPF loader) with `unsafe` and raw descriptors; each block says why it is sound.
#![allow(unsafe_code)]

pub mod bpffs;
pub mod namespace;
pub mod netlink;
pub mod netns;
pub mod beneath;
pub mod overlay;
pub mod cgroup;
pub mod mount;
pub mod process;
pub mod pty;
pub mod signal;
pub mod nft;
pub mod sysctl;
pub mod socket;
pub mod watch;
