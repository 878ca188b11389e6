//! Finding what `COPY` and `ADD` name, and telling by a hash whether it is what it was.
use super::Found;
use crate::{
    digest,
    error::{ImageError, IoContext},
};
use dockerfile::glob;
use kernel::beneath::{Dir, Root, Stat};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

const DEPTH_MAX: usize = 512;

/// Which tree is searched, for the words of the refusals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Context,
    Image,
}

/// All that the paths and patterns name, in their order.
pub(crate) fn find(root: &Root, place: Place, patterns: &[String]) -> Result<Vec<Found>, ImageError> {
    let mut found = Vec::new();
    for pattern in patterns {
        let path = inside(pattern)?;
        if glob::is_pattern(&path) {
            let mut fitting = Vec::new();
            let top = root.top().at("open", "source tree")?;
            walk(&top, "", 0, &mut |name| {
                if glob::matches(&path, name) {
                    fitting.push(name.to_owned());
                }
            })?;
            for one in fitting {
                found.push(look(root, place, &one)?);
            }
        } else {
            found.push(look(root, place, &path)?);
        }
    }
    if found.is_empty() {
        return Err(ImageError::InvalidArgument("no source files were specified".into()));
    }
    Ok(found)
}

/// A path without `.`, relative to the tree; one that leaves it is refused.
fn inside(text: &str) -> Result<String, ImageError> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => {
                return Err(ImageError::InvalidArgument(format!(
                    "forbidden path outside the build context: {text} ()"
                )));
            }
            ".." => {}
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

fn look(root: &Root, place: Place, path: &str) -> Result<Found, ImageError> {
    let stat = root.stat(Path::new(path)).map_err(|e| match (e.raw_os_error(), place) {
        // ENOENT, ENOTDIR
        (Some(2 | 20), Place::Context) => ImageError::InvalidArgument(format!(
            "file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
        )),
        (Some(2 | 20), Place::Image) => ImageError::InvalidArgument(format!("stat {path}: file does not exist")),
        _ => ImageError::Io { what: "stat", path: path.to_owned(), source: e },
    })?;
    let real = root.canonical(Path::new(path)).at("resolve", path)?;
    let real = real.strip_prefix("/").unwrap_or(&real);
    let mut sums = Vec::new();
    if stat.is_dir() {
        let dir = root.dir(real).at("open", path)?;
        sum_dir(&dir, Path::new(path), place, 0, &mut sums)?;
        sums.sort();
        return Ok(Found { path: path.to_owned(), hash: format!("dir:{}", sum_all(&sums)) });
    }
    let parent = root.dir(real.parent().unwrap_or(Path::new(""))).at("open", path)?;
    let sum = sum_one(&parent, real.file_name().unwrap_or(OsStr::new("")), Path::new(path), &stat, place)?;
    Ok(Found { path: path.to_owned(), hash: format!("file:{sum}") })
}

/// One hash for the `COPY` of several.
pub(crate) fn hash_of(found: &[Found]) -> String {
    match found {
        [one] => one.hash.clone(),
        many => {
            let all: Vec<String> = many.iter().map(|f| f.hash.clone()).collect();
            format!("multi:{}", sum_all(&all))
        }
    }
}

fn sum_all(sums: &[String]) -> String {
    digest::hex_of(&digest::sha256(sums.join(",").as_bytes())).to_owned()
}

fn walk(dir: &Dir, prefix: &str, depth: usize, seen: &mut impl FnMut(&str)) -> Result<(), ImageError> {
    if depth > DEPTH_MAX {
        return Err(ImageError::malformed(prefix, "directories are nested too deeply"));
    }
    for name in dir.names().at("list", prefix)? {
        let path = if prefix.is_empty() {
            name.to_string_lossy().into_owned()
        } else {
            format!("{prefix}/{}", name.to_string_lossy())
        };
        seen(&path);
        if dir.stat(&name).is_ok_and(|s| s.is_dir()) {
            walk(&dir.dir(&name).at("open", &path)?, &path, depth + 1, seen)?;
        }
    }
    Ok(())
}

fn sum_dir(dir: &Dir, path: &Path, place: Place, depth: usize, sums: &mut Vec<String>) -> Result<(), ImageError> {
    if depth > DEPTH_MAX {
        return Err(ImageError::malformed(path.display().to_string(), "directories are nested too deeply"));
    }
    for name in dir.names().at("list", path)? {
        let child: PathBuf = path.join(&name);
        let stat = dir.stat(&name).at("stat", &child)?;
        sums.push(sum_one(dir, &name, &child, &stat, place)?);
        if stat.is_dir() {
            sum_dir(&dir.dir(&name).at("open", &child)?, &child, place, depth + 1, sums)?;
        }
    }
    Ok(())
}

fn sum_one(parent: &Dir, name: &OsStr, path: &Path, stat: &Stat, place: Place) -> Result<String, ImageError> {
    let mut sum = Sha256::new();
    let mut field = |bytes: &[u8]| {
        sum.update((bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    };
    field(path.as_os_str().as_bytes());
    field(&stat.mode.to_le_bytes());
    // Whoever sent the context owns it; what is copied from it belongs to somebody else.
    let owner = if place == Place::Context { (0, 0) } else { (stat.uid, stat.gid) };
    field(&owner.0.to_le_bytes());
    field(&owner.1.to_le_bytes());
    field(&stat.rdev.to_le_bytes());
    if stat.is_symlink() {
        field(parent.read_link(name).at("read link", path)?.as_bytes());
        return Ok(hex::encode(sum.finalize()));
    }
    for (key, value) in parent.xattrs(name).at("read attributes of", path)? {
        if key == "security.capability" || key.as_bytes().starts_with(b"user.") {
            field(key.as_bytes());
            field(&value);
        }
    }
    if stat.is_file() {
        field(&stat.size.to_le_bytes());
        let mut file = parent.file(name).at("open", path)?;
        let mut buffer = vec![0u8; crate::layer::chunks::CHUNK];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => sum.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).at("read", path),
            }
        }
    }
    Ok(hex::encode(sum.finalize()))
}
