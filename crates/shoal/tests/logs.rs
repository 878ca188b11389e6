//! What containers say, kept as the log options ask: rotated, compressed, with attributes, by service.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::time::Duration;

const HOST: &str = "vm-logs";
const SOON: Duration = Duration::from_secs(30);
/// 500 lines, the last of them 500.
const COUNT: &str = "seq 1 500";

fn numbers(from: u32) -> String {
    (from..=500).map(|n| n.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn options_of_the_log_drivers_do_what_they_say() {
    let lab = TestLab::new(&[HOST]);
    let run = |name: &str, options: &str| {
        lab.on(HOST, &format!("docker run --name {name} {options} {IMAGE} sh -c '{COUNT}' >/dev/null"))
    };
    let files = |name: &str| {
        let id = lab.on(HOST, &format!("docker inspect -f '{{{{.Id}}}}' {name}"));
        lab.on(HOST, &format!("cd /var/lib/shoal/containers/{id} && find . -name '*log*' -type f | sort"))
    };

    // Rotated and compressed, and read as if they were not.
    run("packed", "--log-opt max-size=8k --log-opt max-file=20 --log-opt compress=true");
    lab.until("older files are compressed", SOON, || {
        let files = files("packed");
        let packed = files.lines().filter(|f| f.ends_with(".gz")).count();
        if packed >= 2 && files.lines().count() == packed + 1 { Ok(()) } else { Err(files) }
    });
    assert_eq!(lab.on(HOST, "docker logs packed"), numbers(1));
    assert_eq!(lab.on(HOST, "docker logs --tail 300 packed"), numbers(201));
    run("short", "--log-opt max-size=8k --log-opt max-file=2");
    let kept = lab.on(HOST, "docker logs short");
    assert!(kept.ends_with("499\n500") && kept.lines().count() < 250, "{kept}");

    // What travels with the lines.
    let attributes = "--label tier=front --label com.x=1 -e OS=ours -e APP_A=b --log-opt labels=tier --log-opt env-regex=^APP \
                      --log-opt 'tag={{.Name}}/{{.ImageName}}'";
    run("told", attributes);
    let line = lab.on(HOST, "docker logs --details --tail 1 told");
    assert_eq!(line, "APP_A=b,tag=told%2Fshoal%2Fgreeter,tier=front 500");
    assert_eq!(lab.on(HOST, "docker logs --tail 1 told"), "500");

    // A container that does not wait for its log writes it no less.
    run("free", "--log-opt mode=non-blocking --log-opt max-buffer-size=4m");
    assert_eq!(lab.on(HOST, "docker logs free"), numbers(1));

    // The local driver has no path that others may read.
    run("local", "--log-driver local");
    assert_eq!(lab.on(HOST, "docker logs local"), numbers(1));
    assert_eq!(lab.on(HOST, "docker inspect -f '{{.LogPath}}' local"), "");

    run("none", "--log-driver none");
    lab.refused(HOST, "docker logs none", "configured logging driver does not support reading");
    for (options, because) in [
        ("--log-driver syslog", "logger: no log driver named 'syslog' is registered"),
        ("--log-opt max-buffer-size=1m", "max-buffer-size option is only supported with 'mode=non-blocking'"),
        ("--log-opt nope=1", "unknown log opt 'nope' for json-file log driver"),
        ("--log-opt compress=true", "compress cannot be true when max-file is less than 2 or max-size is not set"),
    ] {
        lab.refused(HOST, &format!("docker run --rm {options} {IMAGE} true"), because);
    }
    lab.end();
}

#[test]
fn a_service_has_its_own_log_options() {
    let lab = TestLab::swarm(&[HOST]);
    let options = "--log-driver json-file --log-opt max-size=1m --log-opt 'tag={{.Name}}' --log-opt env=COLOUR";
    lab.on(
        HOST,
        &format!(
            "docker service create -d --name talker -e COLOUR=red {options} {IMAGE} sh -c 'echo hello; sleep 1000'"
        ),
    );
    lab.replicas("talker", "1/1", SOON);
    let container = lab.container(HOST, "talker").expect("it runs");
    let shown = lab.on(HOST, &format!("docker inspect -f '{{{{json .HostConfig.LogConfig}}}}' {container}"));
    for part in ["\"json-file\"", "\"max-size\":\"1m\"", "\"env\":\"COLOUR\""] {
        assert!(shown.contains(part), "{shown}");
    }
    let line = lab.on(HOST, &format!("docker logs --details {container}"));
    assert!(line.starts_with("COLOUR=red,tag=talker.1.") && line.ends_with(" hello"), "{line}");
    // An update changes them.
    lab.on(HOST, "docker service update -d --log-driver local --log-opt max-file=3 talker");
    lab.until("the new task logs by the other driver", SOON, || {
        let Some(container) = lab.container(HOST, "talker") else { return Err("none".to_owned()) };
        let shown = lab.say(HOST, &format!("docker inspect -f '{{{{json .HostConfig.LogConfig}}}}' {container}"));
        if shown.out == r#"{"Type":"local","Config":{"max-file":"3"}}"# { Ok(()) } else { Err(format!("{shown:?}")) }
    });
    lab.on(HOST, "docker service rm talker");
    lab.end();
}
