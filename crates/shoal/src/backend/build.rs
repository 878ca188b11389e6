//! `POST /build`: the query's words become a request.
use super::images::{credentials, parse};
use api::backend::BuildQuery;
use images::Platform;
use node::build::BuildRequest;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use wire::Refusal;
use wire::engine::container::HostConfig;
use wire::engine::lenient;

struct Words<'a>(&'a BTreeMap<String, Vec<String>>);

impl Words<'_> {
    fn all(&self, name: &str) -> Vec<String> {
        let all = self.0.get(name).cloned().unwrap_or_default();
        all.into_iter().filter(|v| !v.trim().is_empty()).collect()
    }
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(|v| v.first()).map_or("", |v| v.trim())
    }
    fn flag(&self, name: &str) -> bool {
        !matches!(self.text(name).to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }
    fn number(&self, name: &str) -> Result<i64, Refusal> {
        match self.text(name) {
            "" => Ok(0),
            text => text.parse().map_err(|_| Refusal::invalid(format!("{name}: {text:?} is not a number"))),
        }
    }
    fn json<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Refusal> {
        match self.text(name) {
            "" => Ok(T::default()),
            text => {
                let value: Option<T> = lenient::from_slice(text.as_bytes())
                    .map_err(|e| Refusal::invalid(format!("error reading {name}: {e}")))?;
                Ok(value.unwrap_or_default())
            }
        }
    }
}

pub(super) fn request(query: BuildQuery) -> Result<BuildRequest, Refusal> {
    let words = Words(&query.parameters);
    let remote = words.text("remote").to_owned();
    check_remote(&remote)?;
    for (name, why) in [("outputs", "custom build outputs (--output)"), ("cacheto", "exporting the build cache")] {
        if !matches!(words.text(name), "" | "[]" | "null") {
            return Err(Refusal::invalid(format!("{why} requires BuildKit, which this engine does not have")));
        }
    }
    if !matches!(words.text("isolation"), "" | "default") {
        return Err(Refusal::invalid(format!("unsupported isolation: {:?}", words.text("isolation"))));
    }
    let platform = match words.text("platform") {
        "" => None,
        text => {
            let unknown =
                || Refusal::invalid(format!("\"{text}\": unknown operating system or architecture: invalid argument"));
            let known = Platform::parse(text)
                .ok()
                .filter(|p| p.os == "linux" && images::ARCHITECTURES.contains(&p.architecture.as_str()));
            Some(known.ok_or_else(unknown)?)
        }
    };
    let request = BuildRequest {
        dockerfile: words.text("dockerfile").to_owned(),
        remote,
        tags: words.all("t").iter().map(|t| tag(t)).collect::<Result<_, _>>()?,
        quiet: words.flag("q"),
        no_cache: words.flag("nocache"),
        pull: words.flag("pull"),
        remove: words.text("rm").is_empty() || words.flag("rm"),
        force_remove: words.flag("forcerm"),
        squash: words.flag("squash"),
        arguments: words.json("buildargs")?,
        labels: words.json("labels")?,
        cache_from: words.json("cachefrom")?,
        target: words.text("target").to_owned(),
        platform,
        host: host_config(&words)?,
        credentials: query.auths.into_iter().map(|(registry, auth)| (registry, credentials(Some(auth)))).collect(),
    };
    node::containers::configure::check(&wire::engine::container::ContainerCreateBody {
        host_config: request.host.clone(),
        ..Default::default()
    })?;
    Ok(request)
}

fn check_remote(remote: &str) -> Result<(), Refusal> {
    let git = ["git://", "git@", "github.com/"].iter().any(|p| remote.starts_with(p))
        || remote.split('#').next().is_some_and(|r| r.ends_with(".git"));
    if git {
        return Err(Refusal::invalid(format!(
            "building from a git repository is not supported: clone {remote} and build from its directory"
        )));
    }
    if remote.is_empty() || remote.starts_with("http://") || remote.starts_with("https://") {
        return Ok(());
    }
    Err(Refusal::invalid(format!("remote context {remote:?} is not supported: send the context with the request")))
}

fn tag(text: &str) -> Result<images::Reference, Refusal> {
    let reference = parse(text)?;
    if reference.digest().is_some() {
        return Err(Refusal::invalid("build tag cannot contain a digest"));
    }
    Ok(reference.or_latest())
}

fn host_config(words: &Words<'_>) -> Result<HostConfig, Refusal> {
    let list = |name: &str| Some(words.all(name)).filter(|l| !l.is_empty());
    Ok(HostConfig {
        network_mode: words.text("networkmode").to_owned(),
        extra_hosts: list("extrahosts"),
        security_opt: words.json("securityopt")?,
        shm_size: words.number("shmsize")?,
        memory: words.number("memory")?,
        memory_swap: words.number("memswap")?,
        cpu_shares: words.number("cpushares")?,
        cpu_period: words.number("cpuperiod")?,
        cpu_quota: words.number("cpuquota")?,
        cpuset_cpus: words.text("cpusetcpus").to_owned(),
        cpuset_mems: words.text("cpusetmems").to_owned(),
        cgroup_parent: words.text("cgroupparent").to_owned(),
        ulimits: words.json("ulimits")?,
        ..HostConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<BuildRequest, Refusal> {
        let mut query = BuildQuery::default();
        for (k, v) in pairs {
            query.parameters.entry((*k).to_owned()).or_default().push((*v).to_owned());
        }
        request(query)
    }

    #[test]
    fn a_query_as_the_docker_cli_sends_it() {
        let r = of(&[
            ("buildargs", "{\"A\":\"1\",\"B\":null}"),
            ("cachefrom", "[]"),
            ("cgroupparent", ""),
            ("cpuperiod", "0"),
            ("dockerfile", "Dockerfile"),
            ("labels", "{}"),
            ("memory", "0"),
            ("networkmode", "default"),
            ("rm", "1"),
            ("shmsize", "0"),
            ("t", "a:1"),
            ("t", "b"),
            ("ulimits", "null"),
            ("extrahosts", "x:1.2.3.4"),
            ("version", "1"),
        ])
        .unwrap();
        assert_eq!(r.arguments["A"].as_deref(), Some("1"));
        assert_eq!(r.arguments["B"], None);
        assert_eq!(r.tags.iter().map(|t| t.familiar()).collect::<Vec<_>>(), ["a:1", "b:latest"]);
        assert!(r.remove && !r.force_remove && !r.quiet && r.cache_from.is_empty());
        assert_eq!(r.host.extra_hosts.as_deref(), Some(&["x:1.2.3.4".to_owned()][..]));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (name, value, words) in [
            ("remote", "https://host/a.git#main", "git repository"),
            ("remote", "client-session", "client-session"),
            ("outputs", "[{\"Type\":\"local\"}]", "--output"),
            ("platform", "foobar", "unknown operating system"),
            ("platform", "windows/amd64", "unknown operating system"),
            ("isolation", "hyperv", "isolation"),
            ("t", "A:1", "must be lowercase"),
            ("memory", "much", "memory"),
            ("memory", "1", "memory limit"),
            ("buildargs", "[1", "buildargs"),
        ] {
            let said = of(&[(name, value)]).unwrap_err().message;
            assert!(said.contains(words), "{name}={value}: {said}");
        }
    }
}
