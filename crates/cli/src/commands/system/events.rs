//! `events`.
use crate::Ctx;
use crate::commands::{Done, FilterArg};
use crate::render::human::now;
use crate::render::template::Template;
use crate::spec::pairs;
use crate::spec::units::moment;
use crate::terminal::{interrupted, say};
use clap::Args;
use futures::StreamExt;
use serde_json::Value;

/// Get real time events from the server.
#[derive(Args)]
pub(crate) struct Events {
    #[command(flatten)]
    filter: FilterArg,
    /// Format output using a custom template: 'json' or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long)]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long)]
    until: Option<String>,
}

impl Events {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let template = match self.format.as_deref().unwrap_or_default() {
            "" => None,
            "json" => Some(Template::parse("{{json .}}")?),
            text => Some(Template::parse(text)?),
        };
        let point = |text: &Option<String>| {
            text.as_deref()
                .map(|t| moment(t, now()))
                .transpose()
                .map(Option::unwrap_or_default)
                .map_err(anyhow::Error::msg)
        };
        let call = ctx.client.get("/events").text("since", &point(&self.since)?).text("until", &point(&self.until)?);
        let mut events = call.filters(&pairs::filters(&self.filter.filter)?).values::<Value>().await?;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = interrupted() => return Ok(()),
            };
            let Some(event) = event else { return Ok(()) };
            let event = event?;
            say(&match &template {
                Some(template) => template.render(&event)? + "\n",
                None => line(&event) + "\n",
            });
        }
    }
}

/// `2026-11-22T16:54:16.000000000Z container start <id> (image=x, name=y)`
fn line(event: &Value) -> String {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let nanos = event
        .get("timeNano")
        .and_then(Value::as_i64)
        .unwrap_or_else(|| event.get("time").and_then(Value::as_i64).unwrap_or(0).saturating_mul(1_000_000_000));
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    let mut out = format!(
        "{}.{:09}Z {} {} {}",
        jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%S", at).unwrap_or_default(),
        at.subsec_nanosecond(),
        text("/Type"),
        text("/Action"),
        text("/Actor/ID")
    );
    if let Some(attributes) = event.pointer("/Actor/Attributes").and_then(Value::as_object).filter(|a| !a.is_empty()) {
        let mut pairs: Vec<String> =
            attributes.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        pairs.sort();
        out.push_str(&format!(" ({})", pairs.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_event_is_a_line() {
        let event = serde_json::json!({
            "Type": "container", "Action": "start", "Actor": {"ID": "abc", "Attributes": {"name": "w", "image": "x"}},
            "time": 1700000000, "timeNano": 1700000000000000005i64
        });
        assert_eq!(super::line(&event), "2023-11-14T22:13:20.000000005Z container start abc (image=x, name=w)");
    }
}
