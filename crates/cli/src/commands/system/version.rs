//! `version`.
use crate::Ctx;
use crate::client::Exit;
use crate::commands::Done;
use crate::render::tabs::align;
use crate::render::template::Template;
use crate::terminal::{say, tell};
use clap::Args;
use serde_json::{Value, json};
use wire::engine::system::Version as Server;

/// Show the version information.
#[derive(Args)]
pub(crate) struct Version {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long)]
    format: Option<String>,
}

/// What we speak.
const API_VERSION: &str = "1.51";

fn client(context: &str) -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": API_VERSION, "APIVersion": API_VERSION, "DefaultAPIVersion": API_VERSION,
        "GitCommit": "", "GoVersion": "", "Os": std::env::consts::OS, "Arch": arch(), "BuildTime": "", "Context": context
    })
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Version {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let server: anyhow::Result<Value> = ctx.client.get("/version").read().await;
        let all = json!({"Client": client(&ctx.context), "Server": server.as_ref().ok().cloned()});
        match self.format.as_deref().unwrap_or_default() {
            "" => {
                let server: Option<Server> =
                    server.as_ref().ok().and_then(|v| wire::engine::lenient::from_value(v.clone()).ok());
                say(&text(server.as_ref()));
            }
            "json" => say(&format!("{all}\n")),
            template => say(&format!("{}\n", Template::parse(template)?.render(&all)?)),
        }
        match server {
            Ok(_) => Ok(()),
            Err(e) => {
                tell(&format!("{e:#}"));
                Err(Exit(1).into())
            }
        }
    }
}

fn text(server: Option<&Server>) -> String {
    let mut out = format!(
        "Client: Shoal\n Version:\t{}\n API version:\t{API_VERSION}\n OS/Arch:\t{}/{}\n Context:\tdefault\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        arch()
    );
    if let Some(s) = server {
        let name = if s.platform.name.is_empty() { "Shoal Engine" } else { &s.platform.name };
        out.push_str(&format!(
            "\nServer: {name}\n Engine:\n  Version:\t{}\n  API version:\t{} (minimum version {})\n  Git commit:\t{}\n  Built:\t{}\n  OS/Arch:\t{}/{}\n  Experimental:\t{}\n",
            s.version, s.api_version, s.min_api_version, s.git_commit, s.build_time, s.os, s.arch, s.experimental
        ));
        for c in s.components.iter().filter(|c| c.name != "Engine") {
            out.push_str(&format!(" {}:\n  Version:\t{}\n", c.name, c.version));
        }
    }
    align(&out, 20)
}
