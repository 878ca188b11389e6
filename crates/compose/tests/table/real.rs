//! Whole files as people write them.
use crate::{load, load_all};
use compose::Condition;
use model::*;

const SHOP: &str = include_str!("files/shop.yml");
const PRODUCTION: &str = include_str!("files/shop.production.yml");
const WATCH: &str = include_str!("files/watch.yml");

#[test]
fn a_shop() {
    let stack = load(SHOP);
    assert!(stack.warnings.is_empty(), "{:?}", stack.warnings);
    assert_eq!(stack.services.keys().collect::<Vec<_>>(), ["app", "db", "migrate", "proxy"]);
    let container = |name: &str| stack.services[name].spec.task.container.clone().unwrap();
    let app = container("app");
    assert_eq!(app.image, "registry.example/shop/app:7");
    assert_eq!(
        app.env,
        ["DATABASE_HOST=db", "DATABASE_PASSWORD_FILE=/run/secrets/db_password", "PRICE_FORMAT=$0.00", "WORKERS=4"]
    );
    let log = stack.services["db"].spec.task.log_driver.clone().unwrap();
    assert_eq!((log.options["max-size"].as_str(), log.options["max-file"].as_str()), ("10m", "3"));
    assert_eq!(
        stack.services["migrate"].spec.mode,
        ServiceMode::ReplicatedJob { max_concurrent: 1, total_completions: 1 }
    );
    let waits: Vec<_> = stack.services["app"].depends_on.iter().map(|d| (d.service.as_str(), d.condition)).collect();
    assert_eq!(waits, [("db", Condition::Healthy), ("migrate", Condition::Completed)]);
    let proxy = container("proxy");
    assert!(proxy.read_only && proxy.privileges.unwrap().no_new_privileges);
    assert_eq!(
        (proxy.capability_drop.join(","), proxy.capability_add.join(",")),
        ("ALL".into(), "CAP_NET_BIND_SERVICE".into())
    );
    assert_eq!(proxy.mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/var/cache/nginx", "/run"]);
    let ports = &stack.services["proxy"].spec.endpoint.as_ref().unwrap().ports;
    assert_eq!((ports[0].publish_mode, ports[0].published_port), (PublishMode::Host, 80));
    assert_eq!(ports[1].host_ip.unwrap().to_string(), "127.0.0.1");
    let back = stack.networks["app_back"].own().unwrap();
    assert!(back.internal && back.options.contains_key("encrypted"));
    assert_eq!(stack.services["app"].networks[1].aliases, ["shop", "app"]);
    let db = container("db");
    assert_eq!((db.mounts[1].kind, db.mounts[1].tmpfs_size_bytes), (MountKind::Tmpfs, 64 << 20));
    assert_eq!(stack.secrets["app_db_password"].own().unwrap().data, b"hush");
}

#[test]
fn the_same_shop_in_production() {
    let stack = load_all(&[SHOP, PRODUCTION]).unwrap();
    let app = &stack.services["app"];
    assert_eq!(app.spec.mode, ServiceMode::Replicated { replicas: 12 });
    assert_eq!(app.spec.task.placement.max_replicas, 2);
    let env = &app.spec.task.container.as_ref().unwrap().env;
    assert!(env.contains(&"WORKERS=16".to_owned()) && env.contains(&"SENTRY=on".to_owned()) && env.len() == 5);
    let ports = &stack.services["proxy"].spec.endpoint.as_ref().unwrap().ports;
    let shown: Vec<_> = ports.iter().map(|p| (p.published_port, p.target_port, p.publish_mode)).collect();
    assert_eq!(shown, [(80, 8080, PublishMode::Ingress), (8081, 8081, PublishMode::Ingress)]);
    assert!(stack.secrets["production-db-password"].own().is_none());
    assert_eq!(app.secrets[0].name, "production-db-password");
    assert_eq!(app.secrets[0].file.name, "db_password", "the file keeps the name that the service knows");
}

#[test]
fn monitoring() {
    let stack = load(WATCH);
    assert_eq!(stack.warnings, ["Ignoring unsupported options: pid"]);
    let agent = &stack.services["agent"];
    assert_eq!((agent.spec.mode.clone(), agent.networks[0].network.as_str()), (ServiceMode::Global, "host"));
    let c = agent.spec.task.container.as_ref().unwrap();
    assert_eq!(
        c.args,
        ["--path.procfs=/host/proc", "--collector.filesystem.ignored-mount-points", "^/(sys|proc)($|/)"]
    );
    assert_eq!(
        (c.mounts[1].source.as_str(), c.mounts[1].propagation.as_str(), c.mounts[1].read_only),
        ("/", "rslave", true)
    );
    let p = &stack.services["prometheus"];
    assert_eq!(p.spec.task.placement.preferences, ["node.labels.rack"]);
    assert_eq!(p.spec.task.container.as_ref().unwrap().hosts, ["10.1.0.1 gateway.example"]);
    let config = stack.configs["app_prometheus"].own().unwrap();
    assert!(String::from_utf8_lossy(&config.data).contains("names: [tasks.agent]"));
}

/// What goes wrong in a real file is told with its line.
#[test]
fn mistakes_in_a_real_file() {
    let table = [
        (("interval: 2s", "interval: 2"), "0.yml:34: services.db.healthcheck.interval: invalid duration \"2\""),
        (
            ("migrate: {condition", "migrat: {condition"),
            "0.yml:58: services.app.depends_on: service \"app\" depends on undefined service \"migrat\"",
        ),
        (("replicas: 3", "replica: 3"), "0.yml:66: services.app.deploy Additional property replica is not allowed"),
        (("networks: [front]", "networks: [frnt]"), "0.yml:83: services.proxy.networks[0]: undefined network \"frnt\""),
        (("cap_drop: [ALL]", "cap_drop: ALL"), "0.yml:85: services.proxy.cap_drop must be a list"),
        (
            ("./secret.txt", "./secrets.txt"),
            "0.yml:104: secrets.db_password.file: /work/app/secrets.txt: entity not found",
        ),
        (
            ("{TAG:?", "{NOTAG:?"),
            "services.migrate.image: required variable NOTAG is missing a value: say which version",
        ),
        (("command: [", "  command: ["), "yaml: line 46"),
    ];
    for ((right, wrong), message) in table {
        assert!(SHOP.contains(right), "{right}");
        let e = load_all(&[&SHOP.replacen(right, wrong, 1)]).unwrap_err().to_string();
        assert!(e.contains(message), "{e}");
    }
}

/// What `stack config` prints can be deployed, and is the same stack.
#[test]
fn a_merged_file_is_read_again() {
    let source = |text: &str| compose::Source { name: "x.yml".into(), text: text.into() };
    let printed = compose::config(&[source(SHOP), source(PRODUCTION)], Some(&crate::env)).unwrap();
    let (_, services) = printed.split_once("\nservices:").unwrap();
    assert!(services.contains("$$0.00") && !services.contains("${"), "{printed}");
    assert_eq!(load(&printed).services, load_all(&[SHOP, PRODUCTION]).unwrap().services);
}
