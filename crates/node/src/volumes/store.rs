//! The directories of volumes; blocking.
use super::{MountPlan, Record, Volume};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    net::ToSocketAddrs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use wire::refusal::Refusal;

const DATA: &str = "_data";
const RECORD: &str = "volume.json";

/// Runs on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Refusal::internal(format!("volume worker failed: {e}"))))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Refusal {
    let path = path.display().to_string();
    move |e| Refusal::internal(format!("{what} {path}: {e}"))
}

/// All volumes, and what is wrong with some.
pub(super) fn read_all(root: &Path) -> Result<(Vec<Volume>, Vec<String>), Refusal> {
    fs::create_dir_all(root).map_err(failed("create", root))?;
    // As Docker: containers' users may pass, others may not list.
    fs::set_permissions(root, fs::Permissions::from_mode(0o701)).map_err(failed("set the mode of", root))?;
    let (mut volumes, mut damaged) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(root).map_err(failed("list", root))? {
        let entry = entry.map_err(failed("list", root))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let dir = entry.path();
        if name.starts_with('.') {
            remove_unmounted(&dir)?;
            continue;
        }
        if !dir.join(DATA).is_dir() {
            continue;
        }
        let read = fs::read(dir.join(RECORD))
            .map_err(|e| e.to_string())
            .and_then(|json| serde_json::from_slice::<Record>(&json).map_err(|e| e.to_string()));
        match read {
            Ok(record) => volumes.push(volume(root, &name, &record)),
            Err(why) => {
                // Its content is worth more than its labels; but what its options mounted is not known any more.
                tracing::error!(volume = %name, error = %why, "volume metadata damaged: labels and options are lost");
                damaged.push(format!("volume {name}: {why}"));
                let record = Record { created_unix_nanos: modified(&dir), ..Record::default() };
                volumes.push(volume(root, &name, &record));
            }
        }
    }
    Ok((volumes, damaged))
}

fn modified(path: &Path) -> i64 {
    fs::metadata(path).map_or(0, |m| m.mtime().saturating_mul(1_000_000_000))
}

fn volume(root: &Path, name: &str, record: &Record) -> Volume {
    let seconds = record.created_unix_nanos / 1_000_000_000;
    Volume {
        name: name.to_owned(),
        driver: "local",
        mountpoint: root.join(name).join(DATA),
        created_at: jiff::Timestamp::from_second(seconds).map(|t| t.to_string()).unwrap_or_default(),
        created_unix_nanos: record.created_unix_nanos,
        labels: record.labels.clone(),
        options: record.options.clone(),
    }
}

/// Made beside its place and moved there whole.
pub(super) fn create(root: &Path, name: &str, record: &Record) -> Result<Volume, Refusal> {
    let made = root.join(format!(".new-{name}"));
    remove_unmounted(&made)?;
    let create = || -> io::Result<()> {
        fs::create_dir(&made)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(0o701))?;
        fs::create_dir(made.join(DATA))?;
        fs::set_permissions(made.join(DATA), fs::Permissions::from_mode(0o755))?;
        let mut file = File::create(made.join(RECORD))?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&made, root.join(name))?;
        File::open(root)?.sync_all()
    };
    let created = create();
    if created.is_err() {
        fs::remove_dir_all(&made).ok();
    }
    created.map_err(failed("create", &root.join(name)))?;
    Ok(volume(root, name, record))
}

/// Moved out of sight in one step, then removed.
pub(super) fn remove(root: &Path, name: &str) -> Result<(), Refusal> {
    let dir = root.join(name);
    unmount(&dir.join(DATA))?;
    let gone = root.join(format!(".old-{name}"));
    remove_unmounted(&gone)?;
    match fs::rename(&dir, &gone) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("remove", &dir))?,
    }
    remove_unmounted(&gone)
}

/// Never through a mount: what is mounted there is somebody else's data.
fn remove_unmounted(dir: &Path) -> Result<(), Refusal> {
    unmount(&dir.join(DATA))?;
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir)(e)),
        _ => Ok(()),
    }
}

pub(super) fn mount(plan: &MountPlan, target: &Path) -> Result<(), Refusal> {
    if is_mounted(target) {
        return Ok(());
    }
    let options = resolve_address(&plan.options);
    kernel::overlay::mount_with_options(&plan.device, target, &plan.kind, &options).map_err(|e| {
        let reason = e.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
        Refusal::internal(format!(
            "failed to mount local volume: mount {}:{}, data: {options}: {reason}",
            plan.device,
            target.display()
        ))
    })
}

/// The kernel takes no host names for network filesystems: `addr=nas` becomes `addr=192.0.2.1`.
fn resolve_address(options: &str) -> String {
    let resolve = |option: &str| {
        let Some(host) = option.strip_prefix("addr=") else { return option.to_owned() };
        let found = (host, 0).to_socket_addrs().ok().and_then(|mut a| a.next());
        found.map_or_else(|| option.to_owned(), |a| format!("addr={}", a.ip()))
    };
    options.split(',').map(resolve).collect::<Vec<_>>().join(",")
}

pub(super) fn unmount(target: &Path) -> Result<(), Refusal> {
    kernel::overlay::unmount(target).map_err(failed("unmount", target))
}

/// By the mount table, because a bind mount of the same filesystem looks like a plain directory otherwise.
fn is_mounted(target: &Path) -> bool {
    let Ok(target) = fs::canonicalize(target) else { return false };
    let is_it = |line: &str| line.split(' ').nth(4).is_some_and(|point| kernel::mount::unescape(point) == target);
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|table| table.lines().any(is_it))
}

pub(super) fn is_empty(dir: &PathBuf) -> Result<bool, Refusal> {
    Ok(fs::read_dir(dir).map_err(failed("list", dir))?.next().is_none())
}

/// Bytes of the files in a directory, hard links counted once.
pub(super) fn size(dir: &Path) -> u64 {
    let (mut sum, mut seen, mut left) = (0, BTreeSet::new(), vec![dir.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                left.push(entry.path());
            } else if metadata.is_file() && (metadata.nlink() == 1 || seen.insert(metadata.ino())) {
                sum += metadata.len();
            }
        }
    }
    sum
}
