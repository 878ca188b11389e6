//! Mounts of a service: short form `[source:]target[:options]`, long form by keys.
use super::volume;
use crate::read::At;
use crate::{ComposeError, Stack, StackObject, Surroundings};
use model::{Mount, MountKind};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

type Read<T> = Result<T, ComposeError>;

pub(super) fn all(
    at: Option<&At<'_>>,
    declared: &BTreeMap<String, At<'_>>,
    around: &Surroundings<'_>,
    stack: &mut Stack,
) -> Read<Vec<Mount>> {
    let mut mounts = Vec::new();
    for item in at.map(|a| a.items()).transpose()?.unwrap_or_default() {
        let mut mount = if item.value.is_mapping() { long(&item)? } else { short(&item)? };
        finish(&item, &mut mount, declared, around, stack)?;
        mounts.push(mount);
    }
    Ok(mounts)
}

fn short(at: &At<'_>) -> Read<Mount> {
    let text = at.text()?;
    let parts: Vec<&str> = text.split(':').collect();
    let mut mount = Mount { kind: MountKind::Volume, ..Mount::default() };
    let options = match parts.as_slice() {
        [target] => {
            mount.target = (*target).to_owned();
            ""
        }
        [source, target] => {
            mount.source = (*source).to_owned();
            mount.target = (*target).to_owned();
            ""
        }
        [source, target, options] => {
            mount.source = (*source).to_owned();
            mount.target = (*target).to_owned();
            options
        }
        _ => return at.wrong(format!("invalid spec: {text}: too many colons")),
    };
    if mount.target.is_empty() || (parts.len() > 1 && mount.source.is_empty()) {
        return at.wrong(format!("invalid spec: {text}: empty section between colons"));
    }
    if mount.source.starts_with(['/', '.', '~']) {
        mount.kind = MountKind::Bind;
    }
    for option in options.split(',') {
        match option {
            "ro" => mount.read_only = true,
            "rw" | "" => mount.read_only = false,
            "nocopy" => mount.no_copy = true,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => mount.propagation = option.to_owned(),
            "consistent" | "cached" | "delegated" => mount.consistency = option.to_owned(),
            // SELinux labels and the like mean nothing here.
            _ => {}
        }
    }
    Ok(mount)
}

fn long(at: &At<'_>) -> Read<Mount> {
    let text =
        |at: &At<'_>, key: &str| -> Read<String> { Ok(at.get(key).map(|v| v.text()).transpose()?.unwrap_or_default()) };
    let flag =
        |at: &At<'_>, key: &str| -> Read<bool> { Ok(at.get(key).map(|v| v.flag()).transpose()?.unwrap_or_default()) };
    let Some(kind) = at.get("type") else { return at.shape("type is required") };
    let kind = match kind.text()?.as_str() {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        other @ ("npipe" | "cluster" | "image") => {
            return kind.wrong(format!("volumes of type {other} are not supported"));
        }
        other => return kind.wrong(format!("volume type must be volume, bind, tmpfs, npipe, or cluster, not {other}")),
    };
    let mut mount = Mount {
        kind,
        source: text(at, "source")?,
        target: text(at, "target")?,
        read_only: flag(at, "read_only")?,
        consistency: text(at, "consistency")?,
        ..Mount::default()
    };
    if mount.target.is_empty() {
        return at.wrong("invalid mount config: field Target must not be empty");
    }
    let sections = [("bind", MountKind::Bind), ("volume", MountKind::Volume), ("tmpfs", MountKind::Tmpfs)];
    for (section, belongs) in sections {
        if at.get(section).is_some() && belongs != kind {
            let own = match kind {
                MountKind::Bind => "bind",
                MountKind::Volume => "volume",
                MountKind::Tmpfs => "tmpfs",
            };
            return at.wrong(format!("{section} options are incompatible with type {own}"));
        }
    }
    if let Some(bind) = at.get("bind") {
        mount.propagation = text(&bind, "propagation")?;
        mount.create_mountpoint = flag(&bind, "create_host_path")?;
    }
    if let Some(volume) = at.get("volume") {
        mount.no_copy = flag(&volume, "nocopy")?;
        mount.subpath = text(&volume, "subpath")?;
    }
    if let Some(tmpfs) = at.get("tmpfs") {
        mount.tmpfs_size_bytes = tmpfs.get("size").map(|s| s.bytes()).transpose()?.unwrap_or_default();
        if let Some(mode) = tmpfs.get("mode") {
            mount.tmpfs_mode = super::file_object::mode_bits(&mode)?;
        }
    }
    Ok(mount)
}

/// Resolves the source: a path against the folder, a name against the declared volumes.
fn finish(
    at: &At<'_>,
    mount: &mut Mount,
    declared: &BTreeMap<String, At<'_>>,
    around: &Surroundings<'_>,
    stack: &mut Stack,
) -> Read<()> {
    match mount.kind {
        MountKind::Bind if mount.source.is_empty() => at.wrong("invalid bind source, source cannot be empty"),
        MountKind::Bind => {
            mount.source = absolute(around, Path::new(&mount.source)).to_string_lossy().into_owned();
            Ok(())
        }
        MountKind::Tmpfs if !mount.source.is_empty() => at.wrong("invalid tmpfs source, source must be empty"),
        MountKind::Tmpfs => Ok(()),
        // Anonymous: made with the container.
        MountKind::Volume if mount.source.is_empty() => Ok(()),
        MountKind::Volume => {
            let Some(declaration) = declared.get(&mount.source) else {
                return at.wrong(format!("undefined volume \"{}\"", mount.source));
            };
            let (name, object) = volume(&mount.source, declaration, around)?;
            if let StackObject::Own(spec) = &object {
                mount.labels = spec.labels.clone();
                mount.driver = spec.driver.clone();
                mount.driver_opts = spec.driver_opts.clone();
            }
            mount.source = name.clone();
            stack.volumes.insert(name, object);
            Ok(())
        }
    }
}

/// `~` and relative paths, without `.` and `..`.
pub(super) fn absolute(around: &Surroundings<'_>, path: &Path) -> PathBuf {
    let joined = match (path.strip_prefix("~"), around.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => around.folder.join(path),
    };
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some() => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean
}
