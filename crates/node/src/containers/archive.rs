//! Files of containers: cp, diff, export, commit.
use super::{Containers, mounts, refuse_image};
use images::{Change, CommitSpec, CopyOptions, ImageError, Images, PathStat};
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::Refusal;
use wire::engine::container::ContainerConfig;

/// A missing path is named as it was asked for.
fn refuse_path(container: &str, path: &str) -> impl Fn(ImageError) -> Refusal {
    move |error| match error {
        ImageError::NoSuchPath { .. } => {
            let asked = ImageError::NoSuchPath { container: container.to_owned(), path: path.to_owned() };
            refuse_image(asked)
        }
        other => refuse_image(other),
    }
}

impl Containers {
    /// Of one path inside.
    ///
    /// # Errors
    /// 404.
    pub async fn path_stat(&self, id: &str, path: &str) -> Result<PathStat, Refusal> {
        let c = self.find(id)?;
        match Self::mounted(&c, path) {
            Some((tree, below, _)) => Images::stat_in(tree, &c.id, &below).await.map_err(refuse_path(id, path)),
            None => self.inner.base.images.stat_path(&c.id, path).await.map_err(refuse_path(id, path)),
        }
    }

    /// One path inside, as a tar archive.
    ///
    /// # Errors
    /// 404.
    pub async fn copy_out(
        &self,
        id: &str,
        path: &str,
        out: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(), Refusal> {
        let c = self.find(id)?;
        match Self::mounted(&c, path) {
            Some((tree, below, _)) => {
                Images::copy_out_of(tree, &c.id, &below, out).await.map_err(refuse_path(id, path))
            }
            None => self.inner.base.images.copy_out(&c.id, path, out).await.map_err(refuse_path(id, path)),
        }
    }

    /// Unpacks a tar archive inside.
    ///
    /// # Errors
    /// 404; 403 on a read-only root.
    pub async fn copy_in(
        &self,
        id: &str,
        path: &str,
        tar: impl AsyncRead + Send + Unpin + 'static,
        options: CopyOptions,
    ) -> Result<(), Refusal> {
        let c = self.find(id)?;
        if let Some((tree, below, writable)) = Self::mounted(&c, path) {
            if !writable {
                return Err(Refusal::forbidden("mounted volume is marked read-only"));
            }
            return Images::copy_into(tree, &c.id, &below, tar, options).await.map_err(refuse_path(id, path));
        }
        if c.record.read().host_config.readonly_rootfs {
            return Err(Refusal::forbidden("container rootfs is marked read-only"));
        }
        self.inner.base.images.copy_in(&c.id, path, tar, options).await.map_err(refuse_path(id, path))
    }

    /// Where a path that may lie in a volume or bind, or hold one, is on this machine: a tree, the path in it, and whether
    /// it may be written. A running container is seen as it sees itself; of a stopped one, a path below a mount is looked
    /// up in the mount's source. `None`: in the root file system.
    fn mounted(c: &super::Container, path: &str) -> Option<(PathBuf, String, bool)> {
        let target = mounts::clean(path);
        let r = c.record.read();
        let below = |m: &&super::record::MountRecord| {
            target == m.point.destination || target.starts_with(&format!("{}/", m.point.destination))
        };
        let Some(mount) = r.mounts.iter().filter(below).max_by_key(|m| m.point.destination.len()) else {
            // The root holds what the engine mounts, too, which is nobody's file.
            let inside = format!("{target}/");
            let holds = target != "/" && r.mounts.iter().any(|m| !m.hidden && m.point.destination.starts_with(&inside));
            let seen = holds && r.state.status.is_up();
            return seen.then(|| {
                (PathBuf::from(format!("/proc/{}/root", r.state.pid)), target, !r.host_config.readonly_rootfs)
            });
        };
        if r.state.status.is_up() {
            return Some((PathBuf::from(format!("/proc/{}/root", r.state.pid)), target, mount.point.rw));
        }
        let tree = PathBuf::from(&mount.point.source);
        let rest = target[mount.point.destination.len()..].trim_start_matches('/');
        let rest = format!("/{}/{rest}", mount.subpath);
        (mount.point.typ != "tmpfs" && tree.is_dir()).then_some((tree, rest, mount.point.rw))
    }

    /// What differs from the image.
    ///
    /// # Errors
    /// 404.
    pub async fn changes(&self, id: &str) -> Result<Vec<Change>, Refusal> {
        let c = self.find(id)?;
        let mut changes = self.inner.base.images.changes(&c.id).await.map_err(refuse_image)?;
        // Mount points are made by us, not by the container.
        let r = c.record.read();
        let ours = |path: &str| {
            matches!(
                path,
                "/dev" | "/proc" | "/sys" | "/.dockerenv" | "/etc/hosts" | "/etc/resolv.conf" | "/etc/hostname"
            ) || r.mounts.iter().any(|m| m.hidden && m.point.destination == path)
        };
        changes.retain(|change| !ours(&change.path));
        Ok(changes)
    }

    /// The whole file system, as a tar archive.
    ///
    /// # Errors
    /// 404.
    pub async fn export(&self, id: &str, out: impl AsyncWrite + Send + Unpin + 'static) -> Result<(), Refusal> {
        let c = self.find(id)?;
        self.inner.base.images.export(&c.id, out).await.map_err(refuse_image)?;
        self.tell(&c, "export", &[]);
        Ok(())
    }

    /// Makes an image of a container; gives its id.
    ///
    /// # Errors
    /// 404; 400 for a wrong reference or instruction.
    pub async fn commit(
        &self,
        id: &str,
        reference: Option<images::Reference>,
        (author, comment): (String, String),
        changes: Vec<String>,
        config: Option<ContainerConfig>,
        pause: bool,
    ) -> Result<String, Refusal> {
        let c = self.find(id)?;
        let (own, image_id, created_by) = {
            let r = c.record.read();
            (r.config.clone(), r.image_id.clone(), r.argv.join(" "))
        };
        let mut config = config.unwrap_or(own);
        config.hostname.clear();
        let json = serde_json::to_value(&config).map_err(|e| Refusal::internal(e.to_string()))?;
        let run: images::RunConfig = serde_json::from_value(json).map_err(|e| Refusal::internal(e.to_string()))?;
        let frozen = pause && c.status() == super::Status::Running && self.pause(&c.id).await.is_ok();
        let spec = CommitSpec {
            container_id: c.id.clone(),
            image_id,
            config: run,
            changes,
            author,
            comment,
            created_by,
            reference,
        };
        let made = self.inner.base.images.commit(spec).await.map_err(refuse_image);
        if frozen && let Err(e) = self.unpause(&c.id).await {
            // It may have come to its end meanwhile; then there is nothing to let go on.
            if c.status() == super::Status::Paused {
                return Err(e);
            }
        }
        let made = made?;
        self.tell(&c, "commit", &[("comment", ""), ("imageID", &made)]);
        Ok(made)
    }

    /// The folder where a container's records are.
    pub fn folder(&self) -> PathBuf {
        self.inner.base.dir.clone()
    }
}
