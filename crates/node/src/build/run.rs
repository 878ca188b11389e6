//! `RUN`: a command in a container on the image so far; what it writes is the next layer.
use super::{
    Failure, short,
    state::State,
    steps::{Work, needs_buildkit},
};
use crate::containers::{AttachRequest, Containers, CreateRequest, life::Until};
use dockerfile::Command;
use images::{Healthcheck, RunConfig, build::Change, instructions};
use runtime::StdStream;
use wire::engine::container::{ContainerConfig, ContainerCreateBody, LogConfig};

/// The containers of a build that are still there.
#[derive(Default)]
pub(crate) struct Made(Vec<String>);

impl Made {
    /// Removes them, running or not; tells which.
    pub(crate) async fn remove_all(&mut self, containers: &Containers) -> Vec<String> {
        let all = std::mem::take(&mut self.0);
        for id in &all {
            if let Err(e) = containers.remove(id, true, true).await {
                tracing::warn!(container = %id, error = %e, "the container of a build step cannot be removed");
            }
        }
        all
    }
}

impl Work<'_> {
    pub(crate) async fn run(&mut self, state: &mut State, command: &Command, flags: &[String]) -> Result<(), Failure> {
        if let Some(flag) = flags.first() {
            return Err(needs_buildkit(flag));
        }
        let words = instructions::command_line(&state.config, command);
        let given = state.args.beside(&state.config.env);
        // Arguments that were given change what the command does: they are part of what the cache goes by.
        let mut told = words.clone();
        if !given.is_empty() {
            let counts = |e: &&String| state.args.counts(e.split('=').next().unwrap_or_default());
            let counted: Vec<String> = given.iter().filter(counts).cloned().collect();
            told = [format!("|{}", counted.len())].into_iter().chain(counted).chain(told).collect();
        }
        let probe = RunConfig { cmd: Some(told), entrypoint: None, ..state.config.clone() };
        if self.is_cached(state, &probe).await? {
            return Ok(());
        }
        let Some(image) = state.image.clone() else {
            return Err(Failure::new("RUN needs an image with a program in it: COPY one to scratch first"));
        };
        let config = RunConfig {
            cmd: Some(words.clone()),
            entrypoint: Some(vec![String::new()]),
            env: state.config.env.iter().cloned().chain(given).collect(),
            healthcheck: Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }),
            ..state.config.clone()
        };
        let id = self.create(&image, &config).await?;
        let code = self.follow(&id).await?;
        if code != 0 {
            let message = format!("The command '{}' returned a non-zero code: {code}", words.join(" "));
            return Err(Failure { message, code });
        }
        self.commit(state, probe, Change::Container(id)).await
    }

    async fn create(&mut self, image: &str, config: &RunConfig) -> Result<String, Failure> {
        let json = serde_json::to_value(config).map_err(|e| Failure::new(e.to_string()))?;
        let config: ContainerConfig =
            wire::engine::lenient::from_value(json).map_err(|e| Failure::new(e.to_string()))?;
        let mut host_config = self.job.request.host.clone();
        host_config.log_config = LogConfig { typ: "none".into(), ..LogConfig::default() };
        let body = ContainerCreateBody {
            config: ContainerConfig { image: image.to_owned(), ..config },
            host_config,
            ..ContainerCreateBody::default()
        };
        let request = CreateRequest { body, ..CreateRequest::default() };
        let (id, warnings) = self.job.builder.containers.create(request).await?;
        self.made.0.push(id.clone());
        for warning in warnings {
            self.output.text(&format!(" ---> [Warning] {warning}\n")).await;
        }
        self.output.text(&format!(" ---> Running in {}\n", short(&id))).await;
        Ok(id)
    }

    /// Starts it, passes on what it says, and waits for its end.
    async fn follow(&mut self, id: &str) -> Result<i64, Failure> {
        let containers = &self.job.builder.containers;
        let mut streams = containers.attach(id, AttachRequest::default()).await?;
        let end = containers.wait(id, Until::NextExit)?;
        containers.start(id).await?;
        let (mut out, mut err) = (Letters::default(), Letters::default());
        while let Some((stream, bytes)) = streams.output.recv().await {
            match stream {
                StdStream::Stdout => {
                    let text = out.take(&bytes);
                    if !text.is_empty() {
                        self.output.text(&text).await;
                    }
                }
                StdStream::Stderr => {
                    let text = err.take(&bytes);
                    if !text.is_empty() {
                        self.output.error_text(&text).await;
                    }
                }
            }
        }
        Ok(end.await.status_code)
    }
}

/// Bytes as text: a letter that was cut in two waits for its other half.
#[derive(Default)]
struct Letters(Vec<u8>);

impl Letters {
    fn take(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let cut = match std::str::from_utf8(&self.0) {
            Ok(_) => self.0.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            Err(_) => self.0.len(),
        };
        let rest = self.0.split_off(cut);
        String::from_utf8_lossy(&std::mem::replace(&mut self.0, rest)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Letters;

    #[test]
    fn a_letter_in_two_parts_is_one() {
        let mut letters = Letters::default();
        assert_eq!(letters.take("aé".as_bytes().split_last().unwrap().1), "a");
        assert_eq!(letters.take(&[0xa9, b'b']), "éb");
        assert_eq!(letters.take(&[0xff, b'c']), "\u{fffd}c");
    }
}
