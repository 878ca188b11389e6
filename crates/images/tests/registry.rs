//! Pull and push against a small registry in this process (with faults and passwords), and against Debian's
//! `docker-registry`.
#![allow(missing_docs)]
mod support;
use images::{Credentials, Images, Platform, Progress};
use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Default)]
struct Shelf {
    blobs: HashMap<String, Vec<u8>>,
    manifests: HashMap<String, (String, Vec<u8>)>,
    /// Cut this many answers with blobs after half of their bytes.
    cuts: u32,
    /// Range requests seen.
    resumed: u32,
    uploads: u32,
    password: Option<String>,
}

type Shared = Arc<Mutex<Shelf>>;

async fn registry(shelf: Shared) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&shelf)));
        }
    });
    port
}

async fn answer(mut stream: TcpStream, shelf: Shared) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> =
        lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
    let length: usize = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let (reply, cut) = respond(&method, &target, &headers, body, &shelf);
    let (status, extra, content) = reply;
    let sent = if cut { content.len() / 2 } else { content.len() };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n", content.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    if method != "HEAD" {
        stream.write_all(&content[..sent]).await.ok()?;
    }
    stream.shutdown().await.ok()
}

type Reply = (&'static str, String, Vec<u8>);

fn respond(
    method: &str,
    target: &str,
    headers: &HashMap<String, String>,
    body: Vec<u8>,
    shelf: &Shared,
) -> (Reply, bool) {
    let mut shelf = shelf.lock().unwrap();
    let plain = |status, content: &str| ((status, String::new(), content.as_bytes().to_vec()), false);
    if let Some(password) = &shelf.password
        && headers.get("authorization") != Some(password)
    {
        return (
            (
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"test\"\r\n".into(),
                b"{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}".to_vec(),
            ),
            false,
        );
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path == "/v2/" {
        return plain("200 OK", "{}");
    }
    if let Some((_, digest)) = path.split_once("/blobs/sha256:") {
        let Some(blob) = shelf.blobs.get(&format!("sha256:{digest}")).cloned() else {
            return plain("404 Not Found", "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}");
        };
        let cut = method == "GET" && blob.len() > 1000 && shelf.cuts > 0;
        shelf.cuts -= u32::from(cut);
        if let Some(from) =
            headers.get("range").and_then(|r| r.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok())
        {
            shelf.resumed += 1;
            let range = format!("Content-Range: bytes {from}-{}/{}\r\n", blob.len() - 1, blob.len());
            return (("206 Partial Content", range, blob[from..].to_vec()), cut);
        }
        return (("200 OK", String::new(), blob), cut);
    }
    if path.ends_with("/blobs/uploads/") {
        return (("202 Accepted", format!("Location: {path}session\r\n"), Vec::new()), false);
    }
    if path.contains("/blobs/uploads/") {
        let digest = query.split('&').find_map(|p| p.strip_prefix("digest=")).unwrap_or_default().replace("%3A", ":");
        if images::digest::sha256(&body) != digest {
            return plain("400 Bad Request", "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}");
        }
        shelf.uploads += 1;
        shelf.blobs.insert(digest.clone(), body);
        return (("201 Created", format!("Location: /v2/x/blobs/{digest}\r\n"), Vec::new()), false);
    }
    let Some((_, reference)) = path.split_once("/manifests/") else { return plain("404 Not Found", "{}") };
    let key = |r: &str| path.replace(reference, r);
    if method == "PUT" {
        let (kind, digest) = (headers.get("content-type").cloned().unwrap_or_default(), images::digest::sha256(&body));
        shelf.manifests.insert(key(&digest), (kind.clone(), body.clone()));
        shelf.manifests.insert(path.to_owned(), (kind, body));
        return (("201 Created", format!("Location: {path}\r\n"), Vec::new()), false);
    }
    match shelf.manifests.get(path) {
        Some((kind, body)) => (
            (
                "200 OK",
                format!("Content-Type: {kind}\r\nDocker-Content-Digest: {}\r\n", images::digest::sha256(body)),
                body.clone(),
            ),
            false,
        ),
        None => {
            plain("404 Not Found", "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}")
        }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    // Two tests of one process both install it; the second finds it there.
    rustls_provider();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

fn rustls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn listen() -> (tokio::sync::mpsc::Sender<Progress>, tokio::task::JoinHandle<Vec<String>>) {
    let (tx, mut rx) = tokio::sync::mpsc::channel::<Progress>(16);
    let said = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(p) = rx.recv().await {
            all.push(p.status);
        }
        all
    });
    (tx, said)
}

async fn round_trip(images: &Images, other: &Images, host: &str, credentials: Credentials) {
    let long: String = (0..40_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_string()).collect();
    let id = import(images, Tar::new().dir("d/").file("d/a", "x").file("d/big", &long).bytes(), "thing:1").await;
    let target = name(&format!("{host}/team/thing:1"));
    images.tag("thing:1", target.clone()).await.unwrap();
    let (tx, said) = listen();
    let digest = images.push(target.clone(), credentials.clone(), tx).await.unwrap();
    let said = said.await.unwrap();
    assert_eq!(said[0], format!("The push refers to repository [{host}/team/thing]"));
    assert!(
        said.iter().any(|s| s == "Pushed")
            && said.iter().any(|s| s.starts_with(&format!("1: digest: {digest} size: "))),
        "{said:?}"
    );
    assert_eq!(images.get(&format!("{host}/team/thing@{digest}")).unwrap().id, id);
    // A second push sends nothing.
    let (tx, said) = listen();
    assert_eq!(images.push(target.clone(), credentials.clone(), tx).await.unwrap(), digest);
    assert!(said.await.unwrap().iter().any(|s| s == "Layer already exists"));
    let info = images.distribution(target.clone(), credentials.clone()).await.unwrap();
    assert_eq!((info.digest.as_str(), &info.platforms[..]), (digest.as_str(), &[Platform::host()][..]));

    let (tx, said) = listen();
    let pulled = other.pull(target.clone(), None, credentials.clone(), tx).await.unwrap();
    let said = said.await.unwrap();
    assert_eq!(pulled.id, id);
    assert_eq!(pulled.repo_digests, [format!("{host}/team/thing@{digest}")]);
    assert!(
        said.iter().any(|s| s == "Pull complete")
            && said.contains(&format!("Status: Downloaded newer image for {host}/team/thing:1")),
        "{said:?}"
    );
    let (tx, said) = listen();
    other.pull(target.clone(), None, credentials.clone(), tx).await.unwrap();
    assert!(said.await.unwrap().contains(&format!("Status: Image is up to date for {host}/team/thing:1")));
    let (tx, _said) = listen();
    let missing = other.pull(target.with_tag("none").unwrap(), None, credentials, tx).await.unwrap_err().to_string();
    assert!(
        missing.starts_with(&format!("manifest for {host}/team/thing:none not found: manifest unknown")),
        "{missing}"
    );
}

#[test]
fn push_and_pull_with_broken_connections() {
    let (home, away) = (Home::new(), Home::new());
    run(async {
        let shelf = Shared::default();
        let port = registry(Arc::clone(&shelf)).await;
        shelf.lock().unwrap().cuts = 2;
        let (images, other) = (home.open().await, away.open().await);
        round_trip(&images, &other, &format!("127.0.0.1:{port}"), Credentials::Anonymous).await;
        let shelf = shelf.lock().unwrap();
        assert_eq!(
            (shelf.cuts, shelf.resumed, shelf.uploads),
            (0, 2, 2),
            "resumed twice; layer and configuration sent once"
        );
    });
}

#[test]
fn a_lying_registry_is_not_believed() {
    let (home, away) = (Home::new(), Home::new());
    run(async {
        let shelf = Shared::default();
        let port = registry(Arc::clone(&shelf)).await;
        let images = home.open().await;
        import(&images, busybox_like(), "x:1").await;
        let target = name(&format!("127.0.0.1:{port}/x:1"));
        images.tag("x:1", target.clone()).await.unwrap();
        let (tx, _said) = listen();
        images.push(target.clone(), Credentials::Anonymous, tx).await.unwrap();
        let good = shelf.lock().unwrap().blobs.clone();
        for (digest, blob) in &good {
            let mut bad = blob.clone();
            let last = bad.len() - 1;
            bad[last] ^= 1;
            shelf.lock().unwrap().blobs.insert(digest.clone(), bad);
            let other = away.open().await;
            let (tx, _said) = listen();
            other.pull(target.clone(), None, Credentials::Anonymous, tx).await.unwrap_err();
            assert!(other.list().is_empty());
            shelf.lock().unwrap().blobs.insert(digest.clone(), blob.clone());
        }
        assert_eq!(std::fs::read_dir(away.root().join("layers")).unwrap().count(), 0);
    });
}

#[test]
fn passwords_and_silence() {
    let (home, away) = (Home::new(), Home::new());
    run(async {
        let shelf = Shared::default();
        shelf.lock().unwrap().password = Some("Basic dXNlcjpwYXNz".into());
        let port = registry(Arc::clone(&shelf)).await;
        let host = format!("localhost:{port}");
        let (images, other) = (home.open().await, away.open().await);
        let basic = |password: &str| Credentials::Basic { username: "user".into(), password: password.into() };
        round_trip(&images, &other, &host, basic("pass")).await;
        let (tx, _said) = listen();
        let error = other
            .pull(name(&format!("{host}/team/thing:1")), None, Credentials::Anonymous, tx)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no basic auth credentials"), "{error}");
        images.login(&host, basic("pass")).await.unwrap();
        assert_eq!(
            images.login(&host, basic("wrong")).await.unwrap_err().to_string(),
            "unauthorized: incorrect username or password"
        );
        // Nobody listens: an answer at once.
        let (tx, _said) = listen();
        let since = Instant::now();
        let error = other.pull(name("127.0.0.1:1/x"), None, Credentials::Anonymous, tx).await.unwrap_err().to_string();
        assert!(error.to_lowercase().contains("connection refused"), "{error}");
        assert!(since.elapsed() < Duration::from_secs(5));
    });
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Debian's registry with more lines of configuration for its `http` part, and at the top.
fn real_registry(http: &str, top: &str) -> (Running, u16, tempfile::TempDir) {
    const PROGRAM: &str = "/usr/bin/docker-registry";
    assert!(std::path::Path::new(PROGRAM).exists(), "this test needs the package docker-registry");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let (config, root) = (dir.path().join("config.yml"), dir.path().display().to_string());
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{top}"
    );
    std::fs::write(&config, text.replace("DIR", &root)).unwrap();
    // What the configuration names must be there before it starts.
    std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
    let certificate = rcgen::generate_simple_self_signed(vec!["somebody.else".to_owned()]).unwrap();
    std::fs::write(dir.path().join("crt"), certificate.cert.pem()).unwrap();
    std::fs::write(dir.path().join("key"), certificate.signing_key.serialize_pem()).unwrap();
    let mut command = Command::new(PROGRAM);
    let child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "the registry does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    (running, port, dir)
}

/// `captain`, `swordfish`.
const HTPASSWD: &str = "captain:$2b$04$U6Cqci8i15/0ES29u3t66uPWQYOrxbUhOSA.wM18tef9kMSYQmU4i\n";

#[test]
fn a_real_registry_takes_and_gives() {
    let (home, away) = (Home::new(), Home::new());
    let (_running, port, _dir) = real_registry("", "");
    run(async {
        let (images, other) = (home.open().await, away.open().await);
        round_trip(&images, &other, &format!("localhost:{port}"), Credentials::Anonymous).await;
    });
}

#[test]
fn a_real_registry_wants_a_password() {
    let (home, away) = (Home::new(), Home::new());
    let (_running, port, _dir) = real_registry("", "auth:\n  htpasswd:\n    realm: test\n    path: DIR/htpasswd\n");
    run(async {
        let (images, other) = (home.open().await, away.open().await);
        let host = format!("127.0.0.1:{port}");
        let basic = |password: &str| Credentials::Basic { username: "captain".into(), password: password.into() };
        images.login(&format!("http://{host}/v2/"), basic("swordfish")).await.unwrap();
        let said = images.login(&host, basic("haddock")).await.unwrap_err();
        assert_eq!(said.kind(), images::ErrorKind::Unauthorized, "{said}");
        round_trip(&images, &other, &host, basic("swordfish")).await;
        for wrong in [Credentials::Anonymous, basic("haddock")] {
            let (tx, _said) = listen();
            let said = images.push(name(&format!("{host}/team/thing:1")), wrong.clone(), tx).await.unwrap_err();
            assert_eq!(said.kind(), images::ErrorKind::Unauthorized, "{said}");
            let (tx, _said) = listen();
            let said = other.pull(name(&format!("{host}/team/thing:1")), None, wrong, tx).await.unwrap_err();
            assert_eq!(said.kind(), images::ErrorKind::Unauthorized, "{said}");
        }
    });
}

#[test]
fn a_registry_with_a_certificate_of_nobody_is_fine_where_it_is_insecure() {
    let (home, away) = (Home::new(), Home::new());
    let (_running, port, _dir) = real_registry("  tls:\n    certificate: DIR/crt\n    key: DIR/key\n", "");
    run(async {
        let (images, other) = (home.open().await, away.open().await);
        round_trip(&images, &other, &format!("127.0.0.1:{port}"), Credentials::Anonymous).await;
    });
}

#[test]
fn a_mirror_gives_what_docker_hub_is_asked_for() {
    let (home, away) = (Home::new(), Home::new());
    let (_running, port, _dir) = real_registry("", "");
    run(async {
        let (images, other) = (home.open().await, away.open().await);
        let id = import(&images, busybox_like(), "busybox").await;
        let there = name(&format!("127.0.0.1:{port}/library/busybox:latest"));
        images.tag("busybox", there.clone()).await.unwrap();
        let (tx, _said) = listen();
        images.push(there, Credentials::Anonymous, tx).await.unwrap();

        // The first mirror is out of order.
        let mirrors = ["http://127.0.0.1:1".to_owned(), format!("http://127.0.0.1:{port}/")];
        other.set_registries(images::RegistrySettings::parse(&[], &mirrors).unwrap());
        let (tx, said) = listen();
        let secret = Credentials::Basic { username: "hub".into(), password: "secret".into() };
        let pulled = other.pull(name("busybox"), None, secret, tx).await.unwrap();
        assert_eq!((pulled.id.as_str(), &pulled.repo_tags[..]), (id.as_str(), &["busybox:latest".to_owned()][..]));
        assert!(said.await.unwrap().contains(&"Pulling from library/busybox".to_owned()));
        let info = other.distribution(name("busybox"), Credentials::Anonymous).await.unwrap();
        assert_eq!(pulled.repo_digests, [format!("busybox@{}", info.digest)]);
    });
}

#[test]
fn an_index_gives_each_platform_its_image() {
    let (home, away) = (Home::new(), Home::new());
    let (_running, port, _dir) = real_registry("", "");
    run(async {
        let (images, other) = (home.open().await, away.open().await);
        let host = format!("127.0.0.1:{port}");
        let foreign = Platform { os: "linux".into(), architecture: "s390x".into(), variant: String::new() };
        let (mut ids, mut entries) = (Vec::new(), Vec::new());
        for (tag, platform) in [("mine", Platform::host()), ("theirs", foreign.clone())] {
            let tar = std::io::Cursor::new(Tar::new().file("f", tag).bytes());
            let target = name(&format!("{host}/many:{tag}"));
            let made = images.import(tar, Some(target.clone()), vec![], String::new(), Some(platform.clone())).await;
            ids.push(made.unwrap());
            let (tx, _said) = listen();
            let digest = images.push(target.clone(), Credentials::Anonymous, tx).await.unwrap();
            let size = images.distribution(target, Credentials::Anonymous).await.unwrap().size;
            entries.push(serde_json::json!({
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": digest, "size": size,
                "platform": {"os": platform.os, "architecture": platform.architecture},
            }));
        }
        let list = "application/vnd.docker.distribution.manifest.list.v2+json";
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": list, "manifests": entries});
        let put = reqwest::Client::new()
            .put(format!("http://{host}/v2/many/manifests/all"))
            .header("content-type", list)
            .body(index.to_string());
        assert_eq!(put.send().await.unwrap().status(), 201);

        let all = name(&format!("{host}/many:all"));
        let info = images.distribution(all.clone(), Credentials::Anonymous).await.unwrap();
        assert_eq!((info.media_type.as_str(), info.platforms.len()), (list, 2));
        for (platform, id) in [(None, &ids[0]), (Some(foreign), &ids[1])] {
            let (tx, _said) = listen();
            let pulled = other.pull(all.clone(), platform, Credentials::Anonymous, tx).await.unwrap();
            assert_eq!((&pulled.id, &pulled.repo_digests[0]), (id, &format!("{host}/many@{}", info.digest)));
        }
        let (tx, _said) = listen();
        let none = Platform { os: "linux".into(), architecture: "riscv64".into(), variant: String::new() };
        let said = other.pull(all, Some(none.clone()), Credentials::Anonymous, tx).await.unwrap_err().to_string();
        assert_eq!(said, "no matching manifest for linux/riscv64 in the manifest list entries");

        // What is there for one platform only is taken, with a warning.
        let (tx, said) = listen();
        let mine = name(&format!("{host}/many:mine"));
        let pulled = other.pull(mine, Some(none), Credentials::Anonymous, tx).await.unwrap();
        let wrong = "was found but does not match the specified platform: wanted linux/riscv64, actual: ";
        let said = said.await.unwrap();
        assert!(
            pulled.id == ids[0] && said.iter().any(|s| s.starts_with("WARNING: ") && s.contains(wrong)),
            "{said:?}"
        );
    });
}
