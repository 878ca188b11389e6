//! Services, and what their tasks run.
use super::container::{HealthConfig, Ulimit};
use super::mount::Mount;
use super::shape::{Base64, Empty, Map, Time, shapes};
use super::swarm::ObjectVersion;

shapes! {
    /// A service.
    Service {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: ServiceSpec = "Spec";
        previous_spec: Option<Box<ServiceSpec>> = "PreviousSpec" omitempty;
        endpoint: Endpoint = "Endpoint";
        update_status: Option<UpdateStatus> = "UpdateStatus" omitempty;
        service_status: Option<ServiceStatus> = "ServiceStatus" omitempty;
        job_status: Option<JobStatus> = "JobStatus" omitempty;
    }
    /// What the user wishes.
    ServiceSpec {
        name: String = "Name" omitempty;
        labels: Map = "Labels";
        task_template: TaskSpec = "TaskTemplate";
        mode: ServiceMode = "Mode";
        update_config: Option<UpdateConfig> = "UpdateConfig" omitempty;
        rollback_config: Option<UpdateConfig> = "RollbackConfig" omitempty;
        networks: Vec<NetworkAttachmentConfig> = "Networks" omitempty;
        endpoint_spec: Option<EndpointSpec> = "EndpointSpec" omitempty;
    }
    /// One of these.
    ServiceMode {
        replicated: Option<ReplicatedService> = "Replicated" omitempty;
        global: Option<Empty> = "Global" omitempty;
        replicated_job: Option<ReplicatedJob> = "ReplicatedJob" omitempty;
        global_job: Option<Empty> = "GlobalJob" omitempty;
    }
    /// A fixed number.
    ReplicatedService { replicas: Option<u64> = "Replicas" omitempty; }
    /// Run to completion.
    ReplicatedJob {
        max_concurrent: Option<u64> = "MaxConcurrent" omitempty;
        total_completions: Option<u64> = "TotalCompletions" omitempty;
    }
    /// How an update goes about it; durations in nanoseconds.
    UpdateConfig {
        parallelism: u64 = "Parallelism";
        delay: i64 = "Delay" omitempty;
        failure_action: String = "FailureAction" omitempty;
        monitor: i64 = "Monitor" omitempty;
        max_failure_ratio: f32 = "MaxFailureRatio";
        order: String = "Order";
    }
    /// Names and ports.
    EndpointSpec { mode: String = "Mode" omitempty; ports: Vec<PortConfig> = "Ports" omitempty; }
    /// A published port.
    PortConfig {
        name: String = "Name" omitempty;
        protocol: String = "Protocol" omitempty;
        target_port: u32 = "TargetPort" omitempty;
        published_port: u32 = "PublishedPort" omitempty;
        publish_mode: String = "PublishMode" omitempty;
        host_ip: String = "HostIP" omitempty;
    }
    /// What came of it.
    Endpoint {
        spec: EndpointSpec = "Spec";
        ports: Vec<PortConfig> = "Ports" omitempty;
        virtual_ips: Vec<VirtualIp> = "VirtualIPs" omitempty;
    }
    /// A virtual address, with the prefix length.
    VirtualIp { network_id: String = "NetworkID" omitempty; addr: String = "Addr" omitempty; }
    /// Where an update stands.
    UpdateStatus {
        state: String = "State" omitempty;
        started_at: Option<Time> = "StartedAt" omitempty;
        completed_at: Option<Time> = "CompletedAt" omitempty;
        message: String = "Message" omitempty;
    }
    /// Counts, for lists with `status=true`.
    ServiceStatus {
        running_tasks: u64 = "RunningTasks";
        desired_tasks: u64 = "DesiredTasks";
        completed_tasks: u64 = "CompletedTasks";
    }
    /// Of a job.
    JobStatus { job_iteration: ObjectVersion = "JobIteration"; last_execution: Time = "LastExecution"; }
    /// Answer of create.
    ServiceCreated { id: String = "ID" omitempty; warnings: Option<Vec<String>> = "Warnings" omitempty; }
    /// Answer of update.
    ServiceUpdated { warnings: Option<Vec<String>> = "Warnings"; }

    /// What each task runs.
    TaskSpec {
        container_spec: Option<ContainerSpec> = "ContainerSpec" omitempty;
        plugin_spec: Option<serde_json::Value> = "PluginSpec" omitempty;
        network_attachment_spec: Option<NetworkAttachmentSpec> = "NetworkAttachmentSpec" omitempty;
        resources: Option<ResourceRequirements> = "Resources" omitempty;
        restart_policy: Option<RestartPolicy> = "RestartPolicy" omitempty;
        placement: Option<Placement> = "Placement" omitempty;
        networks: Vec<NetworkAttachmentConfig> = "Networks" omitempty;
        log_driver: Option<LogDriver> = "LogDriver" omitempty;
        force_update: u64 = "ForceUpdate";
        runtime: String = "Runtime" omitempty;
    }
    /// A plain container on an overlay.
    NetworkAttachmentSpec { container_id: String = "ContainerID"; }
    /// The container.
    ContainerSpec {
        image: String = "Image" omitempty;
        labels: Map = "Labels" omitempty;
        command: Vec<String> = "Command" omitempty;
        args: Vec<String> = "Args" omitempty;
        hostname: String = "Hostname" omitempty;
        env: Vec<String> = "Env" omitempty;
        dir: String = "Dir" omitempty;
        user: String = "User" omitempty;
        groups: Vec<String> = "Groups" omitempty;
        privileges: Option<Privileges> = "Privileges" omitempty;
        init: Option<bool> = "Init" omitempty;
        stop_signal: String = "StopSignal" omitempty;
        tty: bool = "TTY" omitempty;
        open_stdin: bool = "OpenStdin" omitempty;
        read_only: bool = "ReadOnly" omitempty;
        mounts: Vec<Mount> = "Mounts" omitempty;
        stop_grace_period: Option<i64> = "StopGracePeriod" omitempty;
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty;
        hosts: Vec<String> = "Hosts" omitempty;
        dns_config: Option<DnsConfig> = "DNSConfig" omitempty;
        secrets: Vec<SecretReference> = "Secrets" omitempty;
        configs: Vec<ConfigReference> = "Configs" omitempty;
        isolation: String = "Isolation" omitempty;
        sysctls: Map = "Sysctls" omitempty;
        capability_add: Vec<String> = "CapabilityAdd" omitempty;
        capability_drop: Vec<String> = "CapabilityDrop" omitempty;
        ulimits: Vec<Ulimit> = "Ulimits" omitempty;
        oom_score_adj: i64 = "OomScoreAdj" omitempty;
    }
    /// Security switches.
    Privileges {
        credential_spec: Option<CredentialSpec> = "CredentialSpec";
        se_linux_context: Option<SeLinuxContext> = "SELinuxContext";
        seccomp: Option<SeccompOpts> = "Seccomp" omitempty;
        app_armor: Option<AppArmorOpts> = "AppArmor" omitempty;
        no_new_privileges: bool = "NoNewPrivileges" omitempty;
    }
    /// Windows only.
    CredentialSpec { config: String = "Config"; file: String = "File"; registry: String = "Registry"; }
    /// SELinux.
    SeLinuxContext {
        disable: bool = "Disable";
        user: String = "User";
        role: String = "Role";
        typ: String = "Type";
        level: String = "Level";
    }
    /// `default`, `unconfined`, `custom`.
    SeccompOpts { mode: String = "Mode" omitempty; profile: Base64 = "Profile" omitempty; }
    /// `default`, `disabled`.
    AppArmorOpts { mode: String = "Mode" omitempty; }
    /// DNS settings.
    DnsConfig {
        nameservers: Vec<String> = "Nameservers" omitempty;
        search: Vec<String> = "Search" omitempty;
        options: Vec<String> = "Options" omitempty;
    }
    /// Use of a secret.
    SecretReference {
        file: Option<FileTarget> = "File";
        secret_id: String = "SecretID";
        secret_name: String = "SecretName";
    }
    /// Use of a config.
    ConfigReference {
        file: Option<FileTarget> = "File" omitempty;
        runtime: Option<Empty> = "Runtime" omitempty;
        config_id: String = "ConfigID";
        config_name: String = "ConfigName";
    }
    /// Where it appears.
    FileTarget { name: String = "Name"; uid: String = "UID"; gid: String = "GID"; mode: u32 = "Mode"; }
    /// Reservations and limits.
    ResourceRequirements {
        limits: Option<Limit> = "Limits" omitempty;
        reservations: Option<Resources> = "Reservations" omitempty;
        swap_bytes: Option<i64> = "SwapBytes" omitempty;
        memory_swappiness: Option<i64> = "MemorySwappiness" omitempty;
    }
    /// Upper bounds.
    Limit { nano_cpus: i64 = "NanoCPUs" omitempty; memory_bytes: i64 = "MemoryBytes" omitempty; pids: i64 = "Pids" omitempty; }
    /// Amounts.
    Resources {
        nano_cpus: i64 = "NanoCPUs" omitempty;
        memory_bytes: i64 = "MemoryBytes" omitempty;
        generic_resources: Vec<GenericResource> = "GenericResources" omitempty;
    }
    /// One of two.
    GenericResource {
        named: Option<NamedResource> = "NamedResourceSpec" omitempty;
        discrete: Option<DiscreteResource> = "DiscreteResourceSpec" omitempty;
    }
    /// Named.
    NamedResource { kind: String = "Kind" omitempty; value: String = "Value" omitempty; }
    /// Countable.
    DiscreteResource { kind: String = "Kind" omitempty; value: i64 = "Value" omitempty; }
    /// When a task is restarted; durations in nanoseconds.
    RestartPolicy {
        condition: String = "Condition" omitempty;
        delay: Option<i64> = "Delay" omitempty;
        max_attempts: Option<u64> = "MaxAttempts" omitempty;
        window: Option<i64> = "Window" omitempty;
    }
    /// Where.
    Placement {
        constraints: Vec<String> = "Constraints" omitempty;
        preferences: Vec<PlacementPreference> = "Preferences" omitempty;
        max_replicas: u64 = "MaxReplicas" omitempty;
        platforms: Vec<Platform> = "Platforms" omitempty;
    }
    /// A preference.
    PlacementPreference { spread: Option<SpreadOver> = "Spread"; }
    /// Evenly over the values of this.
    SpreadOver { spread_descriptor: String = "SpreadDescriptor"; }
    /// Platform.
    Platform { architecture: String = "Architecture" omitempty; os: String = "OS" omitempty; }
    /// A network of a task.
    NetworkAttachmentConfig {
        target: String = "Target" omitempty;
        aliases: Vec<String> = "Aliases" omitempty;
        driver_opts: Map = "DriverOpts" omitempty;
        addresses: Vec<String> = "Addresses" omitempty;
    }
    /// A driver and its options.
    LogDriver { name: String = "Name" omitempty; options: Map = "Options" omitempty; }
}
