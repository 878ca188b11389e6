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
