//! Build arguments: which `ARG`s a stage has declared, and what they are worth.
use std::collections::{BTreeMap, BTreeSet};

/// Arguments that need no `ARG`.
pub const PREDEFINED: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

type Values = BTreeMap<String, Option<String>>;

/// The arguments as one stage sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildArgs {
    /// What the user gave; `None` takes a declared default.
    given: Values,
    /// In front of the first `FROM`.
    global: Values,
    /// In this stage.
    declared: Values,
    used: BTreeSet<String>,
}

impl BuildArgs {
    /// With the values of `--build-arg`.
    pub fn new(given: BTreeMap<String, Option<String>>) -> Self {
        Self { given, ..Self::default() }
    }

    /// A new stage knows only what stands in front of the first `FROM`.
    pub fn begin_stage(&mut self) {
        self.declared.clear();
    }

    /// `ARG` in front of the first `FROM`.
    pub fn declare_global(&mut self, name: &str, default: Option<String>) {
        self.declare(name, default.clone());
        self.global.insert(name.to_owned(), default);
    }

    /// `ARG` in a stage.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        self.declared.insert(name.to_owned(), default);
        self.used.insert(name.to_owned());
    }

    /// What `FROM` may use.
    pub fn globals(&self) -> BTreeMap<String, String> {
        self.values(&self.global)
    }

    /// What instructions may use, and what `RUN` gets in its environment.
    pub fn allowed(&self) -> BTreeMap<String, String> {
        self.values(&self.declared)
    }

    /// The same without those that the environment overrides, as `NAME=value`, sorted.
    pub fn beside(&self, environment: &[String]) -> Vec<String> {
        let set = |name: &String| environment.iter().any(|e| e.split('=').next() == Some(name));
        self.allowed().into_iter().filter(|(name, _)| !set(name)).map(|(n, v)| format!("{n}={v}")).collect()
    }

    /// Whether a value takes part in the cache's key: proxies do not unless they are declared.
    pub fn counts(&self, name: &str) -> bool {
        self.declared.contains_key(name) || !PREDEFINED.contains(&name)
    }

    /// Given, and never declared.
    pub fn unused(&self) -> Vec<&str> {
        let all = self.given.keys().map(String::as_str);
        all.filter(|n| !self.used.contains(*n) && !PREDEFINED.contains(n)).collect()
    }

    fn values(&self, names: &Values) -> BTreeMap<String, String> {
        let all = names.keys().map(String::as_str).chain(PREDEFINED.iter().copied());
        all.filter_map(|name| Some((name.to_owned(), self.value(name, names)?))).collect()
    }

    fn value(&self, name: &str, names: &Values) -> Option<String> {
        if let Some(Some(given)) = self.given.get(name) {
            return Some(given.clone());
        }
        let default = names.get(name).cloned().flatten();
        default.or_else(|| self.global.get(name).cloned().flatten())
    }
}
