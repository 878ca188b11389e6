//! `service create`.
use super::flags::{Settings, host_entry};
use super::progress::converge;
use super::references::{Use, configs, secrets};
use crate::Ctx;
use crate::commands::container::create::with_tag;
use crate::commands::container::flags::ulimit;
use crate::commands::{Done, auth};
use crate::spec::network::Attachment;
use crate::spec::{env, mount, pairs, port};
use crate::terminal::{say_line, tell};
use clap::Args;
use wire::engine::Empty;
use wire::engine::container::Ulimit;
use wire::engine::mount::Mount;
use wire::engine::service::{
    ContainerSpec, DiscreteResource, DnsConfig, EndpointSpec, GenericResource, NamedResource, Placement,
    PlacementPreference, PortConfig, ReplicatedJob, ReplicatedService, ServiceCreated, ServiceMode, ServiceSpec,
    SpreadOver, TaskSpec,
};

/// Create a new service.
#[derive(Args)]
#[command(override_usage = "create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Create {
    #[command(flatten)]
    settings: Settings,
    /// Add Linux capabilities
    #[arg(long)]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long)]
    cap_drop: Vec<String>,
    /// Specify configurations to expose to the service
    #[arg(long)]
    config: Vec<Use>,
    /// Placement constraints
    #[arg(long)]
    constraint: Vec<String>,
    /// Container labels
    #[arg(long)]
    container_label: Vec<String>,
    /// Set custom DNS servers
    #[arg(long)]
    dns: Vec<String>,
    /// Set DNS options
    #[arg(long)]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long)]
    dns_search: Vec<String>,
    /// Set environment variables
    #[arg(short, long)]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long)]
    env_file: Vec<String>,
    /// User defined resources
    #[arg(long)]
    generic_resource: Vec<String>,
    /// Set one or more supplementary user groups for the container
    #[arg(long)]
    group: Vec<String>,
    /// Set one or more custom host-to-IP mappings (host:ip)
    #[arg(long)]
    host: Vec<String>,
    /// Service labels
    #[arg(short, long)]
    label: Vec<String>,
    /// Service mode ("replicated", "global", "replicated-job", "global-job")
    #[arg(long, default_value = "replicated")]
    mode: String,
    /// Attach a filesystem mount to the service
    #[arg(long, value_parser = mount::mount)]
    mount: Vec<Mount>,
    /// Service name
    #[arg(long)]
    name: Option<String>,
    /// Network attachments
    #[arg(long)]
    network: Vec<Attachment>,
    /// Add a placement preference
    #[arg(long)]
    placement_pref: Vec<String>,
    /// Publish a port as a node port
    #[arg(short, long, value_parser = port::service)]
    publish: Vec<Vec<PortConfig>>,
    /// Specify secrets to expose to the service
    #[arg(long)]
    secret: Vec<Use>,
    /// Sysctl options
    #[arg(long)]
    sysctl: Vec<String>,
    /// Ulimit options
    #[arg(long, value_parser = ulimit)]
    ulimit: Vec<Ulimit>,
    /// Image, command and its arguments
    #[arg(required = true, trailing_var_arg = true, num_args = 1.., value_name = "IMAGE [COMMAND] [ARG...]")]
    words: Vec<String>,
}

/// `spread=node.labels.zone`.
pub(super) fn preference(text: &str) -> anyhow::Result<PlacementPreference> {
    match text.split_once('=') {
        Some(("spread", over)) => {
            Ok(PlacementPreference { spread: Some(SpreadOver { spread_descriptor: over.to_owned() }) })
        }
        Some((other, _)) => anyhow::bail!("unsupported placement preference \"{other}\" (only spread is supported)"),
        None => anyhow::bail!("placement preference must be of the format \"<strategy>=<arg>\""),
    }
}

fn resource(text: &str) -> anyhow::Result<GenericResource> {
    let (kind, value) =
        text.split_once('=').ok_or_else(|| anyhow::anyhow!("invalid generic-resource `{text}`: must be kind=value"))?;
    let kind = kind.to_owned();
    Ok(match value.parse() {
        Ok(value) => GenericResource { discrete: Some(DiscreteResource { kind, value }), named: None },
        Err(_) => GenericResource { named: Some(NamedResource { kind, value: value.to_owned() }), discrete: None },
    })
}

impl Create {
    /// The request, without secrets and configs.
    fn spec(&self) -> anyhow::Result<ServiceSpec> {
        let mode = match self.mode.as_str() {
            "replicated" => {
                ServiceMode { replicated: Some(ReplicatedService { replicas: Some(1) }), ..ServiceMode::default() }
            }
            "global" => ServiceMode { global: Some(Empty {}), ..ServiceMode::default() },
            "replicated-job" => ServiceMode {
                replicated_job: Some(ReplicatedJob { max_concurrent: Some(1), total_completions: Some(1) }),
                ..ServiceMode::default()
            },
            "global-job" => ServiceMode { global_job: Some(Empty {}), ..ServiceMode::default() },
            other => anyhow::bail!("Unknown mode: {other}, only replicated and global supported"),
        };
        let dns = DnsConfig {
            nameservers: self.dns.clone(),
            search: self.dns_search.clone(),
            options: self.dns_option.clone(),
        };
        let container = ContainerSpec {
            image: with_tag(&self.words[0]),
            args: self.words[1..].to_vec(),
            labels: pairs::map(&self.container_label),
            env: env::environment(&self.env, &self.env_file, &|k| std::env::var(k).ok())?,
            groups: self.group.clone(),
            mounts: self.mount.clone(),
            hosts: self.host.iter().map(|h| host_entry(h)).collect(),
            dns_config: (dns != DnsConfig::default()).then_some(dns),
            sysctls: pairs::map(&self.sysctl),
            capability_add: self.cap_add.clone(),
            capability_drop: self.cap_drop.clone(),
            ulimits: self.ulimit.clone(),
            ..ContainerSpec::default()
        };
        let placement = Placement {
            constraints: self.constraint.clone(),
            preferences: self.placement_pref.iter().map(|p| preference(p)).collect::<anyhow::Result<_>>()?,
            ..Placement::default()
        };
        let ports: Vec<PortConfig> = self.publish.concat();
        let mut spec = ServiceSpec {
            name: self.name.clone().unwrap_or_default(),
            labels: pairs::map(&self.label),
            task_template: TaskSpec {
                container_spec: Some(container),
                placement: (placement != Placement::default()).then_some(placement),
                networks: self.network.iter().map(Attachment::config).collect(),
                ..TaskSpec::default()
            },
            mode,
            endpoint_spec: (!ports.is_empty()).then(|| EndpointSpec { ports, ..EndpointSpec::default() }),
            ..ServiceSpec::default()
        };
        self.settings.apply(&mut spec)?;
        if !self.generic_resource.is_empty() {
            let reserved = spec.task_template.resources.get_or_insert_default().reservations.get_or_insert_default();
            reserved.generic_resources =
                self.generic_resource.iter().map(|r| resource(r)).collect::<anyhow::Result<_>>()?;
        }
        Ok(spec)
    }

    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut spec = self.spec()?;
        if let Some(c) = &mut spec.task_template.container_spec {
            c.secrets = secrets(ctx, &self.secret).await?;
            c.configs = configs(ctx, &self.config).await?;
        }
        for network in &mut spec.task_template.networks {
            network.target = super::network_id(ctx, &network.target).await?;
        }
        let auth = if self.settings.with_registry_auth { auth::header_for(ctx, &self.words[0]) } else { None };
        if !self.settings.no_resolve_image {
            super::pin::pin_or_tell(ctx, &mut spec.task_template).await;
        }
        let mut call = ctx.client.post("/services/create");
        if let Some(auth) = auth {
            call = call.header("x-registry-auth", &auth);
        }
        let made: ServiceCreated = call.json(&spec)?.read().await?;
        made.warnings.unwrap_or_default().iter().for_each(|w| tell(w));
        say_line(&made.id);
        if self.settings.detach {
            return Ok(());
        }
        converge(ctx, &made.id, self.settings.quiet).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn spec(line: &str) -> anyhow::Result<serde_json::Value> {
        let words = crate::spec::words::split(line).unwrap();
        let command = crate::tune(Create::augment_args(Command::new("create").no_binary_name(true)));
        let create = Create::from_arg_matches(&command.try_get_matches_from(words)?)?;
        Ok(serde_json::to_value(create.spec()?)?)
    }

    #[test]
    fn flags_become_the_request() {
        let c = "/TaskTemplate/ContainerSpec";
        let table = [
            ("--name w --replicas 5 x", "/Mode".into(), r#"{"Replicated":{"Replicas":5}}"#),
            ("x sh -c 'a b'", format!("{c}/Args"), r#"["sh","-c","a b"]"#),
            ("x", format!("{c}/Image"), r#""x:latest""#),
            ("--mode global x", "/Mode".into(), r#"{"Global":{}}"#),
            (
                "--mode replicated-job --replicas 2 x",
                "/Mode".into(),
                r#"{"ReplicatedJob":{"MaxConcurrent":1,"TotalCompletions":2}}"#,
            ),
            (
                "-p 4000:8080 x",
                "/EndpointSpec/Ports".into(),
                r#"[{"Protocol":"tcp","PublishMode":"ingress","PublishedPort":4000,"TargetPort":8080}]"#,
            ),
            ("--endpoint-mode dnsrr --network n x", "/EndpointSpec".into(), r#"{"Mode":"dnsrr"}"#),
            ("--network name=n,alias=a x", "/TaskTemplate/Networks".into(), r#"[{"Aliases":["a"],"Target":"n"}]"#),
            (
                "--constraint node.role==manager x",
                "/TaskTemplate/Placement".into(),
                r#"{"Constraints":["node.role==manager"]}"#,
            ),
            (
                "--limit-cpu 0.5 --limit-memory 64m --reserve-memory 8m x",
                "/TaskTemplate/Resources".into(),
                r#"{"Limits":{"MemoryBytes":67108864,"NanoCPUs":500000000},"Reservations":{"MemoryBytes":8388608}}"#,
            ),
            (
                "--restart-condition on-failure --restart-delay 1s x",
                "/TaskTemplate/RestartPolicy".into(),
                r#"{"Condition":"on-failure","Delay":1000000000}"#,
            ),
            ("--update-parallelism 2 x", "/UpdateConfig/Parallelism".into(), "2"),
            ("--update-order start-first x", "/UpdateConfig/Parallelism".into(), "1"),
            (
                "--health-cmd 'test -f /x' --health-interval 1s x",
                format!("{c}/Healthcheck"),
                r#"{"Interval":1000000000,"Test":["CMD-SHELL","test -f /x"]}"#,
            ),
            ("--hostname '{{.Service.Name}}' x", format!("{c}/Hostname"), r#""{{.Service.Name}}""#),
            ("--stop-grace-period 1s x", format!("{c}/StopGracePeriod"), "1000000000"),
            ("--host db:10.0.0.1 x", format!("{c}/Hosts"), r#"["10.0.0.1 db"]"#),
            (
                "--placement-pref spread=node.labels.z x",
                "/TaskTemplate/Placement/Preferences".into(),
                r#"[{"Spread":{"SpreadDescriptor":"node.labels.z"}}]"#,
            ),
        ];
        for (line, pointer, wanted) in table {
            let got = spec(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let got = got.pointer(&pointer).unwrap_or_else(|| panic!("{line}: no {pointer} in {got}"));
            assert_eq!(got.to_string(), wanted, "{line}");
        }
        for line in [
            "",
            "--mode x y",
            "--mode global --replicas 2 x",
            "--max-concurrent 2 x",
            "--placement-pref pack=x y",
            "-p 1.2.3.4:1:1 x",
            "--nope x",
        ] {
            assert!(spec(line).is_err(), "{line}");
        }
    }
}
