use crate::load_all;
use model::ServiceMode;

#[test]
fn later_files_change_earlier_ones() {
    let base = "version: '3.8'\nservices:\n  web:\n    image: nginx\n    command: [a]\n    environment: [A=1, B=1]\n    ports: ['80:80', '443:443']\n    volumes: ['./a:/a', './b:/b']\n    cap_add: [SYS_TIME]\n    healthcheck: {test: [CMD, a], retries: 2}\n    deploy: {replicas: 2, labels: {x: '1'}, placement: {constraints: [node.role == manager]}}\n    networks: [front]\nnetworks:\n  front: {attachable: true}\n";
    let more = "version: '3.8'\nservices:\n  web:\n    command: b c\n    environment: {B: 2, C: 3}\n    ports: ['80:80', '8080:8080']\n    volumes: ['./c:/a:ro']\n    cap_add: [NET_ADMIN]\n    healthcheck: {test: [CMD, b]}\n    deploy: {replicas: 5, labels: {y: '2'}}\n    networks: {front: {aliases: [www]}, back: }\n  db:\n    image: redis\nnetworks:\n  front: {internal: true}\n  back:\n";
    let stack = load_all(&[base, more]).unwrap();
    let web = &stack.services["web"];
    let c = web.spec.task.container.as_ref().unwrap();
    assert_eq!((c.image.as_str(), c.args.join(" ")), ("nginx", "b c".to_owned()));
    assert_eq!(c.env, ["A=1", "B=2", "C=3"]);
    assert_eq!(c.capability_add, ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
    let health = c.healthcheck.as_ref().unwrap();
    assert_eq!((health.test.join(" "), health.retries), ("CMD b".to_owned(), 2));
    assert_eq!(
        c.mounts.iter().map(|m| (m.source.as_str(), m.read_only)).collect::<Vec<_>>(),
        [("/work/app/c", true), ("/work/app/b", false)]
    );
    let ports: Vec<_> = web.spec.endpoint.as_ref().unwrap().ports.iter().map(|p| p.published_port).collect();
    assert_eq!(ports, [80, 443, 8080]);
    assert_eq!(web.spec.mode, ServiceMode::Replicated { replicas: 5 });
    assert_eq!((web.spec.labels["x"].as_str(), web.spec.labels["y"].as_str()), ("1", "2"));
    assert_eq!(web.spec.task.placement.constraints.len(), 1);
    assert_eq!(web.networks.iter().map(|n| n.network.as_str()).collect::<Vec<_>>(), ["app_back", "app_front"]);
    assert_eq!(web.networks[1].aliases, ["www", "web"]);
    let front = stack.networks["app_front"].own().unwrap();
    assert!(front.internal && !front.attachable, "a network of a later file replaces the whole");
    assert!(stack.services.contains_key("db"));
}

#[test]
fn an_error_names_the_file_it_is_in() {
    let base = "services:\n  web:\n    image: nginx\n";
    let e = load_all(&[base, "services:\n  web:\n\n    # why\n    tty: maybe\n"]).unwrap_err().to_string();
    assert_eq!(e, "1.yml:5: services.web.tty must be a boolean");
    let e = load_all(&[base, "services:\n  web: {image: nginx}\nvolume: {}\n"]).unwrap_err().to_string();
    assert_eq!(e, "1.yml:3: (root) Additional property volume is not allowed");
}

#[test]
fn what_means_the_same_is_replaced_and_the_rest_grows() {
    let base = "version: '3'\nservices:\n  web:\n    image: nginx\n    ports: ['8080-8081:80-81', '53:53/udp', '9000']\n    env_file: a.env\n    dns: 1.1.1.1\n    tmpfs: /a\n    logging: {driver: json-file, options: {max-size: 1m, max-file: '2'}}\n    deploy: {labels: [a=1]}\n    depends_on: [db]\n    ulimits: {nofile: 5}\n  db: {image: db}\nvolumes: {v: {}}\n";
    let more = "version: '3.13'\nservices:\n  web:\n    ports: [{target: 8000, published: 8081, host_ip: 127.0.0.1}, '53:53', '9000']\n    dns: [8.8.8.8]\n    tmpfs: [/b]\n    logging: {driver: json-file, options: {max-size: 2m}}\n    deploy: {labels: {a: '2', b: '3'}}\n    depends_on: {db: {condition: service_healthy}}\n    ulimits: {nofile: {soft: 1, hard: 2}}\nvolumes:\n";
    let stack = load_all(&[base, more]).unwrap();
    let web = &stack.services["web"];
    let c = web.spec.task.container.as_ref().unwrap();
    let ports: Vec<_> = web
        .spec
        .endpoint
        .as_ref()
        .unwrap()
        .ports
        .iter()
        .map(|p| {
            format!(
                "{}:{}/{}{}",
                p.published_port,
                p.target_port,
                p.protocol,
                p.host_ip.map(|a| format!("@{a}")).unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(ports, ["0:9000/tcp", "53:53/tcp", "53:53/udp", "8080:80/tcp", "8081:8000/tcp@127.0.0.1"]);
    assert_eq!(c.dns.as_ref().unwrap().nameservers, ["1.1.1.1", "8.8.8.8"]);
    assert_eq!(c.mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
    let log = web.spec.task.log_driver.as_ref().unwrap();
    assert_eq!((log.options["max-size"].as_str(), log.options["max-file"].as_str()), ("2m", "2"));
    assert_eq!((web.spec.labels["a"].as_str(), web.spec.labels["b"].as_str()), ("2", "3"));
    assert_eq!(web.depends_on[0].condition, compose::Condition::Healthy);
    assert_eq!((c.ulimits[0].soft, c.ulimits[0].hard), (1, 2));

    let other = "services:\n  web:\n    logging: {driver: local}\n";
    let log = load_all(&[base, other]).unwrap().services["web"].spec.task.log_driver.clone().unwrap();
    assert_eq!((log.name.as_str(), log.options.len()), ("local", 0), "options go with their driver");
}

#[test]
fn files_of_different_versions_are_not_merged() {
    let file = |v: &str| format!("version: '{v}'\nservices:\n  web: {{image: nginx}}\n");
    assert!(load_all(&[&file("3"), &file("3.13")]).is_ok());
    let e = load_all(&[&file("3.7"), &file("3.8")]).unwrap_err().to_string();
    assert_eq!(e, "1.yml:1: version: version mismatched between two composefiles : 3.7 and 3.8");
}
