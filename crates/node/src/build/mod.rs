//! The classic builder: a Dockerfile and a context become an image, step by step, each step an image of its own.
//!
//! ```text
//! context ─ begin (refusals as a whole) ─► Job ─ run ─► lines for the client
//!                                            │ stage: base image, pulled if need be
//!                                            └ step: variables, cache, RUN in a container │ COPY into a layer │ configuration
//! ```
mod base;
mod cache;
mod copy;
mod output;
mod request;
mod run;
mod state;
mod steps;

pub use base::progress_line;
pub use request::BuildRequest;

use crate::containers::{Containers, refuse_image};
use crate::events::Events;
use dockerfile::{Dockerfile, Step};
use images::build::Context;
use output::Output;
use state::{Stages, State};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use wire::Refusal;
use wire::engine::progress::{ErrorDetail, Progress};

const DOCKERFILE: &str = "Dockerfile";

/// Makes images of Dockerfiles. Cheap to clone.
#[derive(Clone)]
pub struct Builder {
    containers: Containers,
    images: images::Images,
    events: Events,
}

/// A build that may begin: its context is here and its Dockerfile is sound.
pub struct Job {
    builder: Builder,
    request: BuildRequest,
    context: Context,
    file: Dockerfile,
}

/// Why a build ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// The exit code of a `RUN`.
    code: i64,
}

impl From<Refusal> for Failure {
    fn from(r: Refusal) -> Self {
        Self { message: r.message, code: 0 }
    }
}

impl From<images::ImageError> for Failure {
    fn from(e: images::ImageError) -> Self {
        Self { message: e.to_string(), code: 0 }
    }
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 0 }
    }
    pub(crate) fn within(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl Builder {
    /// On a machine's containers and images.
    pub fn new(containers: Containers, images: images::Images, events: Events) -> Self {
        Self { containers, images, events }
    }

    /// Takes the context in and reads the Dockerfile.
    ///
    /// # Errors
    /// 400 for a context or a Dockerfile that is none.
    pub async fn begin(
        &self,
        request: BuildRequest,
        body: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Job, Refusal> {
        let invalid = |e: images::ImageError| match refuse_image(e) {
            r if r.kind == wire::RefusalKind::Internal => Refusal::invalid(r.message),
            r => r,
        };
        let context = match request.remote.as_str() {
            "" => self.images.build_context(body).await.map_err(invalid)?,
            url => self.fetch(url).await.map_err(invalid)?,
        };
        let name = match request.dockerfile.trim_start_matches('/') {
            "" => DOCKERFILE,
            name => name,
        };
        let text = context
            .read(name)
            .map_err(invalid)?
            .ok_or_else(|| Refusal::invalid(format!("Cannot locate specified Dockerfile: {name}")))?;
        if text.is_empty() {
            return Err(Refusal::invalid(format!("the Dockerfile ({name}) cannot be empty")));
        }
        let text = String::from_utf8(text)
            .map_err(|_| Refusal::invalid(format!("the Dockerfile ({name}) is not UTF-8 text")))?;
        let mut file = Dockerfile::parse(&text).map_err(|e| Refusal::invalid(e.to_string()))?;
        self.hide(&context, name).map_err(invalid)?;
        if !request.target.is_empty() {
            let stage = file
                .stage_named(&request.target)
                .ok_or_else(|| Refusal::invalid(format!("target stage {:?} could not be found", request.target)))?;
            file.stages.truncate(stage + 1);
        }
        if let Some(last) = file.stages.last_mut() {
            last.steps.extend(request.labels.iter().map(|(key, value)| Step::label(key, value)));
        }
        Ok(Job { builder: self.clone(), request, context, file })
    }

    /// A context from the net: an archive, or a Dockerfile alone.
    async fn fetch(&self, url: &str) -> Result<Context, images::ImageError> {
        let download = images::download::get(url).await?;
        let context = self.images.empty_context().await?;
        context.download(DOCKERFILE, download, |_| {}).await?;
        match context.archive(DOCKERFILE)? {
            Some(archive) => self.images.build_context(tokio::fs::File::from_std(archive)).await,
            None => Ok(context),
        }
    }

    /// The client has left out what is to be ignored, but had to send the Dockerfile and the list itself.
    fn hide(&self, context: &Context, dockerfile: &str) -> Result<(), images::ImageError> {
        let Some(text) = context.read(".dockerignore")? else { return Ok(()) };
        let ignore = dockerfile::ignore::Ignore::parse(&String::from_utf8_lossy(&text));
        for name in [dockerfile, ".dockerignore"] {
            if ignore.excludes(name) {
                context.remove(name)?;
            }
        }
        Ok(())
    }
}

impl Job {
    /// Builds, and tells how it goes. A receiver that is gone ends the build.
    pub async fn run(self, lines: mpsc::Sender<Progress>) {
        let mut output = Output::new(lines.clone(), self.request.quiet);
        let mut made = run::Made::default();
        let ended = {
            let work = self.work(&mut output, &mut made);
            tokio::select! {
                ended = work => Some(ended),
                () = lines.closed() => None,
            }
        };
        match ended {
            Some(Ok(id)) => output.finish(&id).await,
            Some(Err(e)) => {
                output.flush().await;
                let detail = ErrorDetail { code: e.code, message: e.message.clone() };
                let line = Progress { error: e.message, error_detail: Some(detail), ..Progress::default() };
                let _ = lines.send(line).await;
            }
            None => drop(made.remove_all(&self.builder.containers).await),
        }
    }

    async fn work(&self, output: &mut Output, made: &mut run::Made) -> Result<String, Failure> {
        let mut stages = Stages::default();
        let mut args = dockerfile::args::BuildArgs::new(self.request.arguments.clone());
        let total = self.file.step_count();
        let mut step = 0;
        for warning in &self.file.warnings {
            output.error_text(&format!("[WARNING]: {warning}\n")).await;
        }
        for argument in &self.file.arguments {
            step += 1;
            output.step(step, total, &argument.text).await;
            steps::declare_global(&mut args, argument, self.file.escape)?;
        }
        let mut last = None;
        for stage in &self.file.stages {
            if !stage.name.is_empty() && stages.by_name(&stage.name).is_some() {
                return Err(Failure::new(format!("{} stage name already used", stage.name)));
            }
            step += 1;
            output.step(step, total, &stage.text).await;
            args.begin_stage();
            let mut state = State::new(args);
            let mut work = steps::Work { job: self, stages: &stages, output, made, cache: self.cache() };
            work.begin_stage(&mut state, stage).await?;
            work.output.image(state.image.as_deref()).await;
            for one in &stage.steps {
                step += 1;
                work.output.step(step, total, &one.text).await;
                work.step(&mut state, one.instruction.clone()).await?;
                work.output.image(state.image.as_deref()).await;
            }
            if let Some(id) = &state.image {
                output.aux(id).await;
            }
            args = state.args.clone();
            last = Some(stages.finish(stage, state));
        }
        let unused = args.unused().join(" ");
        if !unused.is_empty() {
            output.text(&format!("[Warning] One or more build-args [{unused}] were not consumed\n")).await;
        }
        let Some((Some(mut id), base)) = last else {
            return Err(Failure::new("No image was generated. Is your Dockerfile empty?"));
        };
        if self.request.squash {
            id = self.builder.images.squash(id, base).await?;
            output.aux(&id).await;
        }
        output.text(&format!("Successfully built {}\n", short(&id))).await;
        for tag in &self.request.tags {
            self.builder.images.tag(&id, tag.clone()).await?;
            let name = tag.familiar();
            self.builder.events.tell("image", "tag", &id, [("name".to_owned(), name.clone())].into());
            output.text(&format!("Successfully tagged {name}\n")).await;
        }
        Ok(id)
    }
}

/// Twelve digits of an id.
pub(crate) fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}
