//! The replicated store on real files.
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
        data_key: cluster::ca::DataKey::of([7; 32]),
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

/// As after a demotion and a promotion, or a lost disk: the same machine, at the same address, with nothing in its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_comes_back_as_a_new_member_is_not_taken_for_the_former() {
    let dir = tempfile::tempdir().unwrap();
    let wires: Arc<Wires> = Arc::default();
    let a = open(dir.path(), 1, "a", &wires).await;
    a.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&a, Duration::from_secs(2)).await);
    let b = open(dir.path(), 2, "b", &wires).await;
    let mut c = open(dir.path(), 3, "c", &wires).await;
    // Two at once: one waits for the other.
    let (second, third) = tokio::join!(a.raft().add_voter(2, member("b")), a.raft().add_voter(3, member("c")));
    second.unwrap();
    third.unwrap();
    for life in 0..5 {
        write(&a, life).await.unwrap();
        eventually("c has it", Duration::from_secs(5), || c.revision() == a.revision()).await;
        c.shutdown().await;
        std::fs::remove_file(dir.path().join("c.redb")).unwrap();
        c = open(dir.path(), 4 + life, "c", &wires).await;
        // The leader goes on sending to the former member, which nothing answers for.
        for n in 0..10 {
            write(&a, 100 + 10 * life + n).await.unwrap();
        }
        a.raft().add_voter(4 + life, member("c")).await.unwrap();
        a.raft().remove(3 + life).await.unwrap();
        assert_eq!(a.raft().members().into_keys().collect::<Vec<_>>(), [1, 2, 4 + life]);
        eventually("c has everything", Duration::from_secs(5), || c.revision() == a.revision()).await;
    }
    assert!(a.is_leader());
    assert_eq!(a.leadership().borrow().term, 1, "nothing was in doubt");
    for s in [a, b, c] {
        s.shutdown().await;
    }
}

/// Entries of half a second each, where openraft waits for 150 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_get_through_a_slow_link() {
    let dir = tempfile::tempdir().unwrap();
    let wires: Arc<Wires> = Arc::default();
    let a = open(dir.path(), 1, "a", &wires).await;
    a.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&a, Duration::from_secs(2)).await);
    for n in 0..10 {
        write_large(&a, n, 500_000).await.unwrap();
    }
    wires.bytes_per_second.store(1_000_000, Ordering::Relaxed);
    let b = open(dir.path(), 2, "b", &wires).await;
    a.raft().add_voter(2, member("b")).await.unwrap();
    write_large(&a, 10, 500_000).await.unwrap();
    eventually("b has it", Duration::from_secs(2), || b.revision() == a.revision()).await;
    assert!(a.is_leader());
    assert_eq!(a.leadership().borrow().term, 1);
    for s in [a, b] {
        s.shutdown().await;
    }
}

/// Changes config 0 once more.
async fn change(store: &cluster::Store, n: u64) {
    let done = store.update(|tables| {
        let mut config = (**tables.config(&config_id(0)).unwrap()).clone();
        config.spec.labels.insert("n".into(), n.to_string());
        Ok::<_, std::convert::Infallible>((vec![model::StoreAction::Update(config.into())], ()))
    });
    done.await.unwrap();
}

/// Twenty thousand, or as many as `SHOAL_CHANGES` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_changes_leaves_the_log_and_the_file_small() {
    let changes: u64 = std::env::var("SHOAL_CHANGES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    // In memory: every change is synced, and the disk is not what is looked at.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = open_with(dir.path(), 1, "a", &Arc::default(), 500).await;
    store.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(2)).await);
    for n in 0..20 {
        write(&store, n).await.unwrap();
    }
    let size = || std::fs::metadata(dir.path().join("a.redb")).unwrap().len();
    let (mut longest, mut largest, mut early) = (0, 0, 0);
    for n in 0..changes {
        change(&store, n).await;
        if n % 100 == 0 {
            longest = longest.max(store.raft().log_entries());
            largest = largest.max(size());
        }
        if n == changes / 5 {
            early = largest;
        }
    }
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = memory.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default().to_owned();
    println!(
        "{changes} changes; log: at most {longest} entries; file: at most {largest} bytes, {early} after a fifth; {memory}"
    );
    assert!(longest < 2_000, "the log grew to {longest} entries");
    assert!(largest < 16 << 20, "the file grew to {largest} bytes");
    assert!(largest <= early * 2, "the file goes on growing: {early}, then {largest}");
    // What is wished while it runs counts.
    store.raft().set_snapshot_entries(50);
    for n in 0..200 {
        change(&store, n).await;
    }
    eventually("the log is shorter", Duration::from_secs(5), || store.raft().log_entries() < 400).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_away_while_the_log_was_cut_catches_up_by_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let wires: Arc<Wires> = Arc::default();
    let a = open_with(dir.path(), 1, "a", &wires, 20).await;
    a.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&a, Duration::from_secs(2)).await);
    let mut stores = vec![a.clone()];
    for (id, name) in [(2, "b"), (3, "c")] {
        stores.push(open_with(dir.path(), id, name, &wires, 20).await);
        a.raft().add_voter(id, member(name)).await.unwrap();
    }
    write(&a, 0).await.unwrap();
    eventually("c has it", Duration::from_secs(5), || stores[2].revision() == 1).await;
    wires.cut.lock().unwrap().insert("c".into());
    for n in 1..200 {
        write(&a, n).await.unwrap();
    }
    eventually("the log is cut", Duration::from_secs(5), || a.raft().log_entries() < 100).await;
    let watched = stores[2].watch();
    wires.cut.lock().unwrap().clear();
    eventually("c has everything", Duration::from_secs(10), || stores[2].tables().configs().count() == 200).await;
    assert_eq!(stores[2].revision(), a.revision());
    assert!(watched.len() < 100, "it came entry by entry: {}", watched.len());
    for s in &stores {
        s.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_opens_with_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), 1, "a", &Arc::default(), 5).await;
    store.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(2)).await);
    for n in 0..20 {
        write(&store, n).await.unwrap();
    }
    store.shutdown().await;
    let bytes = std::fs::read(dir.path().join("a.redb")).unwrap();
    assert!(!bytes.windows(16).any(|w| w == [7; 16]), "what was written lies open in the file");
    let options = cluster::raft::RaftOptions {
        path: dir.path().join("a.redb"),
        raft_id: 1,
        transport: Arc::new(Wire { from: "a".into(), wires: Arc::default() }),
        clock: Arc::new(now),
        snapshot_entries: 100,
        data_key: cluster::ca::DataKey::of([8; 32]),
    };
    let e = cluster::raft::open(options).await.unwrap_err().to_string();
    assert!(e.contains("a sealed value cannot be opened"), "{e}");
}

/// The scenario of the flaw: two survivors with one and the same patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_survivors_never_split_their_votes_for_long() {
    let slowest = lose_leaders(&["a", "b", "c"], 12).await;
    assert!(slowest < Duration::from_millis(2500), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_survivors_find_a_leader_in_time() {
    let slowest = lose_leaders(&["a", "b", "c", "d", "e", "f", "g"], 12).await;
    assert!(slowest < Duration::from_millis(2500), "{slowest:?}");
}

/// Each round the leader is cut off; the others must find a leader in time, every time. How long it took with the first
/// write, at most.
async fn lose_leaders(names: &[&str], rounds: u64) -> Duration {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let wires: Arc<Wires> = Arc::default();
    let a = open_with(dir.path(), 1, names[0], &wires, 100).await;
    a.raft().initialize(member(names[0])).await.unwrap();
    assert!(leads(&a, Duration::from_secs(2)).await);
    let mut stores = vec![a.clone()];
    for (id, name) in (2..).zip(&names[1..]) {
        stores.push(open_with(dir.path(), id, name, &wires, 100).await);
        a.raft().add_voter(id, member(name)).await.unwrap();
    }
    let mut all = Vec::new();
    for round in 0..rounds {
        let led = stores.iter().position(cluster::Store::is_leader).unwrap();
        wires.cut.lock().unwrap().insert(names[led].into());
        let begin = Instant::now();
        let survivors: Vec<_> = (0..names.len()).filter(|i| *i != led).map(|i| stores[i].clone()).collect();
        eventually("a new leader", Duration::from_secs(8), || survivors.iter().any(cluster::Store::is_leader)).await;
        let leader = survivors.iter().find(|s| s.is_leader()).unwrap();
        write(leader, round).await.unwrap();
        all.push(begin.elapsed());
        eventually("the old one steps down", Duration::from_secs(5), || !stores[led].is_leader()).await;
        wires.cut.lock().unwrap().clear();
        for s in &stores {
            eventually("all know it", Duration::from_secs(5), || s.tables().configs().count() as u64 == round + 1)
                .await;
        }
    }
    all.sort_unstable();
    println!("{} managers, from the loss of the leader to the first write: {all:?}", names.len());
    for s in &stores {
        s.shutdown().await;
    }
    all.pop().unwrap()
}

/// One call of ten is lost, and one answer of ten. What was acknowledged is everywhere in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ten_percent_of_the_messages_lost_nothing_is_lost() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let wires: Arc<Wires> = Arc::default();
    let a = open_with(dir.path(), 1, "a", &wires, 50).await;
    a.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&a, Duration::from_secs(5)).await);
    let mut stores = vec![a.clone()];
    for (id, name) in [(2, "b"), (3, "c")] {
        stores.push(open_with(dir.path(), id, name, &wires, 50).await);
        a.raft().add_voter(id, member(name)).await.unwrap();
    }
    wires.lost_percent.store(10, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    let (begin, mut n) = (Instant::now(), 0);
    while acknowledged.len() < 200 {
        assert!(begin.elapsed() < Duration::from_secs(60), "only {} of {n} were taken", acknowledged.len());
        let Some(leader) = stores.iter().find(|s| s.is_leader()) else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        n += 1;
        if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(5), write(leader, n)).await {
            acknowledged.push(n);
        }
    }
    println!("200 of {n} writes in {:?}", begin.elapsed());
    wires.lost_percent.store(0, Ordering::Relaxed);
    for s in &stores {
        let all = || acknowledged.iter().all(|n| s.tables().config(&config_id(*n)).is_some());
        eventually("everything acknowledged is there", Duration::from_secs(20), all).await;
    }
    eventually("all are equal", Duration::from_secs(20), || {
        stores.iter().all(|s| {
            s.revision() == stores[0].revision() && s.tables().image().objects == stores[0].tables().image().objects
        })
    })
    .await;
    for s in &stores {
        s.shutdown().await;
    }
}

/// The first leader's clock is ten minutes ahead; the next one's time goes on from there, without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_goes_on_when_the_next_leaders_clock_is_minutes_behind() {
    const AHEAD: Duration = Duration::from_secs(600);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let wires: Arc<Wires> = Arc::default();
    let a = open_at(dir.path(), 1, "a", &wires, 100, || now().after(AHEAD)).await;
    a.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&a, Duration::from_secs(5)).await);
    let mut stores = vec![a.clone()];
    for (id, name) in [(2, "b"), (3, "c")] {
        stores.push(open_with(dir.path(), id, name, &wires, 100).await);
        a.raft().add_voter(id, member(name)).await.unwrap();
    }
    write(&a, 1).await.unwrap();
    for s in &stores {
        eventually("all have it", Duration::from_secs(5), || s.tables().config(&config_id(1)).is_some()).await;
    }
    let made = |s: &cluster::Store, n| s.tables().config(&config_id(n)).unwrap().meta.created_at;
    let before = made(&a, 1);
    assert!(before > now().after(AHEAD / 2), "stamped by the leader's clock");
    wires.cut.lock().unwrap().insert("a".into());
    let survivors = &stores[1..];
    eventually("a new leader", Duration::from_secs(10), || survivors.iter().any(cluster::Store::is_leader)).await;
    let leader = survivors.iter().find(|s| s.is_leader()).unwrap();
    write(leader, 2).await.unwrap();
    let after = made(leader, 2);
    assert!(after > before, "the time went back by {:?}", before.since(after));
    assert!(after.since(before) < AHEAD / 2, "and it did not jump");
    let begin = leader.now();
    eventually("the time goes on", Duration::from_secs(10), || leader.now().since(begin) > Duration::from_millis(300))
        .await;
    for s in &stores {
        s.shutdown().await;
    }
    // Also after a restart, when only the file knows what the time was.
    let sole: Arc<Wires> = Arc::default();
    let d = open_at(dir.path(), 4, "d", &sole, 100, || now().after(AHEAD)).await;
    d.raft().initialize(member("d")).await.unwrap();
    assert!(leads(&d, Duration::from_secs(5)).await);
    write(&d, 3).await.unwrap();
    let last = made(&d, 3);
    d.shutdown().await;
    let again = open_with(dir.path(), 4, "d", &sole, 100).await;
    eventually("the file is read", Duration::from_secs(10), || again.tables().config(&config_id(3)).is_some()).await;
    assert!(again.now() >= last);
    again.shutdown().await;
}

/// Few transactions, but large ones: the file does not grow with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_changes_leave_the_file_small_too() {
    const CHANGE_BYTES: usize = 4 << 20;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = open_with(dir.path(), 1, "a", &Arc::default(), 10_000).await;
    store.raft().initialize(member("a")).await.unwrap();
    assert!(leads(&store, Duration::from_secs(5)).await);
    write(&store, 0).await.unwrap();
    for n in 0..60u8 {
        let done = store.update(|tables| {
            let mut config = (**tables.config(&config_id(0)).unwrap()).clone();
            config.spec.labels.insert("n".into(), "x".repeat(CHANGE_BYTES + usize::from(n)));
            Ok::<_, std::convert::Infallible>((vec![model::StoreAction::Update(config.into())], ()))
        });
        done.await.unwrap();
    }
    eventually("the log is cut", Duration::from_secs(20), || store.raft().log_entries() < 40).await;
    let size = std::fs::metadata(dir.path().join("a.redb")).unwrap().len();
    println!("60 changes of {CHANGE_BYTES} bytes: a file of {size} bytes, {} entries", store.raft().log_entries());
    assert!(size < 200 << 20, "the file grew to {size} bytes");
    store.shutdown().await;
}
