//! Containers: what a client asks for and what it is told. The structs mirror Docker's `api/types/container`.
use super::mount::{Mount, MountPoint};
use super::network::{EndpointSettings, PortMap};
use super::shape::{Empty, Map, Set, StrSlice, Time, shapes};
use serde::Serialize;
use std::collections::BTreeMap;

shapes! {
    /// `container.Config`: the portable part.
    ContainerConfig {
        hostname: String = "Hostname";
        domainname: String = "Domainname";
        user: String = "User";
        attach_stdin: bool = "AttachStdin";
        attach_stdout: bool = "AttachStdout";
        attach_stderr: bool = "AttachStderr";
        exposed_ports: Set = "ExposedPorts" omitempty;
        tty: bool = "Tty";
        open_stdin: bool = "OpenStdin";
        stdin_once: bool = "StdinOnce";
        env: Option<Vec<String>> = "Env";
        cmd: StrSlice = "Cmd";
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty;
        args_escaped: bool = "ArgsEscaped" omitempty;
        image: String = "Image";
        volumes: Option<Set> = "Volumes";
        working_dir: String = "WorkingDir";
        entrypoint: StrSlice = "Entrypoint";
        network_disabled: bool = "NetworkDisabled" omitempty;
        mac_address: String = "MacAddress" omitempty;
        on_build: Option<Vec<String>> = "OnBuild";
        labels: Map = "Labels";
        stop_signal: String = "StopSignal" omitempty;
        stop_timeout: Option<i64> = "StopTimeout" omitempty;
        shell: StrSlice = "Shell" omitempty;
    }

    /// `HealthConfig`; durations in nanoseconds.
    HealthConfig {
        test: Option<Vec<String>> = "Test" omitempty;
        interval: i64 = "Interval" omitempty;
        timeout: i64 = "Timeout" omitempty;
        start_period: i64 = "StartPeriod" omitempty;
        start_interval: i64 = "StartInterval" omitempty;
        retries: i64 = "Retries" omitempty;
    }

    /// `HostConfig`: the part that belongs to this machine.
    HostConfig {
        binds: Option<Vec<String>> = "Binds";
        container_id_file: String = "ContainerIDFile";
        log_config: LogConfig = "LogConfig";
        network_mode: String = "NetworkMode";
        port_bindings: PortMap = "PortBindings";
        restart_policy: RestartPolicy = "RestartPolicy";
        auto_remove: bool = "AutoRemove";
        volume_driver: String = "VolumeDriver";
        volumes_from: Option<Vec<String>> = "VolumesFrom";
        console_size: (u64, u64) = "ConsoleSize";
        annotations: Map = "Annotations" omitempty;
        cap_add: StrSlice = "CapAdd";
        cap_drop: StrSlice = "CapDrop";
        cgroupns_mode: String = "CgroupnsMode";
        dns: Option<Vec<String>> = "Dns";
        dns_options: Option<Vec<String>> = "DnsOptions";
        dns_search: Option<Vec<String>> = "DnsSearch";
        extra_hosts: Option<Vec<String>> = "ExtraHosts";
        group_add: Option<Vec<String>> = "GroupAdd";
        ipc_mode: String = "IpcMode";
        cgroup: String = "Cgroup";
        links: Option<Vec<String>> = "Links";
        oom_score_adj: i64 = "OomScoreAdj";
        pid_mode: String = "PidMode";
        privileged: bool = "Privileged";
        publish_all_ports: bool = "PublishAllPorts";
        readonly_rootfs: bool = "ReadonlyRootfs";
        security_opt: Option<Vec<String>> = "SecurityOpt";
        storage_opt: Map = "StorageOpt" omitempty;
        tmpfs: Map = "Tmpfs" omitempty;
        uts_mode: String = "UTSMode";
        userns_mode: String = "UsernsMode";
        shm_size: i64 = "ShmSize";
        sysctls: Map = "Sysctls" omitempty;
        runtime: String = "Runtime" omitempty;
        isolation: String = "Isolation";
        cpu_shares: i64 = "CpuShares";
        memory: i64 = "Memory";
        nano_cpus: i64 = "NanoCpus";
        cgroup_parent: String = "CgroupParent";
        blkio_weight: u16 = "BlkioWeight";
        blkio_weight_device: Option<Vec<WeightDevice>> = "BlkioWeightDevice";
        blkio_device_read_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadBps";
        blkio_device_write_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteBps";
        blkio_device_read_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadIOps";
        blkio_device_write_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteIOps";
        cpu_period: i64 = "CpuPeriod";
        cpu_quota: i64 = "CpuQuota";
        cpu_realtime_period: i64 = "CpuRealtimePeriod";
        cpu_realtime_runtime: i64 = "CpuRealtimeRuntime";
        cpuset_cpus: String = "CpusetCpus";
        cpuset_mems: String = "CpusetMems";
        devices: Option<Vec<DeviceMapping>> = "Devices";
        device_cgroup_rules: Option<Vec<String>> = "DeviceCgroupRules";
        device_requests: Option<Vec<DeviceRequest>> = "DeviceRequests";
        kernel_memory: i64 = "KernelMemory" omitempty;
        kernel_memory_tcp: i64 = "KernelMemoryTCP" omitempty;
        memory_reservation: i64 = "MemoryReservation";
        memory_swap: i64 = "MemorySwap";
        memory_swappiness: Option<i64> = "MemorySwappiness";
        oom_kill_disable: Option<bool> = "OomKillDisable";
        pids_limit: Option<i64> = "PidsLimit";
        ulimits: Option<Vec<Ulimit>> = "Ulimits";
        cpu_count: i64 = "CpuCount";
        cpu_percent: i64 = "CpuPercent";
        io_maximum_iops: u64 = "IOMaximumIOps";
        io_maximum_bandwidth: u64 = "IOMaximumBandwidth";
        mounts: Vec<Mount> = "Mounts" omitempty;
        masked_paths: Option<Vec<String>> = "MaskedPaths";
        readonly_paths: Option<Vec<String>> = "ReadonlyPaths";
        init: Option<bool> = "Init" omitempty;
    }

    /// Log driver and its options.
    LogConfig { typ: String = "Type"; config: Map = "Config"; }
    /// `no` (or empty), `always`, `unless-stopped`, `on-failure`.
    RestartPolicy { name: String = "Name"; maximum_retry_count: i64 = "MaximumRetryCount"; }
    /// Block I/O weight of a device.
    WeightDevice { path: String = "Path"; weight: u16 = "Weight"; }
    /// Block I/O limit of a device.
    ThrottleDevice { path: String = "Path"; rate: u64 = "Rate"; }
    /// A device of the machine inside a container.
    DeviceMapping {
        path_on_host: String = "PathOnHost";
        path_in_container: String = "PathInContainer";
        cgroup_permissions: String = "CgroupPermissions";
    }
    /// A request to a device driver (`--gpus`).
    DeviceRequest {
        driver: String = "Driver";
        count: i64 = "Count";
        device_ids: Option<Vec<String>> = "DeviceIDs";
        capabilities: Option<Vec<Vec<String>>> = "Capabilities";
        options: Option<Map> = "Options";
    }
    /// A resource limit.
    Ulimit { name: String = "Name"; hard: i64 = "Hard"; soft: i64 = "Soft"; }

    /// Networks of a new container, by name.
    NetworkingConfig { endpoints_config: BTreeMap<String, Option<EndpointSettings>> = "EndpointsConfig"; }

    /// What is in the create body beside the [`ContainerConfig`].
    CreateExtras {
        host_config: Option<HostConfig> = "HostConfig";
        networking_config: Option<NetworkingConfig> = "NetworkingConfig";
    }

    /// Answer to create.
    ContainerCreated { id: String = "Id"; warnings: Vec<String> = "Warnings"; }

    /// One line of `GET /containers/json`.
    ContainerSummary {
        id: String = "Id";
        names: Vec<String> = "Names";
        image: String = "Image";
        image_id: String = "ImageID";
        command: String = "Command";
        created: i64 = "Created";
        ports: Vec<Port> = "Ports";
        size_rw: i64 = "SizeRw" omitempty;
        size_root_fs: i64 = "SizeRootFs" omitempty;
        labels: Map = "Labels";
        state: String = "State";
        status: String = "Status";
        host_config: SummaryHostConfig = "HostConfig";
        network_settings: SummaryNetworkSettings = "NetworkSettings";
        mounts: Vec<MountPoint> = "Mounts";
    }
    /// The little of the host configuration that lists show.
    SummaryHostConfig { network_mode: String = "NetworkMode" omitempty; annotations: Map = "Annotations" omitempty; }
    /// Networks as lists show them.
    SummaryNetworkSettings { networks: BTreeMap<String, EndpointSettings> = "Networks"; }
    /// A port as lists show it; `public_port` 0: only exposed.
    Port {
        ip: String = "IP" omitempty;
        private_port: u16 = "PrivatePort";
        public_port: u16 = "PublicPort" omitempty;
        typ: String = "Type";
    }

    /// `GET /containers/{id}/json`.
    ContainerInspect {
        id: String = "Id";
        created: Time = "Created";
        path: String = "Path";
        args: Vec<String> = "Args";
        state: ContainerState = "State";
        image: String = "Image";
        resolv_conf_path: String = "ResolvConfPath";
        hostname_path: String = "HostnamePath";
        hosts_path: String = "HostsPath";
        log_path: String = "LogPath";
        name: String = "Name";
        restart_count: i64 = "RestartCount";
        driver: String = "Driver";
        platform: String = "Platform";
        mount_label: String = "MountLabel";
        process_label: String = "ProcessLabel";
        app_armor_profile: String = "AppArmorProfile";
        exec_ids: Option<Vec<String>> = "ExecIDs";
        host_config: HostConfig = "HostConfig";
        graph_driver: DriverData = "GraphDriver";
        image_manifest_descriptor: Option<Descriptor> = "ImageManifestDescriptor" omitempty;
        size_rw: Option<i64> = "SizeRw" omitempty;
        size_root_fs: Option<i64> = "SizeRootFs" omitempty;
        mounts: Vec<MountPoint> = "Mounts";
        config: ContainerConfig = "Config";
        network_settings: NetworkSettings = "NetworkSettings";
    }
    /// Life of a container. `status`: created, running, paused, restarting, removing, exited, dead.
    ContainerState {
        status: String = "Status";
        running: bool = "Running";
        paused: bool = "Paused";
        restarting: bool = "Restarting";
        oom_killed: bool = "OOMKilled";
        dead: bool = "Dead";
        pid: i64 = "Pid";
        exit_code: i64 = "ExitCode";
        error: String = "Error";
        started_at: Time = "StartedAt";
        finished_at: Time = "FinishedAt";
        health: Option<Health> = "Health" omitempty;
    }
    /// Health of a container: `starting`, `healthy`, `unhealthy`.
    Health {
        status: String = "Status";
        failing_streak: i64 = "FailingStreak";
        log: Vec<HealthcheckResult> = "Log";
    }
    /// One probe.
    HealthcheckResult {
        start: Time = "Start";
        end: Time = "End";
        exit_code: i64 = "ExitCode";
        output: String = "Output";
    }
    /// Storage driver and its paths (`LowerDir`, `UpperDir`, `WorkDir`, `MergedDir`).
    DriverData { data: Option<Map> = "Data"; name: String = "Name"; }
    /// A content descriptor.
    Descriptor {
        media_type: String = "mediaType";
        digest: String = "digest";
        size: i64 = "size";
        urls: Vec<String> = "urls" omitempty;
        annotations: Map = "annotations" omitempty;
        platform: Option<OciPlatform> = "platform" omitempty;
    }
    /// A platform in OCI's spelling.
    OciPlatform {
        architecture: String = "architecture";
        os: String = "os";
        os_version: String = "os.version" omitempty;
        os_features: Vec<String> = "os.features" omitempty;
        variant: String = "variant" omitempty;
    }
    /// Network state of a container.
    NetworkSettings {
        bridge: String = "Bridge";
        sandbox_id: String = "SandboxID";
        sandbox_key: String = "SandboxKey";
        ports: PortMap = "Ports";
        hairpin_mode: bool = "HairpinMode";
        link_local_ipv6_address: String = "LinkLocalIPv6Address";
        link_local_ipv6_prefix_len: i64 = "LinkLocalIPv6PrefixLen";
        secondary_ip_addresses: Option<Vec<Empty>> = "SecondaryIPAddresses";
        secondary_ipv6_addresses: Option<Vec<Empty>> = "SecondaryIPv6Addresses";
        endpoint_id: String = "EndpointID";
        gateway: String = "Gateway";
        global_ipv6_address: String = "GlobalIPv6Address";
        global_ipv6_prefix_len: i64 = "GlobalIPv6PrefixLen";
        ip_address: String = "IPAddress";
        ip_prefix_len: i64 = "IPPrefixLen";
        ipv6_gateway: String = "IPv6Gateway";
        mac_address: String = "MacAddress";
        networks: BTreeMap<String, EndpointSettings> = "Networks";
    }

    /// `GET /containers/{id}/top`.
    ContainerTop { processes: Vec<Vec<String>> = "Processes"; titles: Vec<String> = "Titles"; }
    /// `GET /containers/{id}/changes`: kind 0 modified, 1 added, 2 deleted.
    FilesystemChange { path: String = "Path"; kind: u8 = "Kind"; }
    /// Answer of wait.
    ContainerWait { error: Option<WaitError> = "Error" omitempty; status_code: i64 = "StatusCode"; }
    /// Why a wait failed.
    WaitError { message: String = "Message"; }
    /// Answer of update.
    ContainerUpdated { warnings: Vec<String> = "Warnings"; }
    /// Answer of prune.
    ContainersPruned { containers_deleted: Option<Vec<String>> = "ContainersDeleted"; space_reclaimed: u64 = "SpaceReclaimed"; }
    /// Answer of commit and other calls that give an id.
    IdResponse { id: String = "Id"; }
    /// Header `X-Docker-Container-Path-Stat` (base64 of this). `mode` is Go's `os.FileMode`.
    PathStat {
        name: String = "name";
        size: i64 = "size";
        mode: u32 = "mode";
        mtime: Time = "mtime";
        link_target: String = "linkTarget";
    }
}

/// Body of `POST /containers/create`: the configuration, and the two other parts in the same object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerCreateBody {
    /// The portable part.
    pub config: ContainerConfig,
    /// The machine's part.
    pub host_config: HostConfig,
    /// Networks.
    pub networking_config: NetworkingConfig,
}

impl ContainerCreateBody {
    /// Reads the body.
    ///
    /// # Errors
    /// Syntax errors, and values of a wrong kind.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        let extras: CreateExtras = super::lenient::from_value(value.clone())?;
        Ok(Self {
            config: super::lenient::from_value(value)?,
            host_config: extras.host_config.unwrap_or_default(),
            networking_config: extras.networking_config.unwrap_or_default(),
        })
    }
}

impl Serialize for ContainerCreateBody {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            #[serde(flatten)]
            config: &'a ContainerConfig,
            #[serde(rename = "HostConfig")]
            host_config: &'a HostConfig,
            #[serde(rename = "NetworkingConfig")]
            networking_config: &'a NetworkingConfig,
        }
        Flat { config: &self.config, host_config: &self.host_config, networking_config: &self.networking_config }
            .serialize(s)
    }
}

/// Body of `POST /containers/{id}/update`: resources and restart policy, zero where nothing shall change.
pub type ContainerUpdateBody = HostConfig;
