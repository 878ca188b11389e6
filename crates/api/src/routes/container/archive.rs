//! Containers' files: `docker cp` and `docker export`.
use crate::app::Here;
use crate::backend::ArchivePut;
use crate::http::{Failure, Params, Reply, answer, body, ok};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use http::HeaderValue;
use wire::Refusal;
use wire::engine::container::PathStat;

const STAT: &str = "x-docker-container-path-stat";

fn path(p: &Params) -> Result<String, Failure> {
    match p.text("path") {
        "" => Err(Refusal::invalid("missing parameter: path cannot be empty").into()),
        path => Ok(path.to_owned()),
    }
}

fn set_stat(r: &mut Response, stat: &PathStat) -> Result<(), Failure> {
    let json = serde_json::to_vec(stat).map_err(|e| Refusal::internal(e.to_string()))?;
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    let value = HeaderValue::from_str(&text).map_err(|e| Refusal::internal(e.to_string()))?;
    r.headers_mut().insert(STAT, value);
    Ok(())
}

pub(super) async fn head(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let stat = app.containers.archive_stat(&id, &path(&p)?).await?;
    let mut r = ok()?;
    set_stat(&mut r, &stat)?;
    Ok(r)
}

pub(super) async fn get(State(app): Here, Path(id): Path<String>, p: Params) -> Reply {
    let (stat, tar) = app.containers.archive_get(&id, &path(&p)?).await?;
    let mut r = answer::bytes(tar, "application/x-tar")?;
    set_stat(&mut r, &stat)?;
    Ok(r)
}

pub(super) async fn put(State(app): Here, Path(id): Path<String>, p: Params, request: Request) -> Reply {
    let how = ArchivePut {
        path: path(&p)?,
        no_overwrite_dir_non_dir: p.flag("noOverwriteDirNonDir"),
        copy_uid_gid: p.flag("copyUIDGID"),
    };
    app.containers.archive_put(&id, how, body::stream(request.into_body())).await?;
    ok()
}

pub(super) async fn export(State(app): Here, Path(id): Path<String>) -> Reply {
    answer::bytes(app.containers.export(&id).await?, "application/octet-stream")
}
