//! Secrets and configs: one noun to the command line, two to the engine.
use super::{Done, FilterArg, InspectArgs, Names, each, inspect_each};
use crate::Ctx;
use crate::render::human::{ago, date_exact};
use crate::render::list::{Show, Table, labels, print, row};
use crate::spec::pairs;
use crate::terminal::say_line;
use clap::Args;
use serde_json::Value;
use std::io::Read;
use std::marker::PhantomData;
use wire::engine::Base64;
use wire::engine::mount::Driver;
use wire::engine::secret::{ObjectCreated, Secret, SecretSpec};

/// Which of the two.
pub(crate) trait Kind: Send + Sync + 'static {
    /// As the engine names it; its paths begin with the plural.
    const NOUN: &'static str;
    /// Columns of a list.
    const TABLE: Table;
    /// For people.
    fn pretty(o: &Secret) -> String;
}

/// A config reads like a secret that shows its data.
pub(crate) struct Secrets;
/// See [`Secrets`].
pub(crate) struct Configs;

impl Kind for Secrets {
    const NOUN: &'static str = "secret";
    const TABLE: Table = Table {
        headers: &[
            ("ID", "ID"),
            ("Name", "NAME"),
            ("Driver", "DRIVER"),
            ("CreatedAt", "CREATED"),
            ("UpdatedAt", "UPDATED"),
            ("Labels", "LABELS"),
        ],
        default: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
        quiet: "{{.ID}}",
    };

    fn pretty(o: &Secret) -> String {
        let mut out = format!("ID:              {}\nName:              {}\n", o.id, o.spec.name);
        out.push_str(&label_lines(o));
        let driver = o.spec.driver.as_ref().map(|d| d.name.clone()).unwrap_or_default();
        out.push_str(&format!("Driver:            {driver}\n"));
        out.push_str(&format!("Created at:        {}\n", at(o.created_at)));
        out.push_str(&format!("Updated at:        {}", at(o.updated_at)));
        out
    }
}

impl Kind for Configs {
    const NOUN: &'static str = "config";
    const TABLE: Table = Table {
        headers: &[
            ("ID", "ID"),
            ("Name", "NAME"),
            ("CreatedAt", "CREATED"),
            ("UpdatedAt", "UPDATED"),
            ("Labels", "LABELS"),
        ],
        default: "{{.ID}}\t{{.Name}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
        quiet: "{{.ID}}",
    };

    fn pretty(o: &Secret) -> String {
        let mut out = format!("ID:\t\t\t{}\nName:\t\t\t{}\n", o.id, o.spec.name);
        out.push_str(&label_lines(o));
        out.push_str(&format!("Created at:            \t{}\n", at(o.created_at)));
        out.push_str(&format!("Updated at:            \t{}\n", at(o.updated_at)));
        out.push_str(&format!("Data:\n{}\n", String::from_utf8_lossy(&o.spec.data.0)));
        out
    }
}

fn label_lines(o: &Secret) -> String {
    let mut out = String::new();
    if !o.spec.labels.is_empty() {
        out.push_str("Labels:\n");
    }
    for (k, v) in &o.spec.labels {
        out.push_str(&format!(" - {k}{}{v}\n", if v.is_empty() { "" } else { "=" }));
    }
    out
}

fn at(t: wire::engine::Time) -> String {
    date_exact(t.0).replace("+0000 UTC", "+0000 utc")
}

/// Create one from a file or STDIN.
#[derive(Args)]
pub(crate) struct Create<K: Kind> {
    /// Labels
    #[arg(short, long)]
    label: Vec<String>,
    /// Template driver
    #[arg(long)]
    template_driver: Option<String>,
    /// Secret driver
    #[arg(short, long, hide = true)]
    driver: Option<String>,
    name: String,
    /// A file, or - for STDIN
    file: Option<String>,
    #[arg(skip)]
    kind: PhantomData<K>,
}

impl<K: Kind> Create<K> {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if let Some(driver) = &self.driver {
            anyhow::bail!("secret driver {driver:?} is not supported: secrets are kept by the swarm itself");
        }
        let data = match self.file.as_deref() {
            None => anyhow::bail!("a file is needed, or - for STDIN: `{0} {1} create NAME FILE|-`", ctx.name, K::NOUN),
            Some("-") => {
                let mut data = Vec::new();
                // More than any may have, so that the engine can say so.
                std::io::stdin().take(2 << 20).read_to_end(&mut data)?;
                data
            }
            Some(path) => {
                std::fs::read(path).map_err(|e| anyhow::anyhow!("error reading content from \"{path}\": {e}"))?
            }
        };
        let spec = SecretSpec {
            name: self.name,
            labels: pairs::map(&self.label),
            data: Base64(data),
            templating: self.template_driver.map(|name| Driver { name, ..Driver::default() }),
            ..SecretSpec::default()
        };
        let made: ObjectCreated = ctx.client.post(format!("/{}s/create", K::NOUN)).json(&spec)?.read().await?;
        say_line(&made.id);
        Ok(())
    }
}

/// Display detailed information.
#[derive(Args)]
pub(crate) struct Inspect<K: Kind> {
    #[command(flatten)]
    args: InspectArgs,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
    #[arg(skip)]
    kind: PhantomData<K>,
}

impl<K: Kind> Inspect<K> {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let path = |name: &str| format!("/{}s/{name}", K::NOUN);
        if !self.pretty {
            return inspect_each(ctx, &self.args.names, self.args.format.as_deref(), path, &[]).await;
        }
        anyhow::ensure!(self.args.format.is_none(), "--format is incompatible with human friendly format");
        for name in &self.args.names {
            say_line(&K::pretty(&ctx.client.get(path(name)).read().await?));
        }
        Ok(())
    }
}

/// List them.
#[derive(Args)]
pub(crate) struct List<K: Kind> {
    #[command(flatten)]
    filter: FilterArg,
    #[command(flatten)]
    show: Show,
    #[arg(skip)]
    kind: PhantomData<K>,
}

impl<K: Kind> List<K> {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let filters = pairs::filters(&self.filter.filter)?;
        let mut found: Vec<Secret> = ctx.client.get(format!("/{}s", K::NOUN)).filters(&filters).read().await?;
        found.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let rows: Vec<Value> = found.iter().map(row_of::<K>).collect();
        print(&K::TABLE, &self.show, &rows)
    }
}

fn row_of<K: Kind>(o: &Secret) -> Value {
    let mut row = row! {
        "ID": o.id.clone(),
        "Name": o.spec.name.clone(),
        "CreatedAt": ago(o.created_at.0),
        "UpdatedAt": ago(o.updated_at.0),
        "Labels": labels(&o.spec.labels),
    };
    if K::TABLE.headers.iter().any(|(field, _)| *field == "Driver") {
        row["Driver"] = o.spec.driver.as_ref().map(|d| d.name.clone()).unwrap_or_default().into();
    }
    row
}

/// Remove one or more.
#[derive(Args)]
pub(crate) struct Remove<K: Kind> {
    #[command(flatten)]
    names: Names,
    #[arg(skip)]
    kind: PhantomData<K>,
}

impl<K: Kind> Remove<K> {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let remove = async |name: &str| ctx.client.delete(format!("/{}s/{name}", K::NOUN)).done().await;
        each(&self.names.names, remove).await
    }
}
