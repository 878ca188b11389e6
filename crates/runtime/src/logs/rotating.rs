//! The files of one log: the current one, and older ones under numbers, which may be compressed.
use crate::launch::LogConfig;
use flate2::{Compression, GzBuilder};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Appends lines; moves the file aside when the next line would make it too long.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    max_files: u32,
    compress: bool,
}

impl RotatingFile {
    pub(super) fn open(config: &LogConfig) -> io::Result<Self> {
        if let Some(dir) = config.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = append_to(&config.path)?;
        Ok(Self {
            path: config.path.clone(),
            size: file.metadata()?.len(),
            file,
            max_size: config.max_size_bytes,
            max_files: config.max_files.max(1),
            compress: config.compress,
        })
    }

    /// Appends whole lines.
    pub(super) fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.max_size == 0 || self.size + lines.len() as u64 <= self.max_size {
            return self.append(lines);
        }
        // Line ends are escaped within a line, so each newline ends one.
        let (mut from, mut at) = (0, 0);
        while let Some(length) = memchr::memchr(b'\n', &lines[at..]) {
            let end = at + length + 1;
            let before = self.size + (at - from) as u64;
            if before > 0 && before + (end - at) as u64 > self.max_size {
                self.append(&lines[from..at])?;
                self.rotate()?;
                from = at;
            }
            at = end;
        }
        self.append(&lines[from..])
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.max_files == 1 {
            self.file.set_len(0)?;
        } else {
            let oldest = self.max_files - 1;
            let _ = std::fs::remove_file(rotated(&self.path, oldest));
            let _ = std::fs::remove_file(packed(&self.path, oldest));
            for number in (1..oldest).rev() {
                let _ = std::fs::rename(rotated(&self.path, number), rotated(&self.path, number + 1));
                let _ = std::fs::rename(packed(&self.path, number), packed(&self.path, number + 1));
            }
            let aside = rotated(&self.path, 1);
            std::fs::rename(&self.path, &aside)?;
            self.file = append_to(&self.path)?;
            if self.compress {
                // Here and now: a shim has one thread, because it forks. What cannot be compressed stays as it is.
                let _ = pack(&aside, &packed(&self.path, 1));
            }
        }
        self.size = 0;
        Ok(())
    }
}

/// Name of the n-th older file.
pub(super) fn rotated(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}"))
}

/// Name of the n-th older file once it is compressed.
pub(super) fn packed(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number}.gz"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Which file this is, or was before it was compressed: inode and last change (nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    changed: i128,
}

impl Mark {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            inode: meta.ino(),
            changed: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        })
    }

    pub(super) fn same_inode(self, other: Self) -> bool {
        self.inode == other.inode
    }

    fn to_text(self) -> String {
        format!("{} {}", self.inode, self.changed)
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (inode, changed) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self { inode: inode.parse().ok()?, changed: changed.parse().ok()? })
    }
}

/// Compresses a file under another name, which appears when it is whole.
fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut plain = File::open(from)?;
    let temporary = with_suffix(to, ".tmp");
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    let result = (|| {
        let mut encoder = GzBuilder::new().comment(Mark::of(&plain)?.to_text()).write(target, Compression::default());
        io::copy(&mut plain, &mut encoder)?;
        encoder.finish()?;
        std::fs::rename(&temporary, to)
    })();
    match result {
        Ok(()) => std::fs::remove_file(from),
        Err(error) => {
            let _ = std::fs::remove_file(&temporary);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, max_size_bytes: u64, max_files: u32) -> LogConfig {
        let dir = std::env::temp_dir().join(format!("shoal-rotating-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        LogConfig { path: dir.join("c-json.log"), max_size_bytes, max_files, ..LogConfig::default() }
    }

    fn lines(numbers: std::ops::Range<u32>) -> Vec<u8> {
        numbers.flat_map(|n| format!("{{\"log\":\"line {n}\\n\"}}\n").into_bytes()).collect()
    }

    #[test]
    fn rotation_keeps_so_many() {
        let config = config("many", 200, 3);
        let mut log = RotatingFile::open(&config).unwrap();
        log.put(&lines(0..30)).unwrap();
        log.put(&lines(30..40)).unwrap();
        for number in [1, 2] {
            let text = std::fs::read_to_string(rotated(&config.path, number)).unwrap();
            assert!(text.len() <= 200 && text.len() > 150 && text.ends_with('\n'), "{text}");
        }
        assert!(!rotated(&config.path, 3).exists());
        assert!(std::fs::read_to_string(&config.path).unwrap().contains("line 39"));
        std::fs::remove_dir_all(config.path.parent().unwrap()).unwrap();
    }

    #[test]
    fn older_files_are_compressed() {
        let config = LogConfig { compress: true, ..config("packed", 200, 3) };
        let mut log = RotatingFile::open(&config).unwrap();
        for n in 0..40 {
            log.put(&lines(n..n + 1)).unwrap();
        }
        drop(log);
        let mut names: Vec<String> = std::fs::read_dir(config.path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["c-json.log", "c-json.log.1.gz", "c-json.log.2.gz"]);
        assert_eq!(std::fs::read(packed(&config.path, 1)).unwrap()[..2], [0x1f, 0x8b]);
        std::fs::remove_dir_all(config.path.parent().unwrap()).unwrap();
    }
}
