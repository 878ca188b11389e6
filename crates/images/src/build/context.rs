//! A build's context: an archive unpacked into a directory of its own, which goes with the last handle.
use crate::{
    error::{ImageError, IoContext},
    layer::{
        decompressed,
        unpack::{self, PlainOptions},
        writer::Staging,
    },
    store::Store,
};
use kernel::beneath::Root;
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Most bytes of a Dockerfile or an ignore file.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Most bytes that are downloaded.
const DOWNLOAD_BYTES_MAX: u64 = 16 << 30;

/// The unpacked context; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    dir: Arc<Staging>,
}

impl Context {
    pub(crate) fn empty(store: &Store) -> Result<Self, ImageError> {
        let dir = store.staging()?;
        // Modes and owners of strangers, set-user-id bits among them.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).at("protect", dir.path())?;
        fs::create_dir(dir.path().join("tree")).at("create", dir.path())?;
        Ok(Self { dir: Arc::new(dir) })
    }

    pub(crate) fn unpack(store: &Store, tar: impl Read) -> Result<Self, ImageError> {
        let context = Self::empty(store)?;
        let root = context.root()?;
        let options = PlainOptions { names_from_root: true, ..PlainOptions::default() };
        unpack::plain(decompressed(tar)?, &root, Path::new(""), options, store.limits)?;
        Ok(context)
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    pub(crate) fn root(&self) -> Result<Root, ImageError> {
        let tree = self.tree();
        Root::open(&tree).at("open", &tree)
    }

    /// A small file of it; `None` if there is none. Links are followed inside.
    ///
    /// # Errors
    /// When it is too long or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let file = match self.root()?.file(Path::new(path.trim_start_matches('/'))) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).at("open", path),
        };
        let mut text = Vec::new();
        file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text).at("read", path)?;
        if text.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(ImageError::LayerLimit { what: "size of the Dockerfile", limit: DOCUMENT_BYTES_MAX });
        }
        Ok(Some(text))
    }

    /// A file of it from its start, if it is an archive.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn archive(&self, path: &str) -> Result<Option<fs::File>, ImageError> {
        use io::Seek;
        let mut file = self.root()?.file(Path::new(path)).at("open", path)?;
        if !crate::layer::looks_like_archive(&mut file) {
            return Ok(None);
        }
        file.rewind().at("read", path)?;
        Ok(Some(file))
    }

    /// Puts a file there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &[u8], mtime_unix_seconds: i64) -> Result<(), ImageError> {
        let mut file = self.create(name)?;
        file.write_all(content).at("write", name)?;
        self.set_mtime(name, mtime_unix_seconds)
    }

    pub(crate) fn create(&self, name: &str) -> Result<fs::File, ImageError> {
        let top = self.root()?.top().at("open", name)?;
        top.create_file(name.as_ref(), 0o600).at("create", name)
    }

    /// Puts a download there; tells how many bytes came through `progress`.
    ///
    /// # Errors
    /// When it breaks off, is too long or cannot be written.
    pub async fn download(
        &self,
        name: &str,
        mut from: crate::download::Download,
        mut progress: impl FnMut(u64),
    ) -> Result<(), ImageError> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut file = tokio::fs::File::from_std(self.create(name)?);
        let (mut buffer, mut size) = (vec![0u8; 64 << 10], 0u64);
        loop {
            let n = from.body.read(&mut buffer).await.at("download", name)?;
            if n == 0 {
                break;
            }
            size += n as u64;
            if size > DOWNLOAD_BYTES_MAX {
                return Err(ImageError::LayerLimit { what: "size of the download", limit: DOWNLOAD_BYTES_MAX });
            }
            file.write_all(&buffer[..n]).await.at("write", name)?;
            progress(n as u64);
        }
        file.flush().await.at("write", name)?;
        self.set_mtime(name, from.mtime_unix_seconds)
    }

    pub(crate) fn set_mtime(&self, name: &str, seconds: i64) -> Result<(), ImageError> {
        let top = self.root()?.top().at("open", name)?;
        top.set_mtime(name.as_ref(), seconds, 0).at("set the time of", name)
    }

    /// Takes a file out of it; fine if it is not there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, path: &str) -> Result<(), ImageError> {
        let path = Path::new(path.trim_start_matches('/'));
        let Some(name) = path.file_name() else { return Ok(()) };
        match self.root()?.dir(path.parent().unwrap_or(Path::new(""))) {
            Ok(parent) => parent.remove(name).at("remove", path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e).at("remove", path),
        }
    }
}
