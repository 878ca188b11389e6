//! The swarm itself.
use crate::app::{App, Here};
use crate::backend::{Rotate, SwarmRestore, SwarmRole};
use crate::http::{Params, Reply, answer, body, json, ok};
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use model::ClusterSpec;
use wire::Refusal;
use wire::engine::convert;
use wire::engine::swarm::{SwarmInit, SwarmJoin, SwarmSpec, UnlockKey};

pub fn router() -> Router<App> {
    Router::new()
        .route("/swarm", get(inspect))
        .route("/swarm/init", post(init))
        .route("/swarm/join", post(join))
        .route("/swarm/leave", post(leave))
        .route("/swarm/update", post(update))
        .route("/swarm/unlock", post(unlock))
        .route("/swarm/unlockkey", get(unlock_key))
        .route("/swarm/backup", get(backup))
        .route("/swarm/restore", post(restore))
}

/// No backup is longer.
const BACKUP_BYTES_MAX: usize = 1 << 30;
const ALREADY: &str =
    "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.";

async fn inspect(State(app): Here) -> Reply {
    app.manager()?;
    let v = app.swarm.inspect().await?;
    json(&convert::swarm_out(&v.cluster, &v.tls, &v.worker_token, &v.manager_token))
}

async fn init(State(app): Here, request: Request) -> Reply {
    let request: SwarmInit = body::json(request).await?;
    if app.system.swarm_role() != SwarmRole::Inactive && !request.force_new_cluster {
        return Err(Refusal::unavailable(ALREADY).into());
    }
    given("ListenAddr", &request.listen_addr)?;
    let mut spec = ClusterSpec::default();
    convert::cluster_spec_merge(&mut spec, &request.spec)?;
    spec.autolock |= request.auto_lock_managers;
    convert::availability_in(&request.availability)?;
    let (forced, wish, autolock) = (request.force_new_cluster, request.spec.clone(), spec.autolock);
    let id = app.swarm.init(request, spec).await?;
    if forced {
        // The swarm goes on with its settings, and with those that are said anew.
        let cluster = app.swarm.inspect().await?.cluster;
        let mut spec = cluster.spec.clone();
        convert::cluster_spec_merge(&mut spec, &wish)?;
        spec.autolock = cluster.spec.autolock || autolock;
        if spec != cluster.spec {
            app.swarm.update(cluster.meta.version, spec, Rotate::default()).await?;
        }
    }
    json(&id.as_str())
}

fn given(name: &str, addr: &str) -> Result<(), Refusal> {
    if addr.is_empty() {
        return Err(Refusal::invalid(format!("invalid {name} \"\": invalid empty address")));
    }
    Ok(())
}

async fn join(State(app): Here, request: Request) -> Reply {
    let request: SwarmJoin = body::json(request).await?;
    if app.system.swarm_role() != SwarmRole::Inactive {
        return Err(Refusal::unavailable(ALREADY).into());
    }
    given("ListenAddr", &request.listen_addr)?;
    if request.remote_addrs.is_empty() {
        return Err(Refusal::invalid("at least 1 RemoteAddr is required to join").into());
    }
    request.remote_addrs.iter().try_for_each(|addr| given("remoteAddr", addr))?;
    if request.join_token.is_empty() {
        return Err(Refusal::invalid("A valid join token is necessary to join this cluster").as_rpc().into());
    }
    convert::availability_in(&request.availability)?;
    app.swarm.join(request).await?;
    ok()
}

async fn leave(State(app): Here, p: Params) -> Reply {
    if app.system.swarm_role() == SwarmRole::Inactive {
        return Err(Refusal::unavailable("This node is not part of a swarm").into());
    }
    app.swarm.leave(p.flag("force")).await?;
    ok()
}

async fn update(State(app): Here, p: Params, request: Request) -> Reply {
    app.manager()?;
    let wish: SwarmSpec = body::json(request).await?;
    let version = p.version("swarm")?;
    let rotate = Rotate {
        worker_token: p.flag("rotateWorkerToken"),
        manager_token: p.flag("rotateManagerToken"),
        unlock_key: p.flag("rotateManagerUnlockKey"),
        root_key: Some(wish.ca_config.signing_ca_key.clone()).filter(|key| !key.trim().is_empty()),
    };
    let mut spec = app.swarm.inspect().await?.cluster.spec.clone();
    convert::cluster_spec_merge(&mut spec, &wish)?;
    // An update says everything that shall be: what can be empty is taken as it is.
    spec.labels = wish.labels;
    app.swarm.update(version, spec, rotate).await?;
    ok()
}

async fn unlock(State(app): Here, request: Request) -> Reply {
    let key: UnlockKey = body::json(request).await?;
    app.swarm.unlock(&key.unlock_key).await?;
    ok()
}

/// Not Docker's: see docs/managers.md.
async fn backup(State(app): Here) -> Reply {
    app.manager()?;
    let whole = bytes::Bytes::from(app.swarm.backup().await?);
    answer::bytes(futures::stream::once(async { Ok(whole) }), "application/octet-stream")
}

/// Not Docker's: see docs/managers.md.
async fn restore(State(app): Here, p: Params, request: Request) -> Reply {
    if app.system.swarm_role() != SwarmRole::Inactive {
        return Err(Refusal::unavailable(ALREADY).into());
    }
    let (parts, body) = request.into_parts();
    let unlock_key = parts.headers.get("x-unlock-key").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let backup = axum::body::to_bytes(body, BACKUP_BYTES_MAX)
        .await
        .map_err(|e| Refusal::invalid(format!("the backup cannot be read: {e}")))?;
    let wish = SwarmRestore {
        backup,
        unlock_key,
        listen_addr: p.text("listen").to_owned(),
        advertise_addr: p.text("advertise").to_owned(),
    };
    json(&app.swarm.restore(wish).await?.as_str())
}

async fn unlock_key(State(app): Here) -> Reply {
    app.manager()?;
    json(&UnlockKey { unlock_key: app.swarm.unlock_key().await? })
}
