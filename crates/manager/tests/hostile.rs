//! What hostile machines try at the managers' door, with a certificate and without: it costs themselves their connection, and
//! nobody else anything.
mod support;

use cluster::ca::{Credentials, tls};
use cluster::channel::{self, ChannelError, PeerTransport, join};
use cluster::raft::{Call, Member, Transport};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use manager::Manager;
use model::{Placement, SecretReference, SecretSpec, TaskState, TaskStatus, WorkersMay};
use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use wire::agent::FromNode;

const SOON: Duration = Duration::from_secs(20);

/// Bytes without sense (SplitMix64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// One POST with these bytes; its status and what came back until the stream ended.
async fn post(
    manager: &Manager,
    who: Option<&Credentials>,
    path: &str,
    body: Vec<u8>,
) -> Option<(StatusCode, Vec<u8>)> {
    let config = match who {
        Some(credentials) => tls::client_config(credentials).unwrap(),
        None => tls::blind_config().unwrap(),
    };
    let tcp = tokio::net::TcpStream::connect(manager.listen_addr()).await.unwrap();
    let stream = TlsConnector::from(config).connect(tls::manager_name(), tcp).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("https://swarm-manager{path}")).body(channel::full(body)).unwrap();
    let answered = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map(|b| b.to_bytes().to_vec()).unwrap_or_default();
        Some((status, bytes))
    };
    let answer = tokio::time::timeout(SOON, answered).await.expect("an answer or an end");
    driver.abort();
    answer
}

/// Others notice nothing: a worker beats and is heard, and the swarm takes a change.
async fn all_is_well(manager: &Manager, worker: &Worker, name: &str) {
    let heard = worker.seen.lock().unwrap().heard;
    eventually("the good worker is heard", SOON, || worker.seen.lock().unwrap().heard > heard + 1).await;
    assert!(!worker.seen.lock().unwrap().ended);
    manager
        .control()
        .create_secret(SecretSpec { name: name.into(), data: vec![1], ..Default::default() })
        .await
        .unwrap();
}

async fn a_good_worker(manager: &Manager) -> Worker {
    let mut worker = Worker::join(manager, "good").await;
    worker.work(true).await.unwrap();
    worker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_talk_nonsense_keep_nobody_out() {
    let (_dir, manager) = swarm().await;
    let good = a_good_worker(&manager).await;
    let mut held = Vec::new();
    for n in 0..100u64 {
        let mut tcp = tokio::net::TcpStream::connect(manager.listen_addr()).await.unwrap();
        // Some say nothing, some something that is no TLS, some the beginning of it.
        let words = match n % 3 {
            0 => Vec::new(),
            1 => noise(n, 300),
            _ => [&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01][..], &noise(n, 200)].concat(),
        };
        let _ = tcp.write_all(&words).await;
        held.push(tcp);
    }
    for (n, path) in ["/shoal/v1/join", "/shoal/v1/session", "/shoal/v1/raft/append", "/"].into_iter().enumerate() {
        let answer = post(&manager, None, path, noise(n as u64, 2000)).await;
        assert!(answer.is_none_or(|(status, _)| status.is_client_error()), "{path}");
    }
    let huge = post(&manager, None, "/shoal/v1/join", vec![b' '; 1 << 20]).await;
    assert!(huge.is_none_or(|(status, _)| status.is_client_error()));
    // Newcomers are let in all the same.
    Worker::join(&manager, "late").await;
    all_is_well(&manager, &good, "strangers").await;
    drop(held);

    // With a token, but without sense.
    let token = manager.control().join_tokens().unwrap().worker;
    for csr in ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "\u{0}\u{1}"] {
        let asked = serde_json::json!({
            "token": token, "csr": csr, "hostname": "x", "data_path_addr": null, "advertise_addr": null, "availability": "Active"
        });
        let (status, _) = post(&manager, None, "/shoal/v1/join", asked.to_string().into_bytes()).await.unwrap();
        assert!(status.is_client_error(), "{csr:?}: {status}");
    }
    let nodes = manager.store().tables().nodes().count();
    assert_eq!(nodes, 3, "nobody came in");
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_talks_nonsense_loses_its_session_alone() {
    let (_dir, manager) = swarm().await;
    let good = a_good_worker(&manager).await;
    let bad = Worker::join(&manager, "bad").await;
    let credentials = bad.channel.credentials();
    let hello = FromNode::Hello { description: Default::default(), data_path_addr: None, directory: 0 };
    let hello = wire::codec::frame(&hello).unwrap().to_vec();
    let too_long = (wire::agent::FROM_NODE_BYTES_MAX as u32 + 1).to_be_bytes().to_vec();
    for (n, words) in [noise(1, 500), [hello.clone(), noise(2, 500)].concat(), too_long].into_iter().enumerate() {
        // The stream ends, whatever came before.
        let answer = post(&manager, Some(credentials), "/shoal/v1/session", words).await;
        assert!(answer.is_none_or(|(status, _)| status == StatusCode::OK), "{n}");
        all_is_well(&manager, &good, &format!("noise{n}")).await;
    }
    // A description that is a burden is not kept.
    let mut session = bad.channel.session().await.unwrap();
    let mut description = model::NodeDescription { hostname: "bad".into(), ..Default::default() };
    description.engine_labels.insert("x".into(), "y".repeat(1 << 20));
    session.send.send(FromNode::Hello { description, data_path_addr: None, directory: 0 }).await.unwrap();
    let over = async { while session.receive.recv().await.is_some() {} };
    tokio::time::timeout(SOON, over).await.expect("the session ends");
    let kept = manager.store().tables().node(&bad.id).unwrap().description.clone().unwrap();
    assert!(kept.engine_labels.is_empty());
    all_is_well(&manager, &good, "burden").await;
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_talks_nonsense_changes_nothing() {
    let (_dir, manager) = swarm().await;
    let good = a_good_worker(&manager).await;
    let dir = tempfile::tempdir().unwrap();
    let token = manager.control().join_tokens().unwrap().manager;
    let (credentials, _) = join(&wish(&manager, &token, dir.path(), "two")).await.unwrap();
    let boss = Member { node: manager.node_id().to_string(), addr: manager.listen_addr().to_string() };
    let transport = PeerTransport::new(credentials);
    // The swarm's own work goes on meanwhile, so its revision may grow.
    let truth = || {
        let (tables, voters) = (manager.store().tables(), manager.store().raft().voters());
        (tables.nodes().map(|n| (n.id.clone(), n.spec.clone())).collect::<Vec<_>>(), voters)
    };
    let before = truth();
    for call in [Call::Append, Call::Vote, Call::Snapshot] {
        for seed in 0..20 {
            let answer = transport.call(&boss, call, noise(seed, 50 + 20 * seed as usize)).await;
            assert!(answer.is_err(), "{call:?} {seed}");
        }
    }
    assert!(manager.store().is_leader());
    assert_eq!(truth(), before);
    all_is_well(&manager, &good, "raft").await;
    manager.demolish().await;
}

/// A node says what is so of its own tasks, and nothing of others'; it is sent the secrets of its own tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_no_word_and_no_secrets_but_for_its_own_tasks() {
    let (_dir, manager) = swarm().await;
    let mut one = a_good_worker(&manager).await;
    let two = Worker::join(&manager, "two").await;
    let secret = SecretSpec { name: "key".into(), data: b"hush".to_vec(), ..Default::default() };
    let secret = manager.control().create_secret(secret).await.unwrap();
    let mut spec = service("web", 1);
    spec.task.placement = Placement { constraints: vec![format!("node.id=={}", one.id)], ..Default::default() };
    let container = spec.task.container.as_mut().unwrap();
    container.secrets.push(SecretReference { id: secret, name: "key".into(), file: None });
    let web = manager.control().create_service(spec).await.unwrap();
    let running = || {
        let t = manager.store().tables();
        t.tasks_of_service(&web).find(|t| t.status.state == TaskState::Running).map(|t| t.id.clone())
    };
    eventually("it runs", SOON, || running().is_some()).await;
    let task = running().unwrap();
    assert_eq!(one.seen.lock().unwrap().secrets, 1);

    let session = two.channel.session().await.unwrap();
    let hello = FromNode::Hello { description: Default::default(), data_path_addr: None, directory: 0 };
    session.send.send(hello).await.unwrap();
    let lie = TaskStatus { state: TaskState::Failed, err: "lost".into(), ..Default::default() };
    session.send.send(FromNode::Status(vec![(task.clone(), lie)])).await.unwrap();
    // Told after the lie, so it has been judged when this is seen.
    let revision = manager.store().revision();
    session.send.send(FromNode::Applied(revision)).await.unwrap();
    let (mut receive, mut sent) = (session.receive, Vec::new());
    all_is_well(&manager, &one, "after").await;
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(500), receive.recv()).await {
        sent.push(wire::codec::to_vec(&message).unwrap());
    }
    assert!(sent.len() > 1, "it was told its work");
    assert!(!sent.iter().any(|m| m.windows(4).any(|w| w == b"hush")), "a secret went to a node that does not use it");
    assert_eq!(running(), Some(task), "a node has no word about another's tasks");

    // When the task is gone, so is the secret.
    manager.control().remove_service(web.as_str()).await.unwrap();
    eventually("the secret is taken back", SOON, || one.seen.lock().unwrap().secrets == 0).await;
    one.fall_silent();
    manager.demolish().await;
}

/// Every stream of a removed node ends, also those that it opened before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_nodes_open_streams_end() {
    let (_dir, manager) = swarm().await;
    let good = a_good_worker(&manager).await;
    let mut bad = Worker::join(&manager, "bad").await;
    bad.work(true).await.unwrap();
    manager.set_engine(std::sync::Arc::new(|_, _| Box::pin(std::future::pending())));
    let mut pipe = bad.channel.engine(SOON).await.unwrap();
    pipe.write_all(b"GET /services HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let reading = tokio::spawn(async move { pipe.read(&mut [0; 100]).await.unwrap_or_default() });
    manager.control().remove_node(bad.id.as_str(), true).await.unwrap();
    let read = tokio::time::timeout(SOON, reading).await.expect("the stream ends").unwrap();
    assert_eq!(read, 0, "and nothing was answered");
    // Its connection may just be going down; the next one is refused.
    let refused = bad.channel.engine(SOON).await.err().unwrap();
    assert!(matches!(&refused, ChannelError::Refused(r) if r.kind == wire::RefusalKind::Forbidden), "{refused}");
    all_is_well(&manager, &good, "removed").await;
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_workers_may_is_one_of_three_words() {
    let (_dir, manager) = swarm().await;
    let set = |word: &str| {
        let cluster = manager.control().swarm().unwrap();
        let mut spec = cluster.spec.clone();
        spec.labels.insert(model::swarm_labels::WORKERS.into(), word.into());
        let control = manager.control();
        async move { control.update_swarm(cluster.meta.version, spec, Default::default()).await }
    };
    set("read").await.unwrap();
    let labels = manager.control().swarm().unwrap().spec.labels.clone();
    assert_eq!(WorkersMay::from_labels(&labels), Ok(WorkersMay::Look));
    let refused = set("some").await.unwrap_err();
    assert!(refused.message.contains("is not one of full, read and off"), "{refused}");
    manager.demolish().await;
}
