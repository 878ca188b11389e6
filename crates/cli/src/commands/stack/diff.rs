//! `stack diff`: what a deploy would change, without changing it.
use super::deploy::{Resolve, keep, wishes};
use super::files::load;
use super::objects::{self, Kind, Known, PREVIEW, fingerprint_of, network_names, swarm_networks, with_names};
use super::versions::{Choice, choose};
use super::{ComposeFiles, check_name, of_stack};
use crate::Ctx;
use crate::client::Exit;
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use clap::Args;
use compose::{Stack, StackObject};
use serde_json::Value;
use std::collections::BTreeMap;
use wire::engine::service::{Service, ServiceSpec};

/// Show what a deploy would change.
#[derive(Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    files: ComposeFiles,
    /// Exit with 1 if there are differences
    #[arg(long)]
    exit_code: bool,
    stack: String,
}

impl Diff {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        anyhow::ensure!(!self.files.compose_file.is_empty(), "Please specify a Compose file (with --compose-file)");
        let stack = load(&self.files, &self.stack)?;
        stack.warnings.iter().for_each(|w| tell(w));
        let mut lines = Vec::new();
        let networks = networks(ctx, &stack, &mut lines).await?;
        let mut known = Known { networks, ..Known::default() };
        for kind in [Kind::Secret, Kind::Config] {
            files(ctx, &stack, kind, &mut known, &mut lines).await?;
        }
        self.services(ctx, &stack, &known, &mut lines).await?;
        lines.iter().for_each(|l| say_line(l));
        if lines.is_empty() {
            tell(&format!("{} is as the file says", self.stack));
        } else if self.exit_code {
            return Err(Exit(1).into());
        }
        Ok(())
    }

    async fn services(&self, ctx: &Ctx, stack: &Stack, known: &Known, lines: &mut Vec<String>) -> Done {
        let there: Vec<Service> = ctx.client.get("/services").filters(&of_stack(&self.stack)).read().await?;
        let mut names = network_names(ctx).await?;
        names.extend(known.networks.iter().map(|(name, id)| (id.clone(), name.clone())));
        let wishes = wishes(stack, Some(known))?;
        for wish in &wishes {
            match there.iter().find(|s| s.spec.name == wish.name) {
                None => lines.push(format!("+ service {}", wish.name)),
                Some(old) => {
                    let mut new = wish.spec.clone();
                    keep(&mut new, old, Resolve::Never);
                    let changes = compare(&with_names(old.spec.clone(), &names), &with_names(new, &names))?;
                    if !changes.is_empty() {
                        lines.push(format!("~ service {}", wish.name));
                        lines.extend(changes);
                    }
                }
            }
        }
        for old in there.iter().filter(|s| !wishes.iter().any(|w| w.name == s.spec.name)) {
            lines.push(format!("- service {} (only with --prune)", old.spec.name));
        }
        Ok(())
    }
}

async fn networks(ctx: &Ctx, stack: &Stack, lines: &mut Vec<String>) -> anyhow::Result<BTreeMap<String, String>> {
    let there = swarm_networks(ctx).await?;
    let mut known = BTreeMap::new();
    for (n, (name, object)) in stack.networks.iter().enumerate() {
        let found = there.iter().find(|t| t.name == *name);
        if let (None, StackObject::Own(_)) = (found, object) {
            lines.push(format!("+ network {name}"));
        }
        known.insert(name.clone(), found.map_or_else(|| preview(n), |f| f.id.clone()));
    }
    Ok(known)
}

/// An id for what is not there yet.
fn preview(n: usize) -> String {
    format!("{PREVIEW}{n:04}")
}

async fn files(ctx: &Ctx, stack: &Stack, kind: Kind, known: &mut Known, lines: &mut Vec<String>) -> Done {
    let there = kind.all(ctx).await?;
    let noun = kind.noun();
    for (n, (name, wish)) in objects::wishes(stack, kind).into_iter().enumerate() {
        let found = match &wish {
            None => there.iter().find(|o| o.spec.name == name).map(|o| (o.id.clone(), name.clone())),
            Some(spec) => match choose(&name, &fingerprint_of(spec), stack.named.contains(&name), &there) {
                Choice::Use(found) => Some((found.id.clone(), found.spec.name.clone())),
                Choice::Ask(found) => {
                    // A config shows its content, a secret does not.
                    if kind == Kind::Config && found.spec.data != spec.data {
                        lines.push(format!("~ {noun} {name} (another content)"));
                    } else if kind == Kind::Secret {
                        lines.push(format!("? {noun} {name} (made by another client: only a deploy can tell)"));
                    }
                    Some((found.id.clone(), name.clone()))
                }
                Choice::Create(version) if version == name => {
                    lines.push(format!("+ {noun} {name}"));
                    Some((preview(n), version))
                }
                Choice::Create(version) => {
                    lines.push(format!("~ {noun} {name} (another content: {version})"));
                    Some((preview(n), version))
                }
            },
        };
        let Some(found) = found else { anyhow::bail!("{noun} not found: {name}") };
        match kind {
            Kind::Secret => known.secrets.insert(name, found),
            Kind::Config => known.configs.insert(name, found),
        };
    }
    Ok(())
}

/// What differs, a line for each value.
fn compare(old: &ServiceSpec, new: &ServiceSpec) -> anyhow::Result<Vec<String>> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &serde_json::to_value(old)?, &mut before);
    flatten("", &serde_json::to_value(new)?, &mut after);
    let mut lines = Vec::new();
    for (path, value) in &before {
        match after.get(path) {
            None => lines.push(format!("    - {path}: {value}")),
            Some(now) if now != value => lines.push(format!("    ~ {path}: {value} -> {now}")),
            Some(_) => {}
        }
    }
    lines.extend(after.iter().filter(|(p, _)| !before.contains_key(*p)).map(|(p, v)| format!("    + {p}: {v}")));
    lines.sort_by(|a, b| a[6..].cmp(&b[6..]));
    Ok(lines)
}

/// Values by their path. A list of texts is a set: its place says nothing.
fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| flatten(&below(k), v, out)),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                match (item, item.as_str().and_then(|s| s.split_once('='))) {
                    (_, Some((key, value))) => drop(out.insert(format!("{path}[{key}]"), format!("{value:?}"))),
                    _ => flatten(&format!("{path}[{n}]"), item, out),
                }
            }
        }
        Value::Null => {}
        scalar => drop(out.insert(path.to_owned(), scalar.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_compared_by_path() {
        let spec = |json| wire::engine::lenient::from_value::<ServiceSpec>(json).unwrap();
        let old = spec(json!({"Name": "a_web", "Labels": {"x": "1"}, "Mode": {"Replicated": {"Replicas": 2}},
            "TaskTemplate": {"ContainerSpec": {"Image": "x:1", "Env": ["A=1", "B=2"], "Args": ["run"]}}}));
        let new = spec(json!({"Name": "a_web", "Labels": {"y": "1"}, "Mode": {"Replicated": {"Replicas": 5}},
            "TaskTemplate": {"ContainerSpec": {"Image": "x:1", "Env": ["B=2", "A=3"], "Args": ["run", "fast"]}}}));
        assert_eq!(
            compare(&old, &new).unwrap(),
            [
                "    - Labels.x: \"1\"",
                "    + Labels.y: \"1\"",
                "    ~ Mode.Replicated.Replicas: 2 -> 5",
                "    + TaskTemplate.ContainerSpec.Args[1]: \"fast\"",
                "    ~ TaskTemplate.ContainerSpec.Env[A]: \"1\" -> \"3\"",
            ]
        );
        assert!(compare(&old, &old).unwrap().is_empty());
    }
}
