//! Makes what services need before they can be made: networks, secrets, configs.
use super::of_stack;
use crate::Ctx;
use crate::client::is_status;
use crate::commands::Done;
use crate::terminal::{say_line, tell};
use compose::{Names, Stack, StackObject};
use model::{ConfigId, NetworkSpec, NetworkTarget, SecretId};
use std::collections::BTreeMap;
use wire::engine::Base64;
use wire::engine::config::{Config, ConfigSpec};
use wire::engine::mount::Driver;
use wire::engine::network::{Ipam, IpamConfig, Network, NetworkCreate, NetworkCreated};
use wire::engine::secret::{ObjectCreated, Secret, SecretSpec};

/// The swarm's ids by name.
#[derive(Default)]
pub(super) struct Known {
    networks: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    configs: BTreeMap<String, String>,
}

impl Names for Known {
    fn network(&self, name: &str) -> Option<NetworkTarget> {
        if matches!(name, "host" | "bridge" | "none") {
            return Some(NetworkTarget::Predefined(name.to_owned()));
        }
        self.networks.get(name)?.parse().ok().map(NetworkTarget::Swarm)
    }
    fn secret(&self, name: &str) -> Option<SecretId> {
        self.secrets.get(name)?.parse().ok()
    }
    fn config(&self, name: &str) -> Option<ConfigId> {
        self.configs.get(name)?.parse().ok()
    }
}

pub(super) async fn make(ctx: &Ctx, stack: &Stack) -> anyhow::Result<Known> {
    let mut known = Known::default();
    networks(ctx, stack, &mut known).await?;
    secrets(ctx, stack, &mut known).await?;
    configs(ctx, stack, &mut known).await?;
    Ok(known)
}

async fn networks(ctx: &Ctx, stack: &Stack, known: &mut Known) -> Done {
    let there: Vec<Network> = ctx.client.get("/networks").read().await?;
    let swarm: BTreeMap<&str, &Network> =
        there.iter().filter(|n| n.scope == "swarm").map(|n| (n.name.as_str(), n)).collect();
    for (name, object) in &stack.networks {
        match object {
            StackObject::External => {
                if matches!(name.as_str(), "host" | "bridge" | "none") {
                    continue;
                }
                let found = ctx.client.get(format!("/networks/{name}")).query("scope", "").read::<Network>().await;
                match found {
                    Ok(n) if n.scope != "swarm" => anyhow::bail!(
                        "network {name:?} is declared as external, but it is not in the right scope: {:?} instead of \"swarm\"",
                        n.scope
                    ),
                    Ok(n) => known.networks.insert(name.clone(), n.id),
                    Err(e) if is_status(&e, 404) => anyhow::bail!(
                        "network {name:?} is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed"
                    ),
                    Err(e) => return Err(e),
                };
            }
            StackObject::Own(spec) => {
                if let Some(found) = swarm.get(name.as_str()) {
                    known.networks.insert(name.clone(), found.id.clone());
                    continue;
                }
                say_line(&format!("Creating network {name}"));
                let made: anyhow::Result<NetworkCreated> =
                    ctx.client.post("/networks/create").json(&network_body(spec))?.read().await;
                let made = made.map_err(|e| e.context(format!("failed to create network {name}")))?;
                known.networks.insert(name.clone(), made.id);
            }
        }
    }
    Ok(())
}

fn network_body(spec: &NetworkSpec) -> NetworkCreate {
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

fn templating(name: &str) -> Option<Driver> {
    (!name.is_empty()).then(|| Driver { name: name.to_owned(), ..Driver::default() })
}

async fn secrets(ctx: &Ctx, stack: &Stack, known: &mut Known) -> Done {
    if stack.secrets.is_empty() {
        return Ok(());
    }
    let there: Vec<Secret> = ctx.client.get("/secrets").read().await?;
    let there: BTreeMap<&str, &Secret> = there.iter().map(|s| (s.spec.name.as_str(), s)).collect();
    for (name, object) in &stack.secrets {
        let id = match (object, there.get(name.as_str())) {
            (StackObject::External, Some(found)) => found.id.clone(),
            (StackObject::External, None) => anyhow::bail!("secret not found: {name}"),
            (StackObject::Own(spec), found) => {
                let body = SecretSpec {
                    name: spec.name.clone(),
                    labels: spec.labels.clone(),
                    data: Base64(spec.data.clone()),
                    driver: None,
                    templating: templating(&spec.templating),
                };
                match found {
                    // Data cannot change; the engine says so if it would.
                    Some(found) => {
                        let call = ctx
                            .client
                            .post(format!("/secrets/{}/update", found.id))
                            .query("version", found.version.index);
                        call.json(&body)?
                            .done()
                            .await
                            .map_err(|e| e.context(format!("failed to update secret {name}")))?;
                        found.id.clone()
                    }
                    None => {
                        say_line(&format!("Creating secret {name}"));
                        let made: anyhow::Result<ObjectCreated> =
                            ctx.client.post("/secrets/create").json(&body)?.read().await;
                        made.map_err(|e| e.context(format!("failed to create secret {name}")))?.id
                    }
                }
            }
        };
        known.secrets.insert(name.clone(), id);
    }
    Ok(())
}

async fn configs(ctx: &Ctx, stack: &Stack, known: &mut Known) -> Done {
    if stack.configs.is_empty() {
        return Ok(());
    }
    let there: Vec<Config> = ctx.client.get("/configs").read().await?;
    let there: BTreeMap<&str, &Config> = there.iter().map(|c| (c.spec.name.as_str(), c)).collect();
    for (name, object) in &stack.configs {
        let id = match (object, there.get(name.as_str())) {
            (StackObject::External, Some(found)) => found.id.clone(),
            (StackObject::External, None) => anyhow::bail!("config not found: {name}"),
            (StackObject::Own(spec), found) => {
                let body = ConfigSpec {
                    name: spec.name.clone(),
                    labels: spec.labels.clone(),
                    data: Base64(spec.data.clone()),
                    templating: templating(&spec.templating),
                };
                match found {
                    Some(found) => {
                        let call = ctx
                            .client
                            .post(format!("/configs/{}/update", found.id))
                            .query("version", found.version.index);
                        call.json(&body)?
                            .done()
                            .await
                            .map_err(|e| e.context(format!("failed to update config {name}")))?;
                        found.id.clone()
                    }
                    None => {
                        say_line(&format!("Creating config {name}"));
                        let made: anyhow::Result<ObjectCreated> =
                            ctx.client.post("/configs/create").json(&body)?.read().await;
                        made.map_err(|e| e.context(format!("failed to create config {name}")))?.id
                    }
                }
            }
        };
        known.configs.insert(name.clone(), id);
    }
    Ok(())
}

/// Everything of a stack beside its services: kind, path, id, name.
pub(super) async fn of(ctx: &Ctx, stack: &str) -> anyhow::Result<Vec<(&'static str, String, String)>> {
    let filters = of_stack(stack);
    let mut out = Vec::new();
    let secrets: Vec<Secret> = ctx.client.get("/secrets").filters(&filters).read().await?;
    out.extend(secrets.into_iter().map(|s| ("secret", s.id, s.spec.name)));
    let configs: Vec<Config> = ctx.client.get("/configs").filters(&filters).read().await?;
    out.extend(configs.into_iter().map(|c| ("config", c.id, c.spec.name)));
    let networks: Vec<Network> = ctx.client.get("/networks").filters(&filters).read().await?;
    let swarm = networks.into_iter().filter(|n| n.scope == "swarm");
    out.extend(swarm.map(|n| ("network", n.id, n.name)));
    Ok(out)
}

/// Tells a failure and goes on.
pub(super) fn failed(what: &str, name: &str, error: &anyhow::Error) {
    tell(&format!("Failed to remove {what} {name}: {error:#}"));
}
