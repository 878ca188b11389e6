//! Containers shown: lists with their filters, inspection, processes, changes.
use crate::app::Here;
use crate::backend::ListedContainer;
use crate::http::{ApiVersion, Failure, Params, Reply, json};
use crate::lookup::matches;
use axum::extract::{Path, State};
use model::Timestamp;
use wire::Refusal;
use wire::engine::Filters;
use wire::engine::container::{ContainerInspect, ContainerSummary};

const KEYS: [&str; 17] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "all",
];
const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const HEALTHS: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

pub(super) async fn list(State(app): Here, p: Params) -> Reply {
    let filters = p.filters(&KEYS)?;
    let limit = p.number::<i64>("limit")?.unwrap_or_default();
    let all =
        p.flag("all") || limit > 0 || ["status", "exited"].iter().any(|k| filters.has(k)) || before_since(&filters);
    let mut containers = app.containers.list(p.flag("size")).await?;
    let chosen = Chosen::new(&filters, &containers)?;
    containers.retain(|c| (all || is_running(c)) && chosen.has(c));
    containers.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.summary.id.cmp(&b.summary.id)));
    if limit > 0 {
        containers.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    json(&containers.into_iter().map(|c| c.summary).collect::<Vec<ContainerSummary>>())
}

fn before_since(f: &Filters) -> bool {
    f.has("before") || f.has("since")
}

fn is_running(c: &ListedContainer) -> bool {
    matches!(c.summary.state.as_str(), "running" | "paused" | "restarting")
}

/// The filters, with what must be looked up or parsed once.
struct Chosen<'a> {
    filters: &'a Filters,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    exited: Vec<i64>,
    is_task: Option<bool>,
    publish: Vec<PortRange<'a>>,
    expose: Vec<PortRange<'a>>,
}

impl<'a> Chosen<'a> {
    fn new(f: &'a Filters, containers: &[ListedContainer]) -> Result<Self, Failure> {
        for (key, words) in [("status", &STATES[..]), ("health", &HEALTHS[..])] {
            if let Some(bad) = f.get(key).find(|v| !words.contains(v)) {
                return Err(Refusal::invalid(format!("invalid filter '{key}={bad}'")).into());
            }
        }
        let time_of = |key: &str| -> Result<Option<Timestamp>, Failure> {
            f.get(key).next().map(|id| Ok(find(containers, id)?.created)).transpose()
        };
        let ports = |key: &str| f.get(key).map(PortRange::parse).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            before: time_of("before")?,
            since: time_of("since")?,
            exited: f
                .get("exited")
                .map(|v| v.parse().map_err(|_| Refusal::invalid(format!("invalid filter 'exited=[{v}]'"))))
                .collect::<Result<_, _>>()?,
            is_task: f.flag("is-task")?,
            publish: ports("publish")?,
            expose: ports("expose")?,
            filters: f,
        })
    }

    fn has(&self, c: &ListedContainer) -> bool {
        let (f, s) = (self.filters, &c.summary);
        let networks = &s.network_settings.networks;
        f.any("id", |v| s.id.starts_with(v) || matches(v, &s.id))
            && f.any("name", |v| {
                s.names.iter().any(|n| matches(v, n) || matches(v.trim_start_matches('/'), n.trim_start_matches('/')))
            })
            && f.labels("label", &s.labels)
            && !f.get("label!").any(|l| wire::engine::filters::label_matches(l, &s.labels))
            && f.exact("status", &s.state)
            && f.exact("health", if c.health.is_empty() { "none" } else { &c.health })
            && f.any("isolation", |v| v == "default" || v.is_empty())
            && self.before.is_none_or(|t| c.created < t)
            && self.since.is_none_or(|t| c.created > t)
            && (self.exited.is_empty()
                || (!is_running(c) && c.exit_code.is_some_and(|code| self.exited.contains(&code))))
            && self.is_task.is_none_or(|t| c.is_task == t)
            && f.any("ancestor", |v| c.ancestors.iter().any(|a| image_is(a, v)))
            && f.any("volume", |v| s.mounts.iter().any(|m| m.name == v || m.destination == v || m.source == v))
            && f.any("network", |v| networks.iter().any(|(name, e)| name == v || e.network_id.starts_with(v)))
            && (self.publish.is_empty()
                || self
                    .publish
                    .iter()
                    .any(|r| s.ports.iter().any(|p| p.public_port != 0 && r.has(p.private_port, &p.typ))))
            && (self.expose.is_empty()
                || self
                    .expose
                    .iter()
                    .any(|r| c.exposed.iter().any(|e| PortRange::parse(e).is_ok_and(|e| r.has(e.from, e.protocol)))))
    }
}

/// `busybox` names `busybox:latest`; an id may be short and without `sha256:`.
fn image_is(ancestor: &str, wanted: &str) -> bool {
    let plain = |s: &str| s.strip_prefix("sha256:").unwrap_or(s).to_owned();
    ancestor == wanted
        || ancestor.strip_suffix(":latest") == Some(wanted)
        || (wanted.len() >= 4
            && plain(wanted).bytes().all(|b| b.is_ascii_hexdigit())
            && ancestor.starts_with("sha256:")
            && plain(ancestor).starts_with(&plain(wanted)))
}

struct PortRange<'a> {
    from: u16,
    to: u16,
    protocol: &'a str,
}

impl<'a> PortRange<'a> {
    fn parse(text: &'a str) -> Result<Self, Refusal> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |n: &str| n.parse().map_err(|_| Refusal::invalid(format!("invalid port: {text:?}")));
        Ok(Self { from: number(from)?, to: number(to)?, protocol })
    }
    fn has(&self, port: u16, protocol: &str) -> bool {
        (self.from..=self.to).contains(&port) && (protocol.is_empty() || protocol == self.protocol)
    }
}

fn find<'a>(containers: &'a [ListedContainer], wanted: &str) -> Result<&'a ListedContainer, Refusal> {
    let name = format!("/{}", wanted.trim_start_matches('/'));
    containers
        .iter()
        .find(|c| c.summary.id == wanted)
        .or_else(|| containers.iter().find(|c| c.summary.names.contains(&name)))
        .or_else(|| containers.iter().find(|c| !wanted.is_empty() && c.summary.id.starts_with(wanted)))
        .ok_or_else(|| Refusal::not_found(format!("No such container: {wanted}")))
}

/// The first version whose clients look for a container's short id among its DNS names.
const ID_AMONG_ALIASES_UNTIL: ApiVersion = ApiVersion(45);

pub(super) async fn inspect(State(app): Here, Path(id): Path<String>, version: ApiVersion, p: Params) -> Reply {
    inspected(app.containers.inspect(&id, p.flag("size")).await?, version)
}

/// A container as clients of a version know it.
fn inspected(mut c: ContainerInspect, version: ApiVersion) -> Reply {
    if version < ID_AMONG_ALIASES_UNTIL {
        let own = [c.id.get(..12).unwrap_or(&c.id).to_owned(), c.config.hostname.clone()];
        let named = |name: &str| !matches!(name, "bridge" | "host" | "none" | "default");
        for (_, e) in c.network_settings.networks.iter_mut().filter(|(name, _)| named(name)) {
            let aliases = e.aliases.get_or_insert_default();
            for name in own.iter().filter(|name| !name.is_empty()) {
                if !aliases.contains(name) {
                    aliases.push(name.clone());
                }
            }
        }
    }
    json(&c)
}

/// By the name that a link on the default bridge gives: `/web/db`.
pub(super) async fn inspect_linked(
    State(app): Here,
    Path((holder, alias)): Path<(String, String)>,
    version: ApiVersion,
    p: Params,
) -> Reply {
    inspected(app.containers.inspect(&format!("{holder}/{alias}"), p.flag("size")).await?, version)
}

pub(super) async fn top(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let args = p.get("ps_args").filter(|a| !a.is_empty()).unwrap_or("-ef");
    json(&app.containers.top(&id, args).await?)
}

pub(super) async fn changes(State(app): Here, Path(id): Path<String>) -> Reply {
    let changes = app.containers.changes(&id).await?;
    // Docker's empty list is a `null`.
    json(&Some(changes).filter(|c| !c.is_empty()))
}
