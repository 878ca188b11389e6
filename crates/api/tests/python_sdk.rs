//! The Python SDK drives the door: keys in its own spelling, pooled connections, sockets of its own.
mod fake;

use std::time::Duration;
use tokio::process::Command;

const SCRIPT: &str = r#"
import docker, faulthandler, sys
faulthandler.dump_traceback_later(30, exit=True)
c = docker.DockerClient(base_url="unix://" + sys.argv[1], timeout=20)
api = c.api
assert c.ping() and c.info()["Name"] == "fakehost" and c.version()["ApiVersion"] == "1.51"
k = c.containers.create("busybox", ["cat"], name="p1", stdin_open=True, labels={"a": "b"}, ports={"80/tcp": 8080},
    ulimits=[docker.types.Ulimit(name="nofile", soft=1, hard=2)], mem_limit="64m", network="bridge", environment={"A": "b"})
assert k.attrs["Config"]["Labels"] == {"a": "b"}, k.attrs["Config"]
assert k.attrs["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "8080"
assert k.attrs["HostConfig"]["Memory"] == 67108864
s = k.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
k.start()
s._sock.sendall(b"through python")
s._sock.shutdown(1)
got = b""
while True:
    b = s._sock.recv(100)
    if not b: break
    got += b
assert got[8:] == b"through python", got
assert k.wait()["StatusCode"] == 0
assert k.logs() == b"through python"
r = c.containers.run("busybox", ["echo", "hi"], remove=True)
assert r == b"hi\n", r
run = c.containers.run("busybox", ["sleep"], detach=True, name="p2")
e = run.exec_run(["echo", "x"], demux=True)
assert e.exit_code == 0 and e.output[0] == b"x\n", e
assert [x.name for x in c.containers.list(filters={"name": "p2"})] == ["p2"]
try:
    c.containers.get("gone")
    assert False
except docker.errors.NotFound as x:
    assert x.explanation == "No such container: gone", x.explanation
assert run.stats(stream=False)["id"] == run.id
assert run.put_archive("/tmp", b"x" * 1000)
bits, stat = run.get_archive("/tmp")
assert stat["name"] == "tmp" and b"".join(bits) == b"tar"
assert c.volumes.create("v", labels={"l": "1"}).name == "v"
assert c.images.list(name="alpine")[0].id.startswith("sha256:") and len(c.api.images(all=True)) == 3
ev = c.events(since=1, until=2, decode=True)
assert list(ev) == []
assert c.swarm.init(advertise_addr="127.0.0.1", task_history_retention_limit=4)
assert c.swarm.attrs["JoinTokens"]["Manager"] == "SWMTKN-1-m"
assert c.swarm.attrs["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 4
n = c.networks.create("on", driver="overlay", attachable=True, ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.9.0.0/24")]))
sec = c.secrets.create(name="s", data=b"x", labels={"a": "b"})
cfg = c.configs.create(name="c", data=b"conf")
cfg.reload()
assert cfg.attrs["Spec"]["Data"] == "Y29uZg==", cfg.attrs
svc = c.services.create("busybox", ["sleep"], name="web", networks=["on"], env=["A=b"],
    mode=docker.types.ServiceMode("replicated", 2),
    endpoint_spec=docker.types.EndpointSpec(ports={8080: 80}),
    update_config=docker.types.UpdateConfig(parallelism=2, delay=5, failure_action="rollback", order="start-first"),
    restart_policy=docker.types.RestartPolicy(condition="on-failure", max_attempts=3),
    resources=docker.types.Resources(cpu_limit=1000000, mem_limit=40000000),
    healthcheck=docker.types.Healthcheck(test="true", interval=10),
    secrets=[docker.types.SecretReference(sec.id, "s")], mounts=["v:/v:rw"], constraints=["node.role==manager"],
    preferences=[("spread", "node.labels.z")])
a = svc.attrs["Spec"]
assert a["Mode"] == {"Replicated": {"Replicas": 2}}, a
assert a["TaskTemplate"]["ContainerSpec"]["Healthcheck"]["Test"] == ["CMD-SHELL", "true"], a
assert a["UpdateConfig"]["Order"] == "start-first" and a["TaskTemplate"]["RestartPolicy"]["MaxAttempts"] == 3
assert a["EndpointSpec"]["Ports"][0]["PublishedPort"] == 8080
assert len(svc.tasks(filters={"desired-state": "running"})) == 2
assert svc.scale(3)
svc.reload()
svc.update(labels={"x": "y"}, force_update=1)
assert b"hello" in b"".join(svc.logs(stdout=True))
assert c.nodes.list(filters={"role": "manager"})[0].attrs["Spec"]["Role"] == "manager"
svc.remove()
assert c.swarm.leave(force=True)
try:
    c.swarm.leave()
    assert False
except docker.errors.APIError as x:
    assert x.status_code == 503
print("done")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_is_served() {
    let r = fake::run();
    // `cargo xtask test` puts one there when the machine's own Python has no SDK.
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python-sdk/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    let run = Command::new(python).arg("-c").arg(SCRIPT).arg(&r.socket).kill_on_drop(true).output();
    let out = tokio::time::timeout(Duration::from_secs(60), run).await.expect("the script hangs").unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "done", "{}", String::from_utf8_lossy(&out.stderr));
}
