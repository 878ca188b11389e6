use crate::{load, web};
use compose::{FileUse, StackObject};
use model::*;
use std::time::Duration;

fn container(lines: &str) -> ContainerSpec {
    load(&web(lines)).services["web"].spec.task.container.clone().unwrap()
}

#[test]
fn a_service_has_dockers_defaults() {
    let stack = load(&web(""));
    let service = &stack.services["web"];
    assert_eq!(service.spec.mode, ServiceMode::Replicated { replicas: 1 });
    assert_eq!((&service.spec.update, &service.spec.rollback, &service.spec.task.restart), (&None, &None, &None));
    assert_eq!(service.networks[0].network, "app_default");
    assert!(matches!(&stack.networks["app_default"], StackObject::Own(n) if n.driver == "overlay"));
    let c = service.spec.task.container.as_ref().unwrap();
    assert_eq!((c.image.as_str(), c.env.len(), c.init), ("nginx", 0, None));
    assert_eq!(c.labels["com.docker.stack.namespace"], "app");
}

#[test]
fn what_the_container_runs() {
    let c = container(
        "entrypoint: [\"/run\", \"it\"]\ncommand: serve --name 'a b' -v\nhostname: \"{{.Node.Hostname}}\"\nuser: \"1000\"\nworking_dir: /srv\ninit: yes\nread_only: true\ntty: true\nstdin_open: true\nstop_signal: SIGINT\nstop_grace_period: 1m30s\nlabels:\n  - a=b\n  - c\noom_score_adj: -5\nisolation: default",
    );
    assert_eq!(c.command, ["/run", "it"]);
    assert_eq!(c.args, ["serve", "--name", "a b", "-v"]);
    assert_eq!((c.hostname.as_str(), c.user.as_str(), c.dir.as_str()), ("{{.Node.Hostname}}", "1000", "/srv"));
    assert_eq!((c.init, c.read_only, c.tty, c.open_stdin), (Some(true), true, true, true));
    assert_eq!((c.stop_signal.as_str(), c.stop_grace_period), ("SIGINT", Some(Duration::from_secs(90))));
    assert_eq!((c.labels["a"].as_str(), c.labels["c"].as_str(), c.oom_score_adj), ("b", "", -5));
}

#[test]
fn variables_come_from_files_then_from_the_service_then_from_around() {
    let c = container("env_file: a.env\nenvironment:\n  B: own\n  N:\n  MISSING:\n  FLAG: true\n  PORT: 80");
    assert_eq!(c.env, ["A=file", "B=own", "FLAG=true", "MISSING", "N=3", "PORT=80", "TOKEN=s3cret"]);
    let c = container("environment:\n  - B=x=y\n  - TOKEN\n  - EMPTY=");
    assert_eq!(c.env, ["B=x=y", "EMPTY=", "TOKEN=s3cret"]);
}

#[test]
fn interpolation_reaches_values_and_types() {
    let stack =
        load(&web("deploy:\n  replicas: ${N}\nhostname: v${TAG:-1}-${NONE:-x}-$$\nread_only: \"${NONE:-true}\""));
    let service = &stack.services["web"];
    assert_eq!(service.spec.mode, ServiceMode::Replicated { replicas: 3 });
    let c = service.spec.task.container.as_ref().unwrap();
    assert_eq!((c.hostname.as_str(), c.read_only), ("v7-x-$", true));
}

#[test]
fn anchors_and_merge_keys() {
    let stack = load(
        "version: '3.8'\nx-base: &base\n  image: nginx\n  environment: &env {A: '1'}\nservices:\n  a:\n    <<: *base\n    hostname: a\n  b:\n    <<: *base\n    environment:\n      <<: *env\n      B: '2'\n    x-note: fine\n",
    );
    let env = |s: &str| stack.services[s].spec.task.container.as_ref().unwrap().env.clone();
    assert_eq!(env("a"), ["A=1"]);
    assert_eq!(env("b"), ["A=1", "B=2"]);
}

#[test]
fn health_checks() {
    let h = |lines: &str| container(&format!("healthcheck:\n{lines}")).healthcheck.unwrap();
    let full = h(
        "  test: [CMD, curl, -f, localhost]\n  interval: 1m\n  timeout: 10s\n  retries: 4\n  start_period: 5s\n  start_interval: 500ms",
    );
    assert_eq!(full.test, ["CMD", "curl", "-f", "localhost"]);
    assert_eq!((full.interval, full.timeout, full.retries), (Duration::from_secs(60), Duration::from_secs(10), 4));
    assert_eq!((full.start_period, full.start_interval), (Duration::from_secs(5), Duration::from_millis(500)));
    assert_eq!(h("  test: curl -f localhost || exit 1").test, ["CMD-SHELL", "curl -f localhost || exit 1"]);
    assert_eq!(h("  disable: true").test, ["NONE"]);
}

#[test]
fn the_rest_of_the_container() {
    let c = container(
        "cap_add: [net_admin, CAP_SYS_TIME]\ncap_drop: [ALL]\nsysctls:\n  net.core.somaxconn: 1024\nulimits:\n  nproc: 65535\n  nofile: {soft: 20000, hard: 40000}\ndns: 8.8.8.8\ndns_search: [a.example, b.example]\nextra_hosts:\n  - somehost:162.242.195.82\n  - six:::1\n  - eq=1.2.3.4",
    );
    assert_eq!(c.capability_add, ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
    assert_eq!(c.capability_drop, ["ALL"]);
    assert_eq!(c.sysctls["net.core.somaxconn"], "1024");
    assert_eq!(c.ulimits[0], Ulimit { name: "nofile".into(), hard: 40000, soft: 20000 });
    assert_eq!(c.ulimits[1], Ulimit { name: "nproc".into(), hard: 65535, soft: 65535 });
    let dns = c.dns.unwrap();
    assert_eq!(
        (dns.nameservers, dns.search),
        (vec!["8.8.8.8".to_owned()], vec!["a.example".to_owned(), "b.example".to_owned()])
    );
    assert_eq!(c.hosts, ["162.242.195.82 somehost", "::1 six", "1.2.3.4 eq"]);
    let stack = load(&web("logging:\n  driver: json-file\n  options: {max-size: 10m, max-file: 3}"));
    let log = stack.services["web"].spec.task.log_driver.clone().unwrap();
    assert_eq!(
        (log.name.as_str(), log.options["max-size"].as_str(), log.options["max-file"].as_str()),
        ("json-file", "10m", "3")
    );
}

#[test]
fn ports_in_both_forms() {
    let stack = load(&web(
        "ports:\n  - 8080:80\n  - \"53:53/udp\"\n  - target: 443\n    published: 8443\n    mode: host\n    protocol: tcp\n  - 9000",
    ));
    let ports = &stack.services["web"].spec.endpoint.as_ref().unwrap().ports;
    let shown: Vec<_> = ports
        .iter()
        .map(|p| (p.published_port, p.target_port, p.protocol.as_str(), p.publish_mode == PublishMode::Host))
        .collect();
    assert_eq!(
        shown,
        [(0, 9000, "tcp", false), (53, 53, "udp", false), (8080, 80, "tcp", false), (8443, 443, "tcp", true)]
    );
}

#[test]
fn mounts_in_both_forms() {
    let text = web(
        "volumes:\n  - data:/data\n  - /anon\n  - ./html:/html:ro\n  - ~/x:/x\n  - ../up:/up:rslave\n  - ext:/ext:nocopy\n  - {type: tmpfs, target: /tmp, tmpfs: {size: 64m, mode: 0o1777}}\n  - {type: bind, source: /etc/x, target: /y, read_only: true, bind: {propagation: shared}}\n  - {type: volume, source: data, target: /sub, volume: {nocopy: true, subpath: a}}\ntmpfs: [/run, \"/cache:size=1m,mode=700\"]",
    ) + "volumes:\n  data:\n    driver: local\n    driver_opts: {type: none}\n    labels: [l=1]\n  ext:\n    external: true\n  unused:\n";
    let stack = load(&text);
    let mounts = &stack.services["web"].spec.task.container.as_ref().unwrap().mounts;
    let shown: Vec<_> = mounts.iter().map(|m| (m.kind, m.source.as_str(), m.target.as_str(), m.read_only)).collect();
    use MountKind::*;
    assert_eq!(
        shown,
        [
            (Volume, "app_data", "/data", false),
            (Volume, "", "/anon", false),
            (Bind, "/work/app/html", "/html", true),
            (Bind, "/home/me/x", "/x", false),
            (Bind, "/work/up", "/up", false),
            (Volume, "ext", "/ext", false),
            (Tmpfs, "", "/tmp", false),
            (Bind, "/etc/x", "/y", true),
            (Volume, "app_data", "/sub", false),
            (Tmpfs, "", "/run", false),
            (Tmpfs, "", "/cache", false),
        ]
    );
    assert_eq!((mounts[0].driver.as_str(), mounts[0].labels["l"].as_str()), ("local", "1"));
    assert_eq!(mounts[0].labels["com.docker.stack.namespace"], "app");
    assert_eq!((mounts[4].propagation.as_str(), mounts[7].propagation.as_str()), ("rslave", "shared"));
    assert!(mounts[5].no_copy && mounts[5].labels.is_empty());
    assert_eq!((mounts[6].tmpfs_size_bytes, mounts[6].tmpfs_mode), (64 << 20, 0o1777));
    assert_eq!((mounts[8].no_copy, mounts[8].subpath.as_str()), (true, "a"));
    assert_eq!((mounts[10].tmpfs_size_bytes, mounts[10].tmpfs_mode), (1 << 20, 0o700));
    assert_eq!(stack.volumes.keys().collect::<Vec<_>>(), ["app_data", "ext"]);
}

#[test]
fn networks_in_all_forms() {
    let text = web(
        "networks:\n  front:\n    aliases: [www, web]\n    ipv4_address: 10.5.0.9\n  named:\n  outer:\n  hostnet:",
    ) + "networks:\n  front:\n    driver_opts: {encrypted: \"\"}\n    internal: true\n    attachable: true\n    labels: {a: b}\n    ipam:\n      driver: default\n      config:\n        - {subnet: 10.5.0.0/16, ip_range: 10.5.1.0/24, gateway: 10.5.0.254, aux_addresses: {printer: 10.5.1.7}}\n  named:\n    name: plain\n  outer:\n    external: true\n    name: elsewhere\n  hostnet:\n    external: {name: host}\n  unused:\n";
    let stack = load(&text);
    let uses: Vec<_> =
        stack.services["web"].networks.iter().map(|n| (n.network.as_str(), n.aliases.join(","))).collect();
    assert_eq!(
        uses,
        [
            ("app_front", "www,web".to_owned()),
            ("elsewhere", "web".to_owned()),
            ("host", String::new()),
            ("plain", "web".to_owned())
        ]
    );
    assert_eq!(stack.services["web"].networks[0].addresses, ["10.5.0.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(stack.networks.keys().collect::<Vec<_>>(), ["app_front", "elsewhere", "host", "plain"]);
    assert_eq!(stack.networks["host"], StackObject::External);
    let front = stack.networks["app_front"].own().unwrap();
    assert!(front.internal && front.attachable && front.options.contains_key("encrypted"));
    assert_eq!(front.ipam[0].subnet.unwrap().to_string(), "10.5.0.0/16");
    assert_eq!(front.ipam[0].gateway.unwrap().to_string(), "10.5.0.254");
    assert_eq!(front.ipam[0].reserved.len(), 1);
}

#[test]
fn secrets_and_configs() {
    let text = web(
        "secrets:\n  - key\n  - source: outer\n    target: named\n    uid: '103'\n    gid: \"104\"\n    mode: 0440\nconfigs:\n  - source: conf\n    target: /etc/nginx.conf\n    mode: 0o400\n  - inline",
    ) + "secrets:\n  key: {file: ./secret.txt, labels: {a: b}}\n  outer: {external: true}\n  env: {environment: TOKEN, name: token_v1}\nconfigs:\n  conf: {file: ../nginx.conf, template_driver: golang}\n  inline: {content: \"hello ${TAG}\"}\n";
    let stack = load(&text);
    let web = &stack.services["web"];
    let file = |name: &str, uid: &str, gid: &str, mode| FileTarget {
        name: name.into(),
        uid: uid.into(),
        gid: gid.into(),
        mode,
    };
    assert_eq!(
        web.secrets,
        [
            FileUse { name: "app_key".into(), file: file("key", "0", "0", 0o444) },
            FileUse { name: "outer".into(), file: file("named", "103", "104", 0o440) },
        ]
    );
    assert_eq!(
        web.configs,
        [
            FileUse { name: "app_conf".into(), file: file("/etc/nginx.conf", "0", "0", 0o400) },
            FileUse { name: "app_inline".into(), file: file("inline", "0", "0", 0o444) },
        ]
    );
    assert_eq!(stack.secrets["app_key"].own().unwrap().data, b"hush");
    assert_eq!(stack.secrets["token_v1"].own().unwrap().data, b"s3cret");
    assert_eq!(stack.secrets["outer"], StackObject::External);
    assert_eq!(stack.configs["app_conf"].own().unwrap().templating, "golang");
    assert_eq!(stack.configs["app_inline"].own().unwrap().data, b"hello 7");
}

#[test]
fn what_is_not_honoured_is_told() {
    let stack = load(&web("build: .\ncontainer_name: x\nexpose: [80]\nprivileged: true\nrestart: always"));
    assert_eq!(
        stack.warnings,
        [
            "Ignoring unsupported options: build, privileged",
            "Ignoring deprecated options:\n\ncontainer_name: Setting the container name is not supported.\n\nexpose: Exposing ports is unnecessary - services on the same network can access each other's containers on any port.",
        ]
    );
}

#[test]
fn a_port_at_one_address_keeps_it() {
    let stack = load(&web(
        "ports:\n  - \"127.0.0.1:8080:80\"\n  - {target: 81, published: 81, host_ip: \"::1\", mode: host}\n  - 0.0.0.0:82:82",
    ));
    let ports = &stack.services["web"].spec.endpoint.as_ref().unwrap().ports;
    let shown: Vec<_> = ports.iter().map(|p| (p.published_port, p.host_ip.map(|a| a.to_string()))).collect();
    assert_eq!(shown, [(81, Some("::1".into())), (82, None), (8080, Some("127.0.0.1".into()))]);
    assert!(stack.warnings.is_empty(), "{:?}", stack.warnings);
}

#[test]
fn walls_are_honoured() {
    let c = container(
        "security_opt: [no-new-privileges:true, seccomp=unconfined, \"apparmor:unconfined\"]\nuserns_mode: host",
    );
    let p = c.privileges.unwrap();
    assert!(p.no_new_privileges);
    assert_eq!((p.seccomp_mode.as_str(), p.apparmor_mode.as_str()), ("unconfined", "disabled"));
    let p = container("security_opt: [seccomp:./secret.txt]").privileges.unwrap();
    assert_eq!((p.seccomp_mode.as_str(), p.seccomp_profile.as_slice()), ("custom", &b"hush"[..]));
    for mode in ["none", "host", "bridge"] {
        let stack = load(&web(&format!("network_mode: {mode}")));
        assert_eq!(stack.services["web"].networks.len(), 1);
        assert_eq!(stack.services["web"].networks[0].network, mode);
        assert_eq!(stack.networks.keys().collect::<Vec<_>>(), [mode], "no default network is made");
    }
}

#[test]
fn dependencies_in_both_forms() {
    let all = |lines: &str| {
        let text = web(lines) + "  db: {image: db}\n  init: {image: init}\n";
        let services = load(&text).services;
        services["web"].depends_on.iter().map(|d| (d.service.clone(), d.condition, d.required)).collect::<Vec<_>>()
    };
    use compose::Condition::*;
    assert_eq!(all("depends_on: [db, init]"), [("db".into(), Started, true), ("init".into(), Started, true)]);
    assert_eq!(
        all(
            "depends_on:\n  db: {condition: service_healthy}\n  init: {condition: service_completed_successfully, required: true}\n  gone: {condition: service_started, required: false}"
        ),
        [("db".into(), Healthy, true), ("init".into(), Completed, true), ("gone".into(), Started, false)]
    );
}
