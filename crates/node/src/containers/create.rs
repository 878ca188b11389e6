//! Making a container: check everything, then touch the disk; undo on failure.
use super::record::{MountRecord, Record, State};
use super::{Container, Containers, OverlayWish, configure, mounts, now, refuse_image};
use crate::clock;
use crate::volumes::VolumeSpec;
use std::collections::BTreeMap;
use std::path::Path;
use wire::Refusal;
use wire::engine::container::ContainerCreateBody;
use wire::engine::mount::MountPoint;
use wire::engine::network::EndpointSettings;

/// What is to be made.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// Wished name; empty: one is made up.
    pub name: String,
    /// Docker's body.
    pub body: ContainerCreateBody,
    /// What only the agent may ask for.
    pub managed: Option<Managed>,
}

/// What the agent asks for beyond Docker's body.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    /// The task.
    pub task: Option<model::TaskId>,
    /// Overlays, in interface order.
    pub overlays: Vec<OverlayWish>,
    /// Secrets and configs.
    pub files: Vec<ManagedFile>,
}

/// A file that lives in memory and is shown read-only in the container.
#[derive(Clone, Debug, Default)]
pub struct ManagedFile {
    /// Path inside.
    pub target: String,
    /// Content.
    pub data: Vec<u8>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Containers {
    /// Makes a container. Gives its id and warnings.
    ///
    /// # Errors
    /// Docker's: 400, 404 (no such image), 409 (name taken).
    pub async fn create(&self, request: CreateRequest) -> Result<(String, Vec<String>), Refusal> {
        let CreateRequest { name, body, managed } = request;
        configure::check(&body)?;
        let managed = managed.unwrap_or_default();
        let image = self.inner.base.images.get(&body.config.image).map_err(refuse_image)?;
        let mut warnings = Vec::new();
        let id = clock::random_id();
        let mut config = configure::merge_image(body.config, &image.config.config)?;
        let argv = configure::argv(&config)?;
        let mut host_config = configure::with_defaults(body.host_config, &self.inner.base.defaults);
        if let Some(Ok(other)) = host_config.network_mode.strip_prefix("container:").map(|other| self.find(other)) {
            host_config.network_mode = format!("container:{}", other.id);
        }
        if config.hostname.is_empty() && !host_config.network_mode.starts_with("container:") {
            config.hostname = match host_config.network_mode.as_str() {
                "host" => hostname(),
                _ => id[..12].to_owned(),
            };
        }
        if host_config.network_mode == "host" && host_config.port_bindings.values().flatten().any(|b| !b.is_empty()) {
            warnings.push("Published ports are discarded when using host network mode".into());
        }
        if host_config.cpu_count != 0 {
            warnings.push("CpuCount means nothing on Linux: use NanoCpus (--cpus) to limit processor time".into());
        }
        for port in host_config.port_bindings.keys() {
            config.exposed_ports.entry(port.clone()).or_default();
        }
        // What is no port is told now, not at the start.
        super::wiring::wished_ports(&config, &host_config)?;
        let mut wishes = mounts::wishes(&config, &host_config)?;
        for wish in &mut wishes {
            super::propagation::settle(&mut wish.record, self.data_root())?;
        }
        let mut networks = self.wished_networks(&host_config.network_mode, body.networking_config.endpoints_config)?;
        self.take_links(&mut host_config, &mut networks)?;
        self.check_networks(&networks, &host_config.network_mode)?;
        self.check_shared_namespaces(&host_config)?;

        let name = self.reserve_name(&name, &id)?;
        let mut record = Record {
            id: id.clone(),
            name: name.clone(),
            created: now(),
            image_id: image.id.clone(),
            argv,
            config,
            host_config,
            networks,
            state: State::default(),
            task: managed.task.clone(),
            ..Record::default()
        };
        match self.build(&mut record, wishes, managed, &image.id).await {
            Ok(()) => {
                let container = Container::new(record);
                tracing::debug!(container = %id, name, "created");
                self.inner.table.write().by_id.insert(id.clone(), container.clone());
                self.tell(&container, "create", &[]);
                Ok((id, warnings))
            }
            Err(e) => {
                self.inner.table.write().names.remove(&name);
                let _ = self.inner.base.images.remove_rootfs(&id).await;
                self.give_back_volumes(&record, true).await;
                self.forget_files(&id);
                let _ = std::fs::remove_dir_all(Record::dir(&self.inner.base.dir, &id));
                Err(e)
            }
        }
    }

    /// Touches the disk.
    async fn build(
        &self,
        record: &mut Record,
        wishes: Vec<mounts::Wish>,
        managed: Managed,
        image: &str,
    ) -> Result<(), Refusal> {
        let base = &self.inner.base;
        let dir = Record::dir(&base.dir, &record.id);
        let io = |e: std::io::Error| Refusal::internal(format!("cannot make {}: {e}", dir.display()));
        std::fs::create_dir_all(dir.join("mounts")).map_err(io)?;
        let rootfs = base.images.rootfs(&record.id, image).await.map_err(refuse_image)?;
        self.take_from(record).await?;
        for wish in wishes {
            if record.mounts.iter().any(|m| m.point.destination == wish.record.point.destination) {
                continue;
            }
            self.make_mount(record, wish, &rootfs.merged).await?;
        }
        self.write_files(record, &managed)?;
        super::wiring::keep_overlays(&dir, &managed.overlays).map_err(io)?;
        record.save(&base.dir).map_err(io)
    }

    /// Adds a mount to the record, and makes volumes and sources of binds. On an error the record names what was made.
    async fn make_mount(&self, record: &mut Record, wish: mounts::Wish, rootfs: &Path) -> Result<(), Refusal> {
        let mounts::Wish { record: mut mount, volume_labels, volume_options, create_source } = wish;
        let point = &mut mount.point;
        match point.typ.as_str() {
            "volume" => {
                let create = VolumeSpec {
                    name: point.name.clone(),
                    driver: point.driver.clone(),
                    options: volume_options,
                    labels: volume_labels,
                };
                let volumes = &self.inner.base.volumes;
                let volume = volumes.create(create).await?;
                volumes.hold(&volume.name, &record.id)?;
                point.name = volume.name.clone();
                point.source = volume.mountpoint.display().to_string();
                record.mounts.push(mount.clone());
                let root = volumes.mount(&volume.name, &record.id).await?;
                if !mount.no_copy && mount.point.rw {
                    volumes.copy_up(&volume.name, rootfs, &mount.point.destination).await?;
                }
                if mount.subpath.is_empty() {
                    return Ok(());
                }
                let found = kernel::mount::RootDir::open_at(&root).and_then(|root| root.locate(&mount.subpath));
                return found.map(drop).map_err(|e| {
                    Refusal::invalid(format!("cannot access path {}: {e}", root.join(&mount.subpath).display()))
                });
            }
            "bind" => {
                let source = Path::new(&point.source);
                if !source.exists() {
                    if mount.strict && !create_source {
                        return Err(Refusal::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            point.source
                        )));
                    }
                    std::fs::create_dir_all(source).map_err(|e| {
                        Refusal::internal(format!("error while creating mount source path '{}': {e}", point.source))
                    })?;
                }
            }
            _ => {}
        }
        record.mounts.push(mount);
        Ok(())
    }

    /// A container is no more, or never came to be. With `anonymous`, its unnamed volumes that nobody else uses go.
    pub(super) async fn give_back_volumes(&self, record: &Record, anonymous: bool) {
        let volumes = &self.inner.base.volumes;
        for mount in record.mounts.iter().filter(|m| m.point.typ == "volume") {
            if let Err(e) = volumes.unmount(&mount.point.name, &record.id).await {
                tracing::warn!(container = %record.id, volume = mount.point.name, error = %e, "a volume cannot be unmounted");
            }
        }
        let released = volumes.release(&record.id);
        for mount in record.mounts.iter().filter(|m| anonymous && m.anonymous && released.contains(&m.point.name)) {
            // Another container may have taken it over with volumes-from.
            let _ = volumes.remove(&mount.point.name, false).await;
        }
    }

    /// `VolumesFrom`: adds the mounts of other containers to the record.
    async fn take_from(&self, record: &mut Record) -> Result<(), Refusal> {
        for from in record.host_config.volumes_from.clone().iter().flatten() {
            let (other, mode) = from.split_once(':').unwrap_or((from, "rw"));
            if !matches!(mode, "rw" | "ro" | "z" | "Z") {
                return Err(Refusal::invalid(format!("invalid mode for volumes-from: {mode}")));
            }
            // Not 404: clients take that for a missing image, and pull.
            let other = self.record(other).map_err(|e| Refusal::invalid(e.message))?;
            for mut mount in other.mounts.into_iter().filter(|m| !m.hidden) {
                if mount.point.typ == "volume" {
                    self.inner.base.volumes.hold(&mount.point.name, &record.id)?;
                    self.inner.base.volumes.mount(&mount.point.name, &record.id).await?;
                }
                mount.point.rw &= mode != "ro";
                mount.anonymous = false;
                record.mounts.retain(|m| m.point.destination != mount.point.destination);
                record.mounts.push(mount);
            }
        }
        Ok(())
    }

    /// Puts secrets and configs on a tmpfs of the container and mounts them.
    fn write_files(&self, record: &mut Record, managed: &Managed) -> Result<(), Refusal> {
        if managed.files.is_empty() {
            return Ok(());
        }
        let dir = self.files_dir(&record.id);
        let io = |e: std::io::Error| Refusal::internal(format!("cannot write secrets below {}: {e}", dir.display()));
        std::fs::create_dir_all(&dir).map_err(io)?;
        kernel::mount::tmpfs(&dir, "mode=0700").map_err(io)?;
        for (n, file) in managed.files.iter().enumerate() {
            let path = dir.join(n.to_string());
            std::fs::write(&path, &file.data).map_err(io)?;
            std::os::unix::fs::chown(&path, Some(file.uid), Some(file.gid)).map_err(io)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(file.mode);
            std::fs::set_permissions(&path, mode).map_err(io)?;
            record.mounts.push(MountRecord {
                point: MountPoint {
                    typ: "bind".into(),
                    source: path.display().to_string(),
                    destination: mounts::clean(&file.target),
                    rw: false,
                    propagation: "rprivate".into(),
                    ..MountPoint::default()
                },
                hidden: true,
                ..MountRecord::default()
            });
        }
        Ok(())
    }

    pub(super) fn files_dir(&self, id: &str) -> std::path::PathBuf {
        self.inner.base.exec_dir.join("files").join(id)
    }

    pub(super) fn forget_files(&self, id: &str) {
        let dir = self.files_dir(id);
        if dir.exists() {
            let _ = kernel::mount::unmount_lazy(&dir);
            let _ = std::fs::remove_dir(&dir);
        }
    }

    /// Makes the name ours.
    pub(super) fn reserve_name(&self, wish: &str, id: &str) -> Result<String, Refusal> {
        let mut table = self.inner.table.write();
        if wish.is_empty() {
            for attempt in 0..1000 {
                let name = clock::random_name(attempt);
                if !table.names.contains_key(&name) {
                    table.names.insert(name.clone(), id.to_owned());
                    return Ok(name);
                }
            }
            return Err(Refusal::conflict("no free container name could be made up: give one with --name"));
        }
        let name = wish.strip_prefix('/').unwrap_or(wish);
        configure::check_name(name)?;
        if let Some(holder) = table.names.get(name) {
            return Err(Refusal::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        table.names.insert(name.to_owned(), id.to_owned());
        Ok(name.to_owned())
    }

    fn data_root(&self) -> &std::path::Path {
        let dir = &self.inner.base.dir;
        dir.parent().unwrap_or(dir)
    }

    /// The networks of a new container, by name: the mode's, and those of the networking configuration.
    fn wished_networks(
        &self,
        mode: &str,
        endpoints: BTreeMap<String, Option<EndpointSettings>>,
    ) -> Result<BTreeMap<String, EndpointSettings>, Refusal> {
        if mode.starts_with("container:") {
            return Ok(BTreeMap::new());
        }
        let main = self.network_name(mode);
        let mut all: BTreeMap<String, EndpointSettings> = endpoints
            .into_iter()
            .map(|(network, e)| match network.as_str() {
                "default" => (main.clone(), e.unwrap_or_default()),
                given => (self.network_name(given), e.unwrap_or_default()),
            })
            .collect();
        all.entry(main).or_default();
        if all.len() > 1 && (mode == "host" || mode == "none") {
            return Err(Refusal::invalid(format!(
                "conflicting options: a container cannot be connected to network \"{mode}\" and to other networks"
            )));
        }
        Ok(all)
    }

    fn check_shared_namespaces(&self, host: &wire::engine::container::HostConfig) -> Result<(), Refusal> {
        for (mode, what) in [(&host.pid_mode, "PID"), (&host.ipc_mode, "IPC")] {
            if let Some(other) = mode.strip_prefix("container:") {
                // Not 404: clients take that for a missing image, and pull.
                self.find(other).map_err(|e| Refusal::invalid(e.message))?;
            } else if what == "PID" && !matches!(mode.as_str(), "" | "host" | "private") {
                return Err(Refusal::invalid(format!("invalid PID mode: {mode}")));
            } else if what == "IPC" && !matches!(mode.as_str(), "" | "host" | "private" | "shareable" | "none") {
                return Err(Refusal::invalid(format!("invalid IPC mode: {mode}")));
            }
        }
        if !matches!(host.uts_mode.as_str(), "" | "host") {
            return Err(Refusal::invalid(format!("invalid UTS mode: {}", host.uts_mode)));
        }
        Ok(())
    }
}

pub(super) fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|h| h.trim().to_owned()).unwrap_or_default()
}
