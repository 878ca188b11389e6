//! Several managers on loopback.
mod support;

use cluster::channel::{Channel, join};
use manager::Manager;
use model::{NetworkSpec, NodeState, TaskState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::*;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(8);

async fn further(first: &Manager, hostname: &str) -> (TempDir, Manager) {
    let dir = tempfile::tempdir().unwrap();
    let token = first.control().join_tokens().unwrap().manager;
    let (credentials, answer) = join(&wish(first, &token, dir.path(), hostname)).await.unwrap();
    let any = SocketAddr::new(LOOPBACK, 0);
    let channel = Channel::new(credentials, answer.managers);
    let manager = Manager::join(dir.path().to_owned(), channel, any, any).await.unwrap();
    (dir, manager)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_dies_another_leads_and_the_nodes_come_to_it() {
    let (_d1, one) = swarm().await;
    let mut worker = Worker::join(&one, "w").await;
    worker.work(true).await.unwrap();
    let (_d2, two) = further(&one, "two").await;
    let (_d3, three) = further(&one, "three").await;
    eventually("three managers are shown", SOON, || one.managers().len() == 3).await;
    eventually("and the followers know", SOON, || three.managers().len() == 3 && two.managers().len() == 3).await;
    one.control().create_network(NetworkSpec { name: "front".into(), ..Default::default() }).await.unwrap();
    eventually("followers have it", SOON, || two.control().find_network("front").is_ok()).await;
    let no = two.control().create_network(NetworkSpec { name: "no".into(), ..Default::default() }).await.unwrap_err();
    assert!(no.message.contains("does not have a leader") && two.leader().unwrap().node == one.node_id());

    // A worker that knows only a follower finds the leader.
    let token = one.control().join_tokens().unwrap().worker;
    let there = tempfile::tempdir().unwrap();
    let (_, answer) = join(&wish(&two, &token, there.path(), "w2")).await.unwrap();
    assert!(answer.managers.len() >= 3);

    worker.channel.set_managers(one.managers());
    let begin = Instant::now();
    one.shutdown().await;
    let survivors = [two, three];
    eventually("a new leader", SOON, || survivors.iter().any(|m| m.store().is_leader())).await;
    assert!(begin.elapsed() < Duration::from_millis(3500), "{:?}", begin.elapsed());
    let leader = survivors.iter().find(|m| m.store().is_leader()).unwrap();
    worker.fall_silent();
    let mut session = worker.work(true).await;
    while session.is_err() && begin.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(50)).await;
        session = worker.work(true).await;
    }
    session.unwrap();
    let id = leader.control().create_service(service("web", 2)).await.unwrap();
    eventually("it works on", SOON, || {
        let t = leader.store().tables();
        t.tasks_of_service(&id).filter(|t| t.status.state == TaskState::Running).count() == 2
    })
    .await;
    eventually("the dead manager is shown", SOON, || {
        let t = leader.store().tables();
        t.node(&one.node_id()).is_some_and(|n| n.manager.as_ref().is_some_and(|m| !m.leader && !m.reachable))
    })
    .await;
    assert_eq!(leader.store().tables().node(&worker.id).unwrap().status.state, NodeState::Ready);
    for m in &survivors {
        m.demolish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_decided_and_force_new_cluster_goes_on_alone() {
    let (d1, one) = swarm().await;
    let (_d2, two) = further(&one, "two").await;
    one.control().create_network(NetworkSpec { name: "front".into(), ..Default::default() }).await.unwrap();
    two.shutdown().await;
    let begin = Instant::now();
    let blocked = one.control().create_network(NetworkSpec { name: "more".into(), ..Default::default() }).await;
    let blocked = blocked.unwrap_err();
    assert!(blocked.message.contains("The swarm does not have a leader."), "{blocked}");
    assert!(begin.elapsed() < Duration::from_secs(5), "it hung for {:?}", begin.elapsed());
    assert!(one.control().find_network("front").is_ok(), "it can still be read");
    one.shutdown().await;
    let mut options = init(d1.path());
    options.force_new_cluster = true;
    let alone = Manager::bootstrap(options).await.unwrap();
    assert_eq!(alone.node_id(), one.node_id());
    assert!(alone.control().find_network("front").is_ok());
    alone.control().create_network(NetworkSpec { name: "after".into(), ..Default::default() }).await.unwrap();
    alone.shutdown().await;
    let again = Manager::open(d1.path().to_owned(), None, |_| None).await.unwrap();
    eventually("it leads", SOON, || again.store().is_leader()).await;
    assert!(again.control().find_network("after").is_ok());
    again.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_leaves_raft_and_may_then_be_removed() {
    let (_d1, one) = swarm().await;
    let (_d2, two) = further(&one, "two").await;
    let id = two.node_id();
    eventually("both are shown", SOON, || one.managers().len() == 2).await;
    let row = || one.store().tables().node(&id).unwrap().clone();
    let in_raft = one.control().remove_node(id.as_str(), true).await.unwrap_err();
    assert!(in_raft.message.contains("It must be demoted to worker before removal"), "{in_raft}");
    let worker = model::NodeSpec { role: model::NodeRole::Worker, ..row().spec.clone() };
    one.control().update_node(id.as_str(), row().meta.version, worker).await.unwrap();
    eventually("it is a worker", SOON, || row().manager.is_none() && row().role == model::NodeRole::Worker).await;
    two.demolish().await;
    one.control().create_network(NetworkSpec { name: "alone".into(), ..Default::default() }).await.unwrap();
    one.control().remove_node(id.as_str(), true).await.unwrap();
    one.demolish().await;
}
