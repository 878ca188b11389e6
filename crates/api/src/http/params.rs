//! Query parameters, as Go's handlers read them.
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::convert::Infallible;
use wire::Refusal;
use wire::engine::Filters;

/// All parameters, in order.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let pairs = axum::extract::Query::try_from_uri(&parts.uri).map(|q| q.0).unwrap_or_default();
        Ok(Self(pairs))
    }
}

impl Params {
    /// The first of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
    /// The first of this name, or nothing.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
    /// All of this name.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect()
    }
    /// Every pair.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
    /// False when absent or one of Go's words for no.
    pub fn flag(&self, name: &str) -> bool {
        !matches!(self.text(name).trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }
    /// The same, with another answer when absent or empty.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.text(name).is_empty() { default } else { self.flag(name) }
    }
    /// A number, if given.
    ///
    /// # Errors
    /// 400 for something else.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        match self.text(name).trim() {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| Refusal::invalid(format!("invalid value for {name}: {text:?} is not a number"))),
        }
    }
    /// `version`, on which a change of a swarm object is based.
    ///
    /// # Errors
    /// 400 `invalid service version ''`.
    pub fn version(&self, kind: &str) -> Result<u64, Refusal> {
        let text = self.text("version");
        text.parse().map_err(|_| {
            Refusal::invalid(format!(
                "invalid {kind} version '{text}': strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        })
    }
    /// `filters`, with the keys that are known here.
    ///
    /// # Errors
    /// 400.
    pub fn filters(&self, keys: &[&str]) -> Result<Filters, Refusal> {
        let f = Filters::parse(self.get("filters"))?;
        f.allow(keys)?;
        Ok(f)
    }
}
