//! Secrets.
use super::mount::Driver;
use super::shape::{Base64, Map, Time, shapes};
use super::swarm::ObjectVersion;

shapes! {
    /// A secret; its data is never shown.
    Secret {
        id: String = "ID";
        version: ObjectVersion = "Version";
        created_at: Time = "CreatedAt";
        updated_at: Time = "UpdatedAt";
        spec: SecretSpec = "Spec";
    }
    /// What the user gave.
    SecretSpec {
        name: String = "Name";
        labels: Map = "Labels";
        data: Base64 = "Data" omitempty;
        driver: Option<Driver> = "Driver" omitempty;
        templating: Option<Driver> = "Templating" omitempty;
    }
    /// Answer of create, for secrets and configs.
    ObjectCreated { id: String = "ID"; }
}
