//! `docker diff`: what a container changed, from its upper directory and the layers below.
use crate::{
    error::{ImageError, IoContext},
    store::Store,
    types::{Change, ChangeKind},
};
use kernel::beneath::{Dir, Stat};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::Path,
};

const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const DEPTH_MAX: usize = 512;

/// One directory as the lower layers have it: those that take part, topmost first.
struct Below(Vec<Dir>);

impl Below {
    fn stat(&self, name: &OsStr) -> Option<Stat> {
        self.0.iter().find_map(|d| d.stat(name).ok()).filter(|s| !s.is_whiteout())
    }
    fn dir(&self, name: &OsStr) -> Self {
        let mut dirs = Vec::new();
        for layer in &self.0 {
            let Ok(stat) = layer.stat(name) else { continue };
            // A whiteout or a file hides all that is further down.
            if !stat.is_dir() {
                break;
            }
            dirs.extend(layer.dir(name));
            if is_opaque(layer, name) {
                break;
            }
        }
        Self(dirs)
    }
    fn names(&self) -> BTreeSet<OsString> {
        let all: BTreeSet<OsString> = self.0.iter().flat_map(|d| d.names().unwrap_or_default()).collect();
        all.into_iter().filter(|n| self.stat(n).is_some()).collect()
    }
}

fn is_opaque(parent: &Dir, name: &OsStr) -> bool {
    parent.xattr(name, OsStr::new(OPAQUE_XATTR)).is_ok_and(|v| v.as_deref() == Some(b"y"))
}

impl Store {
    pub(crate) fn changes(&self, container: &str) -> Result<Vec<Change>, ImageError> {
        let (rootfs, _) = self.rootfs_of(container)?;
        let upper = Dir::open(&rootfs.upper).at("open", &rootfs.upper)?;
        let below = Below(rootfs.lower.iter().filter_map(|p| Dir::open(p).ok()).collect());
        let mut found = BTreeMap::new();
        walk(&upper, &below, "", false, 0, &mut found)?;
        Ok(found.into_iter().map(|(path, kind)| Change { path, kind }).collect())
    }

    /// Bytes the container wrote.
    pub(crate) fn upper_size(&self, container: &str) -> Result<u64, ImageError> {
        let (rootfs, _) = self.rootfs_of(container)?;
        let upper = Dir::open(&rootfs.upper).at("open", &rootfs.upper)?;
        let mut seen = BTreeSet::new();
        Ok(size_of(&upper, &mut seen, 0))
    }
}

fn size_of(dir: &Dir, seen: &mut BTreeSet<u64>, depth: usize) -> u64 {
    let mut sum = 0;
    for name in dir.names().unwrap_or_default() {
        let Ok(stat) = dir.stat(&name) else { continue };
        if stat.is_dir() && depth < DEPTH_MAX {
            sum += dir.dir(&name).map_or(0, |d| size_of(&d, seen, depth + 1));
        } else if stat.is_file() && (stat.nlink == 1 || seen.insert(stat.ino)) {
            sum += stat.size;
        }
    }
    sum
}

fn walk(
    upper: &Dir,
    below: &Below,
    path: &str,
    opaque: bool,
    depth: usize,
    found: &mut BTreeMap<String, ChangeKind>,
) -> Result<(), ImageError> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    let names = upper.names().at("list", Path::new(path))?;
    for name in &names {
        let Ok(stat) = upper.stat(name) else { continue };
        let full = format!("{path}/{}", name.to_string_lossy());
        let old = below.stat(name);
        let kind = match (&old, stat.is_whiteout()) {
            (_, true) => ChangeKind::Deleted,
            (None, false) => ChangeKind::Added,
            (Some(_), false) => ChangeKind::Modified,
        };
        let same_dir = old.is_some_and(|o| {
            o.is_dir()
                && stat.is_dir()
                && (o.mode, o.uid, o.gid, o.mtime) == (stat.mode, stat.uid, stat.gid, stat.mtime)
        });
        if kind == ChangeKind::Deleted && old.is_none() {
            continue;
        }
        if !same_dir {
            found.insert(full.clone(), kind);
        }
        // A directory is shown with what changed in it.
        if !same_dir && !path.is_empty() {
            found.entry(path.to_owned()).or_insert(ChangeKind::Modified);
        }
        if stat.is_dir() {
            let child = upper.dir(name).at("open", Path::new(&full))?;
            let hides = is_opaque(upper, name);
            walk(&child, &below.dir(name), &full, hides, depth + 1, found)?;
        }
    }
    if opaque {
        for lost in below.names().into_iter().filter(|n| !names.contains(n)) {
            found.insert(format!("{path}/{}", lost.to_string_lossy()), ChangeKind::Deleted);
        }
    }
    Ok(())
}
