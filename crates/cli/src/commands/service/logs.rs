//! `service logs`.
use crate::Ctx;
use crate::client::is_status;
use crate::commands::Done;
use crate::render::human::{now, short_id};
use crate::spec::units::moment;
use clap::Args;
use std::collections::BTreeMap;
use std::io::{self, Write};
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;
use wire::engine::node::Node;
use wire::engine::service::Service;
use wire::engine::task::Task;

/// Fetch the logs of a service or task.
#[derive(Args)]
pub(crate) struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Do not map IDs to Names in output
    #[arg(long)]
    no_resolve: bool,
    /// Do not include task IDs in output
    #[arg(long)]
    no_task_ids: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Do not neatly format logs
    #[arg(long)]
    raw: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// A service or a task
    name: String,
}

impl Logs {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let since = self.since.as_deref().map(|t| moment(t, now())).transpose().map_err(anyhow::Error::msg)?;
        let (path, tty) = match ctx.client.get(format!("/services/{}", self.name)).read::<Service>().await {
            Ok(s) => (format!("/services/{}/logs", s.id), s.spec.task_template.container_spec.is_some_and(|c| c.tty)),
            Err(e) if is_status(&e, 404) => {
                match ctx.client.get(format!("/tasks/{}", self.name)).read::<Task>().await {
                    Ok(t) => (format!("/tasks/{}/logs", t.id), t.spec.container_spec.is_some_and(|c| c.tty)),
                    Err(e) if is_status(&e, 404) => anyhow::bail!("no such task or service: {}", self.name),
                    Err(e) => return Err(e),
                }
            }
            Err(e) => return Err(e),
        };
        let pretty = !self.raw && !tty;
        let body = ctx
            .client
            .get(path)
            .query("stdout", 1)
            .query("stderr", 1)
            .flag("follow", self.follow)
            .flag("timestamps", self.timestamps)
            // The details say which task a line is of.
            .flag("details", self.details || pretty)
            .query("tail", &self.tail)
            .text("since", &since.unwrap_or_default())
            .stream()
            .await?;
        if !pretty {
            return crate::client::demultiplex_body(body, tty).await;
        }
        let mut names = Names { ctx, tasks: BTreeMap::new(), how: &self };
        let mut reader = StreamReader::new(body);
        let mut header = [0u8; 8];
        while reader.read_exact(&mut header).await.is_ok() {
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            anyhow::ensure!(length <= 64 << 20, "a log line is longer than 64 MiB");
            let mut line = vec![0; length];
            reader.read_exact(&mut line).await?;
            if header[0] == 3 {
                anyhow::bail!("error from daemon in stream: {}", String::from_utf8_lossy(&line).trim_end());
            }
            let shown = names.line(&line).await;
            let written = if header[0] == 2 { io::stderr().write_all(&shown) } else { io::stdout().write_all(&shown) };
            if written.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Prefixes of lines, looked up once for each task.
struct Names<'a> {
    ctx: &'a Ctx,
    tasks: BTreeMap<String, String>,
    how: &'a Logs,
}

impl Names<'_> {
    /// `[timestamp ]details text` → `name.slot.id@node    | text`.
    async fn line(&mut self, line: &[u8]) -> Vec<u8> {
        let count = if self.how.timestamps { 3 } else { 2 };
        let parts: Vec<&[u8]> = line.splitn(count, |b| *b == b' ').collect();
        let [before @ .., details, text] = &parts[..] else { return line.to_vec() };
        let details: BTreeMap<String, String> = String::from_utf8_lossy(details)
            .split(',')
            .filter_map(|d| d.split_once('='))
            .map(|(k, v)| (unescape(k), unescape(v)))
            .collect();
        let mut out = Vec::new();
        for stamp in before {
            out.extend_from_slice(stamp);
            out.push(b' ');
        }
        let prefix = self.prefix(&details).await;
        out.extend_from_slice(format!("{prefix}    | ").as_bytes());
        if self.how.details {
            let shown: Vec<String> = details
                .iter()
                .filter(|(k, _)| !k.starts_with("com.docker.swarm."))
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            out.extend_from_slice(format!("{} ", shown.join(",")).as_bytes());
        }
        out.extend_from_slice(text);
        out
    }

    async fn prefix(&mut self, details: &BTreeMap<String, String>) -> String {
        let field = |key: &str| details.get(&format!("com.docker.swarm.{key}.id")).cloned().unwrap_or_default();
        let (task_id, node_id, service_id) = (field("task"), field("node"), field("service"));
        if let Some(known) = self.tasks.get(&task_id) {
            return known.clone();
        }
        let client = &self.ctx.client;
        let shown_task = if self.how.no_trunc { task_id.as_str() } else { short_id(&task_id) };
        let mut name = task_id.clone();
        let mut node = node_id.clone();
        if !self.how.no_resolve {
            let service = client.get(format!("/services/{service_id}")).read::<Service>().await.map(|s| s.spec.name);
            if let Ok(task) = client.get(format!("/tasks/{task_id}")).read::<Task>().await {
                let place = if task.slot != 0 { task.slot.to_string() } else { task.node_id };
                name = format!("{}.{place}", service.unwrap_or(service_id));
                if !self.how.no_task_ids {
                    name = format!("{name}.{shown_task}");
                }
            }
            if let Ok(n) = client.get(format!("/nodes/{node_id}")).read::<Node>().await {
                node = n.description.hostname;
            }
        }
        let prefix = format!("{name}@{node}");
        self.tasks.insert(task_id, prefix.clone());
        prefix
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
            }
            b => b,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
