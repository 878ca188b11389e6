//! Whether mounts of the machine can travel into a container as it asks: only from a mount that is shared.
use super::record::MountRecord;
use std::path::Path;
use wire::Refusal;

/// Gives a bind its propagation where nothing is said of it: `rprivate`, but for one of the engine's own directory, or of
/// what that lies in. There it follows the machine, as far as that can be, so that the file systems of other containers do
/// not stay mounted in this one for as long as it lives.
pub(super) fn settle(mount: &mut MountRecord, root: &Path) -> Result<(), Refusal> {
    let point = &mut mount.point;
    if point.typ != "bind" {
        return Ok(());
    }
    let source = Path::new(&point.source);
    let near = source.starts_with(root) || root.starts_with(source);
    if near && !matches!(point.propagation.as_str(), "" | "rslave" | "rshared") {
        return Err(Refusal::invalid(format!(
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the \
             daemon root, daemon root: \"{}\", bind mount source: \"{}\", propagation: \"{}\"",
            root.display(),
            point.source,
            point.propagation
        )));
    }
    if point.propagation.is_empty() {
        let can_follow = || table().and_then(|table| judge(&table, source, "rslave")).is_ok();
        point.propagation = if near && can_follow() { "rslave" } else { "rprivate" }.into();
    }
    Ok(())
}

fn table() -> Result<String, Refusal> {
    std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|e| Refusal::internal(format!("cannot read /proc/self/mountinfo: {e}")))
}

/// Refuses binds that are to be shared, or slaves, where the machine's own mount is neither.
pub(super) fn check(mounts: &[MountRecord]) -> Result<(), Refusal> {
    let asks = |m: &&MountRecord| m.point.typ == "bind" && needs(&m.point.propagation).is_some();
    if !mounts.iter().any(|m| asks(&m)) {
        return Ok(());
    }
    let table = table()?;
    for m in mounts.iter().filter(asks) {
        let source = std::fs::canonicalize(&m.point.source).unwrap_or_else(|_| m.point.source.clone().into());
        judge(&table, &source, &m.point.propagation)?;
    }
    Ok(())
}

/// Docker's word for what the machine's mount must be.
fn needs(propagation: &str) -> Option<&'static str> {
    match propagation {
        "shared" | "rshared" => Some("a shared mount"),
        "slave" | "rslave" => Some("a shared or slave mount"),
        _ => None,
    }
}

fn judge(mountinfo: &str, source: &Path, propagation: &str) -> Result<(), Refusal> {
    let Some(needed) = needs(propagation) else { return Ok(()) };
    // The last of equally long ones covers the others.
    let holder = mountinfo
        .lines()
        .filter_map(|line| {
            let (before, _) = line.split_once(" - ")?;
            let mut words = before.split(' ').skip(4);
            let point = kernel::mount::unescape(words.next()?);
            source.starts_with(&point).then(|| (point, words.skip(1).collect::<Vec<_>>()))
        })
        .max_by_key(|(point, _)| point.as_os_str().len());
    let Some((point, tags)) = holder else { return Ok(()) };
    let tagged = |tag: &str| tags.iter().any(|t| t.starts_with(tag));
    if tagged("shared:") || needed.contains("slave") && tagged("master:") {
        return Ok(());
    }
    let (source, point) = (source.display(), point.display());
    Err(Refusal::internal(format!("path {source} is mounted on {point} but it is not {needed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "6 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                         7 6 0:3 / /srv rw shared:4 - tmpfs x rw\n\
                         8 6 0:4 / /srv/a\\040b rw master:4 - tmpfs x rw\n";

    #[test]
    fn the_mount_below_the_source_decides() {
        let may = |source: &str, how: &str| judge(TABLE, Path::new(source), how).map_err(|r| r.message);
        assert_eq!(may("/data", "rprivate"), Ok(()));
        assert_eq!(may("/srv/x", "rshared"), Ok(()));
        assert_eq!(may("/srv/a b/c", "rslave"), Ok(()));
        assert_eq!(may("/data", "rshared").unwrap_err(), "path /data is mounted on / but it is not a shared mount");
        let not_shared = may("/srv/a b/c", "shared").unwrap_err();
        assert_eq!(not_shared, "path /srv/a b/c is mounted on /srv/a b but it is not a shared mount");
        let neither = may("/srvx", "slave").unwrap_err();
        assert_eq!(neither, "path /srvx is mounted on / but it is not a shared or slave mount");
    }
}
