//! Registry credentials: read from Docker's client configuration, never written.
use super::Done;
use crate::Ctx;
use base64::Engine as _;
use clap::Args;
use serde_json::{Value, json};

/// Log in to a registry.
#[derive(Args)]
pub(crate) struct Login {
    /// Username
    #[arg(short, long)]
    username: Option<String>,
    /// Password
    #[arg(short, long)]
    password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// The registry
    server: Option<String>,
}

impl Login {
    pub(crate) async fn run(self, _: &Ctx) -> Done {
        anyhow::bail!(
            "login is not supported: write the credentials as \"auths\": {{\"REGISTRY\": {{\"auth\": base64 of user:password}}}} \
             into ~/.docker/config.json; they are used by pull, push, service create and stack deploy"
        )
    }
}

/// Log out from a registry.
#[derive(Args)]
pub(crate) struct Logout {
    /// The registry
    server: Option<String>,
}

impl Logout {
    pub(crate) async fn run(self, _: &Ctx) -> Done {
        anyhow::bail!("logout is not supported: remove the registry from \"auths\" in ~/.docker/config.json")
    }
}

/// The header `X-Registry-Auth` for an image, if there are credentials for its registry.
pub(crate) fn header_for(image: &str) -> Option<String> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".docker")))?;
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).ok()?).ok()?;
    from_config(&config, image)
}

fn from_config(config: &Value, image: &str) -> Option<String> {
    let registry = registry_of(image);
    let auths = config.get("auths")?.as_object()?;
    let (server, entry) = auths.iter().find(|(name, _)| {
        let host = name.trim_start_matches("https://").trim_start_matches("http://");
        let host = host.split('/').next().unwrap_or_default();
        host == registry || (registry == "docker.io" && host.ends_with("docker.io"))
    })?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(entry.get("auth")?.as_str()?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    let auth = json!({"username": username, "password": password, "serveraddress": server});
    Some(base64::engine::general_purpose::URL_SAFE.encode(auth.to_string()))
}

fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_registry() {
        let config =
            json!({"auths": {"reg.example:5000": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"auth": "YTpi"}}});
        assert!(from_config(&config, "reg.example:5000/x/y:1").is_some());
        assert!(from_config(&config, "busybox").is_some());
        assert!(from_config(&config, "other.example/x").is_none());
        assert_eq!(registry_of("localhost/x"), "localhost");
        assert_eq!(registry_of("library/x"), "docker.io");
    }
}
