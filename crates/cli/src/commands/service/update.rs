//! `service update` and `service rollback`.
use super::flags::{Settings, host_entry};
use super::progress::converge;
use super::references::{Use, configs, secrets};
use crate::Ctx;
use crate::commands::container::create::with_tag;
use crate::commands::container::flags::ulimit;
use crate::commands::{Done, auth};
use crate::spec::network::Attachment;
use crate::spec::{env, mount, pairs, port, words};
use crate::terminal::{say_line, tell};
use clap::Args;
use std::collections::BTreeMap;
use wire::engine::container::Ulimit;
use wire::engine::mount::Mount;
use wire::engine::service::{NetworkAttachmentConfig, PortConfig, Service, ServiceSpec, ServiceUpdated};

/// Update a service.
#[derive(Args)]
pub(crate) struct Update {
    #[command(flatten)]
    settings: Settings,
    /// Service command args
    #[arg(long)]
    args: Option<String>,
    /// Add Linux capabilities
    #[arg(long)]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long)]
    cap_drop: Vec<String>,
    /// Add or update a config file on a service
    #[arg(long)]
    config_add: Vec<Use>,
    /// Remove a configuration file
    #[arg(long)]
    config_rm: Vec<String>,
    /// Add or update a placement constraint
    #[arg(long)]
    constraint_add: Vec<String>,
    /// Remove a constraint
    #[arg(long)]
    constraint_rm: Vec<String>,
    /// Add or update a container label
    #[arg(long)]
    container_label_add: Vec<String>,
    /// Remove a container label by its key
    #[arg(long)]
    container_label_rm: Vec<String>,
    /// Add or update a custom DNS server
    #[arg(long)]
    dns_add: Vec<String>,
    /// Remove a custom DNS server
    #[arg(long)]
    dns_rm: Vec<String>,
    /// Add or update a DNS option
    #[arg(long)]
    dns_option_add: Vec<String>,
    /// Remove a DNS option
    #[arg(long)]
    dns_option_rm: Vec<String>,
    /// Add or update a custom DNS search domain
    #[arg(long)]
    dns_search_add: Vec<String>,
    /// Remove a DNS search domain
    #[arg(long)]
    dns_search_rm: Vec<String>,
    /// Add or update an environment variable
    #[arg(long)]
    env_add: Vec<String>,
    /// Remove an environment variable
    #[arg(long)]
    env_rm: Vec<String>,
    /// Force update even if no changes require it
    #[arg(long)]
    force: bool,
    /// Add an additional supplementary user group to the container
    #[arg(long)]
    group_add: Vec<String>,
    /// Remove a previously added supplementary user group from the container
    #[arg(long)]
    group_rm: Vec<String>,
    /// Add a custom host-to-IP mapping ("host:ip")
    #[arg(long)]
    host_add: Vec<String>,
    /// Remove a custom host-to-IP mapping ("host:ip")
    #[arg(long)]
    host_rm: Vec<String>,
    /// Service image tag
    #[arg(long)]
    image: Option<String>,
    /// Add or update a service label
    #[arg(long)]
    label_add: Vec<String>,
    /// Remove a label by its key
    #[arg(long)]
    label_rm: Vec<String>,
    /// Add or update a mount on a service
    #[arg(long, value_parser = mount::mount)]
    mount_add: Vec<Mount>,
    /// Remove a mount by its target path
    #[arg(long)]
    mount_rm: Vec<String>,
    /// Add a network
    #[arg(long)]
    network_add: Vec<Attachment>,
    /// Remove a network
    #[arg(long)]
    network_rm: Vec<String>,
    /// Add a placement preference
    #[arg(long)]
    placement_pref_add: Vec<String>,
    /// Remove a placement preference
    #[arg(long)]
    placement_pref_rm: Vec<String>,
    /// Add or update a published port
    #[arg(long, value_parser = port::service)]
    publish_add: Vec<Vec<PortConfig>>,
    /// Remove a published port by its target port
    #[arg(long)]
    publish_rm: Vec<String>,
    /// Rollback to previous specification
    #[arg(long)]
    rollback: bool,
    /// Add or update a secret on a service
    #[arg(long)]
    secret_add: Vec<Use>,
    /// Remove a secret
    #[arg(long)]
    secret_rm: Vec<String>,
    /// Add or update a Sysctl option
    #[arg(long)]
    sysctl_add: Vec<String>,
    /// Remove a Sysctl option
    #[arg(long)]
    sysctl_rm: Vec<String>,
    /// Add or update a ulimit option
    #[arg(long, value_parser = ulimit)]
    ulimit_add: Vec<Ulimit>,
    /// Remove a ulimit option
    #[arg(long)]
    ulimit_rm: Vec<String>,
    service: String,
}

/// Removes, then adds what is not there yet.
fn edit(list: &mut Vec<String>, remove: &[String], add: impl IntoIterator<Item = String>) {
    list.retain(|e| !remove.contains(e));
    for entry in add {
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
}

fn edit_map(map: &mut BTreeMap<String, String>, remove: &[String], add: &[String]) {
    map.retain(|k, _| !remove.contains(k));
    map.extend(pairs::map(add));
}

impl Update {
    /// Everything that needs no look at the swarm.
    fn apply(&self, spec: &mut ServiceSpec) -> anyhow::Result<()> {
        self.settings.apply(spec)?;
        edit_map(&mut spec.labels, &self.label_rm, &self.label_add);
        let task = &mut spec.task_template;
        task.force_update += u64::from(self.force);
        let place = !(self.constraint_add.is_empty()
            && self.constraint_rm.is_empty()
            && self.placement_pref_add.is_empty()
            && self.placement_pref_rm.is_empty());
        if place {
            let p = task.placement.get_or_insert_default();
            edit(&mut p.constraints, &self.constraint_rm, self.constraint_add.iter().cloned());
            for text in &self.placement_pref_rm {
                let gone = super::create::preference(text)?;
                p.preferences.retain(|p| *p != gone);
            }
            for text in &self.placement_pref_add {
                p.preferences.push(super::create::preference(text)?);
            }
        }
        let c = task.container_spec.get_or_insert_default();
        if let Some(image) = &self.image {
            c.image = with_tag(image);
        }
        if let Some(text) = &self.args {
            c.args = words::split(text).map_err(anyhow::Error::msg)?;
        }
        let added = env::environment(&self.env_add, &[], &|k| std::env::var(k).ok())?;
        let name = |e: &str| e.split('=').next().unwrap_or_default().to_owned();
        c.env.retain(|e| !self.env_rm.contains(&name(e)) && !added.iter().any(|a| name(a) == name(e)));
        c.env.extend(added);
        edit_map(&mut c.labels, &self.container_label_rm, &self.container_label_add);
        edit_map(&mut c.sysctls, &self.sysctl_rm, &self.sysctl_add);
        edit(&mut c.groups, &self.group_rm, self.group_add.iter().cloned());
        let gone: Vec<String> = self.host_rm.iter().map(|h| host_entry(h)).collect();
        edit(&mut c.hosts, &gone, self.host_add.iter().map(|h| host_entry(h)));
        edit(&mut c.capability_add, &self.cap_drop, self.cap_add.iter().cloned());
        edit(&mut c.capability_drop, &self.cap_add, self.cap_drop.iter().cloned());
        c.mounts.retain(|m| !self.mount_rm.contains(&m.target) && !self.mount_add.iter().any(|a| a.target == m.target));
        c.mounts.extend(self.mount_add.iter().cloned());
        c.ulimits.retain(|u| !self.ulimit_rm.contains(&u.name) && !self.ulimit_add.iter().any(|a| a.name == u.name));
        c.ulimits.extend(self.ulimit_add.iter().cloned());
        let dns = [
            &self.dns_add,
            &self.dns_rm,
            &self.dns_option_add,
            &self.dns_option_rm,
            &self.dns_search_add,
            &self.dns_search_rm,
        ];
        if dns.iter().any(|l| !l.is_empty()) {
            let d = c.dns_config.get_or_insert_default();
            edit(&mut d.nameservers, &self.dns_rm, self.dns_add.iter().cloned());
            edit(&mut d.options, &self.dns_option_rm, self.dns_option_add.iter().cloned());
            edit(&mut d.search, &self.dns_search_rm, self.dns_search_add.iter().cloned());
        }
        self.ports(spec)
    }

    fn ports(&self, spec: &mut ServiceSpec) -> anyhow::Result<()> {
        if self.publish_add.is_empty() && self.publish_rm.is_empty() {
            return Ok(());
        }
        let ports = &mut spec.endpoint_spec.get_or_insert_default().ports;
        for text in &self.publish_rm {
            let (target, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            // `8080:80` removes by the target too.
            let target = target.rsplit(':').next().unwrap_or(target);
            let target: u32 = target.parse().map_err(|_| anyhow::anyhow!("invalid port: {text}"))?;
            ports.retain(|p| p.target_port != target || p.protocol != protocol);
        }
        for port in self.publish_add.concat() {
            let same = |p: &PortConfig| {
                (p.target_port, &p.protocol, &p.publish_mode, p.published_port)
                    == (port.target_port, &port.protocol, &port.publish_mode, port.published_port)
            };
            if !ports.iter().any(same) {
                ports.push(port);
            }
        }
        Ok(())
    }

    /// Networks are kept by id, and given by name.
    async fn networks(&self, ctx: &Ctx, spec: &mut ServiceSpec) -> Done {
        if self.network_add.is_empty() && self.network_rm.is_empty() {
            return Ok(());
        }
        let id_of = async |name: &str| super::network_id(ctx, name).await;
        let mut networks: Vec<NetworkAttachmentConfig> = std::mem::take(&mut spec.task_template.networks);
        networks.append(&mut spec.networks);
        for name in &self.network_rm {
            let id = id_of(name).await?;
            networks.retain(|n| n.target != id && n.target != *name);
        }
        for wish in &self.network_add {
            let id = id_of(&wish.target).await?;
            anyhow::ensure!(
                !networks.iter().any(|n| n.target == id),
                "service is already attached to network {}",
                wish.target
            );
            networks.push(NetworkAttachmentConfig { target: id, ..wish.config() });
        }
        spec.task_template.networks = networks;
        Ok(())
    }

    async fn files(&self, ctx: &Ctx, spec: &mut ServiceSpec) -> Done {
        let c = spec.task_template.container_spec.get_or_insert_default();
        let added = secrets(ctx, &self.secret_add).await?;
        c.secrets.retain(|s| !self.secret_rm.contains(&s.secret_name) && !added.iter().any(|a| a.file == s.file));
        c.secrets.extend(added);
        let added = configs(ctx, &self.config_add).await?;
        c.configs.retain(|s| !self.config_rm.contains(&s.config_name) && !added.iter().any(|a| a.file == s.file));
        c.configs.extend(added);
        Ok(())
    }

    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        if self.rollback {
            return rollback(ctx, &self.service, self.settings.detach, self.settings.quiet).await;
        }
        let mut service: Service = ctx.client.get(format!("/services/{}", self.service)).read().await?;
        self.apply(&mut service.spec)?;
        self.networks(ctx, &mut service.spec).await?;
        self.files(ctx, &mut service.spec).await?;
        let image = service.spec.task_template.container_spec.as_ref().map(|c| c.image.clone()).unwrap_or_default();
        let auth = if self.settings.with_registry_auth { auth::header_for(ctx, &image) } else { None };
        if self.image.is_some() && !self.settings.no_resolve_image {
            super::pin::pin_or_tell(ctx, &mut service.spec.task_template).await;
        }
        let mut call =
            ctx.client.post(format!("/services/{}/update", service.id)).query("version", service.version.index);
        match auth {
            Some(auth) => call = call.header("x-registry-auth", &auth),
            None => call = call.query("registryAuthFrom", "spec"),
        }
        send(call.json(&service.spec)?).await?;
        say_line(&self.service);
        if self.settings.detach {
            return Ok(());
        }
        converge(ctx, &service.id, self.settings.quiet).await
    }
}

async fn send(call: crate::client::Call<'_>) -> Done {
    let done: ServiceUpdated = call.read().await?;
    done.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
    Ok(())
}

/// Revert changes to a service's configuration.
#[derive(Args)]
pub(crate) struct Rollback {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long)]
    detach: bool,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    service: String,
}

impl Rollback {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        rollback(ctx, &self.service, self.detach, self.quiet).await
    }
}

async fn rollback(ctx: &Ctx, name: &str, detach: bool, quiet: bool) -> Done {
    let service: Service = ctx.client.get(format!("/services/{name}")).read().await?;
    let call = ctx.client.post(format!("/services/{}/update", service.id)).query("version", service.version.index);
    send(call.query("rollback", "previous").json(&service.spec)?).await?;
    say_line(name);
    if detach { Ok(()) } else { converge(ctx, &service.id, quiet).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};
    use serde_json::json;

    fn changed(line: &str) -> serde_json::Value {
        let before = json!({
            "Name": "w", "Labels": {"a": "1"}, "Mode": {"Replicated": {"Replicas": 1}},
            "TaskTemplate": {"ContainerSpec": {"Image": "x:1", "Env": ["A=1", "B=2"], "Mounts": [{"Target": "/d"}]}, "Placement": {"Constraints": ["c==1"]}},
            "EndpointSpec": {"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"}]}
        });
        let mut spec: ServiceSpec = wire::engine::lenient::from_value(before).unwrap();
        let command = crate::tune(Update::augment_args(Command::new("update").no_binary_name(true)));
        let words = crate::spec::words::split(&format!("{line} w")).unwrap();
        let update = Update::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
        update.apply(&mut spec).unwrap();
        serde_json::to_value(spec).unwrap()
    }

    #[test]
    fn flags_change_the_spec() {
        let c = "/TaskTemplate/ContainerSpec";
        let table = [
            ("--env-add A=9 --env-rm B", format!("{c}/Env"), r#"["A=9"]"#),
            ("--image alpine", format!("{c}/Image"), r#""alpine:latest""#),
            ("--args 'sh -c \"exit 9\"'", format!("{c}/Args"), r#"["sh","-c","exit 9"]"#),
            ("--label-add b=2 --label-rm a", "/Labels".into(), r#"{"b":"2"}"#),
            ("--replicas 3", "/Mode/Replicated/Replicas".into(), "3"),
            (
                "--publish-rm 80 --publish-add published=1,target=2",
                "/EndpointSpec/Ports".into(),
                r#"[{"Protocol":"tcp","PublishMode":"ingress","PublishedPort":1,"TargetPort":2}]"#,
            ),
            ("--constraint-rm c==1 --constraint-add d==2", "/TaskTemplate/Placement/Constraints".into(), r#"["d==2"]"#),
            ("--force", "/TaskTemplate/ForceUpdate".into(), "1"),
            (
                "--mount-rm /d --mount-add type=tmpfs,target=/t",
                format!("{c}/Mounts"),
                r#"[{"Target":"/t","Type":"tmpfs"}]"#,
            ),
            ("--update-failure-action rollback", "/UpdateConfig/FailureAction".into(), r#""rollback""#),
            ("--restart-condition none", "/TaskTemplate/RestartPolicy/Condition".into(), r#""none""#),
        ];
        for (line, pointer, wanted) in table {
            let got = changed(line);
            assert_eq!(got.pointer(&pointer).map(|v| v.to_string()).as_deref(), Some(wanted), "{line}: {got}");
        }
    }
}
