//! `COPY` and `ADD`: finding the sources, asking the cache, making the layer.
use super::{
    Failure,
    state::State,
    steps::{Work, needs_buildkit},
};
use dockerfile::Sources;
use images::build::{Change, Copy, Found, Part, SourceTree};
use images::{Images, instructions};
use std::time::{Duration, Instant};
use wire::engine::progress::Progress;

const TELL_EVERY: Duration = Duration::from_millis(100);
/// The name of a download that nobody names.
const UNNAMED: &str = "__unnamed__";

impl Work<'_> {
    pub(crate) async fn copy(&mut self, state: &mut State, name: &str, sources: Sources) -> Result<(), Failure> {
        if let Some(flag) = sources.unsupported.first() {
            return Err(needs_buildkit(flag));
        }
        let tree = self.tree(&sources.from).await.map_err(|e| {
            let said = format!("invalid from flag value {}", sources.from);
            if sources.from.is_empty() { e } else { e.within(&said) }
        })?;
        let parts = self.parts(name, tree, &sources).await.map_err(|e| e.within(&format!("{name} failed")))?;
        let found: Vec<Found> = parts.iter().flat_map(|p| p.found.iter().cloned()).collect();
        if found.len() > 1 && !sources.destination.ends_with('/') {
            return Err(Failure::new(format!(
                "When using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let chown = if sources.chown.is_empty() { String::new() } else { format!("--chown={} ", sources.chown) };
        let hash = Images::hash_of_sources(&found);
        let comment = format!("#(nop) {name} {chown}{hash} in {} ", sources.destination);
        let mut config = state.config.clone();
        config.cmd = Some(instructions::shell(&state.config).into_iter().chain([comment]).collect());
        if self.is_cached(state, &config).await? {
            return Ok(());
        }
        let mut destination = instructions::join_dir(&state.config.working_dir, &sources.destination);
        let last = sources.destination.rsplit('/').next().unwrap_or_default();
        if matches!(last, "" | ".") && !destination.ends_with('/') {
            destination.push('/');
        }
        let keep_owners = !sources.from.is_empty() && sources.chown.is_empty();
        let copy = Copy { parts, destination, chown: sources.chown, keep_owners };
        self.commit(state, config, Change::Copy(copy)).await
    }

    async fn tree(&mut self, from: &str) -> Result<SourceTree, Failure> {
        if from.is_empty() {
            return Ok(SourceTree::Context(self.job.context.clone()));
        }
        match self.stages.find(from).map_err(Failure::new)? {
            Some(Some(id)) => Ok(SourceTree::Image(id)),
            Some(None) => Ok(SourceTree::Nothing),
            None => {
                let platform = self.job.request.platform.clone();
                Ok(SourceTree::Image(self.image(from, platform.as_ref()).await?.id.clone()))
            }
        }
    }

    async fn parts(&mut self, name: &str, tree: SourceTree, sources: &Sources) -> Result<Vec<Part>, Failure> {
        let images = self.job.builder.images.clone();
        let mut parts = Vec::new();
        for source in &sources.sources {
            if !is_url(source) {
                let found = images.find_sources(tree.clone(), vec![source.clone()]).await?;
                let extract = name == "ADD";
                parts.push(Part { from: tree.clone(), found, extract });
                continue;
            }
            if name == "COPY" {
                return Err(Failure::new("source can't be a URL for COPY"));
            }
            parts.push(self.download(source, &sources.destination).await?);
        }
        Ok(parts)
    }

    /// What comes from the net is not unpacked.
    async fn download(&mut self, url: &str, destination: &str) -> Result<Part, Failure> {
        let images = self.job.builder.images.clone();
        let download = images::download::get(url).await?;
        let name = match download.name.as_str() {
            "" if destination.ends_with('/') => {
                return Err(Failure::new(format!("cannot determine filename for source {url}")));
            }
            "" => UNNAMED.to_owned(),
            name => name.to_owned(),
        };
        let context = images.empty_context().await?;
        let (size, mut current, mut told) = (download.size.unwrap_or(0), 0u64, None::<Instant>);
        let mut news = Vec::new();
        let progress = |n: u64| {
            current += n;
            if told.is_none_or(|t| t.elapsed() >= TELL_EVERY) || current == size {
                told = Some(Instant::now());
                news.push(Progress::at("Downloading", "", current as i64, size as i64));
            }
        };
        context.download(&name, download, progress).await?;
        for line in news {
            self.output.line(line).await;
        }
        self.output.text("\n").await;
        let from = SourceTree::Context(context);
        let found = images.find_sources(from.clone(), vec![name]).await?;
        Ok(Part { from, found, extract: false })
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
