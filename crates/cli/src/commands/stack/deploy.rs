//! `stack deploy`: networks, secrets, configs, then services; then it waits until all of it runs.
use super::files::load;
use super::{ComposeFiles, check_name, objects, of_stack, wait};
use crate::Ctx;
use crate::commands::{Done, auth};
use crate::terminal::{say_line, tell};
use clap::Args;
use compose::{LABEL_IMAGE, Stack};
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
    #[arg(long, default_value = "never")]
    resolve_image: String,
    /// Send registry authentication details to Swarm agents
    #[arg(long)]
    with_registry_auth: bool,
    stack: String,
}

impl Deploy {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        check_name(&self.stack)?;
        anyhow::ensure!(
            ["always", "changed", "never"].contains(&self.resolve_image.as_str()),
            "Invalid option {} for flag --resolve-image",
            self.resolve_image
        );
        anyhow::ensure!(!self.files.compose_file.is_empty(), "Please specify a Compose file (with --compose-file)");
        let stack = load(&self.files, &self.stack)?;
        stack.warnings.iter().for_each(|w| tell(w));
        let info: Info = ctx.client.get("/info").read().await?;
        anyhow::ensure!(
            info.swarm.control_available,
            "this node is not a swarm manager. Use \"{0} swarm init\" or \"{0} swarm join\" to connect this node to swarm and try again",
            ctx.name
        );
        let there: Vec<Service> = ctx.client.get("/services").filters(&of_stack(&self.stack)).read().await?;
        if self.prune {
            self.prune(ctx, &stack, &there).await?;
        }
        let known = objects::make(ctx, &stack).await?;
        let there: BTreeMap<&str, &Service> = there.iter().map(|s| (s.spec.name.as_str(), s)).collect();
        let mut deployed = Vec::new();
        for service in stack.services.values() {
            let spec = service_spec_out(&service.resolve(&known).map_err(anyhow::Error::msg)?);
            let name = spec.name.clone();
            let id = match there.get(name.as_str()) {
                Some(old) => self.update(ctx, old, spec).await,
                None => self.create(ctx, &spec).await,
            };
            deployed.push((id?, name));
        }
        if self.detach {
            return Ok(());
        }
        wait::all(ctx, &deployed, self.quiet).await
    }

    async fn prune(&self, ctx: &Ctx, stack: &Stack, there: &[Service]) -> Done {
        for old in there {
            if !stack.services.values().any(|s| s.spec.name == old.spec.name) {
                say_line(&format!("Removing service {}", old.spec.name));
                ctx.client.delete(format!("/services/{}", old.id)).done().await?;
            }
        }
        Ok(())
    }

    async fn create(&self, ctx: &Ctx, spec: &ServiceSpec) -> anyhow::Result<String> {
        say_line(&format!("Creating service {}", spec.name));
        let mut call = ctx.client.post("/services/create");
        if let Some(auth) = self.auth(spec) {
            call = call.header("x-registry-auth", &auth);
        }
        let made: anyhow::Result<ServiceCreated> = call.json(spec)?.read().await;
        let made = made.map_err(|e| e.context(format!("failed to create service {}", spec.name)))?;
        made.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
        Ok(made.id)
    }

    async fn update(&self, ctx: &Ctx, old: &Service, mut spec: ServiceSpec) -> anyhow::Result<String> {
        say_line(&format!("Updating service {} (id: {})", spec.name, old.id));
        let auth = self.auth(&spec);
        keep(&mut spec, old);
        let mut call = ctx.client.post(format!("/services/{}/update", old.id)).query("version", old.version.index);
        call = match auth {
            Some(auth) => call.header("x-registry-auth", &auth),
            None => call.query("registryAuthFrom", "spec"),
        };
        let done: anyhow::Result<ServiceUpdated> = call.json(&spec)?.read().await;
        let done = done.map_err(|e| e.context(format!("failed to update service {}", spec.name)))?;
        done.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
        Ok(old.id.clone())
    }

    fn auth(&self, spec: &ServiceSpec) -> Option<String> {
        let image = &spec.task_template.container_spec.as_ref()?.image;
        auth::header_for(image).filter(|_| self.with_registry_auth)
    }
}

/// What a further deploy leaves as it is: the resolved image if the file names the same one, and the force counter,
/// because a change of either would restart every task.
fn keep(spec: &mut ServiceSpec, old: &Service) {
    let before = &old.spec.task_template;
    spec.task_template.force_update = before.force_update;
    if let (Some(new), Some(was)) = (&mut spec.task_template.container_spec, &before.container_spec)
        && old.spec.labels.get(LABEL_IMAGE) == Some(&new.image)
    {
        new.image.clone_from(&was.image);
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
        let spec = |image: &str| -> ServiceSpec {
            let mut spec =
                wire::engine::lenient::from_value(json!({"TaskTemplate": {"ContainerSpec": {"Image": image}}}))
                    .unwrap();
            keep(&mut spec, &old);
            spec
        };
        let image = |s: &ServiceSpec| s.task_template.container_spec.as_ref().unwrap().image.clone();
        assert_eq!(image(&spec("x:1")), "x:1@sha256:abc");
        assert_eq!(image(&spec("x:2")), "x:2");
        assert_eq!(spec("x:1").task_template.force_update, 3);
    }
}
