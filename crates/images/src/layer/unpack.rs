//! Unpacks tar streams: layers into overlayfs' format, and `docker cp` archives into a live tree.
//!
//! Every path is resolved below the tree's root ([`kernel::beneath`]); names that lexically leave it are refused, as
//! Docker does. In a layer, what a later entry replaces is set aside, not deleted, because the recipe still needs it.
use super::{Limits, recipe::RecipeWriter};
use crate::error::{ImageError, IoContext};
use kernel::beneath::{Dir, Node, Root, set_file_attributes};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    rc::Rc,
};
use tar::{Archive, Entry, EntryType};

const OPEN_PARENTS_MAX: usize = 64;
/// Bytes of headers (long names, PAX records) that one entry may have.
const HEADER_BYTES_MAX: usize = 8 << 20;
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// What came of a layer.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Bytes of its files.
    pub size: u64,
    /// Number of its entries.
    pub entries: u64,
    /// Files that later entries replaced: number in the recipe → path relative to the layer's directory.
    pub moved: BTreeMap<u64, PathBuf>,
}

/// How a plain archive is unpacked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlainOptions {
    pub no_overwrite_dir_non_dir: bool,
    pub owner: Option<(u32, u32)>,
    /// Names are taken as from the root, where `..` leads nowhere: what Docker does with a build's context.
    pub names_from_root: bool,
}

/// Unpacks a layer: `layer_dir` gets `diff/`, `recipe.zst` and, if need be, `shadow/`.
pub(crate) fn layer(reader: impl Read, layer_dir: &Path, limits: Limits) -> Result<Outcome, ImageError> {
    let diff = layer_dir.join("diff");
    std::fs::create_dir(&diff).at("create", &diff)?;
    let recipe = RecipeWriter::create(&layer_dir.join("recipe.zst")).at("create", layer_dir)?;
    let root = Root::open(&diff).at("open", &diff)?;
    let mut unpacker = Unpacker::new(&root, limits);
    unpacker.shadow = Some(layer_dir.to_owned());
    let tape = unpacker.read_all(reader, Some(recipe))?;
    if let Some(recipe) = tape.recipe {
        recipe.finish().at("write", layer_dir)?;
    }
    Ok(unpacker.outcome)
}

/// Unpacks an archive below `prefix` of a live tree.
pub(crate) fn plain(
    reader: impl Read,
    root: &Root,
    prefix: &Path,
    options: PlainOptions,
    limits: Limits,
) -> Result<(), ImageError> {
    let mut unpacker = Unpacker::new(root, limits);
    unpacker.prefix = prefix.to_owned();
    unpacker.options = options;
    unpacker.read_all(reader, None).map(drop)
}

/// What passes by on the way from the stream to the tar reader.
struct Tape {
    recipe: Option<RecipeWriter>,
    /// Bytes since the last entry; holds the PAX records.
    headers: Vec<u8>,
    mode: TapeMode,
    seen: u64,
    bytes_max: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum TapeMode {
    Headers,
    Filler,
    Content,
}

struct TapeReader<R> {
    inner: R,
    tape: Rc<RefCell<Tape>>,
}

impl<R: Read> Read for TapeReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        let mut tape = self.tape.borrow_mut();
        let tape = &mut *tape;
        tape.seen += n as u64;
        if tape.seen > tape.bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "stream exceeds the limit"));
        }
        if tape.mode == TapeMode::Headers {
            if tape.headers.len() + n > HEADER_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "headers of one entry exceed the limit"));
            }
            tape.headers.extend_from_slice(&out[..n]);
        }
        if tape.mode != TapeMode::Content
            && let Some(recipe) = &mut tape.recipe
        {
            recipe.raw(&out[..n])?;
        }
        Ok(n)
    }
}

/// One entry, understood.
struct Item {
    name: String,
    path: PathBuf,
    kind: EntryType,
    link: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
    device: (u32, u32),
    xattrs: Vec<(OsString, Vec<u8>)>,
}

struct Unpacker<'a> {
    root: &'a Root,
    prefix: PathBuf,
    options: PlainOptions,
    limits: Limits,
    /// The layer's directory; `None` for a plain archive.
    shadow: Option<PathBuf>,
    shadows: u64,
    /// Files of the recipe: path → number.
    contents: BTreeMap<PathBuf, u64>,
    parents: HashMap<PathBuf, Rc<Dir>>,
    dir_times: Vec<(PathBuf, (i64, i64))>,
    outcome: Outcome,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    fn new(root: &'a Root, limits: Limits) -> Self {
        Self {
            root,
            prefix: PathBuf::new(),
            options: PlainOptions::default(),
            limits,
            shadow: None,
            shadows: 0,
            contents: BTreeMap::new(),
            parents: HashMap::new(),
            dir_times: Vec::new(),
            outcome: Outcome::default(),
            buffer: vec![0; super::chunks::CHUNK],
        }
    }

    fn read_all(&mut self, reader: impl Read, recipe: Option<RecipeWriter>) -> Result<Tape, ImageError> {
        let tape = Rc::new(RefCell::new(Tape {
            recipe,
            headers: Vec::new(),
            mode: TapeMode::Headers,
            seen: 0,
            // Headers and padding come on top of the files' bytes.
            bytes_max: self.limits.bytes_max.saturating_mul(2),
        }));
        let mut archive = Archive::new(TapeReader { inner: reader, tape: Rc::clone(&tape) });
        {
            let mut padding = 0;
            let entries = archive.entries().map_err(|e| ImageError::malformed("reading archive", e))?;
            for entry in entries {
                let mut entry = entry.map_err(|e| self.stream_error(e))?;
                self.outcome.entries += 1;
                if self.outcome.entries > self.limits.entries_max {
                    return Err(ImageError::LayerLimit { what: "number of entries", limit: self.limits.entries_max });
                }
                let headers = std::mem::take(&mut tape.borrow_mut().headers);
                let item = Item::read(&mut entry, &headers, padding, self.options.names_from_root)?;
                let sparse = entry.header().entry_type() == EntryType::GNUSparse;
                let stored = if sparse { entry.header().entry_size().unwrap_or(0) } else { entry.size() };
                padding = usize::try_from((512 - stored % 512) % 512).unwrap_or(0);
                if let Some(item) = item {
                    self.place(&item, &mut entry, &tape)?;
                }
                tape.borrow_mut().mode = TapeMode::Filler;
                io::copy(&mut entry, &mut io::sink()).map_err(|e| self.stream_error(e))?;
                tape.borrow_mut().mode = TapeMode::Headers;
            }
        }
        tape.borrow_mut().mode = TapeMode::Filler;
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(|e| self.stream_error(e))?;
        drop(rest);
        for (path, mtime) in std::mem::take(&mut self.dir_times).into_iter().rev() {
            // The directory may have been replaced since by something else; then there is nothing to set.
            if let Ok(dir) = self.root.dir(&path)
                && let Ok(s) = dir.own_stat()
            {
                dir.set_own_attributes(s.uid, s.gid, s.mode, mtime).at("set times of", &path)?;
            }
        }
        match Rc::try_unwrap(tape) {
            Ok(tape) => Ok(tape.into_inner()),
            Err(_) => Err(ImageError::Worker("the archive reader is still in use".into())),
        }
    }

    fn stream_error(&self, e: io::Error) -> ImageError {
        if e.kind() == io::ErrorKind::FileTooLarge {
            return ImageError::LayerLimit { what: "size of the stream", limit: self.limits.bytes_max };
        }
        ImageError::malformed("archive/tar", e)
    }

    fn place<R: Read>(
        &mut self,
        item: &Item,
        entry: &mut Entry<'_, R>,
        tape: &RefCell<Tape>,
    ) -> Result<(), ImageError> {
        let at = |what: &'static str| move |e: io::Error| ImageError::Io { what, path: item.name.clone(), source: e };
        let is_layer = self.shadow.is_some();
        let Some(name) = item.path.file_name().map(OsStr::to_owned) else {
            // The root itself: a layer may set its attributes, an archive for a live tree may not.
            if is_layer && item.kind.is_dir() {
                let top = self.root.top().map_err(at("open"))?;
                top.set_own_attributes(item.uid, item.gid, item.mode, item.mtime).map_err(at("set attributes of"))?;
                self.dir_times.push((PathBuf::new(), item.mtime));
            }
            return Ok(());
        };
        let path = self.prefix.join(&item.path);
        let parent = self.parent(path.parent().unwrap_or(Path::new(""))).map_err(at("create the parent of"))?;
        if is_layer && name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(item, &path, &parent, name.as_bytes());
        }
        let is_dir = item.kind.is_dir();
        let mut covers_whiteout = false;
        let exists = match parent.stat(&name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(at("look at")(e)),
            Ok(old) if old.is_dir() && is_dir => true,
            Ok(old) => {
                if self.options.no_overwrite_dir_non_dir && old.is_dir() != is_dir {
                    let (from, to) =
                        if is_dir { ("non-directory", "directory") } else { ("directory", "non-directory") };
                    return Err(ImageError::Overwrite(format!(
                        "cannot overwrite {from} {:?} with {to} {:?}",
                        Path::new("/").join(&path),
                        item.name
                    )));
                }
                covers_whiteout = old.is_whiteout();
                // A hard link to itself would remove its own target.
                if item.kind.is_hard_link()
                    && clean(&item.link, self.options.names_from_root).is_some_and(|p| self.prefix.join(p) == path)
                {
                    return Ok(());
                }
                self.clear(&path, &parent, &name).map_err(at("replace"))?;
                false
            }
        };
        let owner = self.options.owner.unwrap_or((item.uid, item.gid));
        let mut attributes_set = false;
        match item.kind {
            EntryType::Directory => {
                if !exists {
                    parent.make_dir(&name, 0o700).map_err(at("create directory"))?;
                }
                let dir = parent.dir(&name).map_err(at("open directory"))?;
                dir.set_own_attributes(owner.0, owner.1, item.mode, item.mtime).map_err(at("set attributes of"))?;
                if is_layer && covers_whiteout {
                    parent.set_xattr(&name, OsStr::new(OPAQUE_XATTR), b"y").map_err(at("mark"))?;
                }
                self.dir_times.push((path.clone(), item.mtime));
                attributes_set = true;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.outcome.size = self.outcome.size.saturating_add(entry.size());
                if self.outcome.size > self.limits.bytes_max {
                    return Err(ImageError::LayerLimit { what: "size of the files", limit: self.limits.bytes_max });
                }
                let mut file = parent.create_file(&name, 0o600).map_err(at("create"))?;
                let sparse = item.kind == EntryType::GNUSparse;
                let mut outer = tape.borrow_mut();
                outer.mode = TapeMode::Filler;
                if !sparse && entry.size() > 0 {
                    if let Some(recipe) = &mut outer.recipe {
                        let number = recipe.file(&path, entry.size()).map_err(at("record"))?;
                        self.contents.insert(path.clone(), number);
                    }
                    outer.mode = TapeMode::Content;
                }
                drop(outer);
                self.write_content(entry, &mut file, sparse).map_err(|e| match e {
                    Side::Stream(e) => self.stream_error(e),
                    Side::File(e) => at("write")(e),
                })?;
                set_file_attributes(&file, Some(owner), item.mode, item.mtime).map_err(at("set attributes of"))?;
                attributes_set = true;
            }
            EntryType::Symlink => {
                parent.make_symlink(OsStr::from_bytes(&item.link), &name).map_err(at("create link"))?
            }
            EntryType::Link => {
                let from_root = self.options.names_from_root;
                let hostile = || ImageError::HostileLayer {
                    entry: item.name.clone(),
                    why: "its hard link leads outside of the tree".into(),
                };
                let target = self.prefix.join(clean(&item.link, from_root).ok_or_else(hostile)?);
                let target_name = target.file_name().ok_or_else(hostile)?.to_owned();
                let from = self
                    .root
                    .dir(target.parent().unwrap_or(Path::new("")))
                    .map_err(at("find the hard link's target of"))?;
                parent.make_hard_link(&from, &target_name, &name).map_err(at("create hard link"))?;
                return Ok(());
            }
            EntryType::Char => {
                self.node(&parent, &name, Node::Character(item.device.0, item.device.1)).map_err(at("create device"))?
            }
            EntryType::Block => {
                self.node(&parent, &name, Node::Block(item.device.0, item.device.1)).map_err(at("create device"))?
            }
            EntryType::Fifo => self.node(&parent, &name, Node::Fifo).map_err(at("create pipe"))?,
            other => {
                return Err(ImageError::malformed(
                    &item.name,
                    format!("unhandled tar header type {}", other.as_byte()),
                ));
            }
        }
        if !attributes_set {
            parent.set_owner(&name, owner.0, owner.1).map_err(at("set the owner of"))?;
            if !item.kind.is_symlink() {
                parent.set_mode(&name, item.mode).map_err(at("set the mode of"))?;
            }
            parent.set_mtime(&name, item.mtime.0, item.mtime.1).map_err(at("set the time of"))?;
        }
        for (key, value) in &item.xattrs {
            match parent.set_xattr(&name, key, value) {
                Err(e) if e.raw_os_error() == Some(95) => {}
                other => other.map_err(at("set attributes of"))?,
            }
        }
        Ok(())
    }

    fn node(&self, parent: &Dir, name: &OsStr, node: Node) -> io::Result<()> {
        parent.make_node(name, node, 0o600)
    }

    fn write_content<R: Read>(
        &mut self,
        from: &mut Entry<'_, R>,
        to: &mut std::fs::File,
        sparse: bool,
    ) -> Result<(), Side> {
        let mut end = 0u64;
        loop {
            let n = from.read(&mut self.buffer).map_err(Side::Stream)?;
            if n == 0 {
                break;
            }
            let part = &self.buffer[..n];
            if sparse && part.iter().all(|&b| b == 0) {
                to.seek(SeekFrom::Current(n as i64)).map_err(Side::File)?;
            } else {
                to.write_all(part).map_err(Side::File)?;
            }
            end += n as u64;
        }
        if end < from.size() {
            return Err(Side::Stream(io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF")));
        }
        if sparse { to.set_len(end).map_err(Side::File) } else { Ok(()) }
    }

    fn whiteout(&mut self, item: &Item, path: &Path, parent: &Dir, name: &[u8]) -> Result<(), ImageError> {
        let at = |e: io::Error| ImageError::Io { what: "white out", path: item.name.clone(), source: e };
        if name == WHITEOUT_OPAQUE {
            let inside = path.parent().unwrap_or(Path::new(""));
            if let Some(own) = inside.file_name() {
                let above = self.root.dir(inside.parent().unwrap_or(Path::new(""))).map_err(at)?;
                above.set_xattr(own, OsStr::new(OPAQUE_XATTR), b"y").map_err(at)?;
            } else {
                // The whole tree below is hidden: the mark goes on the root directory itself.
                let layer = Dir::open(self.shadow.as_deref().unwrap_or(Path::new("."))).map_err(at)?;
                layer.set_xattr(OsStr::new("diff"), OsStr::new(OPAQUE_XATTR), b"y").map_err(at)?;
            }
            return Ok(());
        }
        if name.starts_with(WHITEOUT_META_PREFIX) {
            return Ok(());
        }
        let hidden = OsStr::from_bytes(&name[WHITEOUT_PREFIX.len()..]);
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(ImageError::HostileLayer {
                entry: item.name.clone(),
                why: "it whites out a directory it is in".into(),
            });
        }
        match parent.stat(hidden) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(at(e)),
            Ok(_) => self.clear(&path.with_file_name(hidden), parent, hidden).map_err(at)?,
        }
        parent.make_node(hidden, Node::Character(0, 0), 0).map_err(at)
    }

    /// Takes away what is at `path`; in a layer, sets it aside.
    fn clear(&mut self, path: &Path, parent: &Dir, name: &OsStr) -> io::Result<()> {
        self.parents.clear();
        let Some(layer_dir) = &self.shadow else { return parent.remove(name) };
        // Paths sort by component, so that what is below a directory follows it.
        let held: Vec<PathBuf> = self
            .contents
            .range(path.to_owned()..)
            .map(|(p, _)| p.clone())
            .take_while(|p| p.starts_with(path))
            .collect();
        if held.is_empty() {
            return parent.remove(name);
        }
        let shadow = layer_dir.join("shadow");
        std::fs::create_dir_all(&shadow)?;
        let aside_name = OsString::from(self.shadows.to_string());
        let aside = Path::new("shadow").join(&aside_name);
        self.shadows += 1;
        parent.rename(name, &Dir::open(&shadow)?, &aside_name)?;
        for content in held {
            if let (Some(number), Ok(inner)) = (self.contents.remove(&content), content.strip_prefix(path)) {
                let new = if inner.as_os_str().is_empty() { aside.clone() } else { aside.join(inner) };
                self.outcome.moved.insert(number, new);
            }
        }
        Ok(())
    }

    fn parent(&mut self, path: &Path) -> io::Result<Rc<Dir>> {
        if let Some(known) = self.parents.get(path) {
            return Ok(Rc::clone(known));
        }
        let (dir, _made) = self.root.make_dirs(path)?;
        if self.parents.len() >= OPEN_PARENTS_MAX {
            self.parents.clear();
        }
        let dir = Rc::new(dir);
        self.parents.insert(path.to_owned(), Rc::clone(&dir));
        Ok(dir)
    }
}

enum Side {
    Stream(io::Error),
    File(io::Error),
}

/// A field of nothing but blanks is 0, as for other readers of tar: some writers leave out what they do not know.
fn number(read: io::Result<u64>, field: &[u8]) -> io::Result<u64> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) { Ok(0) } else { read }
}

impl Item {
    /// `None` for entries that carry nothing (global PAX headers).
    fn read<R: Read>(
        entry: &mut Entry<'_, R>,
        headers: &[u8],
        padding: usize,
        from_root: bool,
    ) -> Result<Option<Self>, ImageError> {
        let header = entry.header();
        let mut kind = header.entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(None);
        }
        let bad = |what: &str, e: io::Error| ImageError::malformed(format!("archive/tar: {what}"), e);
        let mut raw_path = entry.path_bytes().into_owned();
        let mut link = entry.link_name_bytes().map(|l| l.into_owned()).unwrap_or_default();
        let old = header.as_old();
        let mode = number(header.mode().map(u64::from), &old.mode).map_err(|e| bad("mode", e))? as u32;
        let mut uid = number(header.uid(), &old.uid).map_err(|e| bad("uid", e))?;
        let mut gid = number(header.gid(), &old.gid).map_err(|e| bad("gid", e))?;
        let mut mtime = (number(header.mtime(), &old.mtime).map_err(|e| bad("mtime", e))? as i64, 0);
        let device = if matches!(kind, EntryType::Char | EntryType::Block) {
            let major = header.device_major().map_err(|e| bad("device", e))?.unwrap_or(0);
            (major, header.device_minor().map_err(|e| bad("device", e))?.unwrap_or(0))
        } else {
            (0, 0)
        };
        let mut xattrs = Vec::new();
        for (key, value) in pax_records(headers, padding) {
            let text = std::str::from_utf8(value).ok();
            match key {
                b"path" => raw_path = value.to_vec(),
                b"linkpath" => link = value.to_vec(),
                b"uid" => uid = text.and_then(|t| t.parse().ok()).unwrap_or(uid),
                b"gid" => gid = text.and_then(|t| t.parse().ok()).unwrap_or(gid),
                b"mtime" => mtime = text.and_then(parse_time).unwrap_or(mtime),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                        && !name.starts_with(b"trusted.overlay.")
                        && !name.starts_with(b"user.overlay.")
                    {
                        xattrs.push((OsString::from_vec(name.to_vec()), value.to_vec()));
                    }
                }
            }
        }
        let name = String::from_utf8_lossy(&raw_path).into_owned();
        if raw_path.contains(&0) || link.contains(&0) {
            return Err(ImageError::HostileLayer { entry: name, why: "its name holds a NUL byte".into() });
        }
        if kind == EntryType::Regular && raw_path.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        let path = clean(&raw_path, from_root)
            .ok_or_else(|| ImageError::HostileLayer { entry: name.clone(), why: "it is outside of the tree".into() })?;
        let (uid, gid) = (u32::try_from(uid).unwrap_or(u32::MAX - 1), u32::try_from(gid).unwrap_or(u32::MAX - 1));
        Ok(Some(Self { name, path, kind, link, mode: mode & 0o7777, uid, gid, mtime, device, xattrs }))
    }
}

/// A relative path without `.` and `..`; `None` if it leads outside (which from the root nothing does).
fn clean(raw: &[u8], from_root: bool) -> Option<PathBuf> {
    let absolute = from_root || raw.first() == Some(&b'/');
    let mut path = PathBuf::new();
    for part in raw.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if !path.pop() && !absolute {
                    return None;
                }
            }
            name => path.push(OsStr::from_bytes(name)),
        }
    }
    Some(path)
}

/// `seconds[.fraction]`.
fn parse_time(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let mut nanos: i64 = 0;
    for i in 0..9 {
        let digit = fraction.as_bytes().get(i).copied().unwrap_or(b'0');
        nanos = nanos * 10 + i64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    // A time before the epoch counts its fraction backwards.
    if whole.starts_with('-') && nanos > 0 {
        Some((seconds - 1, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

/// The PAX records of the entry whose headers these are. The tar crate splits records at line feeds, which binary
/// attribute values may hold, so they are read here by their lengths.
fn pax_records(headers: &[u8], padding: usize) -> Vec<(&[u8], &[u8])> {
    let mut records = Vec::new();
    let mut rest = headers.get(padding..).unwrap_or_default();
    while rest.len() >= 512 {
        let header = tar::Header::from_byte_slice(&rest[..512]);
        let kind = header.entry_type();
        if !matches!(kind, EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink) {
            break;
        }
        let Ok(size) = header.entry_size() else { break };
        let Some(size) = usize::try_from(size).ok().filter(|s| *s <= rest.len() - 512) else { break };
        if kind == EntryType::XHeader {
            let mut body = &rest[512..512 + size];
            while let Some((record, after)) = pax_record(body) {
                records.push(record);
                body = after;
            }
        }
        rest = rest.get(512 + size.div_ceil(512) * 512..).unwrap_or_default();
    }
    records
}

type PaxRecord<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

fn pax_record(body: &[u8]) -> Option<PaxRecord<'_>> {
    let space = body.iter().position(|&b| b == b' ')?;
    let length: usize = std::str::from_utf8(&body[..space]).ok()?.parse().ok()?;
    let record = body.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), &body[length..]))
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
