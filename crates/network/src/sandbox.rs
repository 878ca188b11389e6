//! A sandbox: the network namespace of one container, with its attachments.
use crate::EndpointInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Which namespace a container gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxKind {
    /// One of its own, attached by `connect`.
    #[default]
    Own,
    /// The machine's.
    Host,
    /// One of its own that stays empty.
    None,
}

/// A sandbox to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    /// 64 digits.
    pub container_id: String,
    /// Name of the container, without a slash.
    pub container_name: String,
    /// Hostname.
    pub hostname: String,
    /// Domain name, usually empty.
    pub domainname: String,
    /// Which namespace.
    pub kind: SandboxKind,
    /// `--dns`; empty: the host's.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--add-host`, resolved.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// `net.*` settings to be made inside.
    pub sysctls: BTreeMap<String, String>,
    /// `com.docker.stack.namespace`, if it has one.
    pub stack: Option<String>,
}

/// A sandbox as it is, and as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// As asked for.
    pub spec: SandboxSpec,
    /// Attachments in the order in which they were made.
    pub endpoints: Vec<EndpointInfo>,
}

/// What a container sees in /etc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFiles {
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/hostname`.
    pub hostname: String,
}
