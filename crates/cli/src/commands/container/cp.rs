//! `cp`: tar archives through the engine, with the rules of `cp -a`.
use crate::Ctx;
use crate::client::is_status;
use crate::commands::Done;
use crate::terminal::tell;
use anyhow::Context;
use base64::Engine as _;
use bytes::Bytes;
use clap::Args;
use futures::StreamExt;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;
use wire::engine::container::PathStat;

/// Copy files/folders between a container and the local filesystem.
#[derive(Args)]
#[command(
    override_usage = "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
)]
pub(crate) struct Copy {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
    source: String,
    destination: String,
}

/// Go's `os.ModeDir`.
const MODE_DIR: u32 = 1 << 31;

impl Copy {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        match (split(&self.source), split(&self.destination)) {
            (Some((container, path)), None) => self.download(ctx, container, path).await,
            (None, Some((container, path))) => self.upload(ctx, container, path).await,
            (Some(_), Some(_)) => anyhow::bail!("copying between containers is not supported"),
            (None, None) => anyhow::bail!("must specify at least one container source"),
        }
    }

    async fn download(&self, ctx: &Ctx, container: &str, path: &str) -> Done {
        let mut path = path.to_owned();
        if self.follow_link
            && let Some(stat) = stat(ctx, container, &path).await?
            && !stat.link_target.is_empty()
        {
            path = stat.link_target;
        }
        let mut body = ctx.client.get(format!("/containers/{container}/archive")).query("path", &path).stream().await?;
        if self.destination == "-" {
            while let Some(piece) = body.next().await {
                io::stdout().write_all(&piece?)?;
            }
            return Ok(io::stdout().flush()?);
        }
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(8);
        let destination = PathBuf::from(&self.destination);
        let contents_only = path.ends_with("/.") || path == ".";
        let unpacking = tokio::task::spawn_blocking(move || unpack(Pieces::new(receiver), &destination, contents_only));
        while let Some(piece) = body.next().await {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        unpacking.await??;
        if !self.quiet {
            tell(&format!("Successfully copied to {}", self.destination));
        }
        Ok(())
    }

    async fn upload(&self, ctx: &Ctx, container: &str, path: &str) -> Done {
        let put = |to: &str, pieces: futures::stream::BoxStream<'static, io::Result<Bytes>>| {
            let call = ctx.client.put(format!("/containers/{container}/archive")).query("path", to);
            call.query("noOverwriteDirNonDir", "true").flag("copyUIDGID", self.archive).tar(pieces).done()
        };
        if self.source == "-" {
            let pieces = tokio_util::io::ReaderStream::with_capacity(tokio::io::stdin(), 64 << 10).boxed();
            return put(path, pieces).await;
        }
        let source = PathBuf::from(&self.source);
        let meta = if self.follow_link { source.metadata() } else { source.symlink_metadata() };
        let meta = meta.with_context(|| format!("lstat {}", source.display()))?;
        let contents_only = self.source.ends_with("/.") || self.source == ".";
        let there = stat(ctx, container, path).await?;
        let there_is_dir = there.as_ref().is_some_and(|s| s.mode & MODE_DIR != 0);
        let name = source.canonicalize().ok().and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()));
        let name = source.file_name().map(|n| n.to_string_lossy().into_owned()).or(name).unwrap_or_default();
        // Into a folder keeps the name; onto a name takes that.
        let (to, inside) = if there_is_dir {
            (path.to_owned(), if contents_only && meta.is_dir() { String::new() } else { name })
        } else {
            anyhow::ensure!(
                there.is_none() || !meta.is_dir(),
                "cannot copy a directory: destination \"{path}\" exists and is not a directory"
            );
            anyhow::ensure!(!path.ends_with('/') || meta.is_dir(), "no such directory: \"{path}\"");
            let path = path.trim_end_matches('/');
            let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
            (if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }, last.to_owned())
        };
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(8);
        let follow = self.follow_link;
        let packing = tokio::task::spawn_blocking(move || {
            let failures = sender.clone();
            if let Err(e) = pack(&source, &inside, follow, Sink(sender)) {
                let _ = failures.blocking_send(Err(e));
            }
        });
        let pieces = futures::stream::unfold(receiver, |mut r| async { r.recv().await.map(|p| (p, r)) }).boxed();
        put(&to, pieces).await?;
        packing.await?;
        if !self.quiet {
            tell(&format!("Successfully copied to {}", self.destination));
        }
        Ok(())
    }
}

/// `container:path`; a path with a slash before the colon is local.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':').filter(|(name, _)| !name.contains('/') && !name.is_empty())
}

async fn stat(ctx: &Ctx, container: &str, path: &str) -> anyhow::Result<Option<PathStat>> {
    match ctx.client.head(format!("/containers/{container}/archive")).query("path", path).send().await {
        Ok(answer) => {
            let header = answer.headers().get("x-docker-container-path-stat").map(|v| v.as_bytes().to_vec());
            let text = base64::engine::general_purpose::STANDARD.decode(header.context("no stat in the answer")?)?;
            Ok(Some(wire::engine::lenient::from_slice(&text)?))
        }
        // The path or the container: the upload will tell which.
        Err(e) if is_status(&e, 404) => Ok(None),
        Err(e) => Err(e),
    }
}

fn pack(source: &Path, inside: &str, follow: bool, sink: Sink) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(64 << 10, sink));
    archive.follow_symlinks(follow);
    let is_dir = if follow { source.is_dir() } else { source.symlink_metadata()?.is_dir() };
    match (is_dir, inside) {
        (true, "") => archive.append_dir_all(".", source)?,
        (true, inside) => archive.append_dir_all(inside, source)?,
        (false, inside) => archive.append_path_with_name(source, inside)?,
    }
    archive.into_inner()?.flush()
}

/// The archive's first part of each path is the source's name; it becomes the destination's unless that is a folder.
fn unpack(from: impl Read, destination: &Path, contents_only: bool) -> anyhow::Result<()> {
    let into_folder = destination.is_dir();
    let (root, renamed) = match into_folder {
        true => (destination.to_path_buf(), None),
        false => {
            let parent = destination.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            anyhow::ensure!(parent.is_dir(), "invalid output path: directory \"{}\" does not exist", parent.display());
            (parent.to_path_buf(), destination.file_name().map(PathBuf::from))
        }
    };
    let mut archive = tar::Archive::new(from);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let parts: Vec<Component<'_>> = path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
        anyhow::ensure!(
            !path.components().any(|c| c == Component::ParentDir),
            "the archive leaves its folder: {}",
            path.display()
        );
        let rest: PathBuf = parts.iter().skip(1).collect();
        let named = if contents_only && into_folder {
            rest
        } else {
            match (&renamed, parts.first()) {
                (Some(name), _) => name.join(rest),
                (None, Some(first)) => Path::new(first).join(rest),
                (None, None) => rest,
            }
        };
        let target = root.join(named.components().collect::<PathBuf>());
        if target == root {
            continue;
        }
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if entry.header().entry_type().is_dir() && target.is_dir() {
            continue;
        }
        entry.unpack(&target).with_context(|| format!("write {}", target.display()))?;
    }
    Ok(())
}

/// Blocking writer → pieces.
struct Sink(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(Ok(Bytes::copy_from_slice(data))).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Pieces → blocking reader.
struct Pieces {
    from: mpsc::Receiver<io::Result<Bytes>>,
    left: Bytes,
}

impl Pieces {
    fn new(from: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { from, left: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.left = piece?,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.left.len());
        buffer[..n].copy_from_slice(&self.left.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_from_paths() {
        let table =
            [("c:/x", Some(("c", "/x"))), ("./a:b", None), ("/a:b", None), ("a/b:c", None), ("x", None), (":x", None)];
        for (text, wanted) in table {
            assert_eq!(split(text), wanted, "{text}");
        }
    }

    #[test]
    fn an_archive_lands_where_cp_would_put_it() {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, data) in [("src/f", "1"), ("src/d/g", "2")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, data.as_bytes()).unwrap();
        }
        let archive = builder.into_inner().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |p: &str| std::fs::read_to_string(folder.path().join(p)).ok();
        unpack(&archive[..], folder.path(), false).unwrap();
        assert_eq!(at("src/d/g").as_deref(), Some("2"));
        unpack(&archive[..], &folder.path().join("new"), false).unwrap();
        assert_eq!(at("new/f").as_deref(), Some("1"));
        unpack(&archive[..], folder.path(), true).unwrap();
        assert_eq!(at("d/g").as_deref(), Some("2"));
        assert!(unpack(&archive[..], &folder.path().join("no/way"), false).is_err());
    }
}
