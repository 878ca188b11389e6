//! Which mounts a container wants: `Binds`, `Mounts`, `Tmpfs`, the image's volumes, `VolumesFrom`. Pure.
use wire::Refusal;
use wire::engine::container::{ContainerConfig, HostConfig};
use wire::engine::mount::MountPoint;

use super::record::MountRecord;

/// One mount as wished; volumes by name (empty: an anonymous one).
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// How it will be shown and mounted. `source` is empty for volumes until they are made.
    pub record: MountRecord,
    /// Labels for a new volume.
    pub volume_labels: wire::engine::Map,
    /// Driver options for a new volume.
    pub volume_options: wire::engine::Map,
    /// Bind: make a missing source.
    pub create_source: bool,
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// All wished mounts except `VolumesFrom`, each destination once.
///
/// # Errors
/// 400 in Docker's words.
pub fn wishes(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<Wish>, Refusal> {
    let mut all: Vec<Wish> = Vec::new();
    for bind in host.binds.iter().flatten() {
        add(&mut all, from_bind(bind, &host.volume_driver)?)?;
    }
    for mount in &host.mounts {
        add(&mut all, from_mount(mount)?)?;
    }
    for (target, options) in &host.tmpfs {
        let options = options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
        let mut wish = tmpfs(target, options)?;
        // Docker shows it in `HostConfig` only.
        wish.record.hidden = true;
        add(&mut all, wish)?;
    }
    for target in config.volumes.iter().flatten().map(|(t, _)| t) {
        let target = clean(target);
        // `-v a:/x` and an image's `VOLUME /x` are one mount.
        if all.iter().all(|w| w.record.point.destination != target) {
            let mut unnamed = volume("", &target, &host.volume_driver, true);
            unnamed.record.point.mode.clear();
            all.push(unnamed);
        }
    }
    Ok(all)
}

fn add(all: &mut Vec<Wish>, wish: Wish) -> Result<(), Refusal> {
    let target = &wish.record.point.destination;
    if target == "/" {
        return Err(Refusal::invalid("invalid volume specification: destination can't be '/'"));
    }
    if all.iter().any(|w| w.record.point.destination == *target) {
        return Err(Refusal::invalid(format!("Duplicate mount point: {target}")));
    }
    all.push(wish);
    Ok(())
}

/// `source:target[:options]`, or `target` alone.
fn from_bind(text: &str, driver: &str) -> Result<Wish, Refusal> {
    let invalid = || Refusal::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid()),
    };
    if target.is_empty() || parts.len() > 1 && source.is_empty() {
        return Err(invalid());
    }
    if !target.starts_with('/') {
        return Err(Refusal::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"volume\": invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let target = clean(target);
    let is_bind = source.starts_with('/');
    let mut wish =
        if is_bind { bind(&clean(source), &target) } else { volume(source, &target, driver, source.is_empty()) };
    let point = &mut wish.record.point;
    point.mode = options.to_owned();
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => point.rw = false,
            "rw" => point.rw = true,
            "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" if !is_bind => wish.record.no_copy = true,
            "rbind" if is_bind => {}
            "bind" if is_bind => wish.record.non_recursive = true,
            p if is_bind && PROPAGATIONS.contains(&p) => point.propagation = p.to_owned(),
            _ => return Err(Refusal::invalid(format!("invalid mode: {options}"))),
        }
    }
    wish.create_source = true;
    Ok(wish)
}

fn from_mount(m: &wire::engine::mount::Mount) -> Result<Wish, Refusal> {
    let invalid = |why: String| Refusal::invalid(format!("invalid mount config for type \"{}\": {why}", m.typ));
    if m.target.is_empty() {
        return Err(invalid("field Target must not be empty".into()));
    }
    if !m.target.starts_with('/') {
        return Err(invalid(format!("invalid mount path: '{}' mount path must be absolute", m.target)));
    }
    let target = clean(&m.target);
    let mut wish = match m.typ.as_str() {
        "bind" => {
            if m.source.is_empty() {
                return Err(invalid("field Source must not be empty".into()));
            }
            if !m.source.starts_with('/') {
                return Err(invalid(format!("invalid mount path: '{}' mount path must be absolute", m.source)));
            }
            if m.volume_options.is_some() {
                return Err(invalid("field VolumeOptions must not be specified".into()));
            }
            let mut wish = bind(&clean(&m.source), &target);
            if let Some(o) = &m.bind_options {
                if !o.propagation.is_empty() {
                    if !PROPAGATIONS.contains(&o.propagation.as_str()) {
                        return Err(invalid(format!("invalid propagation mode: {}", o.propagation)));
                    }
                    wish.record.point.propagation = o.propagation.clone();
                }
                wish.create_source = o.create_mountpoint;
                wish.record.non_recursive = o.non_recursive;
                if o.read_only_force_recursive {
                    return Err(Refusal::unimplemented(
                        "ReadOnlyForceRecursive (bind-recursive=readonly) is not supported by this engine: mounts below a read-only one keep their own mode",
                    ));
                }
            }
            wish
        }
        "volume" => {
            if m.bind_options.is_some() {
                return Err(invalid("field BindOptions must not be specified".into()));
            }
            let options = m.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.clone().unwrap_or_default();
            if !options.subpath.is_empty() && m.source.is_empty() {
                return Err(invalid("must not set Subpath when using anonymous volumes".into()));
            }
            if !is_local(&options.subpath) {
                return Err(invalid("subpath must be a relative path within the volume".into()));
            }
            if m.read_only && m.source.is_empty() {
                return Err(invalid("must not set ReadOnly mode when using anonymous volumes".into()));
            }
            let mut wish = volume(&m.source, &target, &driver.name, m.source.is_empty());
            wish.record.no_copy = options.no_copy;
            wish.volume_labels = options.labels;
            wish.volume_options = driver.options;
            wish.record.subpath = options.subpath;
            wish
        }
        "tmpfs" => {
            if !m.source.is_empty() {
                return Err(invalid("field Source must not be specified".into()));
            }
            let mut options = Vec::new();
            if let Some(o) = &m.tmpfs_options {
                if o.size_bytes > 0 {
                    options.push(format!("size={}", o.size_bytes));
                }
                if o.mode > 0 {
                    options.push(format!("mode={:o}", o.mode));
                }
                options.extend(o.options.iter().map(|kv| kv.join("=")));
            }
            tmpfs(&target, options)?
        }
        "image" | "npipe" | "cluster" => {
            return Err(Refusal::unimplemented(format!(
                "mounts of type \"{}\" are not supported by this engine",
                m.typ
            )));
        }
        other => return Err(Refusal::invalid(format!("mount type unknown: \"{other}\""))),
    };
    wish.record.strict = true;
    wish.record.point.rw = !m.read_only;
    Ok(wish)
}

/// Whether a path stays below where it begins, as it is written.
fn is_local(path: &str) -> bool {
    let mut depth = 0i32;
    !path.starts_with('/')
        && path.split('/').all(|part| {
            match part {
                "" | "." => {}
                ".." => depth -= 1,
                _ => depth += 1,
            }
            depth >= 0
        })
}

fn bind(source: &str, target: &str) -> Wish {
    wish(MountPoint {
        typ: "bind".into(),
        source: source.into(),
        destination: target.into(),
        rw: true,
        ..MountPoint::default()
    })
}

fn volume(name: &str, target: &str, driver: &str, anonymous: bool) -> Wish {
    let mut w = wish(MountPoint {
        typ: "volume".into(),
        name: name.into(),
        destination: target.into(),
        driver: if driver.is_empty() { "local" } else { driver }.into(),
        mode: "z".into(),
        rw: true,
        ..MountPoint::default()
    });
    w.record.anonymous = anonymous;
    w
}

fn tmpfs(target: &str, options: Vec<String>) -> Result<Wish, Refusal> {
    if !target.starts_with('/') {
        return Err(Refusal::invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    let mut w = wish(MountPoint { typ: "tmpfs".into(), destination: clean(target), rw: true, ..MountPoint::default() });
    w.record.point.rw = !options.iter().any(|o| o == "ro");
    w.record.options = options;
    Ok(w)
}

fn wish(point: MountPoint) -> Wish {
    Wish {
        record: MountRecord { point, ..MountRecord::default() },
        volume_labels: Default::default(),
        volume_options: Default::default(),
        create_source: false,
    }
}

/// A path without `.`, `..`, doubled or trailing slashes.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            p => parts.push(p),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::engine::mount::Mount;

    fn host(binds: &[&str]) -> HostConfig {
        HostConfig { binds: Some(binds.iter().map(|b| (*b).to_owned()).collect()), ..Default::default() }
    }

    #[test]
    fn binds_and_volumes_are_told_apart() {
        let got = wishes(&ContainerConfig::default(), &host(&["/a/../b:/x:ro", "data:/y", "/z"])).unwrap();
        let show: Vec<_> = got
            .iter()
            .map(|w| {
                let p = &w.record.point;
                (p.typ.as_str(), p.source.as_str(), p.name.as_str(), p.destination.as_str(), p.rw)
            })
            .collect();
        assert_eq!(
            show,
            [("bind", "/b", "", "/x", false), ("volume", "", "data", "/y", true), ("volume", "", "", "/z", true)]
        );
        assert!(got[2].record.anonymous);
    }

    #[test]
    fn impossible_mounts_are_refused() {
        let refused = |binds: &[&str]| wishes(&ContainerConfig::default(), &host(binds)).unwrap_err().message;
        assert_eq!(refused(&["a:/x", "b:/x"]), "Duplicate mount point: /x");
        assert!(refused(&["a:x"]).contains("must be absolute"));
        assert!(refused(&["a:/x:sideways"]).contains("invalid mode"));
        assert!(refused(&["a:/"]).contains("destination can't be '/'"));
        let bad = HostConfig {
            mounts: vec![Mount { typ: "bind".into(), target: "/x".into(), ..Default::default() }],
            ..Default::default()
        };
        assert!(
            wishes(&ContainerConfig::default(), &bad).unwrap_err().message.contains("field Source must not be empty")
        );
    }
}
