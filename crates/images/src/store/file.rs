//! Small files that are either the old or the new one after a crash.
use crate::error::{ImageError, IoContext};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces a file: written beside it, put on the disk, renamed.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<(), ImageError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(format!(".tmp-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    let written = (|| -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written.at("write", path)
}

/// Whether this is a leftover of a crashed [`write_atomic`].
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(".tmp-")
}

/// Removes a file; fine if it is gone.
pub(crate) fn remove(path: &Path) -> Result<(), ImageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}

/// Removes a tree; fine if it is gone.
pub(crate) fn remove_tree(path: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}
