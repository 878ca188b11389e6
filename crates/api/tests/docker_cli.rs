//! The genuine docker CLI drives the door, whichever release the machine has.
mod fake;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Out {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn docker(socket: &Path, args: &[&str], stdin: &str) -> Out {
    let config = tempfile::tempdir().unwrap();
    let mut child = Command::new("docker")
        .arg("-H")
        .arg(format!("unix://{}", socket.display()))
        .args(args)
        .env("DOCKER_CONFIG", config.path())
        .env("DOCKER_CLI_HINTS", "false")
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_API_VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the docker CLI is installed where these tests run");
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(stdin.as_bytes()).await.unwrap();
    drop(pipe);
    let out = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("docker {args:?} hangs"))
        .unwrap();
    Out {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

async fn ok(socket: &Path, args: &[&str], want: &str) -> String {
    let o = docker(socket, args, "").await;
    assert_eq!(o.code, 0, "docker {args:?}: {}{}", o.stdout, o.stderr);
    assert!(o.stdout.contains(want), "docker {args:?}: want {want:?} got {}{}", o.stdout, o.stderr);
    o.stdout
}

async fn fails(socket: &Path, args: &[&str], want: &str) {
    let o = docker(socket, args, "").await;
    assert!(o.code != 0 && o.stderr.contains(want), "docker {args:?}: {} {}{}", o.code, o.stdout, o.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers() {
    let r = fake::run();
    let s = &r.socket;
    ok(s, &["version"], "1.51 (minimum version 1.24)").await;
    ok(s, &["info"], "fakehost").await;
    ok(s, &["images"], "busybox").await;
    ok(s, &["run", "--rm", "busybox", "echo", "tour-out"], "tour-out\n").await;
    let o = docker(s, &["run", "--rm", "busybox", "exit", "7"], "").await;
    assert_eq!((o.code, o.stderr.as_str()), (7, "bad\n"));
    let big = "0123456789".repeat(20_000);
    let o = docker(s, &["run", "--rm", "-i", "busybox", "cat"], &big).await;
    assert_eq!((o.code, o.stdout.len(), o.stdout == big), (0, 200_000, true), "{}", o.stderr);
    ok(s, &["run", "-d", "--name", "c1", "--label", "k=v", "-p", "8080:80", "busybox", "sleep"], "").await;
    ok(s, &["ps"], "c1").await;
    ok(s, &["ps", "-f", "label=k=v", "--format", "{{.Names}} {{.Ports}}"], "c1 0.0.0.0:8080->80/tcp").await;
    ok(s, &["inspect", "-f", "{{.State.Status}} {{index .Config.Labels \"k\"}}", "c1"], "running v").await;
    let o = docker(s, &["exec", "-i", "c1", "cat"], "through-exec").await;
    assert_eq!((o.code, o.stdout.as_str()), (0, "through-exec"), "{}", o.stderr);
    assert_eq!(docker(s, &["exec", "c1", "exit", "3"], "").await.code, 3);
    let o = docker(s, &["exec", "c1", "nonsense"], "").await;
    assert_eq!(o.code, 127, "{}{}", o.stdout, o.stderr);
    ok(s, &["run", "-d", "--name", "c2", "busybox", "echo", "logged"], "").await;
    ok(s, &["wait", "c2"], "0").await;
    ok(s, &["logs", "-t", "c2"], "1970-01-01T00:00:00.000000001Z logged").await;
    ok(s, &["top", "c1"], "httpd").await;
    ok(s, &["stats", "--no-stream", "c1"], "CONTAINER").await;
    ok(s, &["diff", "c1"], "A /tmp/f").await;
    ok(s, &["rename", "c1", "c3"], "").await;
    ok(s, &["update", "--memory", "64m", "--memory-swap", "64m", "c3"], "c3").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "x").unwrap();
    ok(s, &["cp", file.to_str().unwrap(), "c3:/tmp/"], "").await;
    assert!(r.fake.0.lock().uploaded.len() > 512, "a tar archive came");
    ok(s, &["commit", "c3", "img:1"], "sha256:").await;
    ok(s, &["rm", "-f", "c3"], "c3").await;
    fails(s, &["start", "gone"], "No such container: gone").await;
    ok(s, &["volume", "create", "v1"], "v1").await;
    ok(s, &["volume", "ls", "-f", "name=v"], "v1").await;
    ok(s, &["network", "ls"], "bridge").await;
    ok(s, &["network", "create", "n1"], "eeee").await;
    ok(s, &["rmi", "x:1"], "Untagged: x:1").await;
    ok(s, &["events", "--since", "10m", "--until", "0s", "-f", "type=container"], "container start").await;
    ok(s, &["system", "df"], "Images").await;
    let o = docker(s, &["pull", "busybox:9"], "").await;
    assert!(o.code != 0 && o.stderr.contains("no network"), "{}{}", o.stdout, o.stderr);
    fails(s, &["node", "ls"], "not a swarm manager").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swarm() {
    let r = fake::run();
    let s = &r.socket;
    ok(s, &["swarm", "init", "--advertise-addr", "127.0.0.1"], "Swarm initialized").await;
    fails(s, &["swarm", "init"], "already part of a swarm").await;
    ok(s, &["info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"], "active true").await;
    ok(s, &["swarm", "join-token", "-q", "worker"], "SWMTKN-1-w").await;
    ok(s, &["swarm", "update", "--task-history-limit", "3", "--dispatcher-heartbeat", "6s"], "Swarm updated").await;
    assert_eq!(r.fake.0.lock().cluster.as_ref().unwrap().spec.task_history_limit, 3);
    ok(s, &["node", "ls"], "Leader").await;
    ok(s, &["node", "inspect", "self", "--pretty"], "fakehost").await;
    ok(s, &["network", "create", "-d", "overlay", "--attachable", "--subnet", "10.77.0.0/24", "tover"], "").await;
    ok(s, &["network", "inspect", "tover", "-f", "{{.Driver}} {{.Scope}} {{.Attachable}}"], "overlay swarm true").await;
    let o = docker(s, &["secret", "create", "-l", "l=1", "tsecret", "-"], "top-secret").await;
    assert_eq!((o.code, o.stdout.trim().len()), (0, 25), "{}", o.stderr);
    let o = docker(s, &["config", "create", "tconfig", "-"], "conf-data").await;
    assert_eq!(o.code, 0, "{}", o.stderr);
    ok(s, &["config", "inspect", "--pretty", "tconfig"], "conf-data").await;
    ok(
        s,
        &[
            "service",
            "create",
            "-d",
            "--name",
            "web",
            "--replicas",
            "2",
            "--network",
            "tover",
            "--secret",
            "tsecret",
            "--config",
            "source=tconfig,target=/etc/c",
            "--health-cmd",
            "true",
            "--limit-cpu",
            "0.5",
            "--limit-memory",
            "64m",
            "--publish",
            "8080:80",
            "--constraint",
            "node.role==manager",
            "--mount",
            "type=volume,source=v,target=/v",
            "--env",
            "A=b",
            "--update-parallelism",
            "2",
            "--restart-condition",
            "on-failure",
            "--stop-grace-period",
            "1s",
            "busybox:latest",
            "sleep",
        ],
        "",
    )
    .await;
    {
        let state = r.fake.0.lock();
        let spec = &state.services[0].spec;
        let c = spec.task.container.as_ref().unwrap();
        assert_eq!(c.healthcheck.as_ref().unwrap().test, ["CMD-SHELL", "true"]);
        assert_eq!((c.secrets[0].name.as_str(), c.configs[0].name.as_str()), ("tsecret", "tconfig"));
        assert_eq!(c.secrets[0].file.as_ref().unwrap().mode, 0o444);
        assert_eq!(spec.update.as_ref().unwrap().parallelism, 2);
        assert_eq!(spec.task.resources.limits.nano_cpus, 500_000_000);
        assert_eq!(spec.endpoint.as_ref().unwrap().ports[0].published_port, 8080);
    }
    ok(s, &["service", "ls"], "replicated   2/2").await;
    ok(s, &["service", "inspect", "--pretty", "web"], "Parallelism:\t2").await;
    ok(s, &["service", "ps", "web"], "Running").await;
    ok(s, &["service", "logs", "web"], "hello").await;
    let logs = ok(s, &["service", "logs", "--no-trunc", "web"], "@fakehost").await;
    assert!(logs.contains("web.1.") && logs.contains("web.2."), "{logs}");
    ok(s, &["service", "update", "-d", "--env-add", "C=d", "web"], "web").await;
    ok(s, &["node", "ps", "self"], "web.1").await;
    fails(s, &["service", "update", "--force", "nosuchservice"], "nosuchservice").await;
    fails(s, &["service", "create", "-d", "--name", "web", "busybox"], "already exists").await;
    ok(s, &["service", "rm", "web"], "web").await;
    let stack = tempfile::tempdir().unwrap();
    let file = stack.path().join("stack.yml");
    std::fs::write(
        &file,
        "version: '3.7'\nservices:\n  viz:\n    image: busybox\n    networks: {data: {aliases: [eyes]}}\n    deploy: {replicas: 1}\nnetworks:\n  data: {driver: overlay}\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    ok(s, &["stack", "deploy", "-c", file, "lab"], "Creating service lab_viz").await;
    ok(s, &["stack", "deploy", "-c", file, "lab"], "Updating service lab_viz").await;
    ok(s, &["stack", "ls"], "lab").await;
    ok(s, &["stack", "ps", "lab"], "lab_viz.1").await;
    ok(s, &["stack", "rm", "lab"], "Removing service lab_viz").await;
    fails(s, &["swarm", "leave"], "--force").await;
    ok(s, &["swarm", "leave", "--force"], "Node left the swarm").await;
}
