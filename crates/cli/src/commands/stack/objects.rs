//! What services need before they can be made: networks, secrets, configs. And the way back from ids to names.
use super::of_stack;
use super::versions::{Choice, LABEL_CONTENT, LABEL_VERSION_OF, choose, fingerprint, versioned};
use crate::Ctx;
use crate::client::is_status;
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use compose::{Names, Stack, StackObject};
use model::{ConfigId, NetworkSpec, NetworkTarget, SecretId};
use std::collections::{BTreeMap, BTreeSet};
use wire::engine::Base64;
use wire::engine::mount::Driver;
use wire::engine::network::{Ipam, IpamConfig, Network, NetworkCreate, NetworkCreated};
use wire::engine::secret::{ObjectCreated, Secret, SecretSpec};
use wire::engine::service::{ServiceSpec, TaskSpec};

/// Networks that every node has.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];

/// The beginning of ids that stand for what is not there yet.
pub(super) const PREVIEW: &str = "preview00000000000000";

/// Id and name of the version in the swarm.
type Found = (String, String);

/// The swarm's ids by the names of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) networks: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, Found>,
    pub(super) configs: BTreeMap<String, Found>,
}

impl Names for Known {
    fn network(&self, name: &str) -> Option<NetworkTarget> {
        if PREDEFINED.contains(&name) {
            return Some(NetworkTarget::Predefined(name.to_owned()));
        }
        self.networks.get(name)?.parse().ok().map(NetworkTarget::Swarm)
    }
    fn secret(&self, name: &str) -> Option<(SecretId, String)> {
        let (id, name) = self.secrets.get(name)?;
        Some((id.parse().ok()?, name.clone()))
    }
    fn config(&self, name: &str) -> Option<(ConfigId, String)> {
        let (id, name) = self.configs.get(name)?;
        Some((id.parse().ok()?, name.clone()))
    }
}

/// Secrets and configs are one thing to a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Config,
}

impl Kind {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    /// All of the swarm's; a config reads like a secret with data.
    pub(super) async fn all(self, ctx: &Ctx) -> anyhow::Result<Vec<Secret>> {
        // The empty prefix keeps everything, also what a plain list does not show.
        let mut everything = wire::engine::Filters::default();
        everything.add("name", "");
        ctx.client.get(format!("/{}s", self.noun())).filters(&everything).read().await
    }
}

/// What the file says about one: its name, and its content unless it must be there already.
pub(super) type Wishes = Vec<(String, Option<SecretSpec>)>;

/// The file's secrets or configs.
pub(super) fn wishes(stack: &Stack, kind: Kind) -> Wishes {
    let templating = |name: &str| (!name.is_empty()).then(|| Driver { name: name.to_owned(), ..Driver::default() });
    let spec = |name: &str, labels: &model::Labels, data: &[u8], with: &str| SecretSpec {
        name: name.to_owned(),
        labels: labels.clone(),
        data: Base64(data.to_vec()),
        driver: None,
        templating: templating(with),
    };
    match kind {
        Kind::Secret => {
            let own =
                |o: &StackObject<model::SecretSpec>| o.own().map(|s| spec(&s.name, &s.labels, &s.data, &s.templating));
            stack.secrets.iter().map(|(name, o)| (name.clone(), own(o))).collect()
        }
        Kind::Config => {
            let own =
                |o: &StackObject<model::ConfigSpec>| o.own().map(|c| spec(&c.name, &c.labels, &c.data, &c.templating));
            stack.configs.iter().map(|(name, o)| (name.clone(), own(o))).collect()
        }
    }
}

/// The content's fingerprint.
pub(super) fn fingerprint_of(spec: &SecretSpec) -> String {
    fingerprint(&spec.name, spec.templating.as_ref().map_or("", |t| &t.name), &spec.data.0)
}

/// Makes what is missing.
pub(super) async fn make(ctx: &Ctx, stack: &Stack) -> anyhow::Result<Known> {
    let networks = networks(ctx, stack).await?;
    let secrets = files(ctx, stack, Kind::Secret).await?;
    let configs = files(ctx, stack, Kind::Config).await?;
    Ok(Known { networks, secrets, configs })
}

async fn networks(ctx: &Ctx, stack: &Stack) -> anyhow::Result<BTreeMap<String, String>> {
    let mut known = BTreeMap::new();
    let there = swarm_networks(ctx).await?;
    for (name, object) in &stack.networks {
        let id = match object {
            StackObject::External if PREDEFINED.contains(&name.as_str()) => continue,
            StackObject::External => external(ctx, name).await?,
            StackObject::Own(spec) => match there.iter().find(|n| n.name == *name) {
                Some(found) => found.id.clone(),
                None => create_network(ctx, &network_body(spec)).await?,
            },
        };
        known.insert(name.clone(), id);
    }
    Ok(known)
}

pub(super) async fn swarm_networks(ctx: &Ctx) -> anyhow::Result<Vec<Network>> {
    let there: Vec<Network> = ctx.client.get("/networks").read().await?;
    Ok(there.into_iter().filter(|n| n.scope == "swarm").collect())
}

async fn external(ctx: &Ctx, name: &str) -> anyhow::Result<String> {
    match ctx.client.get(format!("/networks/{name}")).query("scope", "").read::<Network>().await {
        Ok(n) if n.scope != "swarm" => anyhow::bail!(
            "network {name:?} is declared as external, but it is not in the right scope: {:?} instead of \"swarm\"",
            n.scope
        ),
        Ok(n) => Ok(n.id),
        Err(e) if is_status(&e, 404) => anyhow::bail!(
            "network {name:?} is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed"
        ),
        Err(e) => Err(e),
    }
}

pub(super) async fn create_network(ctx: &Ctx, body: &NetworkCreate) -> anyhow::Result<String> {
    say_line(&format!("Creating network {}", body.name));
    let made: anyhow::Result<NetworkCreated> = ctx.client.post("/networks/create").json(body)?.read().await;
    Ok(made.map_err(|e| e.context(format!("failed to create network {}", body.name)))?.id)
}

pub(super) fn network_body(spec: &NetworkSpec) -> NetworkCreate {
    let text = |v: &Option<model::Subnet>| v.map(|s| s.to_string()).unwrap_or_default();
    let config: Vec<IpamConfig> = spec
        .ipam
        .iter()
        .map(|c| IpamConfig {
            subnet: text(&c.subnet),
            ip_range: text(&c.range),
            gateway: c.gateway.map(|g| g.to_string()).unwrap_or_default(),
            aux_address: c.reserved.iter().map(|(k, v)| (k.clone(), v.to_string())).collect(),
        })
        .collect();
    let wished = !config.is_empty() || !spec.ipam_options.is_empty();
    NetworkCreate {
        name: spec.name.clone(),
        driver: if spec.driver.is_empty() { "overlay".into() } else { spec.driver.clone() },
        scope: "swarm".into(),
        enable_ipv4: (!spec.ipv4).then_some(false),
        enable_ipv6: spec.ipv6.then_some(true),
        ipam: wished.then(|| Ipam { driver: "default".into(), options: Some(spec.ipam_options.clone()), config }),
        internal: spec.internal,
        attachable: spec.attachable,
        options: spec.options.clone(),
        labels: spec.labels.clone(),
        ..NetworkCreate::default()
    }
}

async fn files(ctx: &Ctx, stack: &Stack, kind: Kind) -> anyhow::Result<BTreeMap<String, Found>> {
    let mut known = BTreeMap::new();
    let wishes = wishes(stack, kind);
    if wishes.is_empty() {
        return Ok(known);
    }
    let noun = kind.noun();
    let there = kind.all(ctx).await?;
    for (name, wish) in wishes {
        let found = match wish {
            None => match there.iter().find(|o| o.spec.name == name) {
                Some(found) => (found.id.clone(), name.clone()),
                None => anyhow::bail!("{noun} not found: {name}"),
            },
            Some(spec) => file(ctx, kind, spec, stack.named.contains(&name), &there).await?,
        };
        known.insert(name, found);
    }
    Ok(known)
}

async fn file(ctx: &Ctx, kind: Kind, mut spec: SecretSpec, fixed: bool, there: &[Secret]) -> anyhow::Result<Found> {
    let noun = kind.noun();
    let (name, fingerprint) = (spec.name.clone(), fingerprint_of(&spec));
    spec.labels.insert(LABEL_CONTENT.to_owned(), fingerprint.clone());
    match choose(&name, &fingerprint, fixed, there) {
        Choice::Use(found) => {
            spec.name.clone_from(&found.spec.name);
            if found.spec.name != name {
                spec.labels.insert(LABEL_VERSION_OF.to_owned(), name);
            }
            if found.spec.labels != spec.labels {
                update(ctx, kind, found, &spec).await?;
            }
            Ok((found.id.clone(), spec.name))
        }
        Choice::Ask(found) => match update(ctx, kind, found, &spec).await {
            Ok(()) => Ok((found.id.clone(), name)),
            Err(e) if !fixed && e.to_string().contains("only updates to Labels are allowed") => {
                create(ctx, kind, spec, &versioned(&name, &fingerprint)).await
            }
            Err(e) if fixed => Err(e.context(format!(
                "failed to update {noun} {name}: its content cannot change under a name of its own; remove \"name\" from \
                 the file, or give another one"
            ))),
            Err(e) => Err(e.context(format!("failed to update {noun} {name}"))),
        },
        Choice::Create(version) => create(ctx, kind, spec, &version).await,
    }
}

async fn update(ctx: &Ctx, kind: Kind, found: &Secret, spec: &SecretSpec) -> Done {
    let path = format!("/{}s/{}/update", kind.noun(), found.id);
    ctx.client.post(path).query("version", found.version.index).json(spec)?.done().await
}

async fn create(ctx: &Ctx, kind: Kind, mut spec: SecretSpec, name: &str) -> anyhow::Result<Found> {
    let noun = kind.noun();
    if spec.name != name {
        spec.labels.insert(LABEL_VERSION_OF.to_owned(), spec.name.clone());
    }
    name.clone_into(&mut spec.name);
    say_line(&format!("Creating {noun} {name}"));
    let made: anyhow::Result<ObjectCreated> = ctx.client.post(format!("/{noun}s/create")).json(&spec)?.read().await;
    let made = made.map_err(|e| e.context(format!("failed to create {noun} {name}")))?;
    Ok((made.id, name.to_owned()))
}

/// Networks by id, for specs that shall be read by people or kept.
pub(super) async fn network_names(ctx: &Ctx) -> anyhow::Result<BTreeMap<String, String>> {
    Ok(swarm_networks(ctx).await?.into_iter().map(|n| (n.id, n.name)).collect())
}

/// A spec with names in the place of ids.
pub(super) fn with_names(mut spec: ServiceSpec, networks: &BTreeMap<String, String>) -> ServiceSpec {
    for used in &mut spec.task_template.networks {
        if let Some(name) = networks.get(&used.target) {
            used.target.clone_from(name);
        }
    }
    let container = spec.task_template.container_spec.get_or_insert_default();
    container.secrets.iter_mut().for_each(|s| s.secret_id.clear());
    container.configs.iter_mut().for_each(|c| c.config_id.clear());
    spec
}

/// A spec with ids in the place of names.
pub(super) fn with_ids(mut spec: ServiceSpec, known: &Known) -> anyhow::Result<ServiceSpec> {
    for used in &mut spec.task_template.networks {
        if !PREDEFINED.contains(&used.target.as_str()) {
            let id = known.networks.get(&used.target);
            used.target.clone_from(id.ok_or_else(|| anyhow::anyhow!("network {} not found", used.target))?);
        }
    }
    let container = spec.task_template.container_spec.get_or_insert_default();
    let gone = |noun: &str, name: &str| anyhow::anyhow!("{noun} {name} is gone: it was removed since that deploy");
    for used in &mut container.secrets {
        let (id, _) = known.secrets.get(&used.secret_name).ok_or_else(|| gone("secret", &used.secret_name))?;
        used.secret_id.clone_from(id);
    }
    for used in &mut container.configs {
        let (id, _) = known.configs.get(&used.config_name).ok_or_else(|| gone("config", &used.config_name))?;
        used.config_id.clone_from(id);
    }
    Ok(spec)
}

/// The names of the secrets or configs that a task uses.
pub(super) fn used_by(task: &TaskSpec, kind: Kind) -> Vec<String> {
    let Some(container) = &task.container_spec else { return Vec::new() };
    match kind {
        Kind::Secret => container.secrets.iter().map(|s| s.secret_name.clone()).collect(),
        Kind::Config => container.configs.iter().map(|c| c.config_name.clone()).collect(),
    }
}

/// Removes versions that the file once had and nothing needs any more. `kept`: names that a way back needs.
pub(super) async fn sweep(ctx: &Ctx, stack: &str, known: &Known, kind: Kind, kept: &BTreeSet<String>) -> Done {
    let now = if kind == Kind::Secret { &known.secrets } else { &known.configs };
    for object in kind.all(ctx).await? {
        let labels = &object.spec.labels;
        let ours =
            labels.get(compose::LABEL_NAMESPACE).is_some_and(|s| s == stack) && labels.contains_key(LABEL_CONTENT);
        let current = now.get(super::versions::base(&object));
        if ours && current.is_some_and(|(id, _)| *id != object.id) && !kept.contains(&object.spec.name) {
            say_line(&format!("Removing {} {}", kind.noun(), object.spec.name));
            if let Err(e) = ctx.client.delete(format!("/{}s/{}", kind.noun(), object.id)).done().await {
                failed(kind.noun(), &object.spec.name, &e);
            }
        }
    }
    Ok(())
}

/// Something of a stack that is no service.
pub(super) struct Other {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) name: String,
    /// The record of a deploy: nobody made it by hand, nobody needs to hear that it goes.
    pub(super) record: bool,
}

/// Everything of a stack beside its services.
pub(super) async fn of(ctx: &Ctx, stack: &str) -> anyhow::Result<Vec<Other>> {
    let filters = of_stack(stack);
    let mut out = Vec::new();
    for kind in [Kind::Secret, Kind::Config] {
        let found: Vec<Secret> = ctx.client.get(format!("/{}s", kind.noun())).filters(&filters).read().await?;
        out.extend(found.into_iter().map(|o| Other {
            kind: kind.noun(),
            record: o.spec.labels.contains_key(super::history::LABEL_RECORD),
            id: o.id,
            name: o.spec.name,
        }));
    }
    let networks: Vec<Network> = ctx.client.get("/networks").filters(&filters).read().await?;
    let swarm = networks.into_iter().filter(|n| n.scope == "swarm");
    out.extend(swarm.map(|n| Other { kind: "network", id: n.id, name: n.name, record: false }));
    Ok(out)
}

/// Tells a failure and goes on.
pub(super) fn failed(what: &str, name: &str, error: &anyhow::Error) {
    tell(&format!("Failed to remove {what} {name}: {error:#}"));
}
