//! `COPY` and `ADD`: from one tree into another, neither of which is trusted.
use super::{Copy, SourceTree, owner, pad::Pad, sources};
use crate::{
    error::{ImageError, IoContext},
    layer::{
        chunks, decompressed, looks_like_archive,
        pack::{Marks, Packer},
        unpack::{self, PlainOptions},
    },
    rootfs::files::PipeWriter,
    store::Store,
};
use kernel::beneath::Root;
use std::{
    ffi::OsStr,
    io::{self, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A source tree, open.
pub(crate) struct Opened {
    pub(crate) root: Root,
    pub(crate) place: sources::Place,
    _pad: Option<Pad>,
}

impl SourceTree {
    pub(crate) fn open(&self, store: &Arc<Store>) -> Result<Opened, ImageError> {
        let on = |image: Option<&str>| -> Result<Opened, ImageError> {
            let pad = Pad::open(store, image)?;
            Ok(Opened { root: pad.root()?, place: sources::Place::Image, _pad: Some(pad) })
        };
        match self {
            Self::Context(context) => Ok(Opened { root: context.root()?, place: sources::Place::Context, _pad: None }),
            Self::Image(id) => on(Some(id)),
            Self::Nothing => on(None),
        }
    }
}

pub(crate) fn perform(store: &Arc<Store>, copy: &Copy, into: &Root) -> Result<(), ImageError> {
    let owner = match copy.chown.as_str() {
        "" if copy.keep_owners => None,
        "" => Some((0, 0)),
        text => Some(owner::parse(text, into)?),
    };
    let failed = |e: ImageError| match e {
        ImageError::InvalidArgument(why) => ImageError::InvalidArgument(format!("failed to copy files: {why}")),
        other => other,
    };
    for part in &copy.parts {
        let from = part.from.open(store)?;
        for found in &part.found {
            let target = Target { into, destination: &copy.destination, owner, extract: part.extract };
            one(store, &from.root, Path::new(&found.path), &target).map_err(failed)?;
        }
    }
    Ok(())
}

/// Where something is put, and how.
struct Target<'a> {
    into: &'a Root,
    destination: &'a str,
    owner: Option<(u32, u32)>,
    extract: bool,
}

fn one(store: &Arc<Store>, from: &Root, path: &Path, target: &Target<'_>) -> Result<(), ImageError> {
    let &Target { into, owner, .. } = target;
    let real = from.canonical(path).at("resolve", path)?;
    let real = real.strip_prefix("/").unwrap_or(&real);
    let options = PlainOptions { no_overwrite_dir_non_dir: true, owner, ..PlainOptions::default() };
    let destination = resolve(into, Path::new(target.destination.trim_matches('/')));
    if from.stat(real).at("stat", path)?.is_dir() {
        make_dirs(into, &destination, owner)?;
        let dir = from.dir(real).at("open", path)?;
        return transfer(store, into, &destination, options, |packer| packer.tree(&dir, Path::new("")));
    }
    if target.extract
        && let Ok(mut file) = from.file(real)
        && looks_like_archive(&mut file)
    {
        file.rewind().at("read", path)?;
        make_dirs(into, &destination, Some((0, 0)))?;
        let options = PlainOptions { no_overwrite_dir_non_dir: true, ..PlainOptions::default() };
        return unpack::plain(decompressed(file)?, into, &destination, options, store.limits);
    }
    let is_dir = into.stat(&destination).is_ok_and(|s| s.is_dir());
    let name = if is_dir || target.destination.ends_with('/') {
        resolve(into, &destination.join(path.file_name().unwrap_or(OsStr::new(""))))
    } else {
        destination
    };
    let (above, name) = (name.parent().unwrap_or(Path::new("")), name.file_name().unwrap_or(OsStr::new("")));
    if name.is_empty() {
        return Err(ImageError::InvalidArgument(format!("{:?} is a directory", target.destination)));
    }
    make_dirs(into, above, owner)?;
    let parent = from.dir(real.parent().unwrap_or(Path::new(""))).at("open", path)?;
    transfer(store, into, above, options, |packer| {
        packer.child(&parent, real.file_name().unwrap_or(OsStr::new("")), Path::new(name))
    })
}

/// Where a path leads inside the tree; what is not there yet stays as it is.
fn resolve(root: &Root, path: &Path) -> PathBuf {
    let real = root.canonical(path).unwrap_or_else(|_| path.to_owned());
    real.strip_prefix("/").map(Path::to_owned).unwrap_or(real)
}

/// New directories belong to whom the files will belong.
pub(crate) fn make_dirs(root: &Root, path: &Path, owner: Option<(u32, u32)>) -> Result<bool, ImageError> {
    let (_, made) = root.make_dirs(path).at("create directory", path)?;
    let owner = owner.unwrap_or((0, 0));
    for dir in &made {
        let parent = root.dir(dir.parent().unwrap_or(Path::new(""))).at("open", dir)?;
        parent.set_owner(dir.file_name().unwrap_or(OsStr::new("")), owner.0, owner.1).at("set the owner of", dir)?;
    }
    Ok(!made.is_empty())
}

/// Packs on one thread what is unpacked on this one.
fn transfer(
    store: &Arc<Store>,
    into: &Root,
    prefix: &Path,
    options: PlainOptions,
    pack: impl FnOnce(&mut Packer<io::BufWriter<PipeWriter>>) -> Result<(), ImageError> + Send,
) -> Result<(), ImageError> {
    let (pipe, reader) = chunks::pipe();
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let out = io::BufWriter::with_capacity(chunks::CHUNK, PipeWriter(pipe));
            let mut packer = Packer::new(out, Marks::None);
            pack(&mut packer)?;
            packer.finish().map(drop)
        });
        let unpacked = unpack::plain(reader, into, prefix, options, store.limits);
        let packed = packing.join().unwrap_or_else(|_| Err(ImageError::Worker("a copying thread panicked".into())));
        // The packer's reason is the better one: the unpacker only saw that the stream ended.
        match (packed, unpacked) {
            (Err(ImageError::Io { what: "write", .. }), Err(e)) => Err(e),
            (Err(e), _) | (Ok(()), Err(e)) => Err(e),
            (Ok(()), Ok(())) => Ok(()),
        }
    })
}
