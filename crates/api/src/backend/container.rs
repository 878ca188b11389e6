//! Containers and the commands run in them.
use super::{Answer, Attached, BodyStream, ByteStream, LogQuery, Logs, volume::PruneQuery};
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::Timestamp;
use wire::engine::container::*;
use wire::engine::exec::{ExecConfig, ExecInspect};
use wire::engine::stats::Stats;

/// What `POST /containers/create` asks for.
#[derive(Clone, Debug, Default)]
pub struct CreateContainer {
    /// Wished name, without slash; empty: make one.
    pub name: String,
    /// `os/arch`, when the client insists.
    pub platform: String,
    /// Everything else.
    pub body: ContainerCreateBody,
}

/// A container in a list: what is shown, and what the filters look at besides.
#[derive(Clone, Debug, Default)]
pub struct ListedContainer {
    /// What is shown. `names` begin with a slash; `created` is in seconds.
    pub summary: ContainerSummary,
    /// Exact creation time, for order and `before`/`since`.
    pub created: Timestamp,
    /// Last exit code; `None` while it never ended.
    pub exit_code: Option<i64>,
    /// `none`, `starting`, `healthy`, `unhealthy`.
    pub health: String,
    /// Exposed ports (`80/tcp`).
    pub exposed: Vec<String>,
    /// Whether it belongs to a swarm task.
    pub is_task: bool,
    /// For `ancestor`: the ids of its image and of that image's parents, and the references of those images.
    pub ancestors: Vec<String>,
}

/// `stop`, `restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopQuery {
    /// Instead of the container's own stop signal; empty: that one.
    pub signal: String,
    /// Seconds before it is killed; `None`: the container's own; negative: for ever.
    pub timeout: Option<i64>,
}

/// `DELETE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveQuery {
    /// Kill it first.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
    /// Only a legacy link.
    pub link: bool,
}

/// When `wait` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// At once if it does not run, else at its end.
    #[default]
    NotRunning,
    /// At its next end.
    NextExit,
    /// When it has been removed.
    Removed,
}

/// `POST attach`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachQuery {
    /// Stdin.
    pub stdin: bool,
    /// Stdout.
    pub stdout: bool,
    /// Stderr.
    pub stderr: bool,
    /// Keys by which a terminal detaches; empty: `ctrl-p,ctrl-q`.
    pub detach_keys: String,
}

/// `POST /commit`.
#[derive(Clone, Debug, Default)]
pub struct CommitQuery {
    /// Container, by id or name.
    pub container: String,
    /// Name for the image, perhaps with a tag; empty: none.
    pub repo: String,
    /// Tag, before the name's own.
    pub tag: String,
    /// Comment.
    pub comment: String,
    /// Author.
    pub author: String,
    /// Pause it meanwhile (the default of clients).
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Replaces parts of its configuration.
    pub config: Option<ContainerConfig>,
}

/// `PUT archive`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePut {
    /// An existing directory inside the container.
    pub path: String,
    /// A directory does not replace something else, nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Keep owners.
    pub copy_uid_gid: bool,
}

/// Containers of this node. `id` is what the user wrote: a full id, a name (with or without slash), or an id prefix.
/// Unknown: 404 `No such container: X`.
#[async_trait]
pub trait Containers: Send + Sync + 'static {
    /// Makes one. The answer's warnings are shown by the CLI.
    async fn create(&self, what: CreateContainer) -> Answer<ContainerCreated>;
    /// All of them, running or not, in any order. `size`: fill `SizeRw` and `SizeRootFs`.
    async fn list(&self, size: bool) -> Answer<Vec<ListedContainer>>;
    /// Everything about one.
    async fn inspect(&self, id: &str, size: bool) -> Answer<ContainerInspect>;
    /// Starts it. 304 when it runs.
    async fn start(&self, id: &str, detach_keys: &str) -> Answer<()>;
    /// Stops it. 304 when it does not run.
    async fn stop(&self, id: &str, how: StopQuery) -> Answer<()>;
    /// Stops and starts it.
    async fn restart(&self, id: &str, how: StopQuery) -> Answer<()>;
    /// Sends a signal (`KILL`, `SIGTERM`, `9`; empty: SIGKILL). 409 when it does not run.
    async fn kill(&self, id: &str, signal: &str) -> Answer<()>;
    /// Freezes it.
    async fn pause(&self, id: &str) -> Answer<()>;
    /// Thaws it.
    async fn unpause(&self, id: &str) -> Answer<()>;
    /// Finds it at once (404 now); the future ends when the condition holds.
    async fn wait(&self, id: &str, condition: WaitCondition) -> Answer<BoxFuture<'static, ContainerWait>>;
    /// Size of its terminal.
    async fn resize(&self, id: &str, height: u16, width: u16) -> Answer<()>;
    /// New name.
    async fn rename(&self, id: &str, name: &str) -> Answer<()>;
    /// New limits and restart policy; zero fields stay as they are.
    async fn update(&self, id: &str, body: ContainerUpdateBody) -> Answer<ContainerUpdated>;
    /// Removes it.
    async fn remove(&self, id: &str, how: RemoveQuery) -> Answer<()>;
    /// Removes those that do not run.
    async fn prune(&self, query: PruneQuery) -> Answer<ContainersPruned>;
    /// Its log.
    async fn logs(&self, id: &str, query: LogQuery) -> Answer<Logs>;
    /// Its streams, from now. 409 when it is paused or restarting.
    async fn attach(&self, id: &str, query: AttachQuery) -> Answer<Attached>;
    /// Its processes.
    async fn top(&self, id: &str, ps_args: &str) -> Answer<ContainerTop>;
    /// One sample per second. `one_shot`: only one, at once, without a previous one; else when not `stream`: one, with its
    /// predecessor a second earlier. A container that does not run gives zeros.
    async fn stats(&self, id: &str, stream: bool, one_shot: bool) -> Answer<BoxStream<'static, Stats>>;
    /// What differs from its image.
    async fn changes(&self, id: &str) -> Answer<Vec<FilesystemChange>>;
    /// Its file system as a tar archive.
    async fn export(&self, id: &str) -> Answer<ByteStream>;
    /// Of one path inside. 404 `Could not find the file X in container Y`.
    async fn archive_stat(&self, id: &str, path: &str) -> Answer<PathStat>;
    /// One path inside, as a tar archive.
    async fn archive_get(&self, id: &str, path: &str) -> Answer<(PathStat, ByteStream)>;
    /// Unpacks a tar archive (plain or compressed) inside.
    async fn archive_put(&self, id: &str, how: ArchivePut, tar: BodyStream) -> Answer<()>;
    /// Makes an image of it; gives its id (`sha256:…`).
    async fn commit(&self, how: CommitQuery) -> Answer<String>;
    /// Whether `id` is no container of this node but may be one of the swarm on another: then the request is forwarded.
    async fn elsewhere(&self, _id: &str) -> bool {
        false
    }
}

/// How an exec is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecStartQuery {
    /// Do not attach.
    pub detach: bool,
    /// (height, width) of the terminal.
    pub console_size: Option<(u16, u16)>,
}

/// Commands run in containers. Unknown: 404 `No such exec instance: X`.
#[async_trait]
pub trait Execs: Send + Sync + 'static {
    /// Prepares one; gives its id (64 digits). 409 when the container does not run.
    async fn create(&self, container: &str, config: ExecConfig) -> Answer<String>;
    /// Runs it. `None` when detached. Called after the connection was handed over (`api` has asked [`Self::inspect`] whether
    /// it exists and has not run): what is refused here (126, 127) is written to the client's stdout, as Docker does.
    async fn start(&self, id: &str, how: ExecStartQuery) -> Answer<Option<Attached>>;
    /// Size of its terminal.
    async fn resize(&self, id: &str, height: u16, width: u16) -> Answer<()>;
    /// How it is. The exit code must be there before the output of [`Self::start`] ends.
    async fn inspect(&self, id: &str) -> Answer<ExecInspect>;
    /// Whether this exec was not made here but may have been on another node: then the request is forwarded.
    async fn elsewhere(&self, _id: &str) -> bool {
        false
    }
}
