//! Who may ask for what, by the role in the certificate.
mod support;

use cluster::channel::{Channel, ChannelError, PeerTransport, join};
use cluster::raft::{Call, Member, Transport};
use manager::Manager;
use model::{NetworkSpec, NodeRole, NodeSpec};
use std::net::SocketAddr;
use std::time::Duration;
use support::*;
use wire::RefusalKind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_has_no_word_among_managers() {
    let (_dir, manager) = swarm().await;
    let worker = Worker::join(&manager, "w1").await;
    let boss = Member { node: manager.node_id().to_string(), addr: manager.listen_addr().to_string() };
    let transport = PeerTransport::new(worker.channel.credentials().clone());
    for call in [Call::Append, Call::Vote, Call::Snapshot, Call::Probe] {
        let no = transport.call(&boss, call, Vec::new()).await.unwrap_err().to_string();
        assert!(no.contains("403 Forbidden"), "{call:?}: {no}");
    }
    let me = Member { node: worker.id.to_string(), addr: "127.0.0.1:1".into() };
    match transport.add_me(std::slice::from_ref(&boss), 7, &me).await.unwrap_err() {
        ChannelError::Refused(r) => {
            assert_eq!((r.kind, r.message), (RefusalKind::Forbidden, format!("node {} is not a manager", worker.id)));
        }
        other => panic!("{other}"),
    }
    // As another node than it is, it is refused too.
    let two = Member { node: manager.node_id().to_string(), addr: "127.0.0.1:1".into() };
    let other = Member { node: "x".into(), ..boss };
    assert!(transport.add_me(&[other], 7, &two).await.is_err());
    assert_eq!(manager.store().raft().voters().len(), 1);

    // What a removed node still holds is worth nothing, at once.
    manager.control().remove_node(worker.id.as_str(), true).await.unwrap();
    assert!(worker.channel.session().await.is_err());
    assert!(worker.channel.renew().await.is_err());
    assert!(worker.channel.leader_revision().await.is_err());
    manager.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_leader_is_let_go_and_the_other_leads() {
    const SOON: Duration = Duration::from_secs(10);
    let (_d1, one) = swarm().await;
    let dir = tempfile::tempdir().unwrap();
    let token = one.control().join_tokens().unwrap().manager;
    let (credentials, answer) = join(&wish(&one, &token, dir.path(), "two")).await.unwrap();
    let any = SocketAddr::new(LOOPBACK, 0);
    let channel = Channel::new(credentials, answer.managers);
    let two = Manager::join(dir.path().to_owned(), channel, any, any).await.unwrap();
    let id = one.node_id();
    eventually("both are shown", SOON, || two.managers().len() == 2).await;
    let row = || one.store().tables().node(&id).unwrap().clone();
    let worker = NodeSpec { role: NodeRole::Worker, ..row().spec.clone() };
    one.control().update_node(id.as_str(), row().meta.version, worker).await.unwrap();
    eventually("the other leads", SOON, || two.store().is_leader()).await;
    eventually("it is a worker", SOON, || {
        let tables = two.store().tables();
        tables.node(&id).is_some_and(|n| n.manager.is_none() && n.role == NodeRole::Worker)
    })
    .await;
    one.resign().await;
    two.control().create_network(NetworkSpec { name: "alone".into(), ..Default::default() }).await.unwrap();
    two.demolish().await;
}
