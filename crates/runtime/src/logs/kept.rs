//! The files that are kept of a log, opened for reading; compressed ones become plain when they are wanted.
use super::rotating::{Mark, packed, rotated};
use flate2::read::GzDecoder;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// One file of a log.
pub(super) struct Kept {
    file: File,
    /// Which plain file a compressed one was made of.
    packed: Option<Mark>,
}

/// All files, oldest first. Opened newest first, so that a rotation meanwhile repeats no file.
pub(super) fn files(path: &Path, max_files: u32) -> io::Result<Vec<Kept>> {
    let mut files: Vec<Kept> = Vec::new();
    for number in 0..max_files.max(1) {
        let plain = if number == 0 { path.to_owned() } else { rotated(path, number) };
        let mut found = open(&plain, false)?;
        if found.is_none() && number > 0 {
            found = open(&packed(path, number), true)?;
        }
        files.extend(found.filter(|new| files.iter().all(|other| !other.same(new))));
    }
    files.reverse();
    Ok(files)
}

fn open(path: &Path, packed: bool) -> io::Result<Option<Kept>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !packed {
        return Ok(Some(Kept { file, packed: None }));
    }
    let told = GzDecoder::new(&file).header().and_then(|h| h.comment()).and_then(Mark::parse);
    file.rewind()?;
    let mark = told.map_or_else(|| Mark::of(&file), Ok)?;
    Ok(Some(Kept { file, packed: Some(mark) }))
}

impl Kept {
    fn same(&self, other: &Self) -> bool {
        match (self.packed, other.packed) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (Some(_), None) => self.is(&other.file),
            (None, _) => other.is(&self.file),
        }
    }

    /// Whether it is this open file, or was before it was compressed.
    pub(super) fn is(&self, file: &File) -> bool {
        let Ok(mark) = Mark::of(file) else { return false };
        match self.packed {
            Some(packed) => packed == mark,
            // Both are open, so an inode has one meaning.
            None => Mark::of(&self.file).is_ok_and(|ours| ours.same_inode(mark)),
        }
    }

    /// The file as it was written; a compressed one is unpacked beside the log, in a file without a name.
    pub(super) fn plain(self, log: &Path) -> io::Result<File> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if self.packed.is_none() {
            return Ok(self.file);
        }
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{}-{}.reading", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut plain = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&name)?;
        std::fs::remove_file(&name)?;
        io::copy(&mut GzDecoder::new(self.file), &mut plain)?;
        plain.rewind()?;
        Ok(plain)
    }
}
