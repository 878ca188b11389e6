//! Requests as clients send them, over a unix socket: status, headers, shapes.
mod fake;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

async fn call(socket: &Path, method: &str, uri: &str, body: impl Into<Bytes>) -> Answer {
    let io = TokioIo::new(UnixStream::connect(socket).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "docker")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap();
    let response = tokio::time::timeout(Duration::from_secs(10), sender.send_request(request)).await.unwrap().unwrap();
    let (parts, body) = response.into_parts();
    let bytes = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.expect(uri).unwrap().to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

fn q(v: Value) -> String {
    let mut out = String::new();
    for b in v.to_string().bytes() {
        out.push_str(&format!("%{b:02X}"));
    }
    out
}

#[tokio::test]
async fn ping_negotiates_and_every_answer_has_docker_s_headers() {
    let r = fake::run();
    for (method, text) in [("GET", "OK"), ("HEAD", "")] {
        let a = call(&r.socket, method, "/_ping", "").await;
        assert_eq!((a.status, a.text.as_str()), (200, text));
        assert_eq!(a.headers["api-version"], "1.51");
        assert_eq!(a.headers["swarm"], "inactive");
        assert_eq!(a.headers["builder-version"], "1");
    }
    let a = call(&r.socket, "GET", "/v1.43/no/such/thing", "").await;
    assert_eq!((a.status, a.json()), (404, json!({"message":"page not found"})));
    assert_eq!(a.headers["ostype"], "linux");
    assert!(a.headers.contains_key("server") && a.headers.contains_key("docker-experimental"));
    assert_eq!(call(&r.socket, "POST", "/v1.43/info", "").await.status, 404);
    assert_eq!(call(&r.socket, "GET", "/v1.10/info", "").await.status, 400);
    assert_eq!(call(&r.socket, "GET", "/v1.53/info", "").await.status, 200);
}

/// (method, path, body, status, part of the text)
const TABLE: &[(&str, &str, &str, u16, &str)] = &[
    ("GET", "/version", "", 200, "\"MinAPIVersion\":\"1.24\""),
    ("GET", "/info", "", 200, "\"RemoteManagers\":null"),
    ("GET", "/services", "", 503, "Use \\\"docker swarm init\\\" or"),
    ("GET", "/nodes", "", 503, "not a swarm manager"),
    ("GET", "/swarm", "", 503, "not a swarm manager"),
    ("POST", "/swarm/leave", "", 503, "This node is not part of a swarm"),
    ("POST", "/swarm/unlock", "{\"UnlockKey\":\"x\"}", 409, "swarm is not locked"),
    ("POST", "/swarm/init", "{}", 400, "invalid ListenAddr"),
    ("POST", "/swarm/join", "{\"ListenAddr\":\"0.0.0.0:2377\"}", 400, "at least 1 RemoteAddr"),
    ("POST", "/swarm/join", "{\"ListenAddr\":\"0.0.0.0:2377\",\"RemoteAddrs\":[\"\"]}", 400, "invalid remoteAddr"),
    (
        "POST",
        "/swarm/join",
        "{\"ListenAddr\":\"0.0.0.0:2377\",\"RemoteAddrs\":[\"a:1\"]}",
        400,
        "A valid join token is necessary",
    ),
    ("GET", "/containers/json", "", 200, "[]"),
    ("GET", "/containers/json?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("GET", "/containers/json?filters=%5B%5D", "", 400, "invalid filter"),
    ("GET", "/containers/x/json", "", 404, "No such container: x"),
    ("POST", "/containers/x/start", "", 404, "No such container: x"),
    ("POST", "/containers/create", "", 400, "EOF"),
    ("POST", "/containers/create", "{", 400, "invalid JSON"),
    ("POST", "/containers/create", "{} {}", 400, "unexpected content after JSON"),
    ("POST", "/volumes/create", "{a", 400, "invalid character 'a' looking for beginning of object key string"),
    ("POST", "/containers/create", "{}", 400, "config cannot be empty"),
    ("POST", "/containers/create", "{\"Image\":5}", 400, "invalid JSON"),
    ("POST", "/containers/create?name=a%20b", "{\"Image\":\"x\"}", 400, "only [a-zA-Z0-9]"),
    ("POST", "/containers/create", "{\"Image\":\"missing\"}", 404, "No such image"),
    ("GET", "/containers/x/logs", "", 400, "choose at least one stream"),
    ("POST", "/containers/x/wait?condition=never", "", 400, "invalid condition"),
    ("GET", "/containers/x/archive", "", 400, "path cannot be empty"),
    ("GET", "/containers/x/attach/ws", "", 400, "onnection"),
    ("GET", "/images/json", "", 200, "\"RepoTags\":[\"alpine:latest\"]"),
    ("GET", "/images/docker.io/library/busybox/json", "", 200, "\"Id\":\"sha256:"),
    ("GET", "/images/nothing/json", "", 404, "No such image: nothing"),
    ("POST", "/session", "", 501, "DOCKER_BUILDKIT=0"),
    ("GET", "/images/search?term=x", "", 200, "\"name\":\"x\""),
    ("GET", "/images/search?term=x&limit=101", "", 400, "outside the range"),
    ("POST", "/images/busybox:latest/tag?repo=localhost:5000/x&tag=1", "", 201, ""),
    ("DELETE", "/images/localhost:5000/x:1", "", 200, "[{\"Untagged\":\"localhost:5000/x:1\"}]"),
    ("POST", "/images/create?fromImage=busybox&tag=1", "", 200, "\"errorDetail\":{\"message\":\"no network\"}"),
    ("POST", "/images/create", "", 400, "fromImage"),
    ("GET", "/distribution/library/busybox/json", "", 500, "no registry"),
    ("POST", "/build?target=x", "", 200, "building x"),
    ("POST", "/build?version=2", "", 501, "DOCKER_BUILDKIT=0"),
    ("POST", "/build/prune", "", 200, "SpaceReclaimed"),
    ("GET", "/plugins", "", 200, "\"Name\":\"some/plugin:latest\""),
    ("GET", "/plugins?filters=%7B%22enabled%22%3A%5B%22true%22%5D%7D", "", 200, "[]"),
    ("GET", "/plugins?filters=%7B%22capability%22%3A%5B%22volumedriver%22%5D%7D", "", 200, "some/plugin"),
    ("GET", "/plugins?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("GET", "/plugins/some/plugin/json", "", 200, "\"Config\":{"),
    ("POST", "/plugins/some/plugin/set", "[\"A=1\"]", 204, ""),
    ("POST", "/plugins/some/plugin/enable", "", 501, "enabling a plugin is not supported"),
    ("POST", "/plugins/some/plugin/disable", "", 409, "already disabled"),
    ("POST", "/plugins/some/plugin/nope", "", 404, "not found"),
    ("DELETE", "/plugins/some/plugin?force=1", "", 200, "\"Id\":\"aaaa"),
    ("POST", "/plugins/create?name=x", "tar", 204, ""),
    ("POST", "/plugins/pull?remote=x", "", 501, "registry is not supported"),
    ("GET", "/plugins/privileges?remote=x", "", 200, "[]"),
    ("GET", "/plugins/a/b/json", "", 404, "plugin \\\"a/b\\\" not found"),
    ("GET", "/networks/bridge", "", 200, "\"Driver\":\"bridge\""),
    ("GET", "/networks/nope", "", 404, "network nope not found"),
    ("POST", "/networks/create", "{\"Name\":\"host\"}", 403, "predefined host network"),
    ("POST", "/networks/create", "{\"Name\":\"n\"}", 201, "\"Id\":\"eeee"),
    ("POST", "/networks/create", "{\"Name\":\"n\",\"Driver\":\"overlay\"}", 403, "not a swarm manager"),
    ("GET", "/volumes", "", 200, "{\"Volumes\":[],\"Warnings\":null}"),
    ("GET", "/volumes/nope", "", 404, "get nope: no such volume"),
    ("POST", "/volumes/create", "{\"name\":\"v\",\"labels\":{\"A\":\"b\"}}", 201, "\"Labels\":{\"A\":\"b\"}"),
    ("POST", "/auth", "{\"username\":\"u\"}", 200, "Login Succeeded"),
    ("GET", "/system/df", "", 200, "\"BuildCache\":[]"),
    ("GET", "/containers/x/checkpoints", "", 501, "checkpoints are not supported"),
    ("POST", "/containers/x/checkpoints", "{\"CheckpointID\":\"c\"}", 501, "checkpoints are not supported"),
    ("DELETE", "/containers/x/checkpoints/c", "", 501, "checkpoints are not supported"),
    ("POST", "/containers/x/start?checkpoint=c", "", 501, "checkpoints are not supported"),
    ("GET", "/volumes?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("GET", "/images/json?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("GET", "/networks?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("GET", "/events?until=1&filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("POST", "/containers/prune?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("POST", "/images/prune?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("POST", "/networks/prune?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("POST", "/volumes/prune?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "", 400, "invalid filter 'nope'"),
    ("GET", "/system/df?type=x", "", 400, "unknown object type"),
    ("GET", "/exec/x/json", "", 404, "No such exec instance: x"),
    ("POST", "/containers/x/exec", "{\"Cmd\":[]}", 400, "No exec command specified"),
    ("GET", "/events?since=1&until=2&filters=%7B%22type%22%3A%5B%22network%22%5D%7D", "", 200, ""),
    ("GET", "/events?since=soon", "", 400, "failed to parse"),
];

#[tokio::test]
async fn statuses_and_texts_outside_a_swarm() {
    let r = fake::run();
    for (method, path, body, status, text) in TABLE {
        for prefix in ["", "/v1.44"] {
            let a = call(&r.socket, method, &format!("{prefix}{path}"), *body).await;
            assert_eq!(a.status, *status, "{method} {path}: {}", a.text);
            assert!(a.text.contains(text), "{method} {path}: {}", a.text);
            if *status >= 400 {
                assert!(a.json()["message"].is_string(), "{method} {path}: {}", a.text);
            }
        }
    }
}

#[tokio::test]
async fn an_image_is_shown_as_the_version_knows_it() {
    let r = fake::run();
    // Without a value, but never left out: clients index these.
    let always = ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"];
    for (version, container_config, virtual_size, hostname) in [
        ("1.43", true, true, true),
        ("1.44", true, false, true),
        ("1.45", false, false, true),
        ("1.50", false, false, false),
    ] {
        let image = call(&r.socket, "GET", &format!("/v{version}/images/busybox/json"), "").await.json();
        assert_eq!(image.get("ContainerConfig").is_some(), container_config, "{version}: {image}");
        assert_eq!(image.get("VirtualSize").is_some(), virtual_size, "{version}: {image}");
        assert_eq!(image["Config"].get("Hostname").is_some(), hostname, "{version}: {image}");
        assert!(always.iter().all(|name| image["Config"].get(name).is_some()), "{version}: {image}");
    }
    for (version, tags) in [("1.42", json!(["<none>:<none>"])), ("1.43", json!([]))] {
        let dangling = "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D";
        let images = call(&r.socket, "GET", &format!("/v{version}{dangling}"), "").await.json();
        assert_eq!(images[0]["RepoTags"], tags, "{version}");
    }
}

#[tokio::test]
async fn containers_are_filtered_on_the_server() {
    let r = fake::run();
    let mut ids = vec![];
    for (name, image, cmd) in [("web", "nginx", "sleep"), ("db", "redis", "exit"), ("job", "busybox", "echo")] {
        let body = json!({"Image":image,"Cmd":[cmd, "7"],"Labels":{"app":name}}).to_string();
        let a = call(&r.socket, "POST", &format!("/containers/create?name={name}"), body).await;
        assert_eq!(a.status, 201, "{}", a.text);
        ids.push(a.json()["Id"].as_str().unwrap().to_owned());
    }
    assert_eq!(call(&r.socket, "POST", "/containers/web/start", "").await.status, 204);
    assert_eq!(call(&r.socket, "POST", "/containers/web/start", "").await.status, 304);
    assert_eq!(call(&r.socket, "POST", "/containers/db/start", "").await.status, 204);
    let a = call(&r.socket, "POST", "/containers/db/wait", "").await;
    assert_eq!(a.json(), json!({"StatusCode":7}));
    let names = async |query: String| -> Vec<String> {
        let a = call(&r.socket, "GET", &format!("/containers/json?{query}"), "").await;
        assert_eq!(a.status, 200, "{query}: {}", a.text);
        a.json().as_array().unwrap().iter().map(|c| c["Names"][0].as_str().unwrap()[1..].to_owned()).collect()
    };
    assert_eq!(names(String::new()).await, ["web"]);
    assert_eq!(names("all=1".into()).await, ["job", "db", "web"]);
    assert_eq!(names("limit=2".into()).await, ["job", "db"]);
    for (filter, want) in [
        (json!({"name":["^/web$"]}), vec!["web"]),
        (json!({"name":["e"]}), vec!["web"]),
        (json!({"label":{"app=db":true}}), vec!["db"]),
        (json!({"label":["app"]}), vec!["job", "db", "web"]),
        (json!({"status":["exited"]}), vec!["db"]),
        (json!({"status":["created","exited"]}), vec!["job", "db"]),
        (json!({"exited":["7"]}), vec!["db"]),
        (json!({"exited":["0"]}), vec![]),
        (json!({"ancestor":["redis"]}), vec!["db"]),
        (json!({"before":["db"]}), vec!["web"]),
        (json!({"since":["db"]}), vec!["job"]),
        (json!({"id":[ids[2][..12].to_owned()]}), vec!["job"]),
        (json!({"is-task":["true"]}), vec![]),
        (json!({"publish":["80"]}), vec!["job", "db", "web"]),
        (json!({"expose":["70-79/tcp"]}), vec![]),
        (json!({"health":["healthy"]}), vec![]),
    ] {
        assert_eq!(names(format!("all=1&filters={}", q(filter.clone()))).await, want, "{filter}");
    }
    let a = call(&r.socket, "GET", &format!("/containers/json?filters={}", q(json!({"status":["odd"]}))), "").await;
    assert_eq!(a.status, 400);
    let a = call(&r.socket, "GET", &format!("/containers/json?filters={}", q(json!({"before":["gone"]}))), "").await;
    assert_eq!(a.status, 404);
    let a = call(&r.socket, "GET", "/containers/db/logs?stderr=1&stdout=1&timestamps=1", "").await;
    assert_eq!(a.headers["content-type"], "application/vnd.docker.multiplexed-stream");
    assert_eq!(a.text, "\u{2}\0\0\0\0\0\0#1970-01-01T00:00:00.000000001Z bad\n");
    let a = call(&r.socket, "HEAD", "/containers/db/archive?path=/tmp", "").await;
    assert!(a.headers.contains_key("x-docker-container-path-stat"));
    let a = call(&r.socket, "PUT", "/containers/db/archive?path=/tmp", vec![7; 100_000]).await;
    assert_eq!((a.status, r.fake.0.lock().uploaded.len()), (200, 100_000));
    let a = call(&r.socket, "GET", "/containers/db/stats?stream=0", "").await;
    assert_eq!(a.json()["id"], ids[1].as_str());
    // A panic is the request's, not the server's.
    let a = call(&r.socket, "POST", "/containers/web/kill?signal=PANIC", "").await;
    assert_eq!((a.status, a.json()["message"].is_string()), (500, true));
    assert_eq!(call(&r.socket, "DELETE", "/containers/web?force=1", "").await.status, 204);
}

#[tokio::test]
async fn the_swarm_s_nouns() {
    let r = fake::run();
    let a = call(&r.socket, "POST", "/swarm/init", r#"{"ListenAddr":"0.0.0.0:2377","Spec":{}}"#).await;
    assert_eq!((a.status, a.json().as_str().unwrap().len()), (200, 25));
    let a = call(&r.socket, "POST", "/swarm/init", "{}").await;
    assert!(a.status == 503 && a.text.contains("already part of a swarm"), "{}", a.text);
    let swarm = call(&r.socket, "GET", "/swarm", "").await.json();
    assert_eq!(swarm["JoinTokens"]["Worker"], "SWMTKN-1-w");
    assert_eq!(swarm["Spec"]["Raft"]["ElectionTick"], 10);
    assert!(swarm.get("RootCaKey").is_none() && !swarm.to_string().contains("secret"));
    let net =
        call(&r.socket, "POST", "/networks/create", r#"{"Name":"tover","Driver":"overlay","Attachable":true}"#).await;
    let net = net.json()["Id"].as_str().unwrap().to_owned();
    assert_eq!(net.len(), 25);
    let spec = json!({"Name":"web","Labels":{"tier":"front"},"TaskTemplate":{"ContainerSpec":{"Image":"busybox"},"Networks":[{"Target":"tover"}]},
        "Mode":{"Replicated":{"Replicas":2}},"EndpointSpec":{"Ports":[{"TargetPort":80,"PublishedPort":8080}]}});
    let a = call(&r.socket, "POST", "/services/create", spec.to_string()).await;
    assert_eq!(a.status, 201, "{}", a.text);
    let id = a.json()["ID"].as_str().unwrap().to_owned();
    let a = call(&r.socket, "POST", "/services/create", spec.to_string()).await;
    assert_eq!(a.status, 409);
    assert!(a.text.contains("rpc error: code = AlreadyExists desc = name conflicts"), "{}", a.text);
    let mut local = spec.clone();
    local["TaskTemplate"]["Networks"][0]["Target"] = json!("mine");
    let a = call(&r.socket, "POST", "/services/create", local.to_string()).await;
    assert!(a.status == 403 && a.text.contains("cannot be used with services"), "{}", a.text);

    let s = call(&r.socket, "GET", "/services/web", "").await.json();
    assert_eq!((&s["ID"], &s["Spec"]["TaskTemplate"]["Networks"][0]["Target"]), (&json!(id), &json!(net)));
    assert!(s["Spec"].get("UpdateConfig").is_none());
    assert_eq!(
        s["Endpoint"]["Ports"][0],
        json!({"Protocol":"tcp","TargetPort":80,"PublishedPort":8080,"PublishMode":"ingress"})
    );
    let s = call(&r.socket, "GET", "/services/web?insertDefaults=true", "").await.json();
    assert_eq!(s["Spec"]["UpdateConfig"]["Parallelism"], 1);
    assert_eq!(s["Spec"]["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"], 10_000_000_000i64);
    let list = call(&r.socket, "GET", &format!("/services?status=true&filters={}", q(json!({"name":{"we":true}}))), "")
        .await
        .json();
    assert_eq!(list[0]["ServiceStatus"], json!({"RunningTasks":2,"DesiredTasks":2,"CompletedTasks":0}));
    let none = call(&r.socket, "GET", &format!("/services?filters={}", q(json!({"mode":["global"]}))), "").await.json();
    assert_eq!(none, json!([]));

    for (filter, count) in [
        (json!({"service":["web"]}), 2),
        (json!({"service":["web"],"desired-state":["shutdown"]}), 0),
        (json!({"node":["self"],"desired-state":{"running":true}}), 2),
        (json!({"name":["web.1"]}), 1),
        (json!({"label":["tier=front"]}), 2),
        (json!({"service":[id],"_up-to-date":["true"]}), 2),
    ] {
        let tasks = call(&r.socket, "GET", &format!("/tasks?filters={}", q(filter.clone())), "").await.json();
        assert_eq!(tasks.as_array().map(Vec::len), Some(count), "{filter}: {tasks}");
    }
    let tasks = call(&r.socket, "GET", "/tasks", "").await.json();
    assert_eq!(tasks[0]["NetworksAttachments"][0]["Addresses"], json!(["10.0.1.3/24"]));
    assert_eq!(tasks[0]["NetworksAttachments"][0]["Network"]["Spec"]["Name"], "tover");
    assert_eq!(tasks[0]["Status"]["State"], "running");
    let a = call(&r.socket, "GET", "/tasks?filters=%7B%22service%22%3A%5B%22no%22%5D%7D", "").await;
    assert_eq!((a.status, a.json()["message"].as_str().unwrap()), (404, "service no not found"));

    let a = call(&r.socket, "POST", "/services/web/update", spec.to_string()).await;
    assert!(a.status == 400 && a.text.contains("invalid service version ''"), "{}", a.text);
    let a = call(&r.socket, "POST", "/services/web/update?version=1", spec.to_string()).await;
    assert!(a.status == 500 && a.text.contains("update out of sequence"), "{}", a.text);
    let version = s["Version"]["Index"].as_u64().unwrap();
    let a = call(&r.socket, "POST", &format!("/services/web/update?version={version}"), spec.to_string()).await;
    assert_eq!((a.status, a.json()), (200, json!({"Warnings":null})));

    let a = call(&r.socket, "GET", "/services/web/logs?stdout=1&details=1", "").await;
    assert!(a.text.contains("com.docker.swarm.node.id="), "{}", a.text);
    let a = call(&r.socket, "GET", "/services/web/logs?stdout=1&tail=x", "").await;
    assert_eq!(a.status, 400);

    let nodes = call(&r.socket, "GET", &format!("/nodes?filters={}", q(json!({"role":["manager"]}))), "").await.json();
    assert_eq!(nodes[0]["ManagerStatus"], json!({"Leader":true,"Reachability":"reachable","Addr":"127.0.0.1:2377"}));
    assert_eq!(nodes[0]["Spec"], json!({"Labels":{},"Role":"manager","Availability":"active"}));
    assert_eq!(call(&r.socket, "GET", "/nodes/self", "").await.json()["ID"], nodes[0]["ID"]);
    let a = call(&r.socket, "POST", "/nodes/self/update?version=1", r#"{"Role":"king"}"#).await;
    assert_eq!(a.status, 400);

    for noun in ["secrets", "configs"] {
        let a =
            call(&r.socket, "POST", &format!("/{noun}/create"), r#"{"Name":"n","Labels":{"l":"1"},"Data":"aGVsbG8="}"#)
                .await;
        assert_eq!(a.status, 201);
        let shown = call(&r.socket, "GET", &format!("/{noun}/n"), "").await.json();
        assert_eq!(shown["Spec"]["Labels"], json!({"l":"1"}));
        assert_eq!(shown["Spec"].get("Data").is_some(), noun == "configs", "{shown}");
        assert_eq!(call(&r.socket, "DELETE", &format!("/{noun}/n"), "").await.status, 204);
        assert_eq!(call(&r.socket, "GET", &format!("/{noun}/n"), "").await.status, 404);
    }
    assert_eq!(call(&r.socket, "DELETE", "/services/web", "").await.status, 200);
    assert_eq!(call(&r.socket, "POST", "/swarm/leave", "").await.status, 503);
    assert_eq!(call(&r.socket, "POST", "/swarm/leave?force=1", "").await.status, 200);
}

/// Sends a head, then speaks raw, as clients of attach and exec do.
async fn hijack(socket: &Path, head: &str) -> (UnixStream, String) {
    let mut s = UnixStream::connect(socket).await.unwrap();
    s.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(s.read_u8().await.unwrap());
    }
    (s, String::from_utf8(got).unwrap())
}

#[tokio::test]
async fn attach_loses_nothing_and_half_close_ends_only_stdin() {
    let r = fake::run();
    let body = json!({"Image":"busybox","Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}).to_string();
    call(&r.socket, "POST", "/containers/create?name=c1", body).await;
    // The first bytes of stdin come in the same segment as the head.
    let head = "POST /v1.44/containers/c1/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ";
    let (s, answer) = hijack(&r.socket, head).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.to_lowercase().contains("content-type: application/vnd.docker.multiplexed-stream"), "{answer}");
    assert!(answer.to_lowercase().contains("upgrade: tcp"), "{answer}");
    call(&r.socket, "POST", "/containers/c1/start", "").await;
    talk(s).await;
}

#[tokio::test]
async fn who_takes_a_connection_over_without_asking_gets_it_too() {
    let r = fake::run();
    let body = json!({"Image":"busybox","Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}).to_string();
    call(&r.socket, "POST", "/containers/create?name=c1", body).await;
    let head = "POST /containers/c1/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\nearly ";
    let (s, answer) = hijack(&r.socket, head).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n");
    call(&r.socket, "POST", "/containers/c1/start", "").await;
    talk(s).await;
    // What is refused is refused as ever.
    let (_, answer) = hijack(&r.socket, "POST /containers/none/attach HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

/// Much goes in after what has gone in early, and all of it comes back in frames.
async fn talk(mut s: tokio::net::UnixStream) {
    let big = vec![b'x'; 100_000];
    s.write_all(&big).await.unwrap();
    s.shutdown().await.unwrap();
    let mut out = Vec::new();
    s.read_to_end(&mut out).await.unwrap();
    let (mut rest, mut text) = (&out[..], Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        assert_eq!(head[..4], [1, 0, 0, 0]);
        let n = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        text.extend_from_slice(&tail[..n]);
        rest = &tail[n..];
    }
    assert_eq!(text.len(), 100_006);
    assert!(text.starts_with(b"early xxx"));
}

#[tokio::test]
async fn a_failing_exec_says_so_on_stdout_and_keeps_its_code() {
    let r = fake::run();
    call(&r.socket, "POST", "/containers/create?name=c1", r#"{"Image":"b","Cmd":["sleep"]}"#).await;
    let a = call(&r.socket, "POST", "/containers/c1/exec", r#"{"Cmd":["nonsense"],"AttachStdout":true}"#).await;
    let id = a.json()["Id"].as_str().unwrap().to_owned();
    let body = r#"{"Detach":false,"Tty":false}"#;
    let head = format!(
        "POST /v1.41/exec/{id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{body}",
        body.len()
    );
    let (mut s, answer) = hijack(&r.socket, &head).await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.to_lowercase().contains("vnd.docker.raw-stream"), "{answer}");
    let mut out = Vec::new();
    s.read_to_end(&mut out).await.unwrap();
    assert!(String::from_utf8_lossy(&out).contains("executable file not found"));
    assert_eq!(call(&r.socket, "GET", &format!("/exec/{id}/json"), "").await.json()["ExitCode"], 127);
}

/// Whether output comes in frames is what the start says: the Python SDK makes a command with a terminal, starts it
/// without a word of it, and reads frames.
#[tokio::test]
async fn a_terminal_s_output_comes_in_frames_unless_the_start_asks_for_a_terminal_too() {
    let r = fake::run();
    call(&r.socket, "POST", "/containers/create?name=c1", r#"{"Image":"b","Cmd":["sleep"]}"#).await;
    for (start, want) in [("{}", &b"\x01\0\0\0\0\0\0\x02x\n"[..]), (r#"{"Tty":true}"#, &b"x\n"[..])] {
        let body = r#"{"Cmd":["echo","x"],"AttachStdout":true,"Tty":true}"#;
        let a = call(&r.socket, "POST", "/containers/c1/exec", body).await;
        let id = a.json()["Id"].as_str().unwrap().to_owned();
        let head = format!(
            "POST /v1.44/exec/{id}/start HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{start}",
            start.len()
        );
        let (mut s, _) = hijack(&r.socket, &head).await;
        let mut out = Vec::new();
        s.read_to_end(&mut out).await.unwrap();
        assert_eq!(out, want, "{start}");
    }
}

#[tokio::test]
async fn tunnelled_requests_need_no_socket() {
    use axum::body::Body;
    let r = fake::run();
    call(&r.socket, "POST", "/containers/create?name=c1", r#"{"Image":"b","Cmd":["sleep"]}"#).await;
    let a = call(
        &r.socket,
        "POST",
        "/containers/c1/exec",
        r#"{"Cmd":["cat"],"AttachStdin":true,"AttachStdout":true,"Tty":true}"#,
    )
    .await;
    let id = a.json()["Id"].as_str().unwrap().to_owned();
    // The body: the options, then stdin.
    let chunks = ["{\"Det", "ach\":false,\"Tty\":true}hel", "lo"].map(|c| Ok::<_, std::io::Error>(Bytes::from(c)));
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("/exec/{id}/start"))
        .body(Body::from_stream(futures::stream::iter(chunks)))
        .unwrap();
    let response = r.server.handle(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/vnd.docker.raw-stream");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

struct ToManager;

#[async_trait::async_trait]
impl api::Forwarder for ToManager {
    async fn forward(&self, request: axum::extract::Request, to: api::Destination) -> Option<axum::response::Response> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if parts.uri.path() == "/tasks" {
            return None;
        }
        let text = format!("{to:?} {} {} {}", parts.method, parts.uri, body.len());
        Some(axum::response::Response::new(axum::body::Body::from(text)))
    }
    async fn settle(&self, _: bool) -> bool {
        false
    }
}

#[tokio::test]
async fn a_worker_forwards_what_is_not_its_own() {
    let r = fake::run_with(|s| s.with_forwarder(std::sync::Arc::new(ToManager)));
    assert_eq!(call(&r.socket, "GET", "/services", "").await.status, 503, "outside a swarm nothing is forwarded");
    call(
        &r.socket,
        "POST",
        "/swarm/join",
        r#"{"ListenAddr":"0.0.0.0:2377","RemoteAddrs":["1.2.3.4:2377"],"JoinToken":"x"}"#,
    )
    .await;
    assert_eq!(call(&r.socket, "GET", "/_ping", "").await.headers["swarm"], "active/worker");
    assert_eq!(call(&r.socket, "GET", "/v1.44/services?status=1", "").await.text, "Manager GET /services?status=1 0");
    assert_eq!(call(&r.socket, "POST", "/secrets/create", "{}").await.text, "Manager POST /secrets/create 2");
    let overlay = r#"{"Name":"n","Driver":"overlay"}"#;
    assert_eq!(call(&r.socket, "POST", "/networks/create", overlay).await.text, "Manager POST /networks/create 31");
    assert_eq!(call(&r.socket, "POST", "/networks/create", r#"{"Name":"n"}"#).await.status, 201);
    let a = call(&r.socket, "GET", "/tasks", "").await;
    assert!(a.status == 503 && a.text.contains("Worker nodes can't be used"), "{}", a.text);
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_nothing_behind() {
    let r = fake::run();
    call(&r.socket, "POST", "/containers/create?name=c1", r#"{"Image":"b","Cmd":["sleep"]}"#).await;
    let exits = || r.fake.0.lock().processes.values().next().unwrap().exit.receiver_count();
    let mut s = UnixStream::connect(&r.socket).await.unwrap();
    s.write_all(b"POST /containers/c1/wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    s.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK", "the head comes before the end");
    assert_eq!(exits(), 1);
    drop(s);
    tokio::time::timeout(Duration::from_secs(10), async {
        while exits() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the wait was dropped with its client");
}
