use super::*;
use crate::launch::{Device, Ulimit};

fn launch() -> Launch {
    Launch {
        id: "c".repeat(64),
        rootfs: "/r".into(),
        hostname: "box".into(),
        args: vec!["sh".into()],
        ..Launch::default()
    }
}

fn v1() -> Surroundings {
    let mut cgroups = Layout::default();
    for (controller, dir) in [("cpu", "cpu,cpuacct"), ("cpuacct", "cpu,cpuacct"), ("memory", "memory")] {
        cgroups.v1.insert(controller.into(), Path::new("/sys/fs/cgroup").join(dir));
    }
    cgroups.v2 = Some("/sys/fs/cgroup/unified".into());
    Surroundings {
        cgroups,
        passwd: "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:\n".into(),
        group: "root:x:0:\n".into(),
        capabilities: u64::MAX,
        nodes: BTreeMap::new(),
        init_binary: "/run/init".into(),
    }
}

fn v2() -> Surroundings {
    Surroundings { cgroups: Layout { v2: Some("/sys/fs/cgroup".into()), ..Layout::default() }, ..v1() }
}

fn mount<'a>(plan: &'a Plan, target: &str) -> Vec<&'a PlannedMount> {
    plan.mounts.iter().filter(|mount| mount.target == Path::new(target)).collect()
}

#[test]
fn the_defaults() {
    let plan = plan(&launch(), &v1()).unwrap();
    assert_eq!(plan.process.capabilities, 0xa804_25fb);
    assert_eq!(plan.cgroup, Path::new("docker").join("c".repeat(64)));
    assert_eq!(
        plan.process.env,
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box", "HOME=/root"]
    );
    assert!(plan.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert!(plan.readonly_paths.contains(&"/proc/sys".to_owned()));
    assert!(!plan.process.no_new_privileges);
    assert!(mount(&plan, "/sys")[0].options.contains(&"ro".to_owned()));
    assert!(mount(&plan, "/dev/shm")[0].options.contains(&"size=67108864".to_owned()));
    assert_eq!(plan.namespaces.cgroup, NamespaceMode::Host);
    assert_eq!(plan.device_rules[0].to_string(), "a *:* rwm");
    assert!(!plan.device_rules[0].allow);
}

#[test]
fn version_1_groups_are_read_only_views() {
    let plan = plan(&launch(), &v1()).unwrap();
    assert!(plan.mounts.iter().all(|mount| mount.kind != "cgroup"));
    let memory = mount(&plan, "/sys/fs/cgroup/memory")[0];
    assert_eq!(memory.source, Path::new("/sys/fs/cgroup/memory/docker").join("c".repeat(64)));
    assert!(memory.options.contains(&"ro".to_owned()));
    assert_eq!(mount(&plan, "/sys/fs/cgroup/cpu,cpuacct").len(), 1);
    assert!(plan.links.contains(&("/sys/fs/cgroup/cpuacct".into(), "cpu,cpuacct".into())));
    assert!(plan.readonly_paths.contains(&"/sys/fs/cgroup".to_owned()));
}

#[test]
fn version_2_has_a_namespace_of_its_own() {
    let plan = plan(&launch(), &v2()).unwrap();
    assert_eq!(plan.namespaces.cgroup, NamespaceMode::Private);
    let group = mount(&plan, "/sys/fs/cgroup")[0];
    assert_eq!(group.kind, "cgroup2");
    assert!(group.options.contains(&"ro".to_owned()));
}

#[test]
fn privileged() {
    let mut here = v1();
    let node = |path: &str| HostNode { path: path.into(), kind: 'b', major: 8, minor: 0, mode: 0o660, uid: 0, gid: 6 };
    here.nodes.insert("/dev".into(), vec![node("/dev/sda"), node("/dev/pts/0")]);
    let plan = plan(&Launch { privileged: true, ..launch() }, &here).unwrap();
    assert_eq!(plan.process.capabilities, 0x1ff_ffff_ffff);
    assert!(plan.masked_paths.is_empty() && plan.readonly_paths.is_empty());
    assert!(mount(&plan, "/sys")[0].options.contains(&"rw".to_owned()));
    assert_eq!(plan.device_rules.len(), 1);
    assert!(plan.nodes.iter().any(|node| node.path == Path::new("/dev/sda")));
    assert!(!plan.nodes.iter().any(|node| node.path == Path::new("/dev/pts/0")));
}

#[test]
fn a_mount_of_the_user_replaces_a_default_one() {
    let own = |target: &str| MountPoint { source: "/x".into(), target: target.into(), ..MountPoint::default() };
    let plan = plan(&Launch { mounts: vec![own("/a/b"), own("/dev/shm"), own("/a")], ..launch() }, &v1()).unwrap();
    assert_eq!(mount(&plan, "/dev/shm").len(), 1);
    assert_eq!(mount(&plan, "/dev/shm")[0].options, ["rbind", "rprivate"]);
    let order: Vec<_> = plan.mounts.iter().rev().take(3).map(|mount| mount.target.to_str().unwrap()).collect();
    assert_eq!(order, ["/dev/shm", "/a/b", "/a"]);
}

#[test]
fn devices_and_their_rules() {
    let mut here = v1();
    let node = HostNode { path: "/dev/fuse".into(), kind: 'c', major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 };
    here.nodes.insert("/dev/fuse".into(), vec![node]);
    let device = Device { host: "/dev/fuse".into(), container: "/dev/f".into(), permissions: "r".into() };
    let wish = Launch { devices: vec![device], device_rules: vec!["c 42:* rmw".into()], ..launch() };
    let plan = plan(&wish, &here).unwrap();
    assert!(plan.nodes.iter().any(|node| node.path == Path::new("/dev/f") && node.minor == 229));
    let rules: Vec<_> = plan.device_rules.iter().rev().take(2).map(ToString::to_string).collect();
    assert_eq!(rules, ["c 42:* rmw", "c 10:229 r"]);
    let wrong = Launch { device_rules: vec!["x 1:2 r".into()], ..launch() };
    let error = super::plan(&wrong, &here).unwrap_err();
    assert_eq!(error.message, "invalid device cgroup rule format: 'x 1:2 r'");
}

#[test]
fn init_goes_first() {
    let plan = plan(&Launch { init: true, ..launch() }, &v1()).unwrap();
    assert_eq!(plan.process.args, ["/sbin/docker-init", "--", "sh"]);
    assert_eq!(mount(&plan, INIT_PATH)[0].source, Path::new("/run/init"));
}

#[test]
fn ulimits_and_environment() {
    let ulimit = |name: &str| Ulimit { name: name.into(), soft: 10, hard: -1 };
    let wish = Launch {
        ulimits: vec![ulimit("nofile")],
        env: vec!["A=1".into(), "PATH=/x".into(), "HOSTNAME".into()],
        user: User::Named("web".into()),
        tty: true,
        ..launch()
    };
    let process = plan(&wish, &v1()).unwrap().process;
    assert_eq!(process.limits, [(7, 10, u64::MAX)]);
    assert_eq!(process.env, ["PATH=/x", "TERM=xterm", "A=1", "HOME=/srv"]);
    let wrong = Launch { ulimits: vec![ulimit("fly")], ..launch() };
    assert_eq!(plan(&wrong, &v1()).unwrap_err().message, "invalid ulimit type: fly");
}

#[test]
fn resources() {
    let none = |_: &Path| None;
    for (given, want) in [
        (Resources::default(), Limits::default()),
        (
            Resources { memory_bytes: 100, nano_cpus: 1_500_000_000, pids_limit: -1, ..Resources::default() },
            Limits {
                memory: Some(100),
                memory_and_swap: Some(200),
                cpu_period_us: Some(100_000),
                cpu_quota_us: Some(150_000),
                pids: Some(-1),
                ..Limits::default()
            },
        ),
        (
            Resources { memory_bytes: 100, memory_swap_bytes: -1, cpu_quota_us: -1, ..Resources::default() },
            Limits { memory: Some(100), memory_and_swap: Some(-1), cpu_quota_us: Some(-1), ..Limits::default() },
        ),
    ] {
        assert_eq!(limits_of(&given, none).unwrap(), want);
    }
}

#[test]
fn an_exec_inherits() {
    let base = plan(&Launch { env: vec!["A=1".into()], cwd: "/w".into(), ..launch() }, &v1()).unwrap().process;
    let spec = crate::launch::ExecSpec {
        args: vec!["id".into()],
        env: vec!["B=2".into()],
        user: Some(User::Named("web".into())),
        ..Default::default()
    };
    let process = exec_process(&base, &spec, &v1(), None).unwrap();
    assert_eq!((process.uid, process.cwd.as_str(), process.capabilities), (33, "/w", base.capabilities));
    assert!(process.env.contains(&"A=1".to_owned()) && process.env.contains(&"HOME=/srv".to_owned()));
}
