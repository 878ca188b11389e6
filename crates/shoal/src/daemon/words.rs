//! What the daemon says: its log on standard error, as text or as JSON, and how much of it.
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// Ours; other crates are heard from warnings on.
const CRATES: [&str; 9] = ["shoal", "node", "manager", "cluster", "network", "datapath", "runtime", "images", "api"];

/// The log. How much is said may change while the daemon runs.
pub struct Words {
    level: &'static str,
    filter: Handle<EnvFilter, Registry>,
}

impl Words {
    /// Begins to log. `SHOAL_LOG`, a filter of the tracing crate, goes over everything.
    pub fn begin(level: &str, debug: bool, json: bool) -> Self {
        let level = match level {
            "trace" => "trace",
            "debug" => "debug",
            "warn" => "warn",
            "error" | "fatal" => "error",
            _ => "info",
        };
        let (layer, handle) = reload::Layer::new(filter(level, debug));
        let registry = tracing_subscriber::registry().with(layer);
        let lines = fmt::layer().with_ansi(false).with_writer(std::io::stderr);
        if json {
            registry.with(lines.json().flatten_event(true)).init();
        } else {
            registry.with(lines).init();
        }
        Self { level, filter: handle }
    }

    /// Says more, or as little as before.
    pub fn set_debug(&self, debug: bool) {
        // The subscriber lives as long as the process.
        let _ = self.filter.reload(filter(self.level, debug));
    }
}

fn filter(level: &str, debug: bool) -> EnvFilter {
    let level = if debug && level != "trace" { "debug" } else { level };
    let ours: String = CRATES.iter().map(|c| format!(",{c}={level}")).collect();
    EnvFilter::try_from_env("SHOAL_LOG").unwrap_or_else(|_| EnvFilter::new(format!("warn{ours},openraft=error")))
}
