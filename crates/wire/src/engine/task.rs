//! Tasks.
use super::network::Ipam;
use super::service::{GenericResource, LogDriver, PortConfig, TaskSpec};
use super::shape::{Map, Time, shapes};
use super::swarm::ObjectVersion;

shapes! {
    /// A task.
    Task {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        name: String = "Name" omitempty;
        labels: Map = "Labels";
        spec: TaskSpec = "Spec";
        service_id: String = "ServiceID" omitempty;
        slot: u64 = "Slot" omitempty;
        node_id: String = "NodeID" omitempty;
        status: TaskStatus = "Status";
        desired_state: String = "DesiredState" omitempty;
        networks_attachments: Vec<NetworkAttachment> = "NetworksAttachments" omitempty;
        generic_resources: Vec<GenericResource> = "GenericResources" omitempty;
        job_iteration: Option<ObjectVersion> = "JobIteration" omitempty;
        volumes: Option<Vec<serde_json::Value>> = "Volumes";
    }
    /// What is observed.
    TaskStatus {
        timestamp: Time = "Timestamp";
        state: String = "State" omitempty;
        message: String = "Message" omitempty;
        err: String = "Err" omitempty;
        container_status: Option<ContainerStatus> = "ContainerStatus" omitempty;
        port_status: PortStatus = "PortStatus";
    }
    /// Its container.
    ContainerStatus { container_id: String = "ContainerID"; pid: i64 = "PID"; exit_code: i64 = "ExitCode"; }
    /// Host-mode ports.
    PortStatus { ports: Vec<PortConfig> = "Ports" omitempty; }
    /// A network it is on.
    NetworkAttachment { network: TaskNetwork = "Network"; addresses: Vec<String> = "Addresses"; }
    /// That network, as swarm objects show it.
    TaskNetwork {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: SwarmNetworkSpec = "Spec";
        driver_state: SwarmDriver = "DriverState";
        ipam_options: Option<IpamOptions> = "IPAMOptions" omitempty;
    }
    /// Its spec.
    SwarmNetworkSpec {
        name: String = "Name";
        labels: Map = "Labels";
        driver_configuration: Option<LogDriver> = "DriverConfiguration" omitempty;
        ipv6_enabled: bool = "IPv6Enabled" omitempty;
        internal: bool = "Internal" omitempty;
        attachable: bool = "Attachable" omitempty;
        ingress: bool = "Ingress" omitempty;
        ipam_options: Option<IpamOptions> = "IPAMOptions" omitempty;
        scope: String = "Scope";
    }
    /// Its driver.
    SwarmDriver { name: String = "Name" omitempty; options: Map = "Options" omitempty; }
    /// Its address management.
    IpamOptions { driver: SwarmDriver = "Driver"; configs: Vec<SwarmIpamConfig> = "Configs" omitempty; }
    /// One subnet.
    SwarmIpamConfig { subnet: String = "Subnet" omitempty; range: String = "Range" omitempty; gateway: String = "Gateway" omitempty; }
}

impl IpamOptions {
    /// From a network's address management.
    pub fn from_ipam(ipam: &Ipam) -> Self {
        Self {
            driver: SwarmDriver { name: ipam.driver.clone(), options: ipam.options.clone().unwrap_or_default() },
            configs: ipam
                .config
                .iter()
                .map(|c| SwarmIpamConfig {
                    subnet: c.subnet.clone(),
                    range: c.ip_range.clone(),
                    gateway: c.gateway.clone(),
                })
                .collect(),
        }
    }
}
