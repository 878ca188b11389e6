//! Requests that another node must answer.
use crate::app::App;
use crate::backend::SwarmRole;
use async_trait::async_trait;
use axum::extract::Request;
use axum::response::Response;
use http::Method;

/// Who must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Any manager.
    Manager,
    /// The node that has this container (as the client names it). The answer is always the other node's, or a refusal.
    Container(String),
    /// The node that has this exec. Likewise.
    Exec(String),
}

/// Carries a request to another node. The path has no version any more; it is the extension
/// [`crate::http::ApiVersion`]. For `attach` and `exec/start` the answer is 101, and the bytes are carried on.
#[async_trait]
pub trait Forwarder: Send + Sync + 'static {
    /// The other node's answer; `None` when it cannot be reached (then this node answers as Docker's would).
    async fn forward(&self, request: Request, to: Destination) -> Option<Response>;

    /// On a manager, before a request about the swarm is served. One that only the leader can answer: waits until there
    /// is one, and says whether it is another manager. Any other: waits until this manager knows what the leader had
    /// decided before, as long as a leader can be asked, and gives `false`.
    async fn settle(&self, only_leader: bool) -> bool;
}

/// What a machine does with its own membership; never for another.
pub const OWN_SWARM_CALLS: [&str; 6] = ["init", "join", "leave", "unlock", "backup", "restore"];

/// Whether a request has to go to another node before it is routed here. (Writes to swarm networks are told apart later,
/// in `routes/network`, because it takes the body or the network to know.)
pub async fn destination(app: &App, method: &Method, path: &str) -> Option<Destination> {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (noun, first, rest) = (parts.next()?, parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match noun {
        "swarm" if OWN_SWARM_CALLS.contains(&first) => None,
        "swarm" | "services" | "tasks" | "nodes" | "secrets" | "configs" => {
            let reads = matches!(*method, Method::GET | Method::HEAD) && rest != "logs";
            to_manager(app, !reads).await.then_some(Destination::Manager)
        }
        "networks" if *method == Method::GET && !on_worker(app) => {
            to_manager(app, false).await.then_some(Destination::Manager)
        }
        "containers" if in_swarm(app) && (!rest.is_empty() || *method == Method::DELETE) => {
            let id = decode(first);
            app.containers.elsewhere(&id).await.then_some(Destination::Container(id))
        }
        "exec" if in_swarm(app) && !rest.is_empty() => {
            let id = decode(first);
            app.execs.elsewhere(&id).await.then_some(Destination::Exec(id))
        }
        _ => None,
    }
}

/// Whether another node must answer a request about the swarm: a manager for a worker, the leader for a follower.
pub(crate) async fn to_manager(app: &App, only_leader: bool) -> bool {
    match (app.system.swarm_role(), &app.forwarder) {
        (SwarmRole::Worker, _) => true,
        (SwarmRole::Manager, Some(forwarder)) => forwarder.settle(only_leader).await,
        _ => false,
    }
}

fn on_worker(app: &App) -> bool {
    app.system.swarm_role() == SwarmRole::Worker
}

fn in_swarm(app: &App) -> bool {
    matches!(app.system.swarm_role(), SwarmRole::Worker | SwarmRole::Manager)
}

/// Resolves `%XX`.
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(b) => {
                out.push(b);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
