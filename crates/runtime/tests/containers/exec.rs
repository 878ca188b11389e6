//! More processes in a container.
use crate::lab::*;
use runtime::*;
use tokio::io::AsyncWriteExt;

fn spec(args: &[&str]) -> ExecSpec {
    ExecSpec { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..ExecSpec::default() }
}

#[tokio::test]
async fn exit_codes_users_directories_and_environment() {
    let lab = Lab::new();
    let launch = Launch { env: vec!["A=1".into()], ..lab.launch("sleep 1000") };
    lab.up(&launch).await;
    let exec = async |spec: ExecSpec| {
        let mut handle = lab.runtime.exec(&launch.id, spec).await.unwrap();
        let text = collect(handle.io).await;
        // It is known before the stream ends.
        assert!(handle.exit.now().is_some());
        (text, handle.exit.wait().await.code)
    };
    assert_eq!(exec(spec(&["sh", "-c", "echo $A; exit 9"])).await, ("1\n".into(), 9));
    let user = ExecSpec {
        user: Some(User::Named("web".into())),
        cwd: Some("/tmp".into()),
        ..spec(&["sh", "-c", "id; pwd; echo $HOME"])
    };
    let (text, _) = exec(user).await;
    assert!(text.contains("uid=33(web) gid=33(web) groups=33(web),44(media)"), "{text}");
    assert!(text.contains("/tmp\n/srv\n"), "{text}");
    let (text, _) = exec(ExecSpec { env: vec!["A=2".into(), "B=3".into()], ..spec(&["sh", "-c", "echo $A$B; cat /proc/self/cgroup; grep -E 'Seccomp:|CapEff' /proc/self/status; readlink /proc/self/ns/pid /proc/1/ns/pid"]) }).await;
    // Version 2 gives a container a view of its own, where its group is the root.
    assert!(text.starts_with("23\n") && (text.contains(&launch.id) || text.contains("\n0::/\n")), "{text}");
    assert!(text.contains("Seccomp:\t2") && text.contains("CapEff:\t00000000a80425fb"), "{text}");
    let (text, _) = exec(ExecSpec { privileged: true, ..spec(&["grep", "CapEff", "/proc/self/status"]) }).await;
    assert!(!text.contains("00000000a80425fb"), "{text}");
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn stdin_ends() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    let mut handle = lab.runtime.exec(&launch.id, ExecSpec { stdin: true, ..spec(&["wc", "-c"]) }).await.unwrap();
    let mut stdin = handle.io.stdin.take().unwrap();
    tokio::spawn(async move {
        stdin.write_all(&vec![0; 300_000]).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    assert_eq!(collect(handle.io).await.trim(), "300000");
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn a_terminal_that_grows() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    let wish = ExecSpec {
        tty: true,
        stdin: true,
        console_size: (10, 20),
        ..spec(&["sh", "-c", "stty size; tty; read x; stty size; exit 5"])
    };
    let mut handle = lab.runtime.exec(&launch.id, wish).await.unwrap();
    let text = read_until(&mut handle.io, "/dev/pts/").await;
    assert!(text.contains("10 20"), "{text}");
    lab.runtime.exec_resize(&launch.id, &handle.exec_id, 30, 40).await.unwrap();
    handle.io.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    read_until(&mut handle.io, "30 40").await;
    assert_eq!(handle.exit.wait().await.code, 5);
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn what_fails_says_so() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    for (wish, code, words) in [
        (spec(&["nosuch"]), 127, "exec: \"nosuch\": executable file not found in $PATH: unknown"),
        (spec(&["/plain"]), 126, "exec: \"/plain\": permission denied: unknown"),
        (
            ExecSpec { cwd: Some("/nowhere".into()), ..spec(&["true"]) },
            126,
            "chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory: unknown",
        ),
    ] {
        let error = lab.runtime.exec(&launch.id, wish).await.unwrap_err();
        assert!(error.message.starts_with("OCI runtime exec failed: exec failed: unable to start container process: "));
        assert!(error.message.ends_with(words), "{}", error.message);
        assert_eq!(error.exit_code, code);
    }
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn a_background_process_does_not_hold_the_stream() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    let handle = lab.runtime.exec(&launch.id, spec(&["sh", "-c", "sleep 500 & echo done"])).await.unwrap();
    assert_eq!(collect(handle.io).await, "done\n");
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn signals_reach_an_exec() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    let mut handle = lab.runtime.exec(&launch.id, spec(&["sleep", "500"])).await.unwrap();
    lab.runtime.exec_signal(&launch.id, &handle.exec_id, 9).await.unwrap();
    assert_eq!(handle.exit.wait().await.code, 137);
    // When the container ends, so do its exec processes.
    let mut other = lab.runtime.exec(&launch.id, spec(&["sleep", "500"])).await.unwrap();
    lab.runtime.signal(&launch.id, 9).await.unwrap();
    assert_eq!(other.exit.wait().await.code, 137);
    lab.wait(&launch.id).await;
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn two_hundred_leave_no_zombie() {
    let lab = Lab::new();
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    for round in 0..20 {
        let mut together = tokio::task::JoinSet::new();
        for number in 0..10 {
            let (runtime, id) = (lab.runtime.clone(), launch.id.clone());
            let args = if number % 5 == 0 { spec(&["/missing"]) } else { spec(&["echo", "x"]) };
            together.spawn(async move {
                match runtime.exec(&id, args).await {
                    Ok(handle) => assert_eq!(collect(handle.io).await, "x\n"),
                    Err(error) => assert_eq!(error.exit_code, 127),
                }
            });
        }
        while let Some(done) = together.join_next().await {
            done.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
    let (shim, _) = shims(&lab.dir)[0].clone();
    let children = || std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    until(|| children().split_whitespace().count() == 1).await;
    let fds = std::fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    assert!(fds < 20, "{fds} descriptors are open in the shim");
    lab.runtime.delete(&launch.id).await.unwrap();
}
