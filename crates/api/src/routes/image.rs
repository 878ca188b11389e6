//! Images. Their names have slashes, so the paths are taken apart by hand.
use super::prune_query;
use crate::app::{App, Here};
use crate::backend::{BuildQuery, ImportQuery, ListImages, ProgressStream, PullQuery};
use crate::http::{ApiVersion, Failure, Params, Reply, answer, body, json};
use crate::lookup::glob;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::Refusal;
use wire::engine::image::{AuthConfig, ImageInspect, ImageSummary};
use wire::engine::shape::decode_base64;
use wire::engine::{Filters, lenient};

/// The first version whose clients know an image without a name by its having none.
const NO_NAME_UNTIL: ApiVersion = ApiVersion(43);
/// The first version whose clients do not want an image's size under a second name.
const VIRTUAL_SIZE_UNTIL: ApiVersion = ApiVersion(44);
/// The first version whose clients do not ask from which container an image was made.
const CONTAINER_CONFIG_UNTIL: ApiVersion = ApiVersion(45);
/// The first version whose clients know that some fields of a container's configuration mean nothing for an image.
const CONTAINER_FIELDS_UNTIL: ApiVersion = ApiVersion(50);

pub fn router() -> Router<App> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/create", post(create))
        .route("/images/load", post(load))
        .route("/images/get", get(save))
        .route("/images/prune", post(prune))
        .route("/images/search", get(search))
        .route("/images/{*rest}", get(get_one).post(post_one).delete(remove))
        .route("/distribution/{*rest}", get(distribution))
        .route("/build", post(build))
        .route("/build/prune", post(prune_builds))
}

/// Takes `/json` off `library/busybox/json`.
fn split(rest: &str) -> Result<(&str, &str), Failure> {
    rest.rsplit_once('/').filter(|(name, _)| !name.is_empty()).ok_or_else(page_not_found)
}

fn page_not_found() -> Failure {
    Refusal::not_found("page not found").into()
}

/// `X-Registry-Auth`: credentials, or nothing when they are empty or unreadable (as Docker takes them).
fn auth(headers: &HeaderMap) -> Option<AuthConfig> {
    let text = headers.get("x-registry-auth")?.to_str().ok()?;
    let auth: AuthConfig = lenient::from_slice(&decode_base64(text)?).ok()?;
    (auth != AuthConfig::default()).then_some(auth)
}

fn progress(stream: ProgressStream) -> Reply {
    answer::lines(stream)
}

async fn list(State(app): Here, version: ApiVersion, p: Params) -> Reply {
    let mut filters = p.filters(&["before", "dangling", "label", "label!", "reference", "since", "until"])?;
    // `?filter=name` of very old clients.
    if let Some(name) = p.get("filter").filter(|n| !n.is_empty()) {
        filters.add("reference", name);
    }
    let how = ListImages { all: p.flag("all"), shared_size: p.flag("shared-size") };
    let mut images = chosen(&filters, app.images.list(how).await?)?;
    if version < NO_NAME_UNTIL {
        for image in images.iter_mut().filter(|i| i.repo_tags.is_empty() && i.repo_digests.is_empty()) {
            image.repo_tags.push("<none>:<none>".into());
            image.repo_digests.push("<none>@<none>".into());
        }
    }
    shown(&images, version)
}

/// In the order of the fields that clients print, where nothing has to be added.
fn shown<T: Serialize>(images: &T, version: ApiVersion) -> Reply {
    if version < VIRTUAL_SIZE_UNTIL { json(&with_virtual_size(images, version)) } else { json(images) }
}

/// Images as clients before 1.44 know them: with their size under a second name.
pub(super) fn with_virtual_size<T: Serialize>(images: &T, version: ApiVersion) -> Value {
    let mut shown = serde_json::to_value(images).unwrap_or_default();
    if version < VIRTUAL_SIZE_UNTIL {
        let add = |image: &mut Value| image["VirtualSize"] = image["Size"].clone();
        match &mut shown {
            Value::Array(all) => all.iter_mut().for_each(add),
            one => add(one),
        }
    }
    shown
}

/// One image as clients of a version know it.
fn inspected(mut image: ImageInspect, version: ApiVersion) -> Reply {
    match version < CONTAINER_CONFIG_UNTIL {
        true => _ = image.container_config.get_or_insert_default(),
        false => (image.container, image.container_config) = (String::new(), None),
    }
    if version >= CONTAINER_FIELDS_UNTIL {
        return json(&image);
    }
    let mut shown = with_virtual_size(&image, version);
    if let Some(config) = shown["Config"].as_object_mut() {
        for name in ["AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"] {
            config.insert(name.into(), false.into());
        }
        for name in ["Domainname", "Hostname", "Image"] {
            config.insert(name.into(), "".into());
        }
    }
    json(&shown)
}

fn chosen(f: &Filters, mut images: Vec<ImageSummary>) -> Result<Vec<ImageSummary>, Failure> {
    let dangling = f.flag("dangling")?;
    let created = |key: &str| -> Result<Option<i64>, Failure> {
        f.get(key).next().map(|name| Ok(find(&images, name)?.created)).transpose()
    };
    let (before, since) = (created("before")?, created("since")?);
    let mut until = None;
    for text in f.get("until") {
        until = crate::http::time::parse(text)?.map(|t| t.0.div_euclid(1_000_000_000));
    }
    let none = BTreeMap::new();
    images.retain_mut(|i| {
        let labels = i.labels.as_ref().unwrap_or(&none);
        let is_dangling = i.repo_tags.is_empty();
        if !(dangling.is_none_or(|d| d == is_dangling)
            && before.is_none_or(|t| i.created < t)
            && since.is_none_or(|t| i.created > t)
            && until.is_none_or(|t| i.created < t)
            && f.labels("label", labels)
            && !f.get("label!").any(|l| wire::engine::filters::label_matches(l, labels)))
        {
            return false;
        }
        if f.has("reference") {
            i.repo_tags.retain(|t| f.any("reference", |pattern| reference_matches(pattern, t)));
            i.repo_digests.retain(|d| f.any("reference", |pattern| reference_matches(pattern, d)));
            return !i.repo_tags.is_empty() || !i.repo_digests.is_empty();
        }
        true
    });
    images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok(images)
}

/// A pattern is matched against the whole reference and against its name alone.
fn reference_matches(pattern: &str, reference: &str) -> bool {
    let pattern = pattern.trim_start_matches("docker.io/library/").trim_start_matches("docker.io/");
    glob(pattern, reference) || glob(pattern, name_of(reference))
}

/// `registry:5000/x:tag` → `registry:5000/x`.
fn name_of(reference: &str) -> &str {
    let plain = reference.split('@').next().unwrap_or(reference);
    match plain.rfind(':') {
        Some(i) if !plain[i..].contains('/') => &plain[..i],
        _ => plain,
    }
}

fn find<'a>(images: &'a [ImageSummary], wanted: &str) -> Result<&'a ImageSummary, Refusal> {
    let tagged = format!("{wanted}:latest");
    images
        .iter()
        .find(|i| i.id == wanted || i.repo_tags.iter().any(|t| t == wanted || *t == tagged))
        .or_else(|| {
            images.iter().find(|i| {
                let plain = wanted.strip_prefix("sha256:").unwrap_or(wanted);
                !plain.is_empty() && i.id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(plain))
            })
        })
        .ok_or_else(|| Refusal::not_found(format!("No such image: {wanted}")))
}

fn changes(p: &Params) -> Vec<String> {
    p.all("changes").iter().flat_map(|c| c.lines()).filter(|l| !l.trim().is_empty()).map(str::to_owned).collect()
}

async fn create(State(app): Here, p: Params, request: Request) -> Reply {
    let platform = p.text("platform").to_owned();
    let image = p.text("fromImage");
    if !image.is_empty() {
        let tag = p.text("tag").to_owned();
        // `docker pull -a` may send a name that ends in its colon.
        let image = image.trim();
        let image = image.strip_suffix(':').unwrap_or(image).to_owned();
        let query = PullQuery { image, tag, platform, auth: auth(request.headers()) };
        return progress(app.images.pull(query).await?);
    }
    let query = ImportQuery {
        source: p.text("fromSrc").to_owned(),
        repo: p.text("repo").to_owned(),
        tag: p.text("tag").to_owned(),
        message: p.text("message").to_owned(),
        changes: changes(&p),
        platform,
    };
    if query.source.is_empty() {
        return Err(Refusal::invalid("either fromImage or fromSrc must be given").into());
    }
    progress(app.images.import(query, body::stream(request.into_body())).await?)
}

async fn load(State(app): Here, p: Params, request: Request) -> Reply {
    progress(app.images.load(body::stream(request.into_body()), p.flag("quiet")).await?)
}

async fn save(State(app): Here, p: Params) -> Reply {
    let names = p.all("names");
    if names.is_empty() {
        return Err(Refusal::invalid("no images to export: names must be given").into());
    }
    answer::bytes(app.images.save(names).await?, "application/x-tar")
}

async fn prune(State(app): Here, p: Params) -> Reply {
    json(&app.images.prune(prune_query(&p, &["dangling", "label", "label!", "until"])?).await?)
}

async fn search(State(app): Here, p: Params) -> Reply {
    let filters = p.filters(&["is-automated", "is-official", "stars"])?;
    let limit: u32 = p.number("limit")?.unwrap_or(25);
    if !(1..=100).contains(&limit) {
        return Err(Refusal::invalid(format!("limit {limit} is outside the range of [1, 100]")).into());
    }
    let mut found = app.images.search(p.text("term"), limit).await?;
    let official = filters.flag("is-official")?;
    let mut stars = 0;
    for s in filters.get("stars") {
        stars = s.parse().map_err(|_| Refusal::invalid(format!("invalid filter 'stars=[{s}]'")))?;
    }
    found.retain(|r| official.is_none_or(|o| r.is_official == o) && r.star_count >= stars);
    json(&found)
}

async fn get_one(State(app): Here, Path(rest): Path<String>, version: ApiVersion) -> Reply {
    let (name, verb) = split(&rest)?;
    match verb {
        "json" => inspected(app.images.inspect(name).await?, version),
        "history" => json(&app.images.history(name).await?),
        "get" => answer::bytes(app.images.save(vec![name.to_owned()]).await?, "application/x-tar"),
        _ => Err(page_not_found()),
    }
}

async fn post_one(State(app): Here, Path(rest): Path<String>, p: Params, request: Request) -> Reply {
    let (name, verb) = split(&rest)?;
    match verb {
        "tag" => {
            app.images.tag(name, p.text("repo"), p.text("tag")).await?;
            answer::created_empty()
        }
        "push" => progress(app.images.push(name, p.text("tag"), auth(request.headers())).await?),
        _ => Err(page_not_found()),
    }
}

async fn remove(State(app): Here, Path(name): Path<String>, p: Params) -> Reply {
    json(&app.images.remove(&name, p.flag("force"), p.flag("noprune")).await?)
}

async fn distribution(State(app): Here, Path(rest): Path<String>, headers: HeaderMap) -> Reply {
    match split(&rest)? {
        (name, "json") => json(&app.images.distribution(name, auth(&headers)).await?),
        _ => Err(page_not_found()),
    }
}

async fn build(State(app): Here, p: Params, request: Request) -> Reply {
    if p.text("version") == "2" {
        return Err(Refusal::unimplemented("building with BuildKit is not supported by this engine: set DOCKER_BUILDKIT=0 to build with the classic builder").into());
    }
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (k, v) in p.pairs() {
        parameters.entry(k.to_owned()).or_default().push(v.to_owned());
    }
    let auths = request
        .headers()
        .get("x-registry-config")
        .and_then(|h| h.to_str().ok())
        .and_then(decode_base64)
        .and_then(|b| lenient::from_slice(&b).ok())
        .unwrap_or_default();
    let stream = app.images.build(BuildQuery { parameters, auths }, body::stream(request.into_body())).await?;
    progress(stream)
}

/// The build cache are the images of builds, which `images/prune` takes away; there is nothing besides.
async fn prune_builds() -> Reply {
    Ok(axum::Json(serde_json::json!({ "CachesDeleted": null, "SpaceReclaimed": 0 })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_match_with_and_without_tag() {
        assert!(reference_matches("busybox", "busybox:latest"));
        assert!(reference_matches("busybox:l*", "busybox:latest"));
        assert!(reference_matches("localhost:5000/*", "localhost:5000/web:1"));
        assert!(!reference_matches("busy", "busybox:latest"));
        assert_eq!(name_of("localhost:5000/x"), "localhost:5000/x");
    }
}
