//! Networks and containers' ends on them.
use super::shape::{Map, Time, shapes};
use std::collections::BTreeMap;

/// `80/tcp` → where it is published; `None` (`null`): exposed only.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

shapes! {
    /// A published port.
    PortBinding { host_ip: String = "HostIp"; host_port: String = "HostPort"; }
    /// A container's end on a network: the wish and the state.
    EndpointSettings {
        ipam_config: Option<EndpointIpam> = "IPAMConfig";
        links: Option<Vec<String>> = "Links";
        aliases: Option<Vec<String>> = "Aliases";
        mac_address: String = "MacAddress";
        driver_opts: Option<Map> = "DriverOpts";
        gw_priority: i64 = "GwPriority";
        network_id: String = "NetworkID";
        endpoint_id: String = "EndpointID";
        gateway: String = "Gateway";
        ip_address: String = "IPAddress";
        ip_prefix_len: i64 = "IPPrefixLen";
        ipv6_gateway: String = "IPv6Gateway";
        global_ipv6_address: String = "GlobalIPv6Address";
        global_ipv6_prefix_len: i64 = "GlobalIPv6PrefixLen";
        dns_names: Option<Vec<String>> = "DNSNames";
    }
    /// Wished addresses.
    EndpointIpam {
        ipv4_address: String = "IPv4Address" omitempty;
        ipv6_address: String = "IPv6Address" omitempty;
        link_local_ips: Vec<String> = "LinkLocalIPs" omitempty;
    }

    /// Body of create. `CheckDuplicate` is read and has no meaning (duplicates are always refused).
    NetworkCreate {
        name: String = "Name";
        check_duplicate: Option<bool> = "CheckDuplicate" omitempty;
        driver: String = "Driver";
        scope: String = "Scope";
        enable_ipv4: Option<bool> = "EnableIPv4" omitempty;
        enable_ipv6: Option<bool> = "EnableIPv6" omitempty;
        ipam: Option<Ipam> = "IPAM";
        internal: bool = "Internal";
        attachable: bool = "Attachable";
        ingress: bool = "Ingress";
        config_only: bool = "ConfigOnly";
        config_from: Option<ConfigReference> = "ConfigFrom";
        options: Map = "Options";
        labels: Map = "Labels";
    }
    /// Answer of create.
    NetworkCreated { id: String = "Id"; warning: String = "Warning"; }
    /// Address management.
    Ipam { driver: String = "Driver"; options: Option<Map> = "Options"; config: Vec<IpamConfig> = "Config"; }
    /// One subnet.
    IpamConfig {
        subnet: String = "Subnet" omitempty;
        ip_range: String = "IPRange" omitempty;
        gateway: String = "Gateway" omitempty;
        aux_address: Map = "AuxiliaryAddresses" omitempty;
    }
    /// A configuration-only network.
    ConfigReference { network: String = "Network"; }

    /// A network, in lists and `GET /networks/{id}`.
    Network {
        name: String = "Name";
        id: String = "Id";
        created: Time = "Created";
        scope: String = "Scope";
        driver: String = "Driver";
        enable_ipv4: bool = "EnableIPv4";
        enable_ipv6: bool = "EnableIPv6";
        ipam: Ipam = "IPAM";
        internal: bool = "Internal";
        attachable: bool = "Attachable";
        ingress: bool = "Ingress";
        config_from: ConfigReference = "ConfigFrom";
        config_only: bool = "ConfigOnly";
        containers: BTreeMap<String, EndpointResource> = "Containers";
        options: Map = "Options";
        labels: Map = "Labels";
        peers: Vec<PeerInfo> = "Peers" omitempty;
        services: BTreeMap<String, ServiceInfo> = "Services" omitempty;
        status: Option<NetworkStatus> = "Status" omitempty;
    }
    /// A container on a network.
    EndpointResource {
        name: String = "Name";
        endpoint_id: String = "EndpointID";
        mac_address: String = "MacAddress";
        ipv4_address: String = "IPv4Address";
        ipv6_address: String = "IPv6Address";
    }
    /// A node that carries a network.
    PeerInfo { name: String = "Name"; ip: String = "IP"; }
    /// A service on a network (`verbose`).
    ServiceInfo {
        vip: String = "VIP";
        ports: Vec<String> = "Ports";
        local_lb_index: i64 = "LocalLBIndex";
        tasks: Vec<NetworkTask> = "Tasks";
    }
    /// A task on a network (`verbose`).
    NetworkTask {
        name: String = "Name";
        endpoint_id: String = "EndpointID";
        endpoint_ip: String = "EndpointIP";
        info: Map = "Info";
    }
    /// Use of addresses (1.52).
    NetworkStatus { ipam: IpamStatus = "IPAM"; }
    /// Use of addresses, by subnet.
    IpamStatus { subnets: BTreeMap<String, SubnetStatus> = "Subnets"; }
    /// Use of one subnet.
    SubnetStatus { ips_in_use: u64 = "IPsInUse"; dynamic_ips_available: u64 = "DynamicIPsAvailable"; }

    /// Body of connect.
    NetworkConnect { container: String = "Container"; endpoint_config: Option<EndpointSettings> = "EndpointConfig"; }
    /// Body of disconnect.
    NetworkDisconnect { container: String = "Container"; force: bool = "Force"; }
    /// Answer of prune.
    NetworksPruned { networks_deleted: Option<Vec<String>> = "NetworksDeleted"; }
}
