//! Configs.
use super::mount::Driver;
use super::shape::{Base64, Map, Time, shapes};
use super::swarm::ObjectVersion;

shapes! {
    /// A config.
    Config {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: ConfigSpec = "Spec";
    }
    /// What the user gave.
    ConfigSpec {
        name: String = "Name";
        labels: Map = "Labels";
        data: Base64 = "Data" omitempty;
        templating: Option<Driver> = "Templating" omitempty;
    }
}
