//! How far a stage is, and what came of the stages before it.
use dockerfile::{Stage, args::BuildArgs};
use images::{Platform, RunConfig, instructions};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One stage while it is built.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The image so far; `None` while nothing has been made on `scratch`.
    pub image: Option<String>,
    /// What it was made on.
    pub base: Option<String>,
    pub config: RunConfig,
    pub author: String,
    /// Whether there was a `CMD` in this stage.
    pub cmd_set: bool,
    pub args: BuildArgs,
    pub platform: Platform,
}

impl State {
    pub(crate) fn new(args: BuildArgs) -> Self {
        Self {
            image: None,
            base: None,
            config: RunConfig::default(),
            author: String::new(),
            cmd_set: false,
            args,
            platform: Platform::host(),
        }
    }

    pub(crate) fn stand_on(&mut self, image: Option<&images::Image>) {
        if let Some(image) = image {
            self.image = Some(image.id.clone());
            self.base = Some(image.id.clone());
            self.config = image.config.config.clone();
            self.platform = Platform {
                os: image.config.os.clone(),
                architecture: image.config.architecture.clone(),
                variant: image.config.variant.clone(),
            };
        }
        if instructions::value_of(&self.config.env, "PATH").is_none() {
            self.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
    }

    /// A variable as instructions see it.
    pub(crate) fn value_of(&self, name: &str) -> Option<String> {
        instructions::value_of(&self.config.env, name).or_else(|| self.args.allowed().remove(name))
    }
}

/// What came of a stage: its name, and its image.
type Result = (String, Option<String>);

/// The stages that are done.
#[derive(Debug, Default)]
pub(crate) struct Stages(Vec<Result>);

impl Stages {
    pub(crate) fn by_name(&self, name: &str) -> Option<Option<String>> {
        let fits = |(n, _): &&Result| !n.is_empty() && n.eq_ignore_ascii_case(name);
        self.0.iter().find(fits).map(|(_, image)| image.clone())
    }

    /// `--from=name` or `--from=0`. `Ok(None)`: it must be an image.
    pub(crate) fn find(&self, name: &str) -> std::result::Result<Option<Option<String>>, &'static str> {
        if let Some(found) = self.by_name(name) {
            return Ok(Some(found));
        }
        match name.parse::<i64>().ok().map(usize::try_from) {
            None => Ok(None),
            Some(Ok(n)) if n == self.0.len() => Err("refers to current build stage"),
            Some(Ok(n)) if n < self.0.len() => Ok(Some(self.0[n].1.clone())),
            Some(_) => Err("index out of bounds"),
        }
    }

    /// Notes a stage; tells its image and what it was made on.
    pub(crate) fn finish(&mut self, stage: &Stage, state: State) -> (Option<String>, Option<String>) {
        self.0.push((stage.name.clone(), state.image.clone()));
        (state.image, state.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_found_by_name_and_number() {
        let stages = Stages(vec![("a".into(), Some("1".into())), (String::new(), None)]);
        assert_eq!(stages.find("A"), Ok(Some(Some("1".into()))));
        assert_eq!(stages.find("1"), Ok(Some(None)));
        assert_eq!(stages.find("2"), Err("refers to current build stage"));
        assert_eq!(stages.find("3"), Err("index out of bounds"));
        assert_eq!(stages.find("-1"), Err("index out of bounds"));
        assert_eq!(stages.find("busybox"), Ok(None));
    }
}
