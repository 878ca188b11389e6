//! Nodes.
use super::service::{Platform, Resources};
use super::shape::{Map, Time, shapes};
use super::swarm::{ObjectVersion, TlsInfo};

shapes! {
    /// A node.
    Node {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: NodeSpec = "Spec";
        description: NodeDescription = "Description";
        status: NodeStatus = "Status";
        manager_status: Option<ManagerStatus> = "ManagerStatus" omitempty;
    }
    /// What the user wishes.
    NodeSpec {
        name: String = "Name" omitempty;
        labels: Map = "Labels";
        role: String = "Role" omitempty;
        availability: String = "Availability" omitempty;
    }
    /// What the machine says of itself.
    NodeDescription {
        hostname: String = "Hostname" omitempty;
        platform: Platform = "Platform";
        resources: Resources = "Resources";
        engine: EngineDescription = "Engine";
        tls_info: TlsInfo = "TLSInfo";
    }
    /// Its engine.
    EngineDescription {
        engine_version: String = "EngineVersion" omitempty;
        labels: Map = "Labels" omitempty;
        plugins: Vec<PluginDescription> = "Plugins" omitempty;
    }
    /// A driver.
    PluginDescription { typ: String = "Type" omitempty; name: String = "Name" omitempty; }
    /// Liveness.
    NodeStatus { state: String = "State" omitempty; message: String = "Message" omitempty; addr: String = "Addr" omitempty; }
    /// Of managers.
    ManagerStatus { leader: bool = "Leader" omitempty; reachability: String = "Reachability" omitempty; addr: String = "Addr" omitempty; }
}
