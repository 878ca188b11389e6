//! `context`: named engines.
use super::{Done, noun, verbs};
use crate::Ctx;
use crate::client::{Exit, Host, Target};
use crate::config::{Context as Saved, DEFAULT};
use crate::render::list::{Show, Table, print, row};
use crate::spec::pairs::fields;
use crate::terminal::{say_line, tell};
use clap::Args;
use serde_json::{Value, json};

verbs! {
    /// What can be done with contexts.
    Verb;
    /// Create a context
    Create => Create,
    /// Display detailed information on one or more contexts
    Inspect => Inspect,
    /// List contexts
    #[command(alias = "list")]
    Ls => List,
    /// Remove one or more contexts
    #[command(alias = "remove")]
    Rm => Remove,
    /// Print the name of the current context
    Show => ShowName,
    /// Update a context
    Update => Update,
    /// Set the current docker context
    Use => Use,
}
noun!(Context, Verb);

const CONTEXTS: Table = Table {
    headers: &[
        ("Name", "NAME"),
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
    default: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
};

/// List contexts.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    show: Show,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let row_of = |name: &str, description: &str, host: &str, error: String| {
            row! {
                "Name": name, "Current": name == ctx.context, "Description": description,
                "DockerEndpoint": host, "Error": error,
            }
        };
        let host = std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
        let host = host.as_deref().unwrap_or(Target::default_host());
        let mut rows = vec![row_of(DEFAULT, "Current DOCKER_HOST based configuration", host, String::new())];
        for saved in ctx.config.contexts() {
            let error = saved.host.parse::<Host>().err().map(|e| e.to_string()).unwrap_or_default();
            rows.push(row_of(&saved.name, &saved.description, &saved.host, error));
        }
        rows.sort_by_key(|r: &Value| r["Name"].as_str().unwrap_or_default().to_owned());
        print(&CONTEXTS, &self.show, &rows)?;
        if !rows.iter().any(|r| r["Current"] == true) {
            tell(&format!(
                "context {:?} is chosen but not there: choose one with `{} context use`",
                ctx.context, ctx.name
            ));
        }
        Ok(())
    }
}

/// Print the name of the current context.
#[derive(Args)]
pub(crate) struct ShowName {}

impl ShowName {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        say_line(&ctx.context);
        Ok(())
    }
}

/// Set the current docker context.
#[derive(Args)]
pub(crate) struct Use {
    context: String,
}

impl Use {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        ctx.config.clone().use_context(&self.context)?;
        say_line(&self.context);
        tell(&format!("Current context is now \"{}\"", self.context));
        if std::env::var("DOCKER_HOST").is_ok_and(|h| !h.is_empty()) && self.context != DEFAULT {
            tell(
                "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the \
                 global --context flag, or unset DOCKER_HOST environment variable.",
            );
        }
        Ok(())
    }
}

/// What a context holds.
#[derive(Args)]
struct Settings {
    /// Description of the context
    #[arg(long)]
    description: Option<String>,
    /// set the docker endpoint
    #[arg(long, value_name = "host=HOST,ca=FILE,cert=FILE,key=FILE,skip-tls-verify=BOOL")]
    docker: Option<String>,
}

impl Settings {
    fn change(&self, context: &mut Saved) -> Done {
        if let Some(description) = &self.description {
            context.description.clone_from(description);
        }
        let Some(docker) = &self.docker else { return Ok(()) };
        for (key, value) in fields(docker).map_err(anyhow::Error::msg)? {
            let value = value.unwrap_or_default();
            let pem = || std::fs::read(&value).map(Some).map_err(|e| anyhow::anyhow!("open {value}: {e}"));
            match key.as_str() {
                "host" => {
                    let _checked: Host = value.parse()?;
                    context.host = value;
                }
                "ca" => context.ca = pem()?,
                "cert" => context.cert = pem()?,
                "key" => context.key = pem()?,
                "skip-tls-verify" => {
                    context.skip_verify = crate::spec::pairs::truth(Some(&value))
                        .ok_or_else(|| anyhow::anyhow!("skip-tls-verify: true or false is expected, not {value:?}"))?;
                }
                other => anyhow::bail!("unrecognized config key: {other}"),
            }
        }
        Ok(())
    }
}

/// Create a context.
#[derive(Args)]
pub(crate) struct Create {
    #[command(flatten)]
    settings: Settings,
    /// create context from a named context
    #[arg(long)]
    from: Option<String>,
    context: String,
}

impl Create {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        anyhow::ensure!(
            self.settings.docker.is_none() || self.from.is_none(),
            "cannot use --docker flag when --from is set"
        );
        let mut context = match self.from.as_deref() {
            Some(DEFAULT) | None => Saved::default(),
            Some(other) => ctx.config.context(other)?,
        };
        if context.host.is_empty() {
            let host = std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty());
            context.host = host.unwrap_or_else(|| Target::default_host().to_owned());
        }
        context.name.clone_from(&self.context);
        self.settings.change(&mut context)?;
        ctx.config.write_context(&context, true)?;
        say_line(&self.context);
        tell(&format!("Successfully created context \"{}\"", self.context));
        Ok(())
    }
}

/// Update a context.
#[derive(Args)]
pub(crate) struct Update {
    #[command(flatten)]
    settings: Settings,
    context: String,
}

impl Update {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut context = ctx.config.context(&self.context)?;
        self.settings.change(&mut context)?;
        ctx.config.write_context(&context, false)?;
        say_line(&self.context);
        tell(&format!("Successfully updated context \"{}\"", self.context));
        Ok(())
    }
}

/// Remove one or more contexts.
#[derive(Args)]
pub(crate) struct Remove {
    /// Force the removal of a context in use
    #[arg(short, long)]
    force: bool,
    #[arg(required = true)]
    contexts: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut config = ctx.config.clone();
        let mut failed = false;
        for name in &self.contexts {
            match config.remove_context(name, self.force) {
                Ok(()) => say_line(name),
                Err(e) => {
                    failed = true;
                    tell(&format!("{e:#}"));
                }
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(()) }
    }
}

/// Display detailed information on one or more contexts.
#[derive(Args)]
pub(crate) struct Inspect {
    /// Format output using a Go template, or 'json'
    #[arg(short, long)]
    format: Option<String>,
    /// Names (the current one)
    contexts: Vec<String>,
}

impl Inspect {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let names = if self.contexts.is_empty() { vec![ctx.context.clone()] } else { self.contexts };
        let mut found = crate::render::inspect::Objects::default();
        for name in &names {
            let saved = match name.as_str() {
                DEFAULT => Saved {
                    name: DEFAULT.into(),
                    host: std::env::var("DOCKER_HOST").unwrap_or_else(|_| Target::default_host().into()),
                    ..Saved::default()
                },
                _ => ctx.config.context(name)?,
            };
            let held = [("ca.pem", &saved.ca), ("cert.pem", &saved.cert), ("key.pem", &saved.key)];
            let files: Vec<&str> = held.iter().filter(|(_, pem)| pem.is_some()).map(|(file, _)| *file).collect();
            let material = if files.is_empty() { json!({}) } else { json!({"docker": files}) };
            let value = json!({
                "Name": saved.name,
                "Metadata": {"Description": saved.description},
                "Endpoints": {"docker": {"Host": saved.host, "SkipTLSVerify": saved.skip_verify}},
                "TLSMaterial": material,
            });
            found.push(&serde_json::to_vec(&value)?.into());
        }
        crate::terminal::say(&found.render(self.format.as_deref())?);
        Ok(())
    }
}
