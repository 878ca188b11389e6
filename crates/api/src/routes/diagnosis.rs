//! Looking for what is wrong: the doctor, echo requests, explanations. Docker has none of these.
use super::task;
use crate::app::{App, Here};
use crate::http::{Params, Reply, json};
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use std::net::IpAddr;
use wire::Refusal;

/// More echo requests than this are not sent for one question.
const COUNT_MAX: u64 = 100;

pub fn router() -> Router<App> {
    Router::new()
        .route("/doctor", get(doctor))
        .route("/system/ping", post(from_node))
        .route("/containers/{id}/ping", post(from_container))
        .route("/tasks/{id}/explain", get(explain))
}

async fn doctor(State(app): Here) -> Reply {
    json(&app.diagnosis.doctor().await?)
}

async fn from_node(State(app): Here, p: Params) -> Reply {
    let (address, count) = wish(&p)?;
    json(&app.diagnosis.echo(None, address, count).await?)
}

async fn from_container(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let (address, count) = wish(&p)?;
    json(&app.diagnosis.echo(Some(&id), address, count).await?)
}

fn wish(p: &Params) -> Result<(IpAddr, u32), Refusal> {
    let text = p.get("address").unwrap_or_default();
    let address = text.parse().map_err(|_| Refusal::invalid(format!("invalid address: {text:?}")))?;
    let text = p.get("count").unwrap_or("3");
    match text.parse::<u64>() {
        Ok(n) if (1..=COUNT_MAX).contains(&n) => Ok((address, n as u32)),
        _ => Err(Refusal::invalid(format!("invalid count: {text:?}: 1 to {COUNT_MAX} is expected"))),
    }
}

async fn explain(State(app): Here, Path(id): Path<String>) -> Reply {
    app.manager()?;
    let task = task::find(&app, &id).await?;
    json(&app.diagnosis.explain(&task).await?)
}
