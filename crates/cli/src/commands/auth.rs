//! `login` and `logout`: registry credentials, checked by the engine and kept in `config.json`.
use super::Done;
use crate::Ctx;
use crate::config::HUB;
use crate::terminal::{ask, ask_hidden, say_line, stdin_is_tty, tell};
use clap::Args;
use std::io::Read;
use wire::engine::image::{AuthConfig, AuthStatus};

/// Log in to a registry.
#[derive(Args)]
pub(crate) struct Login {
    /// Username
    #[arg(short, long)]
    username: Option<String>,
    /// Password or Personal Access Token (PAT)
    #[arg(short, long)]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// The registry (Docker Hub)
    server: Option<String>,
}

impl Login {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let server = server_of(self.server.as_deref());
        refuse_helper(ctx, &server)?;
        let auth = self.credentials(ctx, &server)?;
        let answer: AuthStatus = ctx.client.post("/auth").json(&auth)?.read().await?;
        let mut config = ctx.config.clone();
        if auth.identity_token.is_empty() {
            config.log_in(&server, &auth.username, &auth.password)?;
            tell(&format!(
                "WARNING! Your credentials are stored unencrypted in '{}'.",
                config.folder.join("config.json").display()
            ));
        }
        say_line(if answer.status.is_empty() { "Login Succeeded" } else { &answer.status });
        Ok(())
    }

    fn credentials(&self, ctx: &Ctx, server: &str) -> anyhow::Result<AuthConfig> {
        anyhow::ensure!(
            !(self.password.is_some() && self.password_stdin),
            "--password and --password-stdin are mutually exclusive"
        );
        anyhow::ensure!(
            !self.password_stdin || self.username.is_some(),
            "Must provide --username with --password-stdin"
        );
        if self.username.is_none()
            && self.password.is_none()
            && let Some(known) = ctx.config.credentials(server)
        {
            tell(&format!("Authenticating with existing credentials... [Username: {}]", known.username));
            return Ok(AuthConfig { server_address: server.to_owned(), ..known });
        }
        if self.password.is_some() {
            tell("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        let interactive = self.password_stdin || stdin_is_tty() || (self.username.is_some() && self.password.is_some());
        anyhow::ensure!(interactive, "Error: Cannot perform an interactive login from a non TTY device");
        let username = match &self.username {
            Some(username) => username.clone(),
            None => ask("Username: ")?,
        };
        anyhow::ensure!(!username.is_empty(), "username required");
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => {
                let mut text = String::new();
                std::io::stdin().take(1 << 20).read_to_string(&mut text)?;
                text.trim_end_matches('\n').trim_end_matches('\r').to_owned()
            }
            None => ask_hidden("Password: ")?,
        };
        anyhow::ensure!(!password.is_empty(), "password required");
        Ok(AuthConfig { username, password, server_address: server.to_owned(), ..AuthConfig::default() })
    }
}

/// Log out from a registry.
#[derive(Args)]
pub(crate) struct Logout {
    /// The registry (Docker Hub)
    server: Option<String>,
}

impl Logout {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let server = server_of(self.server.as_deref());
        refuse_helper(ctx, &server)?;
        say_line(&format!("Removing login credentials for {server}"));
        if !ctx.config.clone().log_out(&server)? {
            tell(&format!("Not logged in to {server}"));
        }
        Ok(())
    }
}

/// `https://reg.example/` → `reg.example`; Docker Hub has its own name.
fn server_of(server: Option<&str>) -> String {
    let bare = server.unwrap_or_default().trim_start_matches("https://").trim_start_matches("http://");
    match bare.split('/').next().unwrap_or_default() {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        host => host.to_owned(),
    }
}

fn refuse_helper(ctx: &Ctx, server: &str) -> Done {
    match ctx.config.helper(server) {
        None => Ok(()),
        Some(helper) => anyhow::bail!(
            "the credentials of {server} are kept by {helper}, and credential helpers are not supported: remove \
             \"credsStore\" or \"credHelpers\" from {}; then they are kept in that file",
            ctx.config.folder.join("config.json").display()
        ),
    }
}

/// The header `X-Registry-Auth` for an image, if there are credentials for its registry.
pub(crate) fn header_for(ctx: &Ctx, image: &str) -> Option<String> {
    let registry = crate::config::registry_of(image);
    if let Some(helper) = ctx.config.helper(registry) {
        tell(&format!(
            "WARNING: the credentials of {registry} are kept by {helper}: credential helpers are not supported, the \
             registry is asked without"
        ));
    }
    ctx.config.auth_header(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_one_name() {
        let table = [
            (None, HUB),
            (Some("docker.io"), HUB),
            (Some("https://index.docker.io/v1/"), HUB),
            (Some("https://reg.example:5000/"), "reg.example:5000"),
            (Some("localhost:5000"), "localhost:5000"),
        ];
        for (given, wanted) in table {
            assert_eq!(server_of(given), wanted);
        }
    }
}
