//! From create to delete.
use crate::lab::*;
use runtime::*;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

#[tokio::test]
async fn it_runs_and_its_exit_code_is_told() {
    let lab = Lab::new();
    let (text, exit) = lab.sh("echo out; echo err >&2; hostname; exit 7").await;
    assert!(text.contains("out") && text.contains("err") && text.contains("box"), "{text}");
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert!(exit.at.0 > 0);
}

#[tokio::test]
async fn streams_are_told_apart() {
    let lab = Lab::new();
    let launch = lab.launch("echo out; echo err >&2");
    lab.runtime.create(&launch).await.unwrap();
    let io = lab.runtime.attach(&launch.id).await.unwrap();
    assert!(io.stdin.is_none());
    lab.runtime.start(&launch.id).await.unwrap();
    assert_eq!(split(io).await, ("out\n".to_owned(), "err\n".to_owned()));
    lab.wait(&launch.id).await;
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_bytes_go_through_stdin() {
    let lab = Lab::new();
    let launch = Launch { open_stdin: true, stdin_once: true, ..lab.launch("wc -c; exit 3") };
    lab.runtime.create(&launch).await.unwrap();
    let mut io = lab.runtime.attach(&launch.id).await.unwrap();
    lab.runtime.start(&launch.id).await.unwrap();
    let mut stdin = io.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 100_000]).await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(collect(io).await.trim(), "100000");
    assert_eq!(lab.wait(&launch.id).await.code, 3);
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn who_only_looks_does_not_end_the_input() {
    let lab = Lab::new();
    let launch = Launch { open_stdin: true, stdin_once: true, ..lab.launch("cat; echo end") };
    lab.up(&launch).await;
    drop(lab.runtime.attach_output(&launch.id).await.unwrap());
    let mut io = lab.runtime.attach(&launch.id).await.unwrap();
    io.stdin.as_mut().unwrap().write_all(b"still open\n").await.unwrap();
    read_until(&mut io, "still open").await;
    // Leaving ends it.
    drop(io);
    assert_eq!(lab.wait(&launch.id).await.code, 0);
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn without_stdin_it_reads_nothing() {
    let lab = Lab::new();
    assert_eq!(lab.sh("wc -c").await.0.trim(), "0");
}

#[tokio::test]
async fn a_terminal() {
    let lab = Lab::new();
    let launch = Launch {
        tty: true,
        open_stdin: true,
        console_size: (33, 99),
        ..lab.launch("stty size; tty; test -c /dev/console && echo console; read line; echo got $line; stty size")
    };
    lab.runtime.create(&launch).await.unwrap();
    let mut io = lab.runtime.attach(&launch.id).await.unwrap();
    lab.runtime.start(&launch.id).await.unwrap();
    let text = read_until(&mut io, "console").await;
    assert!(text.contains("33 99") && text.contains("/dev/pts/0"), "{text}");
    lab.runtime.resize(&launch.id, 40, 120).await.unwrap();
    io.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    let text = read_until(&mut io, "40 120").await;
    assert!(text.contains("got hello"), "{text}");
    assert_eq!(lab.wait(&launch.id).await.code, 0);
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn signals() {
    let lab = Lab::new();
    let launch = lab.launch("trap 'echo term; exit 4' TERM; echo ready; while :; do sleep 0.01; done");
    lab.up(&launch).await;
    lab.wait_for_log(&launch, "ready").await;
    lab.runtime.signal(&launch.id, 15).await.unwrap();
    assert_eq!(lab.wait(&launch.id).await.code, 4);
    assert!(matches!(lab.runtime.signal(&launch.id, 15).await, Err(RuntimeError::NotRunning(_))));
    lab.runtime.delete(&launch.id).await.unwrap();

    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    lab.runtime.signal(&launch.id, 9).await.unwrap();
    let exit = lab.wait(&launch.id).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_is_said_in_dockers_words() {
    let lab = Lab::new();
    for (args, code, words) in [
        (vec!["nosuch"], 127, "exec: \"nosuch\": executable file not found in $PATH: unknown"),
        (vec!["/nosuch"], 127, "exec: \"/nosuch\": stat /nosuch: no such file or directory: unknown"),
        (vec!["/plain"], 126, "exec: \"/plain\": permission denied: unknown"),
        (vec!["/etc"], 126, "exec: \"/etc\": is a directory: unknown"),
    ] {
        let launch = Launch { args: args.iter().map(|a| (*a).to_owned()).collect(), ..lab.launch("") };
        let error = lab.runtime.create(&launch).await.unwrap_err();
        assert!(
            error.message.starts_with("failed to create task for container: failed to create shim task: OCI runtime")
        );
        assert!(error.message.ends_with(words), "{}", error.message);
        assert_eq!(error.exit_code, code, "{}", error.message);
        assert!(!lab.dir.join("runtime").join(&launch.id).exists());
    }
    let launch = Launch { user: User::Named("nobody".into()), ..lab.launch("true") };
    let error = lab.runtime.create(&launch).await.unwrap_err();
    assert_eq!(error.message, "unable to find user nobody: no matching entries in passwd file");
    let mount = MountPoint { source: "/nosuch".into(), target: "/x".into(), ..MountPoint::default() };
    let error = lab.runtime.create(&Launch { mounts: vec![mount], ..lab.launch("true") }).await.unwrap_err();
    assert!(error.message.contains("error mounting \"/nosuch\" to rootfs at \"/x\": no such file or directory"));
}

#[tokio::test]
async fn out_of_memory() {
    let lab = Lab::new();
    let resources = Resources { memory_bytes: 16 << 20, memory_swap_bytes: 16 << 20, ..Resources::default() };
    let launch = Launch { resources, args: ["tail", "/dev/zero"].map(str::to_owned).into(), ..lab.launch("") };
    let (_, exit) = lab.run(&launch).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

#[tokio::test]
async fn pause_stats_update_and_processes() {
    let lab = Lab::new();
    let launch = lab.launch("while :; do :; done");
    lab.up(&launch).await;
    let id = &launch.id;
    let used = async || lab.runtime.stats(id).await.unwrap().cpu.total_ns;
    let first = used().await;
    while used().await == first {
        tokio::task::yield_now().await;
    }
    lab.runtime.pause(id).await.unwrap();
    let before = used().await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(used().await, before, "it ran while it was paused");
    lab.runtime.unpause(id).await.unwrap();
    let mut now = before;
    while now == before {
        now = used().await;
    }
    assert_eq!(lab.runtime.pids(id).await.unwrap(), [lab.runtime.pid(id).unwrap()]);
    let resources =
        Resources { memory_bytes: 64 << 20, pids_limit: 50, nano_cpus: 500_000_000, ..Resources::default() };
    lab.runtime.update(id, &resources).await.unwrap();
    let stats = lab.runtime.stats(id).await.unwrap();
    assert_eq!((stats.memory.limit, stats.pids, stats.pids_limit), (64 << 20, 1, 50));
    assert!(stats.memory.usage > 0 && stats.cpu.host_ns > 0 && stats.cpu.online_cpus > 0);
    // Deleting ends what runs, also what is paused.
    lab.runtime.pause(id).await.unwrap();
    let deleted = tokio::time::timeout(std::time::Duration::from_secs(5), lab.runtime.delete(id)).await;
    deleted.expect("what is frozen is not waited for").unwrap();
    assert!(!lab.group("memory", &launch).exists() && !lab.group("unified", &launch).exists());
}

#[tokio::test]
async fn the_daemon_may_die_and_come_back() {
    let lab = Lab::new();
    let running = lab.launch("n=0; while :; do echo line $n; n=$((n+1)); sleep 0.01; done");
    let ending = lab.launch("while [ ! -e /data/end ]; do sleep 0.01; done; exit 9");
    let created = lab.launch("true");
    lab.up(&running).await;
    lab.up(&ending).await;
    lab.runtime.create(&created).await.unwrap();
    let pid = lab.runtime.pid(&running.id).unwrap();
    // A second runtime in the same directory is what a new daemon sees.
    let again = open(&lab.dir);
    std::fs::write(lab.dir.join("root/data/end"), "").unwrap();
    until(|| lab.dir.join("runtime").join(&ending.id).join("exit").exists()).await;
    let found = again.recover().await;
    let state = |id: &str| found.iter().find(|found| found.id == id).unwrap().state.clone();
    assert!(
        matches!(state(&running.id), RecoveredState::Running { pid: p, started_at } if p == pid && started_at.0 > 0)
    );
    assert!(matches!(state(&ending.id), RecoveredState::Exited(exit) if exit.code == 9));
    assert!(matches!(state(&created.id), RecoveredState::Created { .. }));
    let before = std::fs::read_to_string(&running.log.path).unwrap().lines().count();
    until(|| std::fs::read_to_string(&running.log.path).unwrap().lines().count() > before + 3).await;
    let spec = ExecSpec { args: ["echo", "still"].map(str::to_owned).into(), ..ExecSpec::default() };
    assert_eq!(collect(again.exec(&running.id, spec).await.unwrap().io).await, "still\n");
    again.signal(&running.id, 9).await.unwrap();
    assert_eq!(again.wait(&running.id).await.unwrap().code, 137);
    for launch in [&running, &ending, &created] {
        again.delete(&launch.id).await.unwrap();
    }
}

#[tokio::test]
async fn who_has_a_watchdog_runs_only_as_long_as_it_is_fed() {
    let lab = Lab::new();
    let (watched, other) = (lab.launch("sleep 1000"), lab.launch("sleep 1000"));
    let watchdog = Watchdog::at(lab.dir.join("watchdog"));
    // Longer than it takes to come up, also on a slow machine.
    watchdog.feed(Some(Duration::from_secs(5))).unwrap();
    lab.runtime.create(&watched).await.unwrap();
    lab.runtime.set_watchdog(&watched.id, &watchdog).await.unwrap();
    lab.runtime.start(&watched.id).await.unwrap();
    lab.up(&other).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        watchdog.feed(Some(Duration::from_secs(2))).unwrap();
        assert!(timeout(Duration::from_millis(50), lab.wait(&watched.id)).await.is_err(), "it is fed");
    }
    let exit = lab.wait(&watched.id).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert!(timeout(Duration::from_millis(100), lab.wait(&other.id)).await.is_err(), "nobody watches this one");
    assert!(lab.runtime.set_watchdog(&watched.id, &watchdog).await.is_err(), "it has ended");
    lab.runtime.set_watchdog(&other.id, &watchdog).await.unwrap();
    assert_eq!(lab.wait(&other.id).await.code, 137, "the deadline has passed already");
    for launch in [&watched, &other] {
        lab.runtime.delete(&launch.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_container_follows_its_shim() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    let pid = lab.runtime.pid(&launch.id).unwrap();
    let (shim, _) = shims(&lab.dir).into_iter().find(|(_, id)| *id == launch.id).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    let exit = lab.wait(&launch.id).await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    until(|| !std::path::Path::new(&format!("/proc/{pid}/ns/pid")).exists()).await;
    let found = open(&lab.dir).recover().await;
    assert!(matches!(found[0].state, RecoveredState::Exited(exit) if exit.code == 137));
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn a_shim_that_was_killed_while_no_daemon_ran() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    let pid = lab.runtime.pid(&launch.id).unwrap();
    let dir = lab.dir.join("runtime").join(&launch.id);
    for (shim, _) in shims(&lab.dir) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    lab.wait(&launch.id).await;
    let _ = std::fs::remove_file(dir.join("exit"));
    let again = open(&lab.dir);
    let found = again.recover().await;
    assert!(matches!(found[0].state, RecoveredState::Exited(exit) if exit.code == 137), "{found:?}");
    until(|| !std::path::Path::new(&format!("/proc/{pid}/ns/pid")).exists()).await;
    again.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn no_byte_is_lost_at_the_end() {
    let lab = Lab::new();
    let launch = lab.launch("head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo last");
    let (text, _) = lab.run(&launch).await;
    assert_eq!(text.len(), 3_000_006);
    let log = std::fs::read_to_string(&launch.log.path).unwrap();
    let total: usize = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().len())
        .sum();
    assert_eq!(total, 3_000_006);
}

#[tokio::test]
async fn with_an_init() {
    let lab = Lab::new();
    let launch =
        Launch { init: true, ..lab.launch("cat /proc/1/cmdline | tr '\\0' ' '; (sleep 0.01 &); sleep 0.05; exit 5") };
    let (text, exit) = lab.run(&launch).await;
    assert!(text.contains("/sbin/docker-init -- sh"), "{text}");
    assert_eq!(exit.code, 5);
}
