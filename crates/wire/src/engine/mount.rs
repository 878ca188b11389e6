//! Mounts, as containers and services ask for them and as containers have them.
use super::shape::{Map, shapes};

shapes! {
    /// A wished mount. `typ`: bind, volume, tmpfs, npipe, cluster, image.
    Mount {
        typ: String = "Type" omitempty;
        source: String = "Source" omitempty;
        target: String = "Target" omitempty;
        read_only: bool = "ReadOnly" omitempty;
        consistency: String = "Consistency" omitempty;
        bind_options: Option<BindOptions> = "BindOptions" omitempty;
        volume_options: Option<VolumeOptions> = "VolumeOptions" omitempty;
        image_options: Option<ImageOptions> = "ImageOptions" omitempty;
        tmpfs_options: Option<TmpfsOptions> = "TmpfsOptions" omitempty;
        cluster_options: Option<super::shape::Empty> = "ClusterOptions" omitempty;
    }
    /// Of a bind mount.
    BindOptions {
        propagation: String = "Propagation" omitempty;
        non_recursive: bool = "NonRecursive" omitempty;
        create_mountpoint: bool = "CreateMountpoint" omitempty;
        read_only_non_recursive: bool = "ReadOnlyNonRecursive" omitempty;
        read_only_force_recursive: bool = "ReadOnlyForceRecursive" omitempty;
    }
    /// Of a volume.
    VolumeOptions {
        no_copy: bool = "NoCopy" omitempty;
        labels: Map = "Labels" omitempty;
        subpath: String = "Subpath" omitempty;
        driver_config: Option<Driver> = "DriverConfig" omitempty;
    }
    /// Of an image mount.
    ImageOptions { subpath: String = "Subpath" omitempty; }
    /// Of a tmpfs.
    TmpfsOptions {
        size_bytes: i64 = "SizeBytes" omitempty;
        mode: u32 = "Mode" omitempty;
        options: Vec<Vec<String>> = "Options" omitempty;
    }
    /// A driver and its options.
    Driver { name: String = "Name" omitempty; options: Map = "Options" omitempty; }

    /// A mount that a container has.
    MountPoint {
        typ: String = "Type" omitempty;
        name: String = "Name" omitempty;
        source: String = "Source";
        destination: String = "Destination";
        driver: String = "Driver" omitempty;
        mode: String = "Mode";
        rw: bool = "RW";
        propagation: String = "Propagation";
    }
}
