//! How to put a layer's tar together again from its unpacked files, byte by byte: everything of the stream that is not
//! a file's content is kept (compressed), and the contents are named by path.
//!
//! The alternative, keeping each tar beside its tree, costs twice the disk and twice the writing.
use crate::{
    digest,
    error::{ImageError, IoContext},
};
use kernel::beneath::Root;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

const RAW: u8 = 0;
const FILE: u8 = 1;
const END: u8 = 2;
const LEVEL: i32 = 1;
const RAW_MAX: usize = 64 << 10;
const PATH_LENGTH_MAX: u32 = 1 << 16;

/// Writes a recipe while a layer is unpacked.
pub(crate) struct RecipeWriter {
    out: zstd::stream::write::Encoder<'static, BufWriter<File>>,
    raw: Vec<u8>,
    files: u64,
}

impl RecipeWriter {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let out = zstd::stream::write::Encoder::new(BufWriter::new(File::create_new(path)?), LEVEL)?;
        Ok(Self { out, raw: Vec::new(), files: 0 })
    }
    /// Bytes that are no file's content.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= RAW_MAX { self.flush_raw() } else { Ok(()) }
    }
    /// The content of a file comes here; tells its number.
    pub(crate) fn file(&mut self, path: &Path, size: u64) -> io::Result<u64> {
        self.flush_raw()?;
        let path = path.as_os_str().as_bytes();
        self.out.write_all(&[FILE])?;
        self.out.write_all(&size.to_le_bytes())?;
        self.out.write_all(&(path.len() as u32).to_le_bytes())?;
        self.out.write_all(path)?;
        self.files += 1;
        Ok(self.files - 1)
    }
    fn flush_raw(&mut self) -> io::Result<()> {
        for part in self.raw.chunks(RAW_MAX) {
            self.out.write_all(&[RAW])?;
            self.out.write_all(&(part.len() as u32).to_le_bytes())?;
            self.out.write_all(part)?;
        }
        self.raw.clear();
        Ok(())
    }
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_raw()?;
        self.out.write_all(&[END])?;
        self.out.finish()?.into_inner().map_err(|e| e.into_error())?;
        Ok(())
    }
}

/// Writes the tar of the layer in `layer_dir` and checks that it is the very one that was unpacked.
pub(crate) fn assemble(
    layer_dir: &Path,
    diff_id: &str,
    moved: &BTreeMap<u64, PathBuf>,
    out: &mut dyn Write,
) -> Result<(), ImageError> {
    let path = layer_dir.join("recipe.zst");
    let damaged = |why: &dyn std::fmt::Display| ImageError::Damaged { path: path.clone(), why: why.to_string() };
    let mut recipe =
        BufReader::new(zstd::stream::read::Decoder::new(File::open(&path).at("open", &path)?).at("read", &path)?);
    let tree = Root::open(&layer_dir.join("diff")).at("open", layer_dir)?;
    let whole = Root::open(layer_dir).at("open", layer_dir)?;
    let (mut hasher, mut buffer, mut number) = (Sha256::new(), vec![0u8; 256 << 10], 0u64);
    let bad = |e: io::Error| damaged(&e);
    loop {
        let mut kind = [0u8];
        recipe.read_exact(&mut kind).map_err(bad)?;
        match kind[0] {
            END => break,
            RAW => {
                let n = read_u32(&mut recipe).map_err(bad)? as usize;
                let part = buffer.get_mut(..n).ok_or_else(|| damaged(&"a part is too long"))?;
                recipe.read_exact(part).map_err(bad)?;
                hasher.update(&*part);
                out.write_all(part).at("write", "archive")?;
            }
            FILE => {
                let mut size = [0u8; 8];
                recipe.read_exact(&mut size).map_err(bad)?;
                let mut left = u64::from_le_bytes(size);
                let n = read_u32(&mut recipe).map_err(bad)?;
                if n > PATH_LENGTH_MAX {
                    return Err(damaged(&"a path is too long"));
                }
                let mut name = vec![0u8; n as usize];
                recipe.read_exact(&mut name).map_err(bad)?;
                let name = PathBuf::from(std::ffi::OsString::from_vec(name));
                let mut file = match moved.get(&number) {
                    Some(elsewhere) => open_plain(&whole, elsewhere),
                    None => open_plain(&tree, &name),
                }
                .at("open", layer_dir.join("diff").join(&name))?;
                number += 1;
                while left > 0 {
                    let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let n = file.read(&mut buffer[..want]).at("read", &name)?;
                    if n == 0 {
                        return Err(damaged(&format_args!("{} is shorter than it was", name.display())));
                    }
                    hasher.update(&buffer[..n]);
                    out.write_all(&buffer[..n]).at("write", "archive")?;
                    left -= n as u64;
                }
            }
            other => return Err(damaged(&format_args!("unknown part {other}"))),
        }
    }
    let actual = digest::finish(hasher);
    if actual != diff_id {
        return Err(ImageError::DigestMismatch { expected: diff_id.to_owned(), actual });
    }
    Ok(())
}

/// A file whose last name may not be a link (its directories may lead through links, as when it was unpacked).
fn open_plain(root: &Root, path: &Path) -> io::Result<File> {
    let parent = root.dir(path.parent().unwrap_or(Path::new("")))?;
    parent.file(path.file_name().unwrap_or(OsStr::new("")))
}

fn read_u32(reader: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0u8; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
