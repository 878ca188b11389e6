use crate::{load_all, refused, web};

#[test]
fn what_is_no_compose_file() {
    assert_eq!(load_all(&[]).unwrap_err().to_string(), "Please specify a Compose file (with --compose-file)");
    assert_eq!(refused(""), "0.yml: empty compose file");
    assert_eq!(refused("- a"), "0.yml: top-level object must be a mapping");
    assert!(refused("services:\n  web: [").contains("line 3"), "{}", refused("services:\n  web: ["));
    assert!(refused("services:\n  web: {image: a}\n  web: {image: b}\n").contains("duplicate"));
    assert!(refused("version: '2.4'\nservices: {}").ends_with("unsupported Compose file version: 2.4"));
    assert!(refused("version: '3.99'\nservices: {}").contains("3.0 to 3.13"));
    assert!(refused("services:\n  web: *nope\n").contains("anchor"));
}

#[test]
fn unknown_keys_are_told_with_their_place() {
    let table = [
        (web("imag: x"), "0.yml:5: services.web Additional property imag is not allowed"),
        (web("deploy:\n  replica: 2"), "0.yml:6: services.web.deploy Additional property replica is not allowed"),
        (web("profiles: [a]"), "0.yml:5: services.web Additional property profiles is not allowed"),
        (
            web("ports:\n  - {target: 80, publishd: 80}"),
            "0.yml:5: services.web.ports[0] Additional property publishd is not allowed",
        ),
        (web("") + "networks:\n  a:\n    drivr: x\n", "0.yml:7: networks.a Additional property drivr is not allowed"),
        ("include: [a]\nservices: {}".to_owned(), "0.yml:1: (root) Additional property include is not allowed"),
    ];
    for (text, wanted) in table {
        assert_eq!(refused(&text), wanted);
    }
}

#[test]
fn forbidden_keys_are_explained_all_together() {
    assert_eq!(
        refused(&web("mem_limit: 5m\nextends: {service: x}")),
        "compose file contains unsupported options:\n\nextends: Support for `extends` is not implemented yet.\n\nmem_limit: Set resource limits using deploy.resources"
    );
}

#[test]
fn wrong_values_are_told_with_their_place() {
    let table = [
        ("deploy: {replicas: many}", "services.web.deploy.replicas must be a integer"),
        ("deploy: {replicas: -1}", "services.web.deploy.replicas: must not be negative"),
        (
            "deploy: {resources: {limits: {cpus: lots}}}",
            "services.web.deploy.resources.limits.cpus: invalid value for cpus: \"lots\"",
        ),
        (
            "deploy: {resources: {limits: {memory: 5x}}}",
            "services.web.deploy.resources.limits.memory: invalid size: '5x'",
        ),
        (
            "deploy: {update_config: {order: both}}",
            "services.web.deploy.update_config.order: unknown order: both; stop-first or start-first is expected",
        ),
        (
            "stop_grace_period: 10",
            "services.web.stop_grace_period: invalid duration \"10\": a number with ns, us, ms, s, m or h is expected, as in \"1m30s\"",
        ),
        ("ports: 80", "services.web.ports must be a list"),
        ("ports: [{published: 80}]", "services.web.ports[0] target is required"),
        ("ports: [{target: 99999}]", "services.web.ports[0].target: invalid target port 99999: 0 to 65535 is expected"),
        ("ports: ['80:x']", "services.web.ports[0]: Invalid containerPort: x"),
        ("networks: [nope]", "services.web.networks[0]: undefined network \"nope\""),
        ("volumes: ['nope:/x']", "services.web.volumes[0]: undefined volume \"nope\""),
        ("volumes: ['a:b:c:d']", "services.web.volumes[0]: invalid spec: a:b:c:d: too many colons"),
        ("volumes: [':/x']", "services.web.volumes[0]: invalid spec: :/x: empty section between colons"),
        ("volumes: [{type: bind, target: /x}]", "services.web.volumes[0]: invalid bind source, source cannot be empty"),
        (
            "volumes: [{type: tmpfs, source: a, target: /x}]",
            "services.web.volumes[0]: invalid tmpfs source, source must be empty",
        ),
        ("secrets: [nope]", "services.web.secrets[0]: undefined secret \"nope\""),
        ("configs: [nope]", "services.web.configs[0]: undefined config \"nope\""),
        (
            "healthcheck: {disable: true, test: x}",
            "services.web.healthcheck: test and disable can't be set at the same time",
        ),
        ("command: \"a 'b\"", "services.web.command: EOF found when expecting closing quote"),
        ("depends_on: db", "services.web.depends_on must be a mapping or a list"),
        ("depends_on: {db: }", "services.web.depends_on.db must be a mapping"),
        ("depends_on: {db: {required: false}}", "services.web.depends_on.db condition is required"),
        (
            "depends_on: {db: {condition: ready}}",
            "services.web.depends_on.db.condition: unknown condition \"ready\": service_started, service_healthy or service_completed_successfully is expected",
        ),
        (
            "depends_on: {db: {condition: service_started, restart: true}}",
            "services.web.depends_on.db: restart is not supported: dependencies are honoured at the first start only",
        ),
        ("depends_on: [db]", "services.web.depends_on: service \"web\" depends on undefined service \"db\""),
        ("depends_on: [web]", "services.web.depends_on: dependency cycle detected: web -> web"),
        (
            "network_mode: service:db",
            "services.web.network_mode: network_mode \"service:db\" cannot be honoured by a swarm, and another network would expose the service: none, host, bridge or networks is expected",
        ),
        (
            "{network_mode: none, networks: [a]}",
            "services.web.network_mode: network_mode and networks cannot be combined: one of them says where the service is",
        ),
        (
            "security_opt: [\"label:type:x\"]",
            "services.web.security_opt[0]: security option \"label:type:x\" cannot be honoured, and leaving it out would weaken the container: no-new-privileges, seccomp=unconfined, seccomp=PROFILE.json and apparmor=unconfined are known",
        ),
        ("security_opt: [seccomp=no.json]", "services.web.security_opt[0]: /work/app/no.json: entity not found"),
        (
            "userns_mode: private",
            "services.web.userns_mode: user namespace \"private\" is not supported: only \"host\" is; remove the key, or set user, cap_drop or read_only",
        ),
        ("ports: [{target: 80, host_ip: nohost}]", "services.web.ports[0].host_ip: Invalid ip address: nohost"),
        ("environment: 5", "services.web.environment must be a mapping or a list"),
        ("env_file: nope.env", "services.web.env_file: /work/app/nope.env: entity not found"),
        ("extra_hosts: [alone]", "services.web.extra_hosts[0]: bad format for add-host: \"alone\""),
        ("ulimits: {nofile: {soft: 1}}", "services.web.ulimits.nofile must have both soft and hard"),
        ("hostname: [a]", "services.web.hostname must be a string"),
        (
            "hostname: ${",
            "services.web.hostname: invalid interpolation format: \"${\". You may need to escape any $ with another $.",
        ),
        ("hostname: ${NONE:?say it}", "services.web.hostname: required variable NONE is missing a value: say it"),
    ];
    for (line, wanted) in table {
        let text = match line.strip_prefix('{') {
            // Several keys: one a line.
            Some(keys) => web(&keys.trim_end_matches('}').replacen(", ", "\n", 1)),
            None => web(line),
        };
        assert_eq!(refused(&text), format!("0.yml:5: {wanted}"));
    }
}

#[test]
fn services_and_declarations_that_contradict_themselves() {
    let tail = |text: &str| web("") + text;
    let table = [
        ("services:\n  web: {}\n".to_owned(), "invalid image reference for service web: no image specified"),
        ("services:\n  web: 5\n".to_owned(), "services.web must be a mapping"),
        ("services: [a]\n".to_owned(), "services must be a mapping"),
        (
            tail("secrets:\n  a: {external: true, file: x}\n"),
            "conflicting parameters \"external\" and \"file\" specified for secret \"a\"",
        ),
        (tail("secrets:\n  a: {}\n"), "secret \"a\" needs one of file, environment, content or external"),
        (
            tail("secrets:\n  a: {environment: NONE}\n"),
            "environment variable \"NONE\" required by secret \"a\" is not set",
        ),
        (
            tail("configs:\n  a: {file: x, content: y}\n"),
            "config \"a\" must have only one of file, environment and content",
        ),
        (tail("configs:\n  a: {file: x}\n"), "/work/app/x: entity not found"),
        (tail("secrets:\n  a: {driver: vault, file: x}\n"), "secret drivers are not supported"),
    ];
    for (text, wanted) in table {
        let e = refused(&text);
        assert!(e.ends_with(wanted), "{e}");
    }
    let e = refused(&(web("networks: [a]") + "networks:\n  a: {ipam: {config: [{subnet: 10.0.0.1/24}]}}\n"));
    assert!(e.ends_with("invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"), "{e}");
}

#[test]
fn circles_are_shown() {
    let e = refused(
        "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: b, depends_on: [c]}\n  c:\n    image: c\n    depends_on: {b: {condition: service_started}}\n",
    );
    assert!(e.ends_with("dependency cycle detected: b -> c -> b"), "{e}");
}
