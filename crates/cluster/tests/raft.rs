//! The replicated store on real files.
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_manager_leads_at_once_and_finds_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let wires = Arc::default();
    let store = open(dir.path(), 5, "a", &wires).await;
    store.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(2)).await);
    let mut watch = store.watch();
    for n in 0..20 {
        write(&store, n).await.unwrap();
    }
    assert_eq!(watch.recv().await.unwrap().revision, 1);
    let again = write(&store, 3).await.unwrap_err();
    assert!(again.to_string().contains("already exists"), "{again}");
    store.shutdown().await;
    wires.stores.lock().unwrap().clear();
    drop(store);

    let begin = Instant::now();
    let store = open(dir.path(), 99, "a", &wires).await;
    assert_eq!(store.raft().id(), 5, "the file knows the number");
    assert!(leads(&store, Duration::from_secs(2)).await);
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(500), "a sole manager took {took:?} to lead");
    assert_eq!(store.tables().configs().count(), 20);
    assert_eq!(store.revision(), 20);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_taken_and_the_log_before_them_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let wires = Arc::default();
    let store = open_with(dir.path(), 1, "a", &wires, 20).await;
    store.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(2)).await);
    for n in 0..100 {
        write(&store, n).await.unwrap();
    }
    store.shutdown().await;
    wires.stores.lock().unwrap().clear();
    drop(store);
    let store = open_with(dir.path(), 1, "a", &wires, 20).await;
    let from_snapshot = store.revision();
    assert!(from_snapshot >= 60, "only {from_snapshot} came from the snapshot");
    assert!(leads(&store, Duration::from_secs(2)).await);
    assert_eq!(store.tables().configs().count(), 100);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.redb"), vec![0x5a; 8192]).unwrap();
    let options = cluster::raft::RaftOptions {
        path: dir.path().join("a.redb"),
        raft_id: 1,
        transport: Arc::new(Wire { from: "a".into(), wires: Arc::default() }),
        clock: Arc::new(now),
        snapshot_entries: 100,
    };
    let e = cluster::raft::open(options).await.unwrap_err().to_string();
    assert!(e.contains("a.redb") && e.starts_with("the raft log"), "{e}");
}

/// Run by the test below in a process of its own, which is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("SHOAL_TEST_CRASH_DIR") else { return };
    let store = open_with(dir.as_ref(), 1, "a", &Arc::default(), 50).await;
    store.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(5)).await);
    let mut n = store.revision();
    println!("\nopened {n}");
    loop {
        write(&store, n).await.unwrap();
        n += 1;
        println!("acknowledged {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_has_lost_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env("SHOAL_TEST_CRASH_DIR", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let opened: u64 = loop {
            let line = lines.next().expect("the child ended").unwrap();
            if let Some(n) = line.strip_prefix("opened ") {
                break n.parse().unwrap();
            }
        };
        assert!(opened >= acknowledged, "round {round}: {acknowledged} were acknowledged, {opened} are there");
        let end = Instant::now() + Duration::from_millis(60 + 37 * round);
        let pid = child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            assert!(killed.success());
        });
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("acknowledged ") {
                acknowledged = n.parse().unwrap();
            }
        }
        killer.join().unwrap();
        child.wait().unwrap();
    }
    let store = open_with(dir.path(), 1, "a", &Arc::default(), 50).await;
    assert!(leads(&store, Duration::from_secs(5)).await);
    assert!(acknowledged > 20, "the child hardly wrote: {acknowledged}");
    assert!(store.revision() >= acknowledged);
    for n in 0..acknowledged {
        assert!(store.tables().config(&config_id(n)).is_some(), "{n} is lost");
    }
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_survive_the_loss_of_the_leader_and_do_not_mind_its_return() {
    let dir = tempfile::tempdir().unwrap();
    let wires: Arc<Wires> = Arc::default();
    let names = ["a", "b", "c"];
    let a = open_with(dir.path(), 1, "a", &wires, 30).await;
    a.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&a, Duration::from_secs(2)).await);
    for n in 0..100 {
        write(&a, n).await.unwrap();
    }
    let mut stores = vec![a.clone()];
    for (id, name) in [(2, "b"), (3, "c")] {
        stores.push(open_with(dir.path(), id, name, &wires, 30).await);
        a.raft().add_voter(id, member(name)).await.unwrap();
    }
    assert_eq!(a.raft().voters().len(), 3);
    for s in &stores {
        eventually("the newcomers have everything", Duration::from_secs(5), || s.tables().configs().count() == 100)
            .await;
    }

    wires.cut.lock().unwrap().insert("a".into());
    let begin = Instant::now();
    let survivors = &stores[1..];
    eventually("a new leader", Duration::from_secs(5), || survivors.iter().any(cluster::Store::is_leader)).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(2500), "the election took {took:?}");
    let leader = survivors.iter().find(|s| s.is_leader()).unwrap();
    write(leader, 100).await.unwrap();
    let term = leader.leadership().borrow().term;

    wires.cut.lock().unwrap().clear();
    eventually("the old leader follows", Duration::from_secs(5), || {
        !a.is_leader() && a.tables().configs().count() == 101
    })
    .await;
    let lost = write(&a, 200).await.unwrap_err().to_string();
    assert!(lost.contains("does not have a leader"), "{lost}");
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(leader.leadership().borrow().term, term, "its return must not cost the leader its place");

    // A follower that is cut off and comes back does not depose anybody either.
    let follower = stores[1..].iter().position(|s| !s.is_leader()).unwrap() + 1;
    wires.cut.lock().unwrap().insert(names[follower].into());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    wires.cut.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(leader.leadership().borrow().term, term);
    assert!(leader.is_leader());
    for s in &stores {
        s.shutdown().await;
    }
}
