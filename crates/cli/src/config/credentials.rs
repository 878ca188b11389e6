//! Registry credentials, as `docker login` keeps them: `"auths": {"REGISTRY": {"auth": base64 of USER:PASSWORD}}`.
use super::Config;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wire::engine::image::AuthConfig;

/// Docker Hub's name in `config.json`.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

impl Config {
    /// The credentials for an image's registry, as the header `X-Registry-Auth`.
    pub(crate) fn auth_header(&self, image: &str) -> Option<String> {
        self.credentials(registry_of(image)).map(|auth| header(&auth))
    }

    /// The credentials for all registries, as the header `X-Registry-Config`.
    pub(crate) fn auth_headers(&self) -> Option<String> {
        let servers = self.values.get("auths")?.as_object()?.keys();
        let all: BTreeMap<&String, AuthConfig> = servers.filter_map(|s| Some((s, self.credentials(s)?))).collect();
        (!all.is_empty()).then(|| URL_SAFE.encode(serde_json::to_string(&all).unwrap_or_default()))
    }

    /// The credentials for a registry.
    pub(crate) fn credentials(&self, registry: &str) -> Option<AuthConfig> {
        let (server, entry) = self.entry(registry)?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut auth = AuthConfig {
            server_address: server.clone(),
            identity_token: text("identitytoken"),
            registry_token: text("registrytoken"),
            ..AuthConfig::default()
        };
        if let Some((username, password)) = decode(&text("auth")) {
            (auth.username, auth.password) = (username, password);
        }
        let empty = auth.username.is_empty() && auth.identity_token.is_empty() && auth.registry_token.is_empty();
        (!empty).then_some(auth)
    }

    /// The helper program that keeps a registry's credentials, if the file says that one does: we call none.
    pub(crate) fn helper(&self, registry: &str) -> Option<String> {
        let own = self.values.get("credHelpers").and_then(|h| h.get(registry)).and_then(Value::as_str);
        // A store is for all registries; only those with an empty entry have something in it.
        let kept = || self.entry(registry).is_some() && self.credentials(registry).is_none();
        let name = own.or_else(|| self.text("credsStore").filter(|_| kept()))?;
        Some(format!("docker-credential-{name}"))
    }

    fn entry(&self, registry: &str) -> Option<(&String, &Value)> {
        self.values.get("auths")?.as_object()?.iter().find(|(name, _)| same(name, registry))
    }

    /// Keeps credentials.
    pub(crate) fn log_in(&mut self, server: &str, username: &str, password: &str) -> anyhow::Result<()> {
        let auth = STANDARD.encode(format!("{username}:{password}"));
        self.change(|values| {
            let auths = values.entry("auths").or_insert_with(|| json!({}));
            if !auths.is_object() {
                *auths = json!({});
            }
            auths[server] = json!({"auth": auth});
        })
    }

    /// Forgets credentials; whether there were any.
    pub(crate) fn log_out(&mut self, registry: &str) -> anyhow::Result<bool> {
        let Some((server, _)) = self.entry(registry) else { return Ok(false) };
        let server = server.clone();
        self.change(|values| {
            if let Some(auths) = values.get_mut("auths").and_then(Value::as_object_mut) {
                auths.remove(&server);
            }
        })?;
        Ok(true)
    }
}

fn header(auth: &AuthConfig) -> String {
    URL_SAFE.encode(serde_json::to_string(auth).unwrap_or_default())
}

fn decode(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (username, password) = decoded.trim_end_matches('\0').split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// Whether an entry's name means this registry: with or without a scheme and a path.
fn same(name: &str, registry: &str) -> bool {
    let host = |text: &str| {
        let bare = text.trim_start_matches("https://").trim_start_matches("http://");
        let host = bare.split('/').next().unwrap_or_default().to_owned();
        if host.is_empty() || host == "docker.io" || host.ends_with(".docker.io") {
            "docker.io".to_owned()
        } else {
            host
        }
    };
    host(name) == host(registry)
}

/// Where an image comes from.
pub(crate) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), value.to_string()).unwrap();
        let config = Config::load(dir.path().to_str()).0;
        (dir, config)
    }

    #[test]
    fn credentials_are_found_by_registry() {
        let (_dir, c) = config(json!({
            "auths": {"reg.example:5000": {"auth": "dTpwOnc="}, HUB: {"auth": "YTpi"}, "token.example": {"identitytoken": "t"},
                      "kept.example": {}},
            "credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}
        }));
        let found = |image: &str| c.credentials(registry_of(image)).map(|a| (a.username, a.password, a.identity_token));
        let text = |a: &str, b: &str, t: &str| Some((a.to_owned(), b.to_owned(), t.to_owned()));
        assert_eq!(found("reg.example:5000/x/y:1"), text("u", "p:w", ""));
        assert_eq!(found("busybox"), text("a", "b", ""));
        assert_eq!(found("docker.io/library/busybox"), text("a", "b", ""));
        assert_eq!(found("token.example/x"), text("", "", "t"));
        assert_eq!(found("other.example/x"), None);
        assert_eq!(c.helper("gcr.io").as_deref(), Some("docker-credential-gcloud"));
        assert_eq!(c.helper("kept.example").as_deref(), Some("docker-credential-desktop"));
        assert_eq!(c.helper("reg.example:5000"), None);
        assert_eq!(c.helper("other.example"), None);
        let header: AuthConfig =
            serde_json::from_slice(&URL_SAFE.decode(c.auth_header("busybox").unwrap()).unwrap()).unwrap();
        assert_eq!((header.username.as_str(), header.server_address.as_str()), ("a", HUB));
    }

    #[test]
    fn in_and_out() {
        let (_dir, mut c) = config(json!({"auths": {"other": {"auth": "YTpi"}}}));
        c.log_in("reg.example:5000", "me", "p:w").unwrap();
        let auth = c.credentials("reg.example:5000").unwrap();
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("me", "p:w"));
        assert!(c.log_out("https://reg.example:5000/").unwrap());
        assert!(!c.log_out("reg.example:5000").unwrap());
        assert!(c.credentials("reg.example:5000").is_none() && c.credentials("other").is_some());
    }
}
