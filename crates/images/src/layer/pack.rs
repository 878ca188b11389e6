//! Makes a tar stream of a tree: a container's upper directory as a layer, a whole root filesystem, or what `docker cp`
//! asks for. Trees may be live: nothing is followed, and a file that shrinks meanwhile is filled up with zeros.
use crate::error::{ImageError, IoContext};
use kernel::beneath::{Dir, Stat};
use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};
use tar::{EntryType, Header};

const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const DEPTH_MAX: usize = 512;
const BLOCK: u64 = 512;

/// What overlayfs' marks mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// The tree is an upper directory: marks become `.wh.` entries.
    Translate,
    /// The tree is a merged one: there are none.
    None,
}

/// Writes tar entries.
pub(crate) struct Packer<W: Write> {
    out: W,
    marks: Marks,
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<W> {
    pub(crate) fn new(out: W, marks: Marks) -> Self {
        Self { out, marks, links: HashMap::new(), buffer: vec![0; super::chunks::CHUNK] }
    }

    /// All that is in a directory, named below `prefix`.
    pub(crate) fn tree(&mut self, dir: &Dir, prefix: &Path) -> Result<(), ImageError> {
        self.children(dir, prefix, 0)
    }

    /// One child of a directory with all that is in it, under the name `as_name`.
    pub(crate) fn child(&mut self, parent: &Dir, name: &OsStr, as_name: &Path) -> Result<(), ImageError> {
        self.one(parent, name, as_name, 0)
    }

    /// A directory entry of its own, with the attributes of `dir`.
    pub(crate) fn directory(&mut self, dir: &Dir, name: &Path) -> Result<(), ImageError> {
        let stat = dir.own_stat().at("stat", name)?;
        self.entry(name, EntryType::Directory, &stat, 0, b"", &[]).at("write", name)
    }

    /// A stack of layers, topmost first, as the one layer that does the same.
    pub(crate) fn stack(&mut self, layers: Vec<Dir>) -> Result<(), ImageError> {
        self.stacked(layers, Path::new(""), 0)
    }

    /// Two empty blocks; gives the writer back.
    pub(crate) fn finish(mut self) -> Result<W, ImageError> {
        self.out.write_all(&[0; 1024]).and_then(|()| self.out.flush()).at("write", "archive")?;
        Ok(self.out)
    }

    fn children(&mut self, dir: &Dir, prefix: &Path, depth: usize) -> Result<(), ImageError> {
        if depth > DEPTH_MAX {
            return Err(ImageError::malformed(prefix.display().to_string(), "directories are nested too deeply"));
        }
        for name in dir.names().at("list", prefix)? {
            self.one(dir, &name, &prefix.join(&name), depth)?;
        }
        Ok(())
    }

    fn stacked(&mut self, layers: Vec<Dir>, prefix: &Path, depth: usize) -> Result<(), ImageError> {
        if depth > DEPTH_MAX {
            return Err(ImageError::malformed(prefix.display().to_string(), "directories are nested too deeply"));
        }
        let mut names = BTreeSet::new();
        for layer in &layers {
            names.extend(layer.names().at("list", prefix)?);
        }
        for name in names {
            let path = prefix.join(&name);
            let Some(top) = layers.iter().position(|l| l.stat(&name).is_ok()) else { continue };
            let stat = layers[top].stat(&name).at("stat", &path)?;
            if !stat.is_dir() {
                self.one(&layers[top], &name, &path, depth)?;
                continue;
            }
            // What is below takes part until something that is no directory, or a mark, hides it.
            let (mut dirs, mut hides) = (Vec::new(), false);
            for layer in &layers[top..] {
                match layer.stat(&name) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e).at("stat", &path),
                    Ok(s) if !s.is_dir() => {
                        hides = true;
                        break;
                    }
                    Ok(_) => dirs.push(layer.dir(&name).at("open", &path)?),
                }
                if layer.xattr(&name, OsStr::new(OPAQUE_XATTR)).at("read", &path)?.as_deref() == Some(b"y") {
                    hides = true;
                    break;
                }
            }
            let xattrs = attributes_of(&layers[top], &name, &stat).at("read attributes of", &path)?;
            self.entry(&path, EntryType::Directory, &stat, 0, b"", &xattrs).at("write", &path)?;
            if hides {
                self.opaque(&path, &stat).at("write", &path)?;
            }
            self.stacked(dirs, &path, depth + 1)?;
        }
        Ok(())
    }

    fn opaque(&mut self, dir: &Path, stat: &Stat) -> io::Result<()> {
        let plain = Stat { mode: 0o100_000, ..*stat };
        self.entry(&dir.join(".wh..wh..opq"), EntryType::Regular, &plain, 0, b"", &[])
    }

    fn one(&mut self, parent: &Dir, name: &OsStr, path: &Path, depth: usize) -> Result<(), ImageError> {
        let stat = match parent.stat(name) {
            // It went while we walked.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.at("stat", path)?,
        };
        if self.marks == Marks::Translate && stat.is_whiteout() {
            let mut hidden = OsString::from(".wh.");
            hidden.push(name);
            let plain = Stat { mode: 0o100_000, rdev: 0, nlink: 1, ..stat };
            return self.entry(&path.with_file_name(hidden), EntryType::Regular, &plain, 0, b"", &[]).at("write", path);
        }
        let xattrs = attributes_of(parent, name, &stat).at("read attributes of", path)?;
        let kind = match stat.kind() {
            libc_modes::DIR => {
                let dir = parent.dir(name).at("open", path)?;
                self.entry(path, EntryType::Directory, &stat, 0, b"", &xattrs).at("write", path)?;
                if self.marks == Marks::Translate
                    && parent.xattr(name, OsStr::new(OPAQUE_XATTR)).at("read", path)?.as_deref() == Some(b"y")
                {
                    self.opaque(path, &stat).at("write", path)?;
                }
                return self.children(&dir, path, depth + 1);
            }
            libc_modes::REG => EntryType::Regular,
            libc_modes::LNK => {
                let target = parent.read_link(name).at("read link", path)?;
                return self.entry(path, EntryType::Symlink, &stat, 0, target.as_bytes(), &xattrs).at("write", path);
            }
            libc_modes::CHR => EntryType::Char,
            libc_modes::BLK => EntryType::Block,
            libc_modes::FIFO => EntryType::Fifo,
            // Sockets have no place in an archive.
            _ => return Ok(()),
        };
        if stat.nlink > 1 {
            if let Some(first) = self.links.get(&(stat.dev, stat.ino)).cloned() {
                return self.entry(path, EntryType::Link, &stat, 0, &first, &[]).at("write", path);
            }
            self.links.insert((stat.dev, stat.ino), path.as_os_str().as_bytes().to_vec());
        }
        if kind != EntryType::Regular {
            return self.entry(path, kind, &stat, 0, b"", &xattrs).at("write", path);
        }
        let mut file = parent.file(name).at("open", path)?;
        self.entry(path, kind, &stat, stat.size, b"", &xattrs).at("write", path)?;
        self.content(&mut file, stat.size).at("copy", path)
    }

    fn content(&mut self, file: &mut impl Read, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = file.read(&mut self.buffer[..want])?;
            if n == 0 {
                io::copy(&mut io::repeat(0).take(left), &mut self.out)?;
                break;
            }
            self.out.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        self.out.write_all(&[0; 512][..padding as usize])
    }

    fn entry(
        &mut self,
        path: &Path,
        kind: EntryType,
        stat: &Stat,
        size: u64,
        link: &[u8],
        xattrs: &[(OsString, Vec<u8>)],
    ) -> io::Result<()> {
        let mut name = path.as_os_str().as_bytes().to_vec();
        if kind == EntryType::Directory && name != b"/" {
            name.push(b'/');
        }
        let mut pax: Vec<u8> = Vec::new();
        if name.len() > 100 || !name.is_ascii() {
            pax_record(&mut pax, b"path", &name);
        }
        if link.len() > 100 || !link.is_ascii() {
            pax_record(&mut pax, b"linkpath", link);
        }
        if size >= 1 << 33 {
            pax_record(&mut pax, b"size", size.to_string().as_bytes());
        }
        for (number, key) in [(stat.uid, "uid"), (stat.gid, "gid")] {
            if number >= 1 << 21 {
                pax_record(&mut pax, key.as_bytes(), number.to_string().as_bytes());
            }
        }
        if stat.mtime.0 < 0 || stat.mtime.0 >= 1 << 33 {
            pax_record(&mut pax, b"mtime", stat.mtime.0.to_string().as_bytes());
        }
        for (key, value) in xattrs {
            pax_record(&mut pax, &[b"SCHILY.xattr.", key.as_bytes()].concat(), value);
        }
        if !pax.is_empty() {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            put(&mut header.as_mut_bytes()[..100], b"PaxHeaders.0/x");
            header.set_mode(0o644);
            header.set_size(pax.len() as u64);
            header.set_cksum();
            self.out.write_all(header.as_bytes())?;
            self.out.write_all(&pax)?;
            self.pad(pax.len() as u64)?;
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        put(&mut header.as_mut_bytes()[..100], &name);
        put(&mut header.as_mut_bytes()[157..257], link);
        header.set_mode(stat.mode & 0o7777);
        header.set_uid(stat.uid.into());
        header.set_gid(stat.gid.into());
        header.set_size(if size >= 1 << 33 { 0 } else { size });
        header.set_mtime(stat.mtime.0.clamp(0, (1 << 33) - 1) as u64);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let (major, minor) = stat.device();
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }
}

/// One small file in an archive, for manifests and the like.
pub(crate) fn small_file(out: &mut (impl Write + ?Sized), name: &str, content: &[u8], mtime: i64) -> io::Result<()> {
    file_header(out, name, content.len() as u64, mtime)?;
    out.write_all(content)?;
    out.write_all(&vec![0; ((BLOCK - content.len() as u64 % BLOCK) % BLOCK) as usize])
}

/// The header of a file whose content the caller writes (and pads).
pub(crate) fn file_header(out: &mut (impl Write + ?Sized), name: &str, size: u64, mtime: i64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    put(&mut header.as_mut_bytes()[..100], name.as_bytes());
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(mtime.max(0) as u64);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// A directory in an archive.
pub(crate) fn small_dir(out: &mut (impl Write + ?Sized), name: &str, mtime: i64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Directory);
    put(&mut header.as_mut_bytes()[..100], name.as_bytes());
    header.set_mode(0o755);
    header.set_size(0);
    header.set_mtime(mtime.max(0) as u64);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

mod libc_modes {
    pub(super) const DIR: u32 = 0o040_000;
    pub(super) const REG: u32 = 0o100_000;
    pub(super) const LNK: u32 = 0o120_000;
    pub(super) const CHR: u32 = 0o020_000;
    pub(super) const BLK: u32 = 0o060_000;
    pub(super) const FIFO: u32 = 0o010_000;
}

/// Attributes that travel: file capabilities, ACLs and the user's own; not overlayfs' marks, not SELinux labels.
fn attributes_of(parent: &Dir, name: &OsStr, stat: &Stat) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    if stat.is_symlink() {
        return Ok(Vec::new());
    }
    let mut found = parent.xattrs(name)?;
    found.retain(|(key, _)| {
        let key = key.as_bytes();
        key == b"security.capability" || (key.starts_with(b"user.") && !key.starts_with(b"user.overlay."))
    });
    Ok(found)
}

fn put(field: &mut [u8], value: &[u8]) {
    let n = field.len().min(value.len());
    field.fill(0);
    field[..n].copy_from_slice(&value[..n]);
}

fn pax_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() != rest.to_string().len() {
        length += 1;
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}
