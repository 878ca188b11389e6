//! What the tests share: a store in a directory of its own, which leaves no mount behind, and small tars.
#![allow(dead_code, missing_docs)]
use images::{Images, Reference};
use std::{io::Cursor, path::PathBuf};
use tar::{Builder, EntryType, Header};

pub struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("images")
    }
    pub async fn open(&self) -> Images {
        Images::open(self.root()).await.unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mine = self.dir.path().display().to_string();
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut left = Vec::new();
        for line in table.lines() {
            if let Some(target) = line.split(' ').nth(4).filter(|t| t.starts_with(&mine)) {
                left.push(target.to_owned());
                kernel::overlay::unmount(std::path::Path::new(target)).ok();
            }
        }
        if !left.is_empty() && !std::thread::panicking() {
            panic!("mounts left behind: {left:?}");
        }
    }
}

pub fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

#[derive(Default)]
pub struct Tar(Vec<(Header, Vec<u8>, Vec<u8>)>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn add(mut self, kind: EntryType, path: &str, link: &str, mode: u32, data: &[u8]) -> Self {
        self.0.push((header(kind, path, link, mode, data.len() as u64), Vec::new(), data.to_vec()));
        self
    }
    pub fn file(self, path: &str, data: &str) -> Self {
        self.add(EntryType::Regular, path, "", 0o644, data.as_bytes())
    }
    pub fn dir(self, path: &str) -> Self {
        self.add(EntryType::Directory, path, "", 0o755, b"")
    }
    pub fn symlink(self, path: &str, to: &str) -> Self {
        self.add(EntryType::Symlink, path, to, 0o777, b"")
    }
    pub fn link(self, path: &str, to: &str) -> Self {
        self.add(EntryType::Link, path, to, 0o644, b"")
    }
    pub fn raw(mut self, header: Header, data: &[u8]) -> Self {
        self.0.push((header, Vec::new(), data.to_vec()));
        self
    }
    pub fn bytes(self) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (header, _, data) in self.0 {
            builder.append(&header, Cursor::new(data)).unwrap();
        }
        builder.into_inner().unwrap()
    }
}

/// A header whose name is taken as it is, however bad.
pub fn header(kind: EntryType, path: &str, link: &str, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(size);
    if matches!(kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    }
    header.set_cksum();
    header
}

pub fn busybox_like() -> Vec<u8> {
    Tar::new()
        .dir("bin/")
        .file("bin/sh", "#!")
        .dir("etc/")
        .file("etc/passwd", "root:x:0:0\n")
        .symlink("etc/link", "../bin/sh")
        .bytes()
}

pub async fn import(images: &Images, tar: Vec<u8>, reference: &str) -> String {
    images
        .import(
            Cursor::new(tar),
            Some(name(reference)),
            vec!["CMD [\"/bin/sh\"]".into()],
            "Imported from -".into(),
            None,
        )
        .await
        .unwrap()
}

/// A writer whose bytes can be had afterwards.
pub async fn collect<F>(work: impl FnOnce(tokio::io::DuplexStream) -> F) -> Vec<u8>
where
    F: Future<Output = Result<(), images::ImageError>>,
{
    use tokio::io::AsyncReadExt;
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let reader = tokio::spawn(async move {
        let (mut ours, mut all) = (ours, Vec::new());
        ours.read_to_end(&mut all).await.unwrap();
        all
    });
    work(theirs).await.unwrap();
    reader.await.unwrap()
}
