//! A manager and its nodes on loopback: real TLS, real files.
mod support;

use cluster::channel::{ChannelError, join};
use manager::Manager;
use model::{NetworkAttachmentConfig, NetworkSpec, NetworkTarget, NodeState, TaskState};
use std::time::{Duration, Instant};
use support::*;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_swarm_has_what_docker_gives_it_and_survives_a_restart() {
    let begin = Instant::now();
    let (dir, manager) = swarm().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "init took {:?}", begin.elapsed());
    let t = manager.store().tables();
    let cluster = t.cluster().unwrap();
    assert_eq!(cluster.spec.name, "default");
    assert_eq!((cluster.data_path_port, cluster.subnet_size), (4789, 24));
    let ingress = t.ingress().unwrap();
    assert_eq!((ingress.spec.name.as_str(), ingress.vni), ("ingress", 4096));
    assert_eq!(ingress.subnets[0].subnet.to_string(), "10.0.0.0/24");
    let node = t.node(&manager.node_id()).unwrap();
    assert!(node.manager.as_ref().unwrap().leader);
    assert_eq!(manager.managers()[0].addr, manager.listen_addr());
    let tokens = manager.control().join_tokens().unwrap();
    drop(t);

    let again = Manager::bootstrap(init(dir.path())).await.unwrap_err();
    assert!(again.to_string().starts_with("This node is already part of a swarm."), "{again}");
    let other = tempfile::tempdir().unwrap();
    let mut taken = init(other.path());
    taken.listen = manager.listen_addr();
    let e = Manager::bootstrap(taken).await.unwrap_err().to_string();
    assert!(e.starts_with("failed to listen on remote API address: listen tcp 127.0.0.1:"), "{e}");
    assert!(e.ends_with("bind: address already in use"), "{e}");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "nothing half-made is left");

    let id =
        manager.control().create_network(NetworkSpec { name: "front".into(), ..Default::default() }).await.unwrap();
    let (place, own) = (manager.listen_addr(), manager.node_id());
    manager.shutdown().await;
    let manager = Manager::open(dir.path().to_owned(), None, |_| None).await.unwrap();
    assert_eq!((manager.listen_addr(), manager.node_id()), (place, own));
    eventually("it leads again", SOON, || manager.store().is_leader()).await;
    assert_eq!(manager.control().join_tokens().unwrap(), tokens);
    assert_eq!(manager.control().find_network("front").unwrap().id, id);
    manager.demolish().await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_token_joins() {
    let (_dir, manager) = swarm().await;
    let there = tempfile::tempdir().unwrap();
    let tokens = manager.control().join_tokens().unwrap();
    let tried = |token: String| {
        let options = wish(&manager, &token, there.path(), "w");
        async move { join(&options).await.map(|(_, a)| a).map_err(|e| e.to_string()) }
    };
    assert_eq!(tried("nonsense".into()).await.unwrap_err(), "invalid join token");
    let (head, secret) = tokens.worker.rsplit_once('-').unwrap();
    let wrong_secret = format!("{head}-{}", secret.chars().rev().collect::<String>());
    assert_eq!(
        tried(wrong_secret).await.unwrap_err(),
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
    );
    let (head, digest) = head.rsplit_once('-').unwrap();
    let wrong_root = format!("{head}-0{}-{secret}", &digest[..49]);
    let e = tried(wrong_root).await.unwrap_err();
    assert!(e.starts_with("remote CA does not match fingerprint. Expected: "), "{e}");
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 0);

    let answer = tried(tokens.worker.clone()).await.unwrap();
    assert_eq!(answer.role, model::NodeRole::Worker);
    let version = manager.control().swarm().unwrap().meta.version;
    let rotate = manager::control::Rotate { worker_token: true, ..Default::default() };
    let spec = manager.control().swarm().unwrap().spec.clone();
    manager.control().update_swarm(version, spec.clone(), rotate.clone()).await.unwrap();
    assert!(tried(tokens.worker).await.is_err(), "the old token is of no use any more");
    let stale = manager.control().update_swarm(version, spec, rotate).await.unwrap_err();
    assert!(stale.message.ends_with("update out of sequence"), "{stale}");
    let key = std::fs::metadata(there.path().join("certificates/swarm-node.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_down_status_comes_up_and_the_directory_shows_it() {
    let (_dir, manager) = swarm().await;
    let control = manager.control();
    let mut worker = Worker::join(&manager, "w1").await;
    worker.work(true).await.unwrap();
    eventually("the worker is ready", SOON, || {
        manager.store().tables().node(&worker.id).is_some_and(|n| n.status.state == NodeState::Ready)
    })
    .await;
    let row = control.find_node("worker").unwrap();
    assert_eq!(row.id, worker.id, "found by the hostname that it told");
    assert_eq!(row.data_path_addr.unwrap().to_string(), "10.9.0.1");

    let net = NetworkSpec { name: "front".into(), ..Default::default() };
    let net = control.create_network(net).await.unwrap();
    let mut spec = service("web", 3);
    spec.task.networks = vec![NetworkAttachmentConfig {
        target: NetworkTarget::Predefined("front".into()),
        aliases: vec!["www".into()],
        driver_opts: Default::default(),
        addresses: Vec::new(),
    }];
    let id = control.create_service(spec).await.unwrap();
    let seen = worker.seen.clone();
    eventually("three tasks run", SOON, || {
        manager.store().tables().tasks_of_service(&id).filter(|t| t.status.state == TaskState::Running).count() == 3
    })
    .await;
    eventually("the directory shows three ready endpoints", SOON, || {
        let s = seen.lock().unwrap();
        s.directory.networks.get(&net).is_some_and(|n| {
            n.endpoints.values().filter(|e| e.state == model::EndpointState::Ready).count() == 3
                && n.services.get(&id).is_some_and(|s| s.name == "web" && s.vips.len() == 1)
        })
    })
    .await;
    let expected = {
        let t = manager.store().tables();
        model::Directory::for_node(&t, &worker.id, &|n| t.node(n).is_some_and(|n| n.status.state == NodeState::Ready))
    };
    eventually("it is what the truth says", SOON, || seen.lock().unwrap().directory == expected).await;
    eventually("the barrier follows", SOON, || seen.lock().unwrap().all_applied >= expected.revision).await;
    assert!(seen.lock().unwrap().deltas > 0);
    assert_eq!(manager.reports()[&worker.id].digest, 7);

    let in_use = control.remove_network("front").await.unwrap_err();
    assert!(in_use.message.contains(&format!("network {net} is in use by service {id}")), "{in_use}");
    control.remove_service("web").await.unwrap();
    eventually("the tasks are told to stop behind the barrier", SOON, || {
        let s = seen.lock().unwrap();
        s.work.is_empty() || s.work.values().all(|w| w.stop_after.is_some() || w.task.status.state.is_terminal())
    })
    .await;
    control.remove_network("front").await.unwrap();
    eventually("all is forgotten", SOON, || {
        let s = seen.lock().unwrap();
        s.work.is_empty() && !s.directory.networks.contains_key(&net)
    })
    .await;
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_down_within_three_seconds_and_comes_back() {
    let (_dir, manager) = swarm().await;
    let mut worker = Worker::join(&manager, "w1").await;
    worker.work(true).await.unwrap();
    let state = |m: &Manager, w: &Worker| m.store().tables().node(&w.id).unwrap().status.clone();
    eventually("ready", SOON, || state(&manager, &worker).state == NodeState::Ready).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    worker.fall_silent();
    let begin = Instant::now();
    eventually("down", SOON, || state(&manager, &worker).state == NodeState::Down).await;
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(2000) && took < Duration::from_millis(3050), "down after {took:?}");
    assert_eq!(state(&manager, &worker).message, format!("Heartbeat failure for node {}", worker.id));
    worker.work(true).await.unwrap();
    eventually("ready again", SOON, || state(&manager, &worker).state == NodeState::Ready).await;
    assert_eq!(state(&manager, &worker).message, "");
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_shown_the_door_at_once() {
    let (_dir, manager) = swarm().await;
    let mut worker = Worker::join(&manager, "w1").await;
    worker.work(true).await.unwrap();
    let id = worker.id.to_string();
    eventually("ready", SOON, || manager.control().find_node(&id).unwrap().status.state == NodeState::Ready).await;
    let e = manager.control().remove_node(&id, false).await.unwrap_err();
    assert!(e.message.ends_with(&format!("node {id} is not down and can't be removed")), "{e}");
    let own = manager.control().remove_node("self", true).await.unwrap_err();
    assert!(own.message.contains("It must be demoted to worker before removal"), "{own}");
    manager.control().remove_node(&id, true).await.unwrap();
    eventually("the session ends", SOON, || worker.seen.lock().unwrap().ended).await;
    assert_eq!(worker.seen.lock().unwrap().disconnected.as_ref().map(|d| d.1), Some(true));
    match worker.work(true).await {
        Err(ChannelError::Refused(r)) => assert_eq!(r.kind, wire::RefusalKind::Forbidden),
        other => panic!("{other:?}"),
    }
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_settle_quickly() {
    let (_dir, manager) = swarm().await;
    let mut workers = Vec::new();
    for n in 0..5 {
        let mut worker = Worker::join(&manager, &format!("w{n}")).await;
        worker.work(true).await.unwrap();
        workers.push(worker);
    }
    let net = NetworkSpec { name: "front".into(), ..Default::default() };
    manager.control().create_network(net).await.unwrap();
    let mut spec = service("web", 200);
    spec.task.networks = vec![NetworkAttachmentConfig {
        target: NetworkTarget::Predefined("front".into()),
        aliases: Vec::new(),
        driver_opts: Default::default(),
        addresses: Vec::new(),
    }];
    let begin = Instant::now();
    let id = manager.control().create_service(spec).await.unwrap();
    eventually("all run", Duration::from_secs(20), || {
        let t = manager.store().tables();
        t.tasks_of_service(&id).filter(|t| t.status.state == TaskState::Running).count() == 200
    })
    .await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "200 tasks took {took:?}");
    let revision = manager.store().revision();
    eventually("every node shows it", SOON, || *manager.barrier().borrow() >= revision).await;
    for worker in &workers {
        let s = worker.seen.lock().unwrap();
        assert!(s.directory.networks.values().any(|n| n.endpoints.len() == 200));
        assert!(s.work.len() >= 20, "spread: {}", s.work.len());
    }
    manager.demolish().await;
}
