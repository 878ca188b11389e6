//! The engine itself.
use super::container::ContainerSummary;
use super::image::ImageSummary;
use super::shape::{Empty, Map, shapes};
use super::swarm::SwarmInfo;
use super::volume::Volume;
use std::collections::BTreeMap;

shapes! {
    /// `GET /version`.
    Version {
        platform: VersionPlatform = "Platform" omitempty;
        components: Vec<ComponentVersion> = "Components" omitempty;
        version: String = "Version";
        api_version: String = "ApiVersion";
        min_api_version: String = "MinAPIVersion" omitempty;
        git_commit: String = "GitCommit";
        go_version: String = "GoVersion";
        os: String = "Os";
        arch: String = "Arch";
        kernel_version: String = "KernelVersion" omitempty;
        experimental: bool = "Experimental" omitempty;
        build_time: String = "BuildTime" omitempty;
    }
    /// `Platform` of [`Version`].
    VersionPlatform { name: String = "Name"; }
    /// A part of the engine.
    ComponentVersion { name: String = "Name"; version: String = "Version"; details: Map = "Details" omitempty; }

    /// `GET /info`.
    Info {
        id: String = "ID";
        containers: i64 = "Containers";
        containers_running: i64 = "ContainersRunning";
        containers_paused: i64 = "ContainersPaused";
        containers_stopped: i64 = "ContainersStopped";
        images: i64 = "Images";
        driver: String = "Driver";
        driver_status: Vec<(String, String)> = "DriverStatus";
        system_status: Vec<(String, String)> = "SystemStatus" omitempty;
        plugins: PluginsInfo = "Plugins";
        memory_limit: bool = "MemoryLimit";
        swap_limit: bool = "SwapLimit";
        kernel_memory: bool = "KernelMemory" omitempty;
        cpu_cfs_period: bool = "CpuCfsPeriod";
        cpu_cfs_quota: bool = "CpuCfsQuota";
        cpu_shares: bool = "CPUShares";
        cpu_set: bool = "CPUSet";
        pids_limit: bool = "PidsLimit";
        ipv4_forwarding: bool = "IPv4Forwarding";
        debug: bool = "Debug";
        n_fd: i64 = "NFd";
        oom_kill_disable: bool = "OomKillDisable";
        n_goroutines: i64 = "NGoroutines";
        system_time: String = "SystemTime";
        logging_driver: String = "LoggingDriver";
        cgroup_driver: String = "CgroupDriver";
        cgroup_version: String = "CgroupVersion" omitempty;
        n_events_listener: i64 = "NEventsListener";
        kernel_version: String = "KernelVersion";
        operating_system: String = "OperatingSystem";
        os_version: String = "OSVersion";
        os_type: String = "OSType";
        architecture: String = "Architecture";
        index_server_address: String = "IndexServerAddress";
        registry_config: RegistryConfig = "RegistryConfig";
        n_cpu: i64 = "NCPU";
        mem_total: i64 = "MemTotal";
        generic_resources: Option<Vec<super::service::GenericResource>> = "GenericResources";
        docker_root_dir: String = "DockerRootDir";
        http_proxy: String = "HttpProxy";
        https_proxy: String = "HttpsProxy";
        no_proxy: String = "NoProxy";
        name: String = "Name";
        labels: Vec<String> = "Labels";
        experimental_build: bool = "ExperimentalBuild";
        server_version: String = "ServerVersion";
        runtimes: BTreeMap<String, Runtime> = "Runtimes";
        default_runtime: String = "DefaultRuntime";
        swarm: SwarmInfo = "Swarm";
        live_restore_enabled: bool = "LiveRestoreEnabled";
        isolation: String = "Isolation";
        init_binary: String = "InitBinary";
        containerd_commit: Commit = "ContainerdCommit";
        runc_commit: Commit = "RuncCommit";
        init_commit: Commit = "InitCommit";
        security_options: Vec<String> = "SecurityOptions";
        product_license: String = "ProductLicense" omitempty;
        default_address_pools: Vec<AddressPool> = "DefaultAddressPools" omitempty;
        firewall_backend: Option<FirewallInfo> = "FirewallBackend" omitempty;
        cdi_spec_dirs: Vec<String> = "CDISpecDirs";
        warnings: Option<Vec<String>> = "Warnings";
    }
    /// Drivers by kind. `authorization` is written as `null` when absent, as Docker does.
    PluginsInfo {
        volume: Vec<String> = "Volume";
        network: Vec<String> = "Network";
        authorization: Option<Vec<String>> = "Authorization";
        log: Vec<String> = "Log";
    }
    /// Registries.
    RegistryConfig {
        insecure_registry_cidrs: Vec<String> = "InsecureRegistryCIDRs";
        index_configs: BTreeMap<String, IndexInfo> = "IndexConfigs";
        mirrors: Option<Vec<String>> = "Mirrors";
    }
    /// One registry.
    IndexInfo {
        name: String = "Name";
        mirrors: Vec<String> = "Mirrors";
        secure: bool = "Secure";
        official: bool = "Official";
    }
    /// An OCI runtime.
    Runtime { path: String = "path" omitempty; runtime_args: Vec<String> = "runtimeArgs" omitempty; status: Option<Map> = "status" omitempty; }
    /// A component's commit.
    Commit { id: String = "ID"; expected: String = "Expected" omitempty; }
    /// A pool of local subnets.
    AddressPool { base: String = "Base"; size: i64 = "Size"; }
    /// Packet filter in use.
    FirewallInfo { driver: String = "Driver"; info: Vec<(String, String)> = "Info" omitempty; }

    /// `GET /system/df`.
    DiskUsage {
        layers_size: i64 = "LayersSize";
        images: Vec<ImageSummary> = "Images";
        containers: Vec<ContainerSummary> = "Containers";
        volumes: Vec<Volume> = "Volumes";
        build_cache: Vec<Empty> = "BuildCache";
        builder_size: i64 = "BuilderSize" omitempty;
    }
}

impl Version {
    /// Adds the component `Engine`, from which the CLI takes what it prints, unless components are there already.
    pub fn with_engine_component(mut self) -> Self {
        if self.components.is_empty() {
            let details = [
                ("ApiVersion", &self.api_version),
                ("Arch", &self.arch),
                ("BuildTime", &self.build_time),
                ("Experimental", &self.experimental.to_string()),
                ("GitCommit", &self.git_commit),
                ("GoVersion", &self.go_version),
                ("KernelVersion", &self.kernel_version),
                ("MinAPIVersion", &self.min_api_version),
                ("Os", &self.os),
            ]
            .map(|(k, v)| (k.to_owned(), v.clone()));
            self.components = vec![ComponentVersion {
                name: "Engine".into(),
                version: self.version.clone(),
                details: details.into(),
            }];
        }
        self
    }
}
