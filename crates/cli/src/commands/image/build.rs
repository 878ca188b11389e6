//! `build`: the context is packed here, without what `.dockerignore` names, and sent to the engine's classic builder.
mod context;

use super::progress::{To, show};
use crate::Ctx;
use crate::commands::Done;
use crate::commands::container::flags::ulimit;
use crate::spec::units;
use crate::terminal::say_line;
use clap::Args;
use context::{Context, Source};
use std::collections::BTreeMap;
use wire::engine::container::Ulimit;

/// Build an image from a Dockerfile.
#[derive(Args)]
#[command(override_usage = "build [OPTIONS] PATH | URL | -")]
pub(crate) struct Build {
    /// Add a custom host-to-IP mapping ("host:ip")
    #[arg(long)]
    add_host: Vec<String>,
    /// Set build-time variables
    #[arg(long)]
    build_arg: Vec<String>,
    /// Images to consider as cache sources
    #[arg(long)]
    cache_from: Vec<String>,
    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long)]
    cgroup_parent: Option<String>,
    /// Limit the CPU CFS (Completely Fair Scheduler) period
    #[arg(long)]
    cpu_period: Option<i64>,
    /// Limit the CPU CFS (Completely Fair Scheduler) quota
    #[arg(long)]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long)]
    cpu_shares: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Name of the Dockerfile (Default is "PATH/Dockerfile")
    #[arg(short, long)]
    file: Option<String>,
    /// Always remove intermediate containers
    #[arg(long)]
    force_rm: bool,
    /// Write the image ID to the file
    #[arg(long)]
    iidfile: Option<std::path::PathBuf>,
    /// Set metadata for an image
    #[arg(long)]
    label: Vec<String>,
    /// Memory limit
    #[arg(short, long, value_parser = units::bytes)]
    memory: Option<i64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_parser = units::bytes_or_unlimited, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Set the networking mode for the RUN instructions during build
    #[arg(long, default_value = "default")]
    network: String,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    platform: Option<String>,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pull: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    quiet: bool,
    /// Remove intermediate containers after a successful build
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    rm: bool,
    /// Security options
    #[arg(long)]
    security_opt: Vec<String>,
    /// Size of "/dev/shm"
    #[arg(long, value_parser = units::bytes)]
    shm_size: Option<i64>,
    /// Squash newly built layers into a single new layer
    #[arg(long)]
    squash: bool,
    /// Name and optionally a tag in the "name:tag" format
    #[arg(short, long)]
    tag: Vec<String>,
    /// Set the target build stage to build
    #[arg(long)]
    target: Option<String>,
    /// Ulimit options
    #[arg(long, value_parser = ulimit)]
    ulimit: Vec<Ulimit>,
    /// Directory, archive or URL; - is stdin
    context: String,
}

impl Build {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let source = Source::of(&self.context, self.file.as_deref())?;
        let arguments: BTreeMap<&str, Option<String>> =
            self.build_arg.iter().map(|a| value_or_environment(a)).collect();
        let labels: BTreeMap<&str, &str> = self.label.iter().map(|l| l.split_once('=').unwrap_or((l, ""))).collect();
        let number = |n: Option<i64>| n.unwrap_or_default();
        let mut call = ctx
            .client
            .post("/build")
            .query("buildargs", serde_json::to_string(&arguments)?)
            .query("labels", serde_json::to_string(&labels)?)
            .query("cachefrom", serde_json::to_string(&self.cache_from)?)
            .query("ulimits", serde_json::to_string(&self.ulimit)?)
            .query("securityopt", serde_json::to_string(&self.security_opt)?)
            .query("networkmode", &self.network)
            .query("cpuperiod", number(self.cpu_period))
            .query("cpuquota", number(self.cpu_quota))
            .query("cpushares", number(self.cpu_shares))
            .query("memory", number(self.memory))
            .query("memswap", number(self.memory_swap))
            .query("shmsize", number(self.shm_size))
            .query("rm", u8::from(self.rm))
            .query("forcerm", u8::from(self.force_rm))
            .flag("nocache", self.no_cache)
            .flag("pull", self.pull)
            .flag("q", self.quiet)
            .flag("squash", self.squash)
            .text("cgroupparent", self.cgroup_parent.as_deref().unwrap_or_default())
            .text("cpusetcpus", self.cpuset_cpus.as_deref().unwrap_or_default())
            .text("cpusetmems", self.cpuset_mems.as_deref().unwrap_or_default())
            .text("platform", self.platform.as_deref().unwrap_or_default())
            .text("target", self.target.as_deref().unwrap_or_default());
        for tag in &self.tag {
            call = call.query("t", tag);
        }
        for host in &self.add_host {
            call = call.query("extrahosts", host);
        }
        if let Some(config) = ctx.config.auth_headers() {
            call = call.header("x-registry-config", &config);
        }
        let Context { remote, dockerfile, pieces } = source.open()?;
        call = call.text("remote", &remote).text("dockerfile", &dockerfile);
        if let Some(pieces) = pieces {
            call = call.tar(pieces);
        }
        let mut id = String::new();
        let lines =
            futures::StreamExt::map(call.values().await?, |line: anyhow::Result<wire::engine::progress::Progress>| {
                if let Ok(line) = &line {
                    let aux = line.aux.as_ref().and_then(|a| a.get("ID")).and_then(|i| i.as_str());
                    let told = aux.or_else(|| Some(line.stream.trim()).filter(|s| s.starts_with("sha256:")));
                    if let Some(told) = told {
                        told.clone_into(&mut id);
                    }
                }
                line
            });
        show(lines, if self.quiet { To::Nowhere } else { To::Stdout }).await?;
        if self.quiet {
            say_line(&id);
        }
        if let Some(path) = &self.iidfile {
            std::fs::write(path, &id).map_err(|e| anyhow::anyhow!("write {}: {e}", path.display()))?;
        }
        Ok(())
    }
}

/// `NAME=value`, or `NAME` with the value that this process has of it.
fn value_or_environment(text: &str) -> (&str, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, std::env::var(text).ok()),
    }
}
