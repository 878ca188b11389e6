//! `stack deploy`: networks, secrets, configs, then services in the order of their dependencies; then it waits until all
//! of it runs.
use super::files::load;
use super::gates::Gate;
use super::history::{self, Record};
use super::objects::{self, Kind, Known};
use super::{ComposeFiles, check_name, of_stack, wait};
use crate::Ctx;
use crate::commands::service::pin;
use crate::commands::{Done, auth};
use crate::terminal::{say_line, tell};
use clap::{Args, ValueEnum};
use compose::{LABEL_IMAGE, Stack, StackObject};
use std::collections::BTreeMap;
use wire::engine::convert::service_spec_out;
use wire::engine::service::{Service, ServiceCreated, ServiceSpec, ServiceUpdated};
use wire::engine::system::Info;

/// Deploy a new stack or update an existing stack.
#[derive(Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    files: ComposeFiles,
    /// Exit immediately instead of waiting for the stack services to converge
    #[arg(short, long)]
    detach: bool,
    /// Prune services that are no longer referenced
    #[arg(long)]
    prune: bool,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// Query the registry to resolve image digest and supported platforms ("always", "changed", "never")
    #[arg(long, default_value = "always")]
    resolve_image: String,
    /// Send registry authentication details to Swarm agents
    #[arg(long)]
    with_registry_auth: bool,
    stack: String,
}

/// When a registry is asked for an image's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Resolve {
    Always,
    Changed,
    Never,
    /// The image is taken as it is: it comes from a record, with its digest.
    #[value(skip)]
    AsGiven,
}

impl Deploy {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        let resolve = Resolve::from_str(&self.resolve_image, false)
            .map_err(|_| anyhow::anyhow!("Invalid option {} for flag --resolve-image", self.resolve_image))?;
        anyhow::ensure!(!self.files.compose_file.is_empty(), "Please specify a Compose file (with --compose-file)");
        let stack = load(&self.files, &self.stack)?;
        stack.warnings.iter().for_each(|w| tell(w));
        let deployment = Deployment::begin(ctx, &self.stack, resolve, self.with_registry_auth).await?;
        if self.prune {
            deployment.prune(&wishes(&stack, None)?).await?;
        }
        let known = objects::make(ctx, &stack).await?;
        let sent = deployment.run(wishes(&stack, Some(&known))?, self.detach, self.quiet).await?;
        self.remember(ctx, &stack, &known, sent).await
    }

    /// Writes the deploy down, and lets go of what no way back needs any more.
    async fn remember(&self, ctx: &Ctx, stack: &Stack, known: &Known, sent: Vec<ServiceSpec>) -> Done {
        let names = objects::network_names(ctx).await?;
        let own = |(name, object): (&String, &StackObject<model::NetworkSpec>)| {
            object.own().map(|spec| (name.clone(), objects::network_body(spec)))
        };
        let record = Record {
            what: format!("deploy {}", self.files.compose_file.join(" ")),
            services: sent.into_iter().map(|s| (s.name.clone(), objects::with_names(s, &names))).collect(),
            networks: stack.networks.iter().filter_map(own).collect(),
            ..Record::default()
        };
        let records = history::keep(ctx, &self.stack, record).await?;
        for kind in [Kind::Secret, Kind::Config] {
            let kept = history::needed(ctx, &records, kind).await?;
            objects::sweep(ctx, &self.stack, known, kind, &kept).await?;
        }
        Ok(())
    }
}

/// A service as it shall be, and what it waits for when it is made.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// Its whole name.
    pub(super) name: String,
    pub(super) spec: ServiceSpec,
    pub(super) waits: Vec<Gate>,
}

/// The file's services. Without `known`, their networks, secrets and configs are left out.
pub(super) fn wishes(stack: &Stack, known: Option<&Known>) -> anyhow::Result<Vec<Wish>> {
    let wish = |service: &compose::StackService| {
        let spec = match known {
            Some(known) => service.resolve(known).map_err(anyhow::Error::msg)?,
            None => service.spec.clone(),
        };
        let gate = |d: &compose::Dependency| {
            let other = stack.services.get(&d.service)?;
            Some(Gate { service: other.spec.name.clone(), condition: d.condition })
        };
        let waits = service.depends_on.iter().filter_map(gate).collect();
        Ok(Wish { name: spec.name.clone(), spec: service_spec_out(&spec), waits })
    };
    stack.services.values().map(wish).collect()
}

/// Makes the services of a stack as they are wished.
pub(super) struct Deployment<'c> {
    ctx: &'c Ctx,
    /// The services that are there.
    there: BTreeMap<String, Service>,
    resolve: Resolve,
    with_auth: bool,
}

impl<'c> Deployment<'c> {
    pub(super) async fn begin(ctx: &'c Ctx, stack: &str, resolve: Resolve, with_auth: bool) -> anyhow::Result<Self> {
        let info: Info = ctx.client.get("/info").read().await?;
        anyhow::ensure!(
            info.swarm.control_available,
            "this node is not a swarm manager. Use \"{0} swarm init\" or \"{0} swarm join\" to connect this node to swarm and try again",
            ctx.name
        );
        let there: Vec<Service> = ctx.client.get("/services").filters(&of_stack(stack)).read().await?;
        let there = there.into_iter().map(|s| (s.spec.name.clone(), s)).collect();
        Ok(Self { ctx, there, resolve, with_auth })
    }

    /// Removes the services that are not wished any more.
    pub(super) async fn prune(&self, wishes: &[Wish]) -> Done {
        for (name, old) in &self.there {
            if !wishes.iter().any(|w| w.name == *name) {
                say_line(&format!("Removing service {name}"));
                self.ctx.client.delete(format!("/services/{}", old.id)).done().await?;
            }
        }
        Ok(())
    }

    /// Makes them, waits unless `detach`, and gives the specs as they were sent.
    pub(super) async fn run(&self, wishes: Vec<Wish>, detach: bool, quiet: bool) -> anyhow::Result<Vec<ServiceSpec>> {
        let (gated, free): (Vec<_>, Vec<_>) =
            wishes.into_iter().partition(|w| !w.waits.is_empty() && !self.there.contains_key(&w.name));
        wait::Waiter { deployment: self, detach, quiet }.run(self.ctx, free, gated).await
    }

    /// Makes one; gives its id and the spec as it was sent.
    pub(super) async fn apply(&self, wish: &Wish) -> anyhow::Result<(String, ServiceSpec)> {
        match self.there.get(&wish.name) {
            Some(old) => self.update(old, wish.spec.clone()).await,
            None => self.create(wish.spec.clone()).await,
        }
    }

    async fn create(&self, mut spec: ServiceSpec) -> anyhow::Result<(String, ServiceSpec)> {
        say_line(&format!("Creating service {}", spec.name));
        let auth = self.auth(&spec);
        if matches!(self.resolve, Resolve::Always | Resolve::Changed) {
            pin::pin_or_tell(self.ctx, &mut spec.task_template).await;
        }
        let mut call = self.ctx.client.post("/services/create");
        if let Some(auth) = &auth {
            call = call.header("x-registry-auth", auth);
        }
        let made: anyhow::Result<ServiceCreated> = call.json(&spec)?.read().await;
        let made = made.map_err(|e| e.context(format!("failed to create service {}", spec.name)))?;
        made.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
        Ok((made.id, spec))
    }

    async fn update(&self, old: &Service, mut spec: ServiceSpec) -> anyhow::Result<(String, ServiceSpec)> {
        say_line(&format!("Updating service {} (id: {})", spec.name, old.id));
        let auth = self.auth(&spec);
        if keep(&mut spec, old, self.resolve) && !pin::pin(self.ctx, &mut spec.task_template).await {
            // Tasks are not rolled because a registry is silent.
            keep(&mut spec, old, Resolve::Never);
            let image = spec.task_template.container_spec.as_ref().map(|c| c.image.clone()).unwrap_or_default();
            if !pin::is_pinned(&image) {
                tell(&pin::unknown(&image));
            }
        }
        let mut call = self.ctx.client.post(format!("/services/{}/update", old.id)).query("version", old.version.index);
        call = match auth {
            Some(auth) => call.header("x-registry-auth", &auth),
            None => call.query("registryAuthFrom", "spec"),
        };
        let done: anyhow::Result<ServiceUpdated> = call.json(&spec)?.read().await;
        let done = done.map_err(|e| e.context(format!("failed to update service {}", spec.name)))?;
        done.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
        Ok((old.id.clone(), spec))
    }

    fn auth(&self, spec: &ServiceSpec) -> Option<String> {
        let image = &spec.task_template.container_spec.as_ref()?.image;
        if self.with_auth { auth::header_for(self.ctx, image) } else { None }
    }
}

/// What a further deploy leaves as it is: the force counter, and the resolved image if the file names the same one,
/// because a change of either would restart every task. Says whether a registry shall be asked.
pub(super) fn keep(spec: &mut ServiceSpec, old: &Service, resolve: Resolve) -> bool {
    let before = &old.spec.task_template;
    spec.task_template.force_update = before.force_update;
    let (Some(new), Some(was)) = (&mut spec.task_template.container_spec, &before.container_spec) else { return false };
    let same = old.spec.labels.get(LABEL_IMAGE) == Some(&new.image);
    match resolve {
        Resolve::AsGiven => false,
        Resolve::Always => true,
        Resolve::Changed if !same => true,
        Resolve::Changed | Resolve::Never => {
            if same {
                new.image.clone_from(&was.image);
                // They came with the digest.
                let platforms = before.placement.as_ref().map(|p| p.platforms.clone()).filter(|p| !p.is_empty());
                if let Some(platforms) = platforms {
                    spec.task_template.placement.get_or_insert_default().platforms = platforms;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_further_deploy_restarts_nothing_by_itself() {
        let old: Service = wire::engine::lenient::from_value(json!({"Spec": {
            "Labels": {LABEL_IMAGE: "x:1"}, "TaskTemplate": {"ForceUpdate": 3, "ContainerSpec": {"Image": "x:1@sha256:abc"}}
        }}))
        .unwrap();
        let table = [
            ("x:1", Resolve::Never, "x:1@sha256:abc", false),
            ("x:2", Resolve::Never, "x:2", false),
            ("x:1", Resolve::Changed, "x:1@sha256:abc", false),
            ("x:2", Resolve::Changed, "x:2", true),
            ("x:1", Resolve::Always, "x:1", true),
            ("x:1@sha256:old", Resolve::AsGiven, "x:1@sha256:old", false),
        ];
        for (image, resolve, wanted, asks) in table {
            let mut spec: ServiceSpec =
                wire::engine::lenient::from_value(json!({"TaskTemplate": {"ContainerSpec": {"Image": image}}}))
                    .unwrap();
            assert_eq!(keep(&mut spec, &old, resolve), asks, "{image} {resolve:?}");
            assert_eq!(spec.task_template.container_spec.unwrap().image, wanted, "{image} {resolve:?}");
            assert_eq!(spec.task_template.force_update, 3);
        }
    }
}
