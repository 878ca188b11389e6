//! `docker cp`: looking at, taking out and putting in files of a tree, which may be a running container's
//! (`/proc/<pid>/root`, to see its volumes too). No path and no link leads out of the tree.
use crate::{
    error::{ImageError, IoContext},
    layer::{
        Limits,
        pack::{Marks, Packer},
        unpack::{self, PlainOptions},
    },
    types::{CopyOptions, PathStat},
};
use kernel::beneath::{Root, Stat};
use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// A path as a client gives it.
struct Asked {
    /// Without `.` and `..`, relative to the root.
    path: PathBuf,
    /// It ends in `/` or `/.`: a link in the last place is followed.
    follow: bool,
    /// Last name as asked for; `.` and `/` stay.
    base: String,
}

fn ask(text: &str) -> Asked {
    let mut path = PathBuf::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    let dot = text.ends_with("/.") || text == ".";
    let follow = dot || text.ends_with('/') || path.as_os_str().is_empty();
    let base = if dot { ".".into() } else { path.file_name().map_or("/".into(), |n| n.to_string_lossy().into_owned()) };
    Asked { path, follow, base }
}

fn found<T>(result: io::Result<T>, container: &str, path: &str) -> Result<T, ImageError> {
    result.map_err(|source| match source.raw_os_error() {
        // ENOTDIR
        Some(20) if path.ends_with('/') => ImageError::InvalidArgument(format!("{path}: not a directory")),
        // ENOENT, ENOTDIR
        Some(2 | 20) => ImageError::NoSuchPath { container: container.to_owned(), path: path.to_owned() },
        _ => ImageError::Io { what: "open", path: path.to_owned(), source },
    })
}

/// What is at a path. `container` is for the message.
pub fn stat(tree: &Path, container: &str, path: &str) -> Result<PathStat, ImageError> {
    let root = Root::open(tree).at("open", tree)?;
    let asked = ask(path);
    let stat = found(look(&root, &asked), container, path)?;
    let link_target = if stat.is_symlink() {
        // A dangling link leads where it says.
        root.canonical(&asked.path).map(|p| p.display().to_string()).unwrap_or_else(|_| raw_target(&root, &asked.path))
    } else {
        String::new()
    };
    Ok(PathStat {
        name: asked.base,
        size: stat.size,
        mode: stat.mode,
        go_mode: go_mode(&stat),
        mtime_unix_nanos: stat.mtime.0.saturating_mul(1_000_000_000).saturating_add(stat.mtime.1),
        link_target,
    })
}

fn look(root: &Root, asked: &Asked) -> io::Result<Stat> {
    if asked.follow {
        return root.dir(&asked.path)?.own_stat();
    }
    root.lstat(&asked.path)
}

fn raw_target(root: &Root, path: &Path) -> String {
    let parent = root.dir(path.parent().unwrap_or(Path::new("")));
    let target = parent.and_then(|p| p.read_link(path.file_name().unwrap_or_default())).unwrap_or_default();
    let joined = Path::new("/").join(path.parent().unwrap_or(Path::new(""))).join(target);
    Path::new("/").join(ask(&joined.to_string_lossy()).path).display().to_string()
}

/// Go's `os.FileMode` of a Unix mode.
fn go_mode(stat: &Stat) -> u32 {
    let mut mode = stat.mode & 0o777;
    mode |= match stat.kind() {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        0o020_000 => (1 << 26) | (1 << 21),
        _ => 0,
    };
    for (bit, go) in [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)] {
        if stat.mode & bit != 0 {
            mode |= go;
        }
    }
    mode
}

/// Writes a tar of a file or directory, its names starting with the last name of `path`.
pub fn copy_out(tree: &Path, container: &str, path: &str, out: impl Write) -> Result<(), ImageError> {
    let root = Root::open(tree).at("open", tree)?;
    let asked = ask(path);
    let stat = found(look(&root, &asked), container, path)?;
    let mut packer = Packer::new(out, Marks::None);
    if stat.is_dir() {
        let dir = found(root.dir(&asked.path), container, path)?;
        let prefix = PathBuf::from(&asked.base);
        packer.directory(&dir, &prefix)?;
        packer.tree(&dir, &prefix)?;
    } else {
        let parent = found(root.dir(asked.path.parent().unwrap_or(Path::new(""))), container, path)?;
        packer.child(&parent, asked.path.file_name().unwrap_or(OsStr::new("")), Path::new(&asked.base))?;
    }
    packer.finish().map(drop)
}

/// Writes a tar of the whole tree (`docker export`).
pub fn export(tree: &Path, out: impl Write) -> Result<(), ImageError> {
    let root = Root::open(tree).and_then(|r| r.top()).at("open", tree)?;
    let mut packer = Packer::new(out, Marks::None);
    packer.tree(&root, Path::new(""))?;
    packer.finish().map(drop)
}

/// Unpacks a tar into a directory of the tree.
pub fn copy_in(
    tree: &Path,
    container: &str,
    path: &str,
    tar: impl Read,
    options: CopyOptions,
) -> Result<(), ImageError> {
    let root = Root::open(tree).at("open", tree)?;
    let asked = ask(path);
    if !found(root.stat(&asked.path), container, path)?.is_dir() {
        return Err(ImageError::InvalidArgument("extraction point is not a directory".into()));
    }
    let options = PlainOptions {
        no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
        owner: options.owner,
        ..PlainOptions::default()
    };
    unpack::plain(tar, &root, &asked.path, options, Limits::default())
}

/// Copies a directory of a tree with all that is in it, and its own owner and mode, into an empty directory: how a
/// fresh volume gets what the image has at its mount point. Tells whether there was a directory to copy.
pub fn copy_tree(tree: &Path, path: &str, to: &Path) -> Result<bool, ImageError> {
    let root = Root::open(tree).at("open", tree)?;
    let Ok(from) = root.dir(&ask(path).path) else { return Ok(false) };
    let target = Root::open(to).at("open", to)?;
    let (pipe, reader) = crate::layer::chunks::pipe();
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let out = io::BufWriter::with_capacity(crate::layer::chunks::CHUNK, PipeWriter(pipe));
            let mut packer = Packer::new(out, Marks::None);
            packer.tree(&from, Path::new(""))?;
            packer.finish().map(drop)
        });
        let unpacked = unpack::plain(reader, &target, Path::new(""), PlainOptions::default(), Limits::default());
        let packed = packing.join().unwrap_or_else(|_| Err(ImageError::Worker("a copying thread panicked".into())));
        unpacked.and(packed)
    })?;
    target.top().and_then(|top| top.copy_attributes_from(&from)).at("set attributes of", to)?;
    Ok(true)
}

pub(crate) struct PipeWriter(pub(crate) std::sync::mpsc::SyncSender<io::Result<bytes::Bytes>>);

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send(Ok(bytes::Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
