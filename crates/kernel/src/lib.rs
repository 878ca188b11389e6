//! Typed Linux: namespaces, netlink, nftables, mounts, cgroups, processes. Knows no Docker word.
//!
//! The only crate (besides the eBPF loader) with `unsafe` and raw descriptors; each block says why it is sound.
#![allow(unsafe_code)]

pub mod netlink;
pub mod netns;
