//! Images.
use super::container::{ContainerConfig, Descriptor, DriverData, HealthConfig};
use super::shape::{Map, Set, StrSlice, Time, shapes};

shapes! {
    /// One line of `GET /images/json`. -1 means "not computed".
    ImageSummary {
        containers: i64 = "Containers";
        created: i64 = "Created";
        id: String = "Id";
        labels: Option<Map> = "Labels";
        parent_id: String = "ParentId";
        descriptor: Option<Descriptor> = "Descriptor" omitempty;
        repo_digests: Vec<String> = "RepoDigests";
        repo_tags: Vec<String> = "RepoTags";
        shared_size: i64 = "SharedSize";
        size: i64 = "Size";
    }
    /// `GET /images/{name}/json`.
    ImageInspect {
        id: String = "Id";
        repo_tags: Vec<String> = "RepoTags";
        repo_digests: Vec<String> = "RepoDigests";
        parent: String = "Parent";
        comment: String = "Comment";
        created: String = "Created" omitempty;
        docker_version: String = "DockerVersion";
        author: String = "Author";
        container: String = "Container" omitempty;
        container_config: Option<ContainerConfig> = "ContainerConfig" omitempty;
        config: ImageConfig = "Config";
        architecture: String = "Architecture";
        variant: String = "Variant" omitempty;
        os: String = "Os";
        os_version: String = "OsVersion" omitempty;
        size: i64 = "Size";
        graph_driver: DriverData = "GraphDriver";
        root_fs: RootFs = "RootFS";
        metadata: ImageMetadata = "Metadata";
        descriptor: Option<Descriptor> = "Descriptor" omitempty;
    }
    /// The image's defaults for containers.
    ImageConfig {
        user: String = "User";
        exposed_ports: Set = "ExposedPorts" omitempty;
        env: Option<Vec<String>> = "Env";
        entrypoint: StrSlice = "Entrypoint";
        cmd: StrSlice = "Cmd";
        volumes: Option<Set> = "Volumes";
        working_dir: String = "WorkingDir";
        labels: Option<Map> = "Labels";
        stop_signal: String = "StopSignal" omitempty;
        args_escaped: bool = "ArgsEscaped" omitempty;
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty;
        on_build: Option<Vec<String>> = "OnBuild";
        shell: StrSlice = "Shell" omitempty;
    }
    /// Layers (diff ids).
    RootFs { typ: String = "Type"; layers: Vec<String> = "Layers" omitempty; }
    /// When it was last tagged.
    ImageMetadata { last_tag_time: Time = "LastTagTime"; }
    /// One line of `GET /images/{name}/history`.
    ImageHistory {
        comment: String = "Comment";
        created: i64 = "Created";
        created_by: String = "CreatedBy";
        id: String = "Id";
        size: i64 = "Size";
        tags: Option<Vec<String>> = "Tags";
    }
    /// One line of the answer to a removal.
    ImageDeleted { deleted: String = "Deleted" omitempty; untagged: String = "Untagged" omitempty; }
    /// Answer of prune.
    ImagesPruned { images_deleted: Option<Vec<ImageDeleted>> = "ImagesDeleted"; space_reclaimed: u64 = "SpaceReclaimed"; }
    /// One line of `GET /images/search`.
    ImageSearchResult {
        star_count: i64 = "star_count";
        is_official: bool = "is_official";
        name: String = "name";
        is_automated: bool = "is_automated";
        description: String = "description";
    }
    /// `GET /distribution/{name}/json`.
    DistributionInspect { descriptor: Descriptor = "Descriptor"; platforms: Vec<super::container::OciPlatform> = "Platforms"; }
    /// Header `X-Registry-Auth` and body of `POST /auth`.
    AuthConfig {
        username: String = "username" omitempty;
        password: String = "password" omitempty;
        auth: String = "auth" omitempty;
        email: String = "email" omitempty;
        server_address: String = "serveraddress" omitempty;
        identity_token: String = "identitytoken" omitempty;
        registry_token: String = "registrytoken" omitempty;
    }
    /// Answer of `POST /auth`.
    AuthStatus { status: String = "Status"; identity_token: String = "IdentityToken"; }
}

/// A commit may override parts of the container's configuration.
pub type CommitConfig = ContainerConfig;
