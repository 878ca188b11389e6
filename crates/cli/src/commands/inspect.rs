//! `inspect` without a noun: whatever has that name.
use super::Done;
use crate::Ctx;
use crate::client::{Exit, is_status};
use crate::render::inspect::Objects;
use crate::terminal::{say, tell};
use clap::Args;

/// Return low-level information on objects of any kind.
#[derive(Args)]
pub(crate) struct Inspect {
    /// Format output using a Go template, or 'json'
    #[arg(short, long)]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type")]
    kind: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

const KINDS: [&str; 9] = ["container", "image", "network", "volume", "service", "task", "node", "secret", "config"];

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let kinds: Vec<&str> = match self.kind.as_deref() {
            None | Some("") => KINDS.to_vec(),
            Some(kind) => match KINDS.iter().find(|k| **k == kind) {
                Some(kind) => vec![*kind],
                None => anyhow::bail!("{kind:?} is not a valid value for --type"),
            },
        };
        let mut found = Objects::default();
        let mut failed = Vec::new();
        'names: for name in &self.names {
            for kind in &kinds {
                let path = match *kind {
                    "container" | "image" => format!("/{kind}s/{name}/json"),
                    kind => format!("/{kind}s/{name}"),
                };
                match ctx.client.get(path).flag("size", self.size && *kind == "container").bytes().await {
                    Ok(body) => {
                        found.push(&body);
                        continue 'names;
                    }
                    // Not of this kind; 400 and 406: no such name is possible there; 503: not in a swarm.
                    Err(e) if [400, 404, 406, 503].iter().any(|s| is_status(&e, *s)) => {}
                    Err(e) => return Err(e),
                }
            }
            failed.push(match self.kind.as_deref() {
                Some(kind) if !kind.is_empty() => format!("Error: No such {kind}: {name}"),
                _ => format!("Error: No such object: {name}"),
            });
        }
        if self.format.as_deref().is_none_or(str::is_empty) || failed.len() < self.names.len() {
            say(&found.render(self.format.as_deref())?);
        }
        failed.iter().for_each(|f| tell(f));
        if failed.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
    }
}
