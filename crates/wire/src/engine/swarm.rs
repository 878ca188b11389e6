//! The swarm itself.
use super::service::LogDriver;
use super::shape::{Base64, Map, Time, shapes};

shapes! {
    /// `Version.Index`: what a change is based on.
    ObjectVersion { index: u64 = "Index"; }

    /// `Swarm` of [`super::system::Info`]. `remote_managers` is `null` outside a swarm.
    SwarmInfo {
        node_id: String = "NodeID";
        node_addr: String = "NodeAddr";
        local_node_state: String = "LocalNodeState";
        control_available: bool = "ControlAvailable";
        error: String = "Error";
        remote_managers: Option<Vec<Peer>> = "RemoteManagers";
        nodes: i64 = "Nodes" omitempty;
        managers: i64 = "Managers" omitempty;
        cluster: Option<ClusterInfo> = "Cluster" omitempty;
        warnings: Vec<String> = "Warnings" omitempty;
    }
    /// A manager.
    Peer { node_id: String = "NodeID"; addr: String = "Addr"; }
    /// The swarm without its tokens.
    ClusterInfo {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: SwarmSpec = "Spec";
        tls_info: TlsInfo = "TLSInfo";
        root_rotation_in_progress: bool = "RootRotationInProgress";
        default_addr_pool: Vec<String> = "DefaultAddrPool";
        subnet_size: u32 = "SubnetSize";
        data_path_port: u32 = "DataPathPort";
    }
    /// `GET /swarm`.
    Swarm {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: SwarmSpec = "Spec";
        tls_info: TlsInfo = "TLSInfo";
        root_rotation_in_progress: bool = "RootRotationInProgress";
        default_addr_pool: Vec<String> = "DefaultAddrPool";
        subnet_size: u32 = "SubnetSize";
        data_path_port: u32 = "DataPathPort";
        join_tokens: JoinTokens = "JoinTokens";
    }
    /// Tokens.
    JoinTokens { worker: String = "Worker"; manager: String = "Manager"; }
    /// The root that nodes trust.
    TlsInfo {
        trust_root: String = "TrustRoot" omitempty;
        cert_issuer_subject: Base64 = "CertIssuerSubject" omitempty;
        cert_issuer_public_key: Base64 = "CertIssuerPublicKey" omitempty;
    }
    /// Settings.
    SwarmSpec {
        name: String = "Name" omitempty;
        labels: Map = "Labels";
        orchestration: OrchestrationConfig = "Orchestration";
        raft: RaftConfig = "Raft";
        dispatcher: DispatcherConfig = "Dispatcher";
        ca_config: CaConfig = "CAConfig";
        task_defaults: TaskDefaults = "TaskDefaults";
        encryption_config: EncryptionConfig = "EncryptionConfig";
    }
    /// Ended tasks kept.
    OrchestrationConfig { task_history_retention_limit: Option<i64> = "TaskHistoryRetentionLimit" omitempty; }
    /// Of the log.
    RaftConfig {
        snapshot_interval: u64 = "SnapshotInterval" omitempty;
        keep_old_snapshots: Option<u64> = "KeepOldSnapshots" omitempty;
        log_entries_for_slow_followers: u64 = "LogEntriesForSlowFollowers" omitempty;
        election_tick: i64 = "ElectionTick";
        heartbeat_tick: i64 = "HeartbeatTick";
    }
    /// Nanoseconds.
    DispatcherConfig { heartbeat_period: i64 = "HeartbeatPeriod" omitempty; }
    /// Of the certificate authority.
    CaConfig {
        node_cert_expiry: i64 = "NodeCertExpiry" omitempty;
        external_cas: Vec<ExternalCa> = "ExternalCAs" omitempty;
        signing_ca_cert: String = "SigningCACert" omitempty;
        signing_ca_key: String = "SigningCAKey" omitempty;
        force_rotate: u64 = "ForceRotate" omitempty;
    }
    /// A foreign authority.
    ExternalCa {
        protocol: String = "Protocol";
        url: String = "URL";
        options: Map = "Options" omitempty;
        ca_cert: String = "CACert";
    }
    /// Defaults of tasks.
    TaskDefaults { log_driver: Option<LogDriver> = "LogDriver" omitempty; }
    /// Managers' keys need a key.
    EncryptionConfig { auto_lock_managers: bool = "AutoLockManagers"; }

    /// Body of `POST /swarm/init`.
    SwarmInit {
        listen_addr: String = "ListenAddr";
        advertise_addr: String = "AdvertiseAddr";
        data_path_addr: String = "DataPathAddr";
        data_path_port: u32 = "DataPathPort";
        force_new_cluster: bool = "ForceNewCluster";
        spec: SwarmSpec = "Spec";
        auto_lock_managers: bool = "AutoLockManagers";
        availability: String = "Availability";
        default_addr_pool: Vec<String> = "DefaultAddrPool";
        subnet_size: u32 = "SubnetSize";
    }
    /// Body of `POST /swarm/join`.
    SwarmJoin {
        listen_addr: String = "ListenAddr";
        advertise_addr: String = "AdvertiseAddr";
        data_path_addr: String = "DataPathAddr";
        remote_addrs: Vec<String> = "RemoteAddrs";
        join_token: String = "JoinToken";
        availability: String = "Availability";
    }
    /// Body of unlock, answer of unlockkey.
    UnlockKey { unlock_key: String = "UnlockKey"; }
}
