//! What a container can not do.
use crate::lab::*;
use runtime::*;

#[tokio::test]
async fn the_filter_and_the_capabilities_are_in_force() {
    let lab = Lab::new();
    let (text, _) = lab.sh("grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status; mount -t tmpfs x /tmp; unshare -m true; reboot -f; echo end").await;
    assert!(text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("NoNewPrivs:\t0"), "{text}");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(text.contains(&format!("{set}:\t00000000a80425fb")), "{text}");
    }
    assert!(text.contains("CapInh:\t0000000000000000") && text.contains("CapAmb:\t0000000000000000"), "{text}");
    assert_eq!(text.matches("not permitted").count() + text.matches("permission denied").count(), 3, "{text}");
    let launch = Launch { no_new_privileges: true, ..lab.launch("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status") };
    let (text, _) = lab.run(&launch).await;
    assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
    let launch = Launch { seccomp: Seccomp::Unconfined, ..lab.launch("grep Seccomp: /proc/self/status") };
    assert!(lab.run(&launch).await.0.contains("Seccomp:\t0"));
    let json =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let launch = Launch { seccomp: Seccomp::Json(json.into()), ..lab.launch("mkdir /tmp/x; echo $?") };
    assert!(lab.run(&launch).await.0.contains("not permitted"));
}

#[tokio::test]
async fn users_are_users() {
    let lab = Lab::new();
    let wish = |user: &str| {
        Launch { user: User::Named(user.into()), ..lab.launch("id; echo $HOME; grep CapEff /proc/self/status; echo x > /dev/stdout; cat /proc/1/environ >/dev/null && echo own") }
    };
    let (text, _) = lab.run(&wish("web")).await;
    assert!(text.contains("uid=33(web) gid=33(web) groups=33(web),44(media)"), "{text}");
    assert!(text.contains("/srv\n") && text.contains("CapEff:\t0000000000000000") && text.contains("\nx\n"), "{text}");
    let (text, _) = lab.run(&wish("1234:44")).await;
    assert!(text.contains("uid=1234 gid=44(media)"), "{text}");
}

#[tokio::test]
async fn its_own_control_group_is_read_only() {
    let lab = Lab::new();
    let resources = Resources { memory_bytes: 64 << 20, ..Resources::default() };
    let (dir, file) = match kernel::cgroup::Layout::of_this_machine().is_v2() {
        true => ("/sys/fs/cgroup", "memory.max"),
        false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    };
    let launch = Launch {
        resources,
        ..lab.launch(&format!(
            "cat {dir}/{file}; echo 1000000000 > {dir}/{file}; mkdir {dir}/x; mkdir /sys/fs/cgroup/y; cat {dir}/{file}"
        ))
    };
    let (text, _) = lab.run(&launch).await;
    assert_eq!(text.matches("67108864").count(), 2, "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
}

#[tokio::test]
async fn paths_of_the_kernel_are_hidden() {
    let lab = Lab::new();
    let (text, _) = lab
        .sh("echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger; wc -c < /proc/keys; ls /sys/firmware | wc -l; \
             echo x > /sys/kernel/x; wc -c < /proc/timer_list; ls /proc/scsi 2>/dev/null | wc -l")
        .await;
    assert!(text.matches("Read-only file system").count() >= 2, "{text}");
    assert!(!text.contains("root:"), "{text}");
    for line in text.lines().filter(|line| line.parse::<u32>().is_ok()) {
        assert_eq!(line, "0", "{text}");
    }
}

#[tokio::test]
async fn devices() {
    let lab = Lab::new();
    let (text, _) = lab
        .sh("ls /dev | tr '\\n' ' '; head -c 4 /dev/urandom | wc -c; echo x > /dev/null && echo null; \
             mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem; mknod /tmp/loop b 7 0 && head -c 1 /tmp/loop; \
             readlink /dev/ptmx /dev/stdout; df /dev/shm | tail -1")
        .await;
    for name in [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert_eq!(text.matches("Operation not permitted").count(), 2, "{text}");
    assert!(text.contains("65536"), "{text}");
    let device = Device { host: "/dev/kmsg".into(), container: "/dev/log-of-kernel".into(), permissions: "r".into() };
    let (text, _) = lab.run(&Launch { devices: vec![device], ..lab.launch("ls -l /dev/log-of-kernel") }).await;
    assert!(text.contains("1,  11"), "{text}");
}

#[tokio::test]
async fn mounts() {
    let lab = Lab::new();
    let shared = lab.dir.join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("file"), "content").unwrap();
    std::os::unix::fs::symlink("/", lab.dir.join("root/escape")).unwrap();
    let bind = |source: &str, target: &str, read_only| MountPoint {
        source: lab.dir.join(source),
        target: target.into(),
        read_only,
        ..MountPoint::default()
    };
    let tmpfs = MountPoint {
        target: "/scratch".into(),
        kind: MountKind::Tmpfs,
        options: vec!["size=1m".into()],
        ..MountPoint::default()
    };
    let launch = Launch {
        mounts: vec![
            bind("shared", "/in/rw", false),
            bind("shared", "/in/ro", true),
            bind("shared/file", "/etc/one", true),
            bind("shared", "/escape/made-by-mount", false),
            tmpfs,
        ],
        cwd: "/work/here".into(),
        ..lab.launch(
            "pwd; cat /in/ro/file; echo x > /in/ro/new; echo y > /in/rw/new; cat /in/ro/new /etc/one; echo z > /etc/one; \
             ls /made-by-mount; mount | grep scratch",
        )
    };
    let (text, _) = lab.run(&launch).await;
    assert!(text.starts_with("/work/here\ncontent"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(text.contains("y\ncontent"), "{text}");
    assert!(text.contains("nosuid") && text.contains("size=1024k"), "{text}");
    assert!(!std::path::Path::new("/made-by-mount").exists(), "a link led out of the root");
    let (text, _) = lab.run(&Launch { read_only: true, ..lab.launch("touch /x; touch /dev/shm/y && echo shm") }).await;
    assert!(text.contains("Read-only file system") && text.contains("shm"), "{text}");
}

#[tokio::test]
async fn namespaces() {
    let lab = Lab::new();
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let list = "for n in mnt pid ipc uts net; do readlink /proc/self/ns/$n; done; ls /proc | grep -c '^[0-9]'";
    let (text, _) = lab.sh(list).await;
    for kind in ["mnt", "pid", "ipc", "uts"] {
        assert!(!text.contains(own(kind).to_str().unwrap()), "{kind}: {text}");
    }
    assert!(text.contains(own("net").to_str().unwrap()), "{text}");
    assert!(text.lines().last().unwrap().parse::<u32>().unwrap() < 6, "{text}");
    let host = Launch {
        pid: NamespaceMode::Host,
        ipc: NamespaceMode::Host,
        uts: NamespaceMode::Host,
        ..lab.launch(&format!("{list}; sleep 1000 & exit 6"))
    };
    let (text, exit) = lab.run(&host).await;
    for kind in ["pid", "ipc", "uts"] {
        assert!(text.contains(own(kind).to_str().unwrap()), "{kind}: {text}");
    }
    assert_eq!(exit.code, 6);
    let server = Launch { hostname: "first".into(), ..lab.launch("sleep 1000") };
    lab.up(&server).await;
    let pid = lab.runtime.pid(&server.id).unwrap();
    let join = |kind: &str| NamespaceMode::Path(format!("/proc/{pid}/ns/{kind}").into());
    let (text, _) =
        lab.run(&Launch { pid: join("pid"), ipc: join("ipc"), ..lab.launch("ps | grep -c 'sleep 1000'") }).await;
    assert_ne!(text.trim(), "0");
    lab.runtime.delete(&server.id).await.unwrap();
}

#[tokio::test]
async fn limits_sysctls_and_scores() {
    let lab = Lab::new();
    let launch = Launch {
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 100, hard: 200 }],
        sysctls: [("kernel.msgmax".to_owned(), "12345".to_owned())].into(),
        oom_score_adj: 500,
        resources: Resources { pids_limit: 5, ..Resources::default() },
        ..lab.launch("ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax /proc/self/oom_score_adj; for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo end")
    };
    let (text, _) = lab.run(&launch).await;
    assert!(text.starts_with("100\n200\n12345\n500\n"), "{text}");
    assert!(text.contains("can't fork"), "{text}");
}

#[tokio::test]
async fn privileged() {
    let lab = Lab::new();
    let launch = Launch { privileged: true, ..lab.launch("grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted; mount | grep ' /sys '; test -c /dev/kmsg && echo kmsg") };
    let (text, _) = lab.run(&launch).await;
    assert!(
        text.contains("Seccomp:\t0") && text.contains("mounted") && text.contains("(rw,") && text.contains("kmsg"),
        "{text}"
    );
}
