//! `/metrics`: what an operator's Prometheus asks for, in its text format. Names that dockerd has are dockerd's.
use super::engine::{ENGINE_VERSION, Engine, kernel_version};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// One exchange may take so long; a scraper asks again soon.
const WITHIN: Duration = Duration::from_secs(30);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until told to stop.
pub async fn serve(listener: TcpListener, engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            s = listener.accept() => s,
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let engine = engine.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let engine = engine.clone();
            async move { Ok::<_, Infallible>(answer(&request, &engine).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                r = connection => if let Err(e) = r {
                    tracing::debug!(error = %e, "a scraper's connection ended");
                },
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn answer(request: &Request<Incoming>, engine: &Engine) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method().as_str(), request.uri().path()) {
        ("GET" | "HEAD", "/metrics") => (StatusCode::OK, figures(engine).await.to_string()),
        ("GET" | "HEAD", _) => (StatusCode::NOT_FOUND, "only /metrics is here\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(TYPE));
    response
}

async fn figures(engine: &Engine) -> Page {
    let mut page = Page::default();
    let version = [("version", ENGINE_VERSION), ("kernel", &kernel_version()), ("daemon_id", &engine.id)];
    page.gauge("engine_daemon_engine_info", "The engine that is asked", &version, 1);
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    page.gauge("engine_daemon_engine_cpus_cpus", "Processors of the machine", &[], cpus);
    let memory = crate::backend::memory_total();
    page.gauge("engine_daemon_engine_memory_bytes", "Memory of the machine", &[], u64::try_from(memory).unwrap_or(0));
    let (running, paused, stopped) = engine.containers.counts();
    for (state, n) in [("running", running), ("paused", paused), ("stopped", stopped)] {
        let help = "Containers by state";
        page.gauge(
            "engine_daemon_container_states_containers",
            help,
            &[("state", state)],
            u64::try_from(n).unwrap_or(0),
        );
    }
    page.gauge("shoal_images", "Images", &[], engine.images.list().len() as u64);
    page.gauge("shoal_local_networks", "Networks of this machine", &[], engine.networks.locals().len() as u64);
    page.counter("engine_daemon_events_total", "Events told since the daemon began", &[], engine.events.told());
    swarm(engine, &mut page);
    for (what, n) in engine.networks.counters().await {
        page.counter(
            "shoal_datapath_total",
            "Packets and flows of overlays, by what became of them",
            &[("what", what)],
            n,
        );
    }
    process(&mut page);
    page
}

fn swarm(engine: &Engine, page: &mut Page) {
    let info = engine.membership.info();
    page.gauge(
        "shoal_swarm_member",
        "Whether this node is in a swarm",
        &[],
        u64::from(info.local_node_state == "active"),
    );
    if info.local_node_state == "active" {
        let revision = engine.networks.directory().revision;
        page.gauge("shoal_directory_revision", "Revision of the network directory that is applied", &[], revision);
    }
    let Ok(manager) = engine.membership.manager() else { return };
    let tables = manager.control().tables();
    let mut nodes: BTreeMap<String, u64> = BTreeMap::new();
    for node in tables.nodes() {
        *nodes.entry(format!("{:?}", node.status.state).to_lowercase()).or_default() += 1;
    }
    for (state, n) in nodes {
        page.gauge("swarm_manager_nodes", "Nodes of the swarm by state", &[("state", &state)], n);
    }
    let mut tasks: BTreeMap<String, u64> = BTreeMap::new();
    for task in tables.tasks() {
        *tasks.entry(format!("{:?}", task.status.state).to_lowercase()).or_default() += 1;
    }
    for (state, n) in tasks {
        page.gauge("swarm_manager_tasks_total", "Tasks of the swarm by state", &[("state", &state)], n);
    }
    page.gauge("swarm_manager_services_total", "Services of the swarm", &[], tables.services().count() as u64);
}

/// What every Prometheus client library tells of its process.
fn process(page: &mut Page) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    page.gauge("process_resident_memory_bytes", "Memory that the daemon holds", &[], kib("VmRSS:").unwrap_or(0) << 10);
    page.gauge("process_threads", "Threads of the daemon", &[], kib("Threads:").unwrap_or(0));
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64);
    page.gauge("process_open_fds", "Files that the daemon holds open", &[], open);
}

/// A page in Prometheus' text format.
#[derive(Debug, Default)]
struct Page {
    text: String,
    last: String,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.line(name, "gauge", help, labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.line(name, "counter", help, labels, value);
    }

    fn line(&mut self, name: &str, kind: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        // Lines of one name stand together, under one head.
        if self.last != name {
            self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            self.last = name.to_owned();
        }
        let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.text.push_str(&format!("{name}{labels} {value}\n"));
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.gauge("a", "What a is", &[("state", "run\"ning")], 1);
        page.gauge("a", "What a is", &[("state", "paused")], 0);
        page.counter("b_total", "What b is", &[], 7);
        let text = "# HELP a What a is\n# TYPE a gauge\na{state=\"run\\\"ning\"} 1\na{state=\"paused\"} 0\n\
                    # HELP b_total What b is\n# TYPE b_total counter\nb_total 7\n";
        assert_eq!(page.to_string(), text);
    }
}
