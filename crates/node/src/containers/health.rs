//! Health checks: a probe beside each running container that has one.
use super::{Container, Containers, now};
use std::sync::Arc;
use std::time::Duration;
use wire::engine::container::{Health, HealthConfig, HealthcheckResult};

/// Docker's defaults and limits (`daemon/health.go`).
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: i64 = 3;
const LOG_MAX: usize = 5;
const OUTPUT_MAX_BYTES: usize = 4096;

/// The command of a check; `None`: there is none.
fn command(health: &HealthConfig, shell: &[String]) -> Option<Vec<String>> {
    let test = health.test.as_deref().unwrap_or_default();
    match test.first().map(String::as_str) {
        Some("CMD") if test.len() > 1 => Some(test[1..].to_vec()),
        Some("CMD-SHELL") if test.len() > 1 => {
            let shell = if shell.is_empty() { vec!["/bin/sh".into(), "-c".into()] } else { shell.to_vec() };
            Some(shell.into_iter().chain([test[1].clone()]).collect())
        }
        _ => None,
    }
}

fn nanos(n: i64, default: Duration) -> Duration {
    if n > 0 { Duration::from_nanos(n as u64) } else { default }
}

impl Containers {
    /// Begins to probe a container that has just been started (or found running).
    pub(super) fn begin_health(&self, c: &Arc<Container>) {
        let (check, argv) = {
            let r = c.record.read();
            let check = r.config.healthcheck.clone().unwrap_or_default();
            let argv = command(&check, r.config.shell.words());
            (check, argv)
        };
        let Some(argv) = argv else {
            c.health.send_replace(Some(true));
            return;
        };
        c.health.send_replace(None);
        self.set_state(c, |s| {
            s.health.get_or_insert_with(|| Health { status: "starting".into(), ..Health::default() });
        });
        let (all, container) = (self.clone(), c.clone());
        let probe = tokio::spawn(async move { all.probe(&container, check, argv).await });
        if let Some(old) = c.probe.lock().replace(probe) {
            old.abort();
        }
    }

    pub(super) fn end_health(&self, c: &Container) {
        if let Some(probe) = c.probe.lock().take() {
            probe.abort();
        }
        c.health.send_replace(None);
    }

    /// Resolves when the container is healthy (or has no check): `true`; or unhealthy: `false`.
    pub async fn health_settled(&self, id: &str, wanted: bool) {
        let Ok(c) = self.find(id) else { return };
        let mut health = c.health.subscribe();
        let _ = health.wait_for(|h| *h == Some(wanted)).await;
    }

    async fn probe(&self, c: &Arc<Container>, check: HealthConfig, argv: Vec<String>) {
        let interval = nanos(check.interval, INTERVAL);
        let start_interval = nanos(check.start_interval, START_INTERVAL);
        let start_period = nanos(check.start_period, Duration::ZERO);
        let timeout = nanos(check.timeout, TIMEOUT);
        let retries = if check.retries > 0 { check.retries } else { RETRIES };
        let began = tokio::time::Instant::now();
        let mut was_healthy = false;
        loop {
            let starting = !was_healthy && began.elapsed() < start_period;
            tokio::time::sleep(if starting { start_interval.min(interval) } else { interval }).await;
            if c.status() != super::Status::Running {
                continue;
            }
            let result = self.probe_once(c, &argv, timeout).await;
            let ok = result.exit_code == 0;
            was_healthy |= ok;
            let in_grace = !was_healthy && began.elapsed() < start_period;
            let mut changed = None;
            self.set_state(c, |s| {
                let Some(h) = &mut s.health else { return };
                h.log.push(result);
                if h.log.len() > LOG_MAX {
                    h.log.remove(0);
                }
                let before = h.status.clone();
                if ok {
                    h.failing_streak = 0;
                    h.status = "healthy".into();
                } else if !in_grace {
                    h.failing_streak += 1;
                    if h.failing_streak >= retries {
                        h.status = "unhealthy".into();
                    }
                }
                if before != h.status {
                    changed = Some(h.status.clone());
                }
            });
            if let Some(status) = changed {
                c.health.send_replace(Some(status == "healthy"));
                self.tell(c, &format!("health_status: {status}"), &[]);
            }
        }
    }

    async fn probe_once(&self, c: &Arc<Container>, argv: &[String], timeout: Duration) -> HealthcheckResult {
        let start = now();
        let spec = runtime::ExecSpec { args: argv.to_vec(), ..runtime::ExecSpec::default() };
        let runtime = &self.inner.base.runtime;
        // Events of a process that nobody can inspect, as dockerd tells them.
        let (id, text) = (crate::clock::random_id(), argv.join(" "));
        self.tell(c, &format!("exec_create: {text}"), &[("execID", &id)]);
        self.tell(c, &format!("exec_start: {text}"), &[("execID", &id)]);
        let (exit_code, output) = match runtime.exec(&c.id, spec).await {
            Err(e) => (i64::from(e.exit_code), e.message),
            Ok(mut handle) => {
                let mut output = Vec::new();
                let run = async {
                    while let Some((_, chunk)) = handle.io.output.recv().await {
                        let room = OUTPUT_MAX_BYTES.saturating_sub(output.len());
                        output.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    }
                    i64::from(handle.exit.wait().await.code)
                };
                match tokio::time::timeout(timeout, run).await {
                    Ok(code) => (code, String::from_utf8_lossy(&output).into_owned()),
                    Err(_) => {
                        let _ = runtime.exec_signal(&c.id, &handle.exec_id, super::signals::KILL).await;
                        (-1, format!("Health check exceeded timeout ({timeout:?})"))
                    }
                }
            }
        };
        let code = if exit_code < 0 { 128 + i64::from(super::signals::KILL) } else { exit_code };
        self.tell(c, "exec_die", &[("execID", &id), ("exitCode", &code.to_string())]);
        HealthcheckResult { start: start.into(), end: now().into(), exit_code, output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_a_command_or_there_is_none() {
        let test = |words: &[&str]| {
            let test = Some(words.iter().map(|w| (*w).to_owned()).collect());
            command(&HealthConfig { test, ..Default::default() }, &[])
        };
        assert_eq!(test(&["NONE"]), None);
        assert_eq!(test(&[]), None);
        assert_eq!(test(&["CMD", "a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!(test(&["CMD-SHELL", "a && b"]).unwrap(), ["/bin/sh", "-c", "a && b"]);
    }
}
