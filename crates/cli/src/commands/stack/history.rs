//! What was deployed, so that it can be looked at and brought back: the last deploys of a stack are kept in the swarm as
//! configs that a plain `config ls` does not show. `stack history` and `stack rollback`.
use super::deploy::{Deployment, Resolve, Wish};
use super::objects::{Kind, Known, create_network, swarm_networks, used_by};
use super::{check_name, of_stack};
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::ago;
use crate::render::list::{Show, Table, print, row};
use crate::terminal::say_line;
use clap::Args;
use compose::LABEL_NAMESPACE;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use wire::engine::Base64;
use wire::engine::config::{Config, ConfigSpec};
use wire::engine::network::NetworkCreate;
use wire::engine::secret::ObjectCreated;
use wire::engine::service::ServiceSpec;

/// The config is a record; its value is the record's number.
pub(super) const LABEL_RECORD: &str = "com.shoal.stack.record";
/// More are forgotten, the oldest first.
const RECORDS_MAX: usize = 10;

/// One deploy: all of the stack, with names instead of ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) number: u64,
    /// `user@host`.
    pub(super) by: String,
    /// `deploy shop.yml`, `rollback to 3`.
    pub(super) what: String,
    /// By their whole names.
    pub(super) services: BTreeMap<String, ServiceSpec>,
    /// The stack's own.
    pub(super) networks: BTreeMap<String, NetworkCreate>,
}

impl Record {
    fn same(&self, other: &Self) -> bool {
        self.services == other.services && self.networks == other.networks
    }

    /// The versions of secrets or configs that it needs.
    fn files(&self, kind: Kind) -> impl Iterator<Item = String> + '_ {
        self.services.values().flat_map(move |s| used_by(&s.task_template, kind))
    }
}

/// A record and the config that holds it.
pub(super) struct Kept {
    pub(super) record: Record,
    config: Config,
}

/// The records of a stack, oldest first.
pub(super) async fn load(ctx: &Ctx, stack: &str) -> anyhow::Result<Vec<Kept>> {
    let mut filters = of_stack(stack);
    filters.add("label", LABEL_RECORD);
    let configs: Vec<Config> = ctx.client.get("/configs").filters(&filters).read().await?;
    let mut kept = Vec::new();
    for config in configs {
        // Of another version of ours: not ours to judge.
        if let Ok(record) = serde_json::from_slice::<Record>(&config.spec.data.0) {
            kept.push(Kept { record, config });
        }
    }
    kept.sort_by_key(|k| k.record.number);
    Ok(kept)
}

/// Keeps a deploy, unless it changed nothing. Gives all that are kept.
pub(super) async fn keep(ctx: &Ctx, stack: &str, mut record: Record) -> anyhow::Result<Vec<Record>> {
    let mut kept = load(ctx, stack).await?;
    let mut all: Vec<Record> = kept.iter().map(|k| k.record.clone()).collect();
    if kept.last().is_some_and(|last| last.record.same(&record)) {
        return Ok(all);
    }
    record.number = kept.last().map_or(1, |last| last.record.number + 1);
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let host = nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default();
    record.by = format!("{user}@{host}");
    let spec = ConfigSpec {
        name: format!("{stack}.deploy.{}", record.number),
        labels: [(LABEL_NAMESPACE, stack.to_owned()), (LABEL_RECORD, record.number.to_string())]
            .map(|(k, v)| (k.to_owned(), v))
            .into(),
        data: Base64(serde_json::to_vec(&record)?),
        templating: None,
    };
    let _made: ObjectCreated = ctx.client.post("/configs/create").json(&spec)?.read().await?;
    all.push(record);
    while kept.len() >= RECORDS_MAX {
        let oldest = kept.remove(0);
        all.remove(0);
        ctx.client.delete(format!("/configs/{}", oldest.config.id)).done().await?;
    }
    Ok(all)
}

/// The versions of files that a way back needs: of the records, and of what `service rollback` would bring back.
pub(super) async fn needed(ctx: &Ctx, records: &[Record], kind: Kind) -> anyhow::Result<BTreeSet<String>> {
    let services: Vec<wire::engine::service::Service> = ctx.client.get("/services").read().await?;
    let mut needed: BTreeSet<String> = records.iter().flat_map(|r| r.files(kind)).collect();
    for service in services {
        needed.extend(used_by(&service.spec.task_template, kind));
        if let Some(previous) = &service.previous_spec {
            needed.extend(used_by(&previous.task_template, kind));
        }
    }
    Ok(needed)
}

const RECORDS: Table = Table {
    headers: &[
        ("Number", "NUMBER"),
        ("CreatedAt", "CREATED"),
        ("By", "BY"),
        ("What", "WHAT"),
        ("Services", "SERVICES"),
        ("Changes", "CHANGES"),
    ],
    default: "{{.Number}}\t{{.CreatedAt}}\t{{.By}}\t{{.What}}\t{{.Services}}\t{{.Changes}}",
    quiet: "{{.Number}}",
};

/// List what was deployed.
#[derive(Args)]
pub(crate) struct History {
    #[command(flatten)]
    show: Show,
    stack: String,
}

impl History {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        let kept = load(ctx, &self.stack).await?;
        anyhow::ensure!(
            !kept.is_empty(),
            "nothing is known of earlier deploys of {0}: they are recorded by `{1} stack deploy`",
            self.stack,
            ctx.name
        );
        let mut rows: Vec<Value> = Vec::new();
        let mut before = &BTreeMap::new();
        for k in &kept {
            rows.push(row! {
                "Number": k.record.number.to_string(),
                "CreatedAt": ago(k.config.created_at.0),
                "By": k.record.by.clone(),
                "What": k.record.what.clone(),
                "Services": k.record.services.len().to_string(),
                "Changes": changes(before, &k.record.services, &self.stack),
            });
            before = &k.record.services;
        }
        rows.reverse();
        print(&RECORDS, &self.show, &rows)
    }
}

/// `+db ~web -old`
fn changes(before: &BTreeMap<String, ServiceSpec>, now: &BTreeMap<String, ServiceSpec>, stack: &str) -> String {
    let short = |name: &str| name.strip_prefix(&format!("{stack}_")).unwrap_or(name).to_owned();
    let mut words: Vec<String> = now
        .iter()
        .filter_map(|(name, spec)| match before.get(name) {
            None => Some(format!("+{}", short(name))),
            Some(was) if was != spec => Some(format!("~{}", short(name))),
            Some(_) => None,
        })
        .collect();
    words.extend(before.keys().filter(|n| !now.contains_key(*n)).map(|n| format!("-{}", short(n))));
    words.join(" ")
}

/// Bring an earlier deploy of a stack back.
#[derive(Args)]
pub(crate) struct Rollback {
    /// Exit immediately instead of waiting for the stack services to converge
    #[arg(short, long)]
    detach: bool,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// The deploy's number in `stack history` (the one before the last)
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    stack: String,
}

impl Rollback {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        let kept = load(ctx, &self.stack).await?;
        let wanted = match self.to {
            Some(number) => kept.iter().find(|k| k.record.number == number),
            None => kept.len().checked_sub(2).and_then(|at| kept.get(at)),
        };
        let Some(wanted) = wanted else {
            match self.to {
                Some(n) => anyhow::bail!("no deploy {n} of {0}: see `{1} stack history {0}`", self.stack, ctx.name),
                None => anyhow::bail!("there is no deploy of {} before the last one", self.stack),
            }
        };
        let mut record = wanted.record.clone();
        say_line(&format!("Rolling {} back to deploy {}: {}", self.stack, record.number, record.what));
        record.what = format!("rollback to {}", record.number);
        let known = known(ctx, &record).await?;
        let wishes = record
            .services
            .iter()
            .map(|(name, spec)| {
                let spec = super::objects::with_ids(spec.clone(), &known)?;
                Ok(Wish { name: name.clone(), spec, waits: Vec::new() })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let deployment = Deployment::begin(ctx, &self.stack, Resolve::AsGiven, false).await?;
        // A stack as it was has no service that came later.
        deployment.prune(&wishes).await?;
        deployment.run(wishes, self.detach, self.quiet).await?;
        keep(ctx, &self.stack, record).await?;
        Ok(())
    }
}

/// What the record's names are now; networks that are gone are made again.
async fn known(ctx: &Ctx, record: &Record) -> anyhow::Result<Known> {
    let mut known = Known::default();
    known.networks.extend(swarm_networks(ctx).await?.into_iter().map(|n| (n.name, n.id)));
    for (name, body) in &record.networks {
        if !known.networks.contains_key(name) {
            known.networks.insert(name.clone(), create_network(ctx, body).await?);
        }
    }
    for kind in [Kind::Secret, Kind::Config] {
        let all = kind.all(ctx).await?.into_iter().map(|o| (o.spec.name.clone(), (o.id, o.spec.name)));
        match kind {
            Kind::Secret => known.secrets.extend(all),
            Kind::Config => known.configs.extend(all),
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_in_short() {
        let spec = |replicas: u64| ServiceSpec {
            mode: wire::engine::lenient::from_value(serde_json::json!({"Replicated": {"Replicas": replicas}})).unwrap(),
            ..ServiceSpec::default()
        };
        let before =
            [("a_db".to_owned(), spec(1)), ("a_old".to_owned(), spec(1)), ("a_web".to_owned(), spec(1))].into();
        let now = [("a_db".to_owned(), spec(1)), ("a_new".to_owned(), spec(1)), ("a_web".to_owned(), spec(2))].into();
        assert_eq!(changes(&before, &now, "a"), "+new ~web -old");
        assert_eq!(changes(&now, &now, "a"), "");
    }

    #[test]
    fn a_record_survives_its_own_form() {
        let spec = ServiceSpec { name: "a_web".into(), ..ServiceSpec::default() };
        let record = Record { number: 3, services: [("a_web".into(), spec)].into(), ..Record::default() };
        let read: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(read, record);
    }
}
