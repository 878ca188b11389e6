//! Everything about one container, in Docker's JSON.
use super::{Container, Containers, record::Record};
use std::sync::atomic::Ordering;
use wire::Refusal;
use wire::engine::container::*;
use wire::engine::network::EndpointSettings;

impl Containers {
    /// `docker inspect`.
    ///
    /// # Errors
    /// 404.
    pub async fn inspect(&self, id: &str, size: bool) -> Result<ContainerInspect, Refusal> {
        let c = self.find(id)?;
        // Its processes are gone, and what it had is being given back: it is not shown as running any more.
        if c.ending.load(Ordering::Relaxed) {
            drop(c.gate.lock().await);
        }
        let r = c.record.read().clone();
        let sizes = if size { self.inner.base.images.rootfs_size(&c.id).await.ok() } else { None };
        let dir = Record::dir(&self.inner.base.dir, &r.id);
        let file = |name: &str| dir.join(name).display().to_string();
        let log = self.log_config(&r);
        let mut host_config = r.host_config.clone();
        host_config.links = self.shown_links(&r);
        let mut networks = r.networks.clone();
        self.name_swarm_networks(&mut networks);
        let main = networks.get("bridge").cloned().unwrap_or_default();
        let up = r.state.status.is_up();
        let sandbox = self.inner.base.exec_dir.join("netns").join(r.short_id());
        Ok(ContainerInspect {
            id: r.id.clone(),
            created: r.created.into(),
            path: r.argv.first().cloned().unwrap_or_default(),
            args: r.argv.iter().skip(1).cloned().collect(),
            state: state(&r),
            image: r.image_id.clone(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path: if log.driver == runtime::LogDriver::JsonFile {
                log.path.display().to_string()
            } else {
                String::new()
            },
            name: format!("/{}", r.name),
            restart_count: r.restart_count,
            driver: "overlay2".into(),
            platform: "linux".into(),
            exec_ids: Some(self.running_execs(&c)).filter(|e| !e.is_empty()),
            graph_driver: self.graph_driver(&r).await,
            size_rw: sizes.map(|(rw, _)| rw as i64),
            size_root_fs: sizes.map(|(_, all)| all as i64),
            mounts: r.mounts.iter().filter(|m| !m.hidden).map(|m| m.point.clone()).collect(),
            network_settings: NetworkSettings {
                sandbox_id: if up { r.id.clone() } else { String::new() },
                sandbox_key: if up && sandbox.exists() { sandbox.display().to_string() } else { String::new() },
                ports: r.bound_ports.clone(),
                endpoint_id: main.endpoint_id,
                gateway: main.gateway,
                global_ipv6_address: main.global_ipv6_address,
                global_ipv6_prefix_len: main.global_ipv6_prefix_len,
                ip_address: main.ip_address,
                ip_prefix_len: main.ip_prefix_len,
                ipv6_gateway: main.ipv6_gateway,
                mac_address: main.mac_address,
                networks,
                ..NetworkSettings::default()
            },
            host_config,
            config: r.config,
            ..ContainerInspect::default()
        })
    }

    /// Local networks know their ids before the container starts.
    pub(super) fn name_swarm_networks(&self, networks: &mut std::collections::BTreeMap<String, EndpointSettings>) {
        for (name, e) in networks.iter_mut().filter(|(_, e)| e.network_id.is_empty()) {
            if let Ok(n) = self.inner.base.networks.local(name) {
                e.network_id = n.id.clone();
            }
        }
    }

    async fn graph_driver(&self, r: &Record) -> DriverData {
        let Ok(places) = self.inner.base.images.rootfs_places(&r.id).await else {
            return DriverData { data: None, name: "overlay2".into() };
        };
        let lower: Vec<String> = places.lower.iter().map(|dir| dir.display().to_string()).collect();
        let one = |name: &str, dir: &std::path::Path| (name.to_owned(), dir.display().to_string());
        let data = [
            ("LowerDir".to_owned(), lower.join(":")),
            one("MergedDir", &places.merged),
            one("UpperDir", &places.upper),
            one("WorkDir", &places.work),
        ];
        DriverData { data: Some(data.into()), name: "overlay2".into() }
    }

    /// One container's healths and times in words, as `docker ps` shows them.
    pub(super) fn status_words(c: &Container) -> String {
        let r = c.record.read();
        let now = super::now();
        let s = &r.state;
        match s.status {
            super::Status::Created => "Created".into(),
            super::Status::Running | super::Status::Paused => {
                let mut text = format!("Up {}", ago(now.since(s.started_at)));
                if s.status == super::Status::Paused {
                    text.push_str(" (Paused)");
                } else if let Some(h) = &s.health {
                    text.push_str(match h.status.as_str() {
                        "starting" => " (health: starting)",
                        "healthy" => " (healthy)",
                        _ => " (unhealthy)",
                    });
                }
                text
            }
            super::Status::Restarting => format!("Restarting ({}) {} ago", s.exit_code, ago(now.since(s.finished_at))),
            super::Status::Removing => "Removal In Progress".into(),
            super::Status::Dead => "Dead".into(),
            super::Status::Exited => format!("Exited ({}) {} ago", s.exit_code, ago(now.since(s.finished_at))),
        }
    }
}

fn state(r: &Record) -> ContainerState {
    let s = &r.state;
    ContainerState {
        status: s.status.as_str().into(),
        running: s.status.is_up() || s.status == super::Status::Restarting,
        paused: s.status == super::Status::Paused,
        restarting: s.status == super::Status::Restarting,
        oom_killed: s.oom_killed,
        dead: s.status == super::Status::Dead,
        pid: s.pid,
        exit_code: s.exit_code,
        error: s.error.clone(),
        started_at: s.started_at.into(),
        finished_at: s.finished_at.into(),
        health: s.health.clone(),
    }
}

/// Docker's words for a time span (`units.HumanDuration`).
pub(super) fn ago(d: std::time::Duration) -> String {
    let secs = d.as_secs();
    let (mins, hours) = (secs / 60, (d.as_secs_f64() / 3600.0).round() as u64);
    match () {
        () if secs < 1 => "Less than a second".into(),
        () if secs == 1 => "1 second".into(),
        () if secs < 60 => format!("{secs} seconds"),
        () if mins == 1 => "About a minute".into(),
        () if mins < 60 => format!("{mins} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", secs / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn times_are_told_in_dockers_words() {
        for (secs, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(super::ago(Duration::from_secs(secs)), words);
        }
    }
}
