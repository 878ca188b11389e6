//! The swarm itself.
use super::{duration_in, duration_out, unsupported, version};
use crate::Refusal;
use crate::engine::service::LogDriver;
use crate::engine::swarm as es;
use model::{Availability, Cluster, ClusterSpec};

/// Parses an availability; empty: active.
///
/// # Errors
/// 400 for another word.
pub fn availability_in(word: &str) -> Result<Availability, Refusal> {
    match word.to_ascii_lowercase().as_str() {
        "" | "active" => Ok(Availability::Active),
        "pause" => Ok(Availability::Pause),
        "drain" => Ok(Availability::Drain),
        _ => Err(Refusal::invalid(format!("invalid Availability: {word:?}"))),
    }
}

pub(super) fn availability_out(a: Availability) -> &'static str {
    match a {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

/// Overwrites with what the client gives; zero values leave the setting as it is (as Docker's `MergeSwarmSpecToGRPC`).
///
/// # Errors
/// 400 or 501, naming the option.
pub fn cluster_spec_merge(base: &mut ClusterSpec, s: &es::SwarmSpec) -> Result<(), Refusal> {
    if !s.ca_config.external_cas.is_empty() {
        return Err(unsupported("an external certificate authority (CAConfig.ExternalCAs)"));
    }
    let ca = &s.ca_config;
    match (ca.signing_ca_cert.trim(), ca.signing_ca_key.trim()) {
        // A fresh root takes the place of a given one.
        ("", "") if ca.force_rotate > base.force_rotate => base.signing_ca_cert.clear(),
        ("", "") => {}
        // What is shown comes back without the key.
        (cert, "") if cert == base.signing_ca_cert.trim() => {}
        (_, "") => return Err(Refusal::invalid("a root certificate of your own needs its private key too: --ca-key")),
        ("", _) => return Err(Refusal::invalid("a root key of your own needs its certificate too: --ca-cert")),
        (cert, _) => base.signing_ca_cert = format!("{cert}\n"),
    }
    base.force_rotate = ca.force_rotate.max(base.force_rotate);
    if !s.name.is_empty() {
        base.name.clone_from(&s.name);
    }
    if !s.labels.is_empty() {
        base.labels.clone_from(&s.labels);
    }
    if let Some(limit) = s.orchestration.task_history_retention_limit {
        base.task_history_limit = limit;
    }
    if s.raft.snapshot_interval != 0 {
        base.snapshot_interval = s.raft.snapshot_interval;
    }
    if let Some(n) = s.raft.keep_old_snapshots {
        base.keep_old_snapshots = n;
    }
    if s.raft.log_entries_for_slow_followers != 0 {
        base.log_entries_for_slow_followers = s.raft.log_entries_for_slow_followers;
    }
    let tick = |n: i64| u32::try_from(n).map_err(|_| Refusal::invalid("a raft tick must not be negative"));
    if s.raft.election_tick != 0 {
        base.election_tick = tick(s.raft.election_tick)?;
    }
    if s.raft.heartbeat_tick != 0 {
        base.heartbeat_tick = tick(s.raft.heartbeat_tick)?;
    }
    if s.dispatcher.heartbeat_period != 0 {
        base.dispatcher_heartbeat = duration_in(s.dispatcher.heartbeat_period, "HeartbeatPeriod")?;
    }
    if s.ca_config.node_cert_expiry != 0 {
        base.node_cert_expiry = duration_in(s.ca_config.node_cert_expiry, "NodeCertExpiry")?;
    }
    if let Some(l) = &s.task_defaults.log_driver {
        base.task_log_driver = Some(model::LogDriver { name: l.name.clone(), options: l.options.clone() });
    }
    base.autolock = s.encryption_config.auto_lock_managers;
    Ok(())
}

/// Shows settings.
pub fn cluster_spec_out(s: &ClusterSpec) -> es::SwarmSpec {
    es::SwarmSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        orchestration: es::OrchestrationConfig { task_history_retention_limit: Some(s.task_history_limit) },
        raft: es::RaftConfig {
            snapshot_interval: s.snapshot_interval,
            keep_old_snapshots: Some(s.keep_old_snapshots),
            log_entries_for_slow_followers: s.log_entries_for_slow_followers,
            election_tick: s.election_tick.into(),
            heartbeat_tick: s.heartbeat_tick.into(),
        },
        dispatcher: es::DispatcherConfig { heartbeat_period: duration_out(s.dispatcher_heartbeat) },
        ca_config: es::CaConfig {
            node_cert_expiry: duration_out(s.node_cert_expiry),
            force_rotate: s.force_rotate,
            signing_ca_cert: s.signing_ca_cert.clone(),
            ..Default::default()
        },
        task_defaults: es::TaskDefaults {
            log_driver: s
                .task_log_driver
                .as_ref()
                .map(|l| LogDriver { name: l.name.clone(), options: l.options.clone() }),
        },
        encryption_config: es::EncryptionConfig { auto_lock_managers: s.autolock },
    }
}

/// Shows the swarm, without tokens, for `info`.
pub fn cluster_info_out(c: &Cluster, tls: &es::TlsInfo) -> es::ClusterInfo {
    es::ClusterInfo {
        id: c.id.to_string(),
        version: version(&c.meta),
        created_at: c.meta.created_at.into(),
        updated_at: c.meta.updated_at.into(),
        spec: cluster_spec_out(&c.spec),
        tls_info: tls.clone(),
        root_rotation_in_progress: c.rotation.is_some(),
        default_addr_pool: c.default_addr_pool.iter().map(ToString::to_string).collect(),
        subnet_size: c.subnet_size.into(),
        data_path_port: c.data_path_port.into(),
    }
}

/// Shows the swarm with its tokens.
pub fn swarm_out(c: &Cluster, tls: &es::TlsInfo, worker: &str, manager: &str) -> es::Swarm {
    let i = cluster_info_out(c, tls);
    es::Swarm {
        id: i.id,
        version: i.version,
        created_at: i.created_at,
        updated_at: i.updated_at,
        spec: i.spec,
        tls_info: i.tls_info,
        root_rotation_in_progress: i.root_rotation_in_progress,
        default_addr_pool: i.default_addr_pool,
        subnet_size: i.subnet_size,
        data_path_port: i.data_path_port,
        join_tokens: es::JoinTokens { worker: worker.into(), manager: manager.into() },
    }
}
