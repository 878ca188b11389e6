//! Volumes.
use super::shape::{Map, Time, shapes};
use std::collections::BTreeMap;

shapes! {
    /// A volume.
    Volume {
        created_at: Option<Time> = "CreatedAt" omitempty;
        driver: String = "Driver";
        labels: Option<Map> = "Labels";
        mountpoint: String = "Mountpoint";
        name: String = "Name";
        options: Option<Map> = "Options";
        scope: String = "Scope";
        status: BTreeMap<String, serde_json::Value> = "Status" omitempty;
        usage_data: Option<VolumeUsage> = "UsageData" omitempty;
    }
    /// -1 means "not computed".
    VolumeUsage { ref_count: i64 = "RefCount"; size: i64 = "Size"; }
    /// Body of create.
    VolumeCreate {
        name: String = "Name" omitempty;
        driver: String = "Driver" omitempty;
        driver_opts: Map = "DriverOpts" omitempty;
        labels: Map = "Labels" omitempty;
        cluster_volume_spec: Option<serde_json::Value> = "ClusterVolumeSpec" omitempty;
    }
    /// `GET /volumes`.
    VolumeList { volumes: Vec<Volume> = "Volumes"; warnings: Option<Vec<String>> = "Warnings"; }
    /// Answer of prune.
    VolumesPruned { volumes_deleted: Option<Vec<String>> = "VolumesDeleted"; space_reclaimed: u64 = "SpaceReclaimed"; }
}
