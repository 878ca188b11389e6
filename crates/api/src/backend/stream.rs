//! What flows: bytes, log lines, attached streams, progress.
use bytes::Bytes;
use futures::stream::BoxStream;
use model::Timestamp;
use std::collections::BTreeMap;
use tokio::io::AsyncWrite;
use wire::Refusal;
use wire::engine::progress::Progress;

/// Which of a process's streams; the number is the first byte of Docker's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StdStream {
    /// 1.
    Stdout = 1,
    /// 2.
    Stderr = 2,
}

/// Bytes on their way out (a tar archive).
pub type ByteStream = BoxStream<'static, Result<Bytes, Refusal>>;
/// A request body on its way in.
pub type BodyStream = BoxStream<'static, std::io::Result<Bytes>>;
/// Progress lines. What fails after the start is a line of its own ([`Progress::failure`]), not the end of the stream.
pub type ProgressStream = BoxStream<'static, Progress>;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Where it was written.
    pub stream: StdStream,
    /// When.
    pub time: Timestamp,
    /// The text, with its line end when it has one.
    pub line: Bytes,
    /// `details`: labels and env the log driver keeps; for services and tasks `com.docker.swarm.{node,service,task}.id`.
    pub attrs: BTreeMap<String, String>,
}

/// A log that is read. Ends when all is told, or, when following, when the container is gone or the client drops it.
pub struct Logs {
    /// A terminal: the lines go out raw, without frames.
    pub tty: bool,
    /// The lines, already restricted to what the query asks for.
    pub lines: BoxStream<'static, Result<LogLine, Refusal>>,
}

/// What is wanted of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Lines of stdout.
    pub stdout: bool,
    /// Lines of stderr.
    pub stderr: bool,
    /// Go on with what comes.
    pub follow: bool,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only so many of the last lines; `None`: all.
    pub tail: Option<u64>,
    /// Fill [`LogLine::attrs`].
    pub details: bool,
}

/// A process's streams, live.
pub struct Attached {
    /// A terminal: raw bytes, no frames (then all output comes as [`StdStream::Stdout`]).
    pub tty: bool,
    /// Its stdin, if it is open and wanted. Shutting it down is end-of-file for the process.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its output; ends when the process has ended and all has been read (or was detached by its detach keys).
    pub output: BoxStream<'static, (StdStream, Bytes)>,
}
