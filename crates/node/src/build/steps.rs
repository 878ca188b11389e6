//! One instruction after the other.
use super::{
    Failure, Job,
    cache::Cache,
    output::Output,
    run, short,
    state::{Stages, State},
};
use crate::clock;
use dockerfile::{Instruction, Stage, Step, args::BuildArgs, expand};
use images::{
    Platform, RunConfig,
    build::{BuildStep, Change},
    instructions,
};

/// What a stage works with.
pub(crate) struct Work<'a> {
    pub job: &'a Job,
    pub stages: &'a Stages,
    pub output: &'a mut Output,
    pub made: &'a mut run::Made,
    pub cache: Cache,
}

/// `ARG` in front of the first `FROM`.
pub(crate) fn declare_global(args: &mut BuildArgs, step: &Step, escape: char) -> Result<(), Failure> {
    let mut instruction = step.instruction.clone();
    let values = args.allowed();
    instruction.expand(escape, &|name| values.get(name).cloned()).map_err(Failure::new)?;
    if let Instruction::Arg(all) = instruction {
        for (name, default) in all {
            args.declare_global(&name, default);
        }
    }
    Ok(())
}

pub(crate) fn needs_buildkit(flag: &str) -> Failure {
    Failure::new(format!("the --{flag} option requires BuildKit, which this engine does not have: leave it out"))
}

impl Work<'_> {
    /// `FROM`, and what the base image wants to be done first.
    pub(crate) async fn begin_stage(&mut self, state: &mut State, stage: &Stage) -> Result<(), Failure> {
        let globals = state.args.globals();
        let word = |text: &str| {
            expand::word(text, self.job.file.escape, &|name| globals.get(name).cloned()).map_err(Failure::new)
        };
        let platform = match word(&stage.platform)?.as_str() {
            "" => self.job.request.platform.clone(),
            text => {
                let failed = |e: images::PlatformError| Failure::new(format!("failed to parse platform {text}: {e}"));
                Some(Platform::parse(text).map_err(failed)?)
            }
        };
        if let Some(platform) = &platform {
            check_platform(platform)?;
            state.platform = platform.clone();
        }
        let name = word(&stage.base)?;
        if name.is_empty() {
            return Err(Failure::new(format!("base name ({}) should not be blank", stage.base)));
        }
        match self.stages.by_name(&name) {
            Some(None) => state.stand_on(None),
            Some(Some(id)) => state.stand_on(Some(&*self.job.builder.images.get(&id)?)),
            None if name == "scratch" => state.stand_on(None),
            None => state.stand_on(Some(&*self.image(&name, platform.as_ref()).await?)),
        }
        let triggers = std::mem::take(&mut state.config.on_build);
        if triggers.is_empty() {
            return Ok(());
        }
        let plural = if triggers.len() > 1 { "s" } else { "" };
        self.output.text(&format!("# Executing {} build trigger{plural}", triggers.len())).await;
        self.output.text("\n").await;
        for trigger in triggers {
            let step = Step::parse(&trigger, '\\').map_err(Failure::new)?;
            self.step(state, step.instruction).await?;
        }
        Ok(())
    }

    /// One instruction; its container goes when it is done, if the client wants it so.
    pub(crate) async fn step(&mut self, state: &mut State, mut instruction: Instruction) -> Result<(), Failure> {
        let seen = state.clone();
        instruction.expand(self.job.file.escape, &|name| seen.value_of(name)).map_err(Failure::new)?;
        let done = self.dispatch(state, instruction).await;
        let request = &self.job.request;
        if request.force_remove || (request.remove && done.is_ok()) {
            for id in self.made.remove_all(&self.job.builder.containers).await {
                self.output.text(&format!(" ---> Removed intermediate container {}\n", short(&id))).await;
            }
        }
        done
    }

    async fn dispatch(&mut self, state: &mut State, instruction: Instruction) -> Result<(), Failure> {
        match instruction {
            Instruction::Run(command, flags) => self.run(state, &command, &flags).await,
            Instruction::Copy(sources) => self.copy(state, "COPY", sources).await,
            Instruction::Add(sources) => self.copy(state, "ADD", sources).await,
            Instruction::Arg(all) => {
                let mut comment = "ARG".to_owned();
                for (name, default) in all {
                    comment.push_str(&format!(" {name}"));
                    if let Some(value) = &default {
                        comment.push_str(&format!("={value}"));
                    }
                    state.args.declare(&name, default);
                }
                self.configured(state, comment, Change::None).await
            }
            Instruction::Maintainer(who) => {
                let comment = format!("MAINTAINER {who}");
                state.author = who;
                self.configured(state, comment, Change::None).await
            }
            Instruction::StopSignal(signal) if crate::containers::signals::number(&signal).is_none() => {
                Err(Failure::new(format!("invalid signal: {signal}")))
            }
            other => {
                let comment = instructions::configure(&mut state.config, &other, &mut state.cmd_set)?;
                let change = match other {
                    Instruction::Workdir(_) => Change::Directory(state.config.working_dir.clone()),
                    _ => Change::None,
                };
                self.configured(state, comment, change).await
            }
        }
    }

    /// A step without a process. Docker makes a container for it, which does nothing, and tells so; here only the lines
    /// are left of it, because clients show them.
    async fn configured(&mut self, state: &mut State, comment: String, change: Change) -> Result<(), Failure> {
        let directory = matches!(change, Change::Directory(_));
        let nop: &[&str] = &if directory { vec![] } else { vec!["#(nop) "] };
        let comment = if directory { format!("#(nop) {comment}") } else { comment };
        let mut container_config = state.config.clone();
        let words = instructions::shell(&state.config).into_iter().chain(nop.iter().map(|w| (*w).to_owned()));
        container_config.cmd = Some(words.chain([comment]).collect());
        if self.is_cached(state, &container_config).await? {
            return Ok(());
        }
        let id = clock::random_id();
        self.output.text(&format!(" ---> Running in {}\n", short(&id))).await;
        self.commit(state, container_config, change).await?;
        if self.job.request.remove || self.job.request.force_remove {
            self.output.text(&format!(" ---> Removed intermediate container {}\n", short(&id))).await;
        }
        Ok(())
    }

    /// Takes the image of an earlier build, if there is one.
    pub(crate) async fn is_cached(&mut self, state: &mut State, config: &RunConfig) -> Result<bool, Failure> {
        let images = &self.job.builder.images;
        let Some(id) = self.cache.probe(images, state.image.as_deref(), config, &state.platform).await? else {
            return Ok(false);
        };
        self.output.text(" ---> Using cache\n").await;
        state.image = Some(id);
        Ok(true)
    }

    /// The next image.
    pub(crate) async fn commit(
        &mut self,
        state: &mut State,
        container_config: RunConfig,
        change: Change,
    ) -> Result<(), Failure> {
        let step = BuildStep {
            parent: state.image.clone(),
            platform: state.platform.clone(),
            change,
            config: state.config.clone(),
            container_config,
            author: state.author.clone(),
        };
        state.image = Some(self.job.builder.images.build_step(step).await?);
        Ok(())
    }
}

pub(crate) fn check_platform(platform: &Platform) -> Result<(), Failure> {
    if platform.os == "linux" {
        return Ok(());
    }
    Err(Failure::new(format!("\"{}\": unknown operating system or architecture: invalid argument", platform.os)))
}
