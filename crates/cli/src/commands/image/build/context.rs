//! What is sent: a directory packed, an archive as it is, a Dockerfile alone, or a URL that the engine fetches itself.
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use dockerfile::ignore::Ignore;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

const IGNORE_FILE: &str = ".dockerignore";
const DOCKERFILE: &str = "Dockerfile";
/// The name in the archive of a Dockerfile from elsewhere.
const FOREIGN: &str = ".dockerfile.from-elsewhere";

/// Where the context is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A directory, and the Dockerfile: a path in it, or its text.
    Directory(PathBuf, Dockerfile),
    /// An archive or a Dockerfile on stdin.
    Stdin(String),
    /// For the engine to fetch.
    Url(String, String),
}

/// Where the Dockerfile is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dockerfile {
    /// In the context, relative to it.
    Inside(String),
    /// Anywhere else.
    Text(Vec<u8>),
}

/// Ready to be sent.
pub(super) struct Context {
    pub(super) remote: String,
    pub(super) dockerfile: String,
    pub(super) pieces: Option<BoxStream<'static, io::Result<Bytes>>>,
}

impl Source {
    pub(super) fn of(context: &str, file: Option<&str>) -> anyhow::Result<Self> {
        let named = file.unwrap_or_default().to_owned();
        if context == "-" {
            ensure!(file != Some("-"), "invalid argument: can't use stdin for both build context and dockerfile");
            return Ok(Self::Stdin(named));
        }
        if context.contains("://") || context.starts_with("git@") || context.starts_with("github.com/") {
            return Ok(Self::Url(context.to_owned(), named));
        }
        let dir = Path::new(context);
        let dir =
            dir.canonicalize().with_context(|| format!("unable to prepare context: path {context:?} not found"))?;
        ensure!(dir.is_dir(), "unable to prepare context: context must be a directory: {}", dir.display());
        let dockerfile = match file {
            None => Dockerfile::Inside(DOCKERFILE.to_owned()),
            Some("-") => {
                let mut text = Vec::new();
                io::stdin().read_to_end(&mut text).context("read the Dockerfile from stdin")?;
                Dockerfile::Text(text)
            }
            Some(path) => {
                // As in Docker: relative to where the user is, not to the context.
                let real = Path::new(path).canonicalize();
                let real = real.or_else(|_| dir.join(path).canonicalize());
                let real = real.with_context(|| format!("unable to evaluate the path of the Dockerfile: {path}"))?;
                match real.strip_prefix(&dir) {
                    Ok(inside) => Dockerfile::Inside(inside.display().to_string()),
                    Err(_) => Dockerfile::Text(fs::read(&real).with_context(|| format!("read {path}"))?),
                }
            }
        };
        if let Dockerfile::Inside(path) = &dockerfile {
            let path = dir.join(path);
            ensure!(path.is_file(), "unable to prepare context: there is no Dockerfile at {}", path.display());
        }
        Ok(Self::Directory(dir, dockerfile))
    }

    pub(super) fn open(self) -> anyhow::Result<Context> {
        match self {
            Self::Url(remote, dockerfile) => Ok(Context { remote, dockerfile, pieces: None }),
            Self::Stdin(dockerfile) => stdin(dockerfile),
            Self::Directory(dir, file) => {
                let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(8);
                let dockerfile = match &file {
                    Dockerfile::Inside(path) => path.clone(),
                    Dockerfile::Text(_) => FOREIGN.to_owned(),
                };
                tokio::task::spawn_blocking(move || {
                    let failures = sender.clone();
                    let packed = pack(&dir, &file, io::BufWriter::with_capacity(64 << 10, Sink(sender)));
                    if let Err(e) = packed.and_then(|mut sink| sink.flush()) {
                        let _ = failures.blocking_send(Err(e));
                    }
                });
                let pieces =
                    futures::stream::unfold(receiver, |mut r| async { r.recv().await.map(|p| (p, r)) }).boxed();
                Ok(Context { remote: String::new(), dockerfile, pieces: Some(pieces) })
            }
        }
    }
}

/// An archive is sent as it comes; a text is a Dockerfile without a context.
fn stdin(dockerfile: String) -> anyhow::Result<Context> {
    const HEAD: u64 = 512;
    let mut head = Vec::new();
    io::stdin().take(HEAD).read_to_end(&mut head).context("read stdin")?;
    if head.is_empty() {
        bail!("failed to read the context from stdin: it is empty");
    }
    let whole = |dockerfile, pieces| Context { remote: String::new(), dockerfile, pieces: Some(pieces) };
    let is_text = !head.contains(&0) && std::str::from_utf8(&head).is_ok_and(|t| t.is_ascii() || !t.is_empty());
    if is_text && !is_packed(&head) {
        ensure!(dockerfile.is_empty(), "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles");
        io::stdin().read_to_end(&mut head).context("read stdin")?;
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, DOCKERFILE, &head)?;
        let bytes = Bytes::from(archive.into_inner()?);
        return Ok(whole(DOCKERFILE.to_owned(), futures::stream::iter([Ok(bytes)]).boxed()));
    }
    let rest = ReaderStream::with_capacity(tokio::io::stdin(), 64 << 10);
    let pieces = futures::stream::iter([Ok(Bytes::from(head))]).chain(rest).boxed();
    Ok(whole(dockerfile, pieces))
}

fn is_packed(head: &[u8]) -> bool {
    let marks: [&[u8]; 4] = [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z'], &[0x28, 0xb5, 0x2f, 0xfd]];
    marks.iter().any(|m| head.starts_with(m))
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content)
}

fn pack<W: Write>(dir: &Path, file: &Dockerfile, out: W) -> io::Result<W> {
    let list = match fs::read(dir.join(IGNORE_FILE)) {
        Ok(text) => Some(String::from_utf8_lossy(&text).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let ignore = Ignore::parse(list.as_deref().unwrap_or_default());
    let mut archive = tar::Builder::new(out);
    archive.follow_symlinks(false);
    // The engine needs these two whatever they say; it takes them away where they are to be ignored.
    let needed: Vec<&str> = match file {
        Dockerfile::Inside(path) => vec![path, IGNORE_FILE],
        Dockerfile::Text(_) => Vec::new(),
    };
    walk(&mut archive, dir, "", &ignore, &needed)?;
    if let Dockerfile::Text(text) = file {
        append(&mut archive, FOREIGN, text)?;
        // The engine takes away what does not belong to the context; this list replaces the one that was packed.
        let own = if list.is_none() { IGNORE_FILE } else { "" };
        let list = format!("{}\n{FOREIGN}\n{own}\n", list.unwrap_or_default());
        append(&mut archive, IGNORE_FILE, list.as_bytes())?;
    }
    archive.into_inner()
}

fn walk<W: Write>(
    archive: &mut tar::Builder<W>,
    root: &Path,
    below: &str,
    ignore: &Ignore,
    needed: &[&str],
) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root.join(below))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        let wanted = |n: &&str| **n == path || (kind.is_dir() && n.starts_with(&format!("{path}/")));
        let excluded = ignore.excludes(&path) && !needed.iter().any(wanted);
        if kind.is_dir() {
            if excluded && !ignore.may_come_back(&path) {
                continue;
            }
            if !excluded {
                archive.append_dir(&path, entry.path())?;
            }
            walk(archive, root, &path, ignore, needed)?;
        } else if !excluded && (kind.is_file() || kind.is_symlink()) {
            archive.append_path_with_name(entry.path(), &path)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path, file: &Dockerfile) -> Vec<String> {
        let tar = pack(dir, file, Vec::new()).unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
        let entries = archive.entries().unwrap();
        entries.map(|e| e.unwrap().path().unwrap().display().to_string().trim_end_matches('/').to_owned()).collect()
    }

    #[test]
    fn ignored_files_are_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for path in ["Dockerfile", "a", "logs/x.log", "logs/keep/y", "sub/b.log", "sub/b"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(root.join(IGNORE_FILE), "*.log\n**/*.log\nlogs\n!logs/keep\nDockerfile\n.dockerignore\n").unwrap();
        let file = Dockerfile::Inside(DOCKERFILE.into());
        let expected = [".dockerignore", "Dockerfile", "a", "logs/keep", "logs/keep/y", "sub", "sub/b"];
        assert_eq!(names(&root, &file), expected);
        let text = Dockerfile::Text(b"FROM scratch".to_vec());
        let expected = ["a", "logs/keep", "logs/keep/y", "sub", "sub/b", FOREIGN, IGNORE_FILE];
        assert_eq!(names(&root, &text), expected);
    }

    #[test]
    fn where_the_dockerfile_is() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("context"), dir.path().join("other"));
        fs::create_dir(&root).unwrap();
        fs::write(&other, "FROM scratch").unwrap();
        let text = root.display().to_string();
        let none = Source::of(&text, None).unwrap_err().to_string();
        assert!(none.contains("there is no Dockerfile at"), "{none}");
        fs::write(root.join("D"), "FROM scratch").unwrap();
        let root = root.canonicalize().unwrap();
        let inside = Source::of(&text, Some(&format!("{text}/D"))).unwrap();
        assert_eq!(inside, Source::Directory(root.clone(), Dockerfile::Inside("D".into())));
        assert_eq!(Source::of(&text, Some("D")).unwrap(), inside);
        let outside = Source::of(&text, Some(&other.display().to_string())).unwrap();
        assert_eq!(outside, Source::Directory(root, Dockerfile::Text(b"FROM scratch".to_vec())));
        assert!(matches!(Source::of("https://x/y.tar", None).unwrap(), Source::Url(..)));
        assert!(Source::of("/no/where", None).unwrap_err().to_string().contains("not found"));
        assert!(Source::of("-", Some("-")).is_err());
    }
}
