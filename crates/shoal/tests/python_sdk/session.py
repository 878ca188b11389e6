"""A session over every collection of the Python SDK (`docker` on PyPI), against a real daemon.

Its one argument is a name for an image of busybox that is there already; the socket is /var/run/docker.sock.
"""
import faulthandler
import io
import json
import sys
import tarfile
import tempfile
import threading
import time

import docker
from docker import errors, types

faulthandler.dump_traceback_later(200, exit=True)
IMAGE = sys.argv[1]
c = docker.DockerClient(base_url="unix:///var/run/docker.sock", timeout=60)
api = c.api


def until(what, ask, limit=30):
    """Asks again until there is an answer."""
    deadline = time.monotonic() + limit
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {limit} s"
        time.sleep(0.05)


def refused(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except errors.APIError as e:
        assert e.status_code == status, e
        assert e.explanation, e
        return e.explanation
    raise AssertionError(f"{call} should have been refused")


def archive(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


def the_engine():
    assert c.ping()
    version, info = c.version(), c.info()
    assert version["MinAPIVersion"] == "1.24" and info["Driver"] == "overlay2", (version, info)
    assert {"LayersSize", "Images", "Containers", "Volumes"} <= set(c.df())
    for old in ("1.24", "1.30", "1.41"):
        assert docker.DockerClient(base_url="unix:///var/run/docker.sock", version=old).containers.list() is not None


def images():
    assert IMAGE + ":latest" in [t for i in c.images.list() for t in i.tags]
    image = c.images.get(IMAGE)
    assert image.tag("session/copy", tag="1") and c.images.get("session/copy:1").id == image.id
    assert image.history()[0]["Id"] and image.attrs["Config"]["Cmd"]
    saved = b"".join(c.images.get("session/copy:1").save(named="session/copy:1"))
    c.images.remove("session/copy:1")
    refused(404, c.images.get, "session/copy:1")
    assert [i.id for i in c.images.load(saved)] == [image.id]
    assert c.images.get("session/copy:1").id == image.id
    c.images.remove("session/copy:1")
    assert c.images.list(filters={"reference": "nosuch*"}) == []
    refused(400, c.images.list, filters={"nosuch": "x"})
    assert c.images.prune(filters={"dangling": True})["SpaceReclaimed"] >= 0
    made = api.import_image_from_data(archive(hello=b"hello"), repository="session/tar", tag="1")
    assert "sha256:" in made, made
    c.images.remove("session/tar:1")


def containers():
    assert c.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"
    try:
        c.containers.run(IMAGE, ["sh", "-c", "echo oops >&2; exit 3"], remove=True)
        raise AssertionError("a failing command raises")
    except errors.ContainerError as e:
        assert e.exit_status == 3 and e.stderr == b"oops\n", e
    k = c.containers.run(IMAGE, ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"],
                         name="first", detach=True, labels={"session": "1"}, mem_limit="64m", environment={"A": "b"},
                         healthcheck={"test": ["CMD", "true"], "interval": 100_000_000, "retries": 1})
    until("its first line", lambda: k.logs() == b"up\n")
    assert [x.name for x in c.containers.list(filters={"label": "session=1", "status": "running"})] == ["first"]
    code, out = k.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (code, out) == (4, (b"out\n", b"err\n")), (code, out)
    assert k.exec_run("cat", stdin=False).exit_code == 0
    assert b"A=b" in b"".join(k.exec_run("env", stream=True).output)
    assert k.exec_run(["tty"], tty=True).output.startswith(b"/dev/pts/")
    s = k.exec_run("cat", stdin=True, socket=True).output
    s._sock.sendall(b"through a socket")
    s._sock.shutdown(1)
    assert s.read(100)[8:] == b"through a socket"
    until("it is healthy", lambda: c.containers.get("first").attrs["State"]["Health"]["Status"] == "healthy")
    assert k.top()["Titles"] and k.stats(stream=False)["memory_stats"]["usage"] > 0
    assert next(k.stats(stream=True, decode=True))["name"] == "/first"
    assert k.put_archive("/tmp", archive(note=b"put"))
    bits, stat = k.get_archive("/tmp/note")
    with tarfile.open(fileobj=io.BytesIO(b"".join(bits))) as tar:
        assert stat["size"] == 3 and tar.extractfile("note").read() == b"put"
    assert {"Path": "/tmp/note", "Kind": 1} in k.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(k.export()))) as tar:
        assert "tmp/note" in [n.lstrip("./") for n in tar.getnames()]
    k.pause()
    k.reload()
    assert k.status == "paused"
    k.unpause()
    k.rename("renamed")
    k.update(mem_limit="48m", memswap_limit="96m", restart_policy={"Name": "no"})
    k.reload()
    assert k.name == "renamed" and k.attrs["HostConfig"]["Memory"] == 48 << 20
    image = k.commit("session/committed", tag="1", changes="ENV B=c", conf={"Cmd": ["cat", "/tmp/note"]})
    assert c.containers.run(image, remove=True) == b"put"
    c.images.remove("session/committed:1")
    k.restart(timeout=5)
    ended = {}
    waiter = threading.Thread(target=lambda: ended.update(k.wait(condition="next-exit")))
    waiter.start()
    until("it is up again", lambda: k.logs().count(b"up\n") == 2)
    k.stop(timeout=5)
    waiter.join(20)
    assert ended["StatusCode"] == 7, ended
    k.start()
    k.kill("KILL")
    assert k.wait()["StatusCode"] == 137
    refused(409, k.kill)
    k.remove()
    refused(404, c.containers.get, "renamed")
    # A terminal, attached before the start.
    t = c.containers.create(IMAGE, ["sh", "-c", "read line; echo got $line"], tty=True, stdin_open=True)
    s = t.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    t.start()
    t.resize(40, 100)
    s._sock.sendall(b"word\n")
    seen = b""
    while b"got word" not in seen:
        more = s._sock.recv(1000)
        assert more, seen
        seen += more
    assert t.wait()["StatusCode"] == 0
    assert c.containers.prune(filters={"until": "24h"})["ContainersDeleted"] in (None, [])
    assert c.containers.prune()["ContainersDeleted"] == [t.id]
    refused(404, c.containers.create, "nosuch/image")
    refused(400, c.containers.list, filters={"nosuch": "x"})
    # Links, as before there were networks.
    db = c.containers.run(IMAGE, ["sleep", "1000"], name="db", detach=True, environment={"KEY": "v"})
    env = c.containers.run(IMAGE, ["sh", "-c", "env; cat /etc/hosts"], links={"db": "store"}, remove=True).decode()
    assert "STORE_ENV_KEY=v" in env and "\tstore" in env, env
    db.remove(force=True)


def networks():
    n = c.networks.create("session", labels={"a": "b"}, ipam=types.IPAMConfig(
        pool_configs=[types.IPAMPool(subnet="10.77.0.0/24", gateway="10.77.0.1")]))
    assert [x.name for x in c.networks.list(names=["session"])] == ["session"]
    one = c.containers.run(IMAGE, ["sleep", "1000"], name="one", network="session", detach=True)
    two = c.containers.run(IMAGE, ["sleep", "1000"], name="two", detach=True)
    n.connect(two, aliases=["second"], ipv4_address="10.77.0.9", links=[("one", "uno")])
    for asker, name in ((one, "second"), (two, "uno")):
        code, out = asker.exec_run(["ping", "-c", "1", "-W", "3", name])
        assert code == 0, out
    n.reload()
    assert {x.name for x in n.containers} == {"one", "two"}
    n.disconnect(two)
    refused(403, n.remove)
    one.remove(force=True)
    two.remove(force=True)
    assert "session" in c.networks.prune()["NetworksDeleted"]
    refused(403, c.networks.create, "host")
    refused(400, c.networks.list, filters={"nosuch": "x"})


def volumes():
    v = c.volumes.create("session", labels={"a": "b"})
    assert [x.name for x in c.volumes.list(filters={"label": "a=b"})] == ["session"]
    assert c.containers.run(IMAGE, ["sh", "-c", "echo kept >/v/f"], volumes=["session:/v"], remove=True) == b""
    k = c.containers.create(IMAGE, ["cat", "/v/f"], volumes={"session": {"bind": "/v", "mode": "ro"}})
    refused(409, v.remove)
    k.start()
    assert k.wait()["StatusCode"] == 0 and k.logs() == b"kept\n"
    k.remove()
    v.remove()
    refused(404, c.volumes.get, "session")
    assert c.volumes.prune()["SpaceReclaimed"] >= 0


def plugins():
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/config.json", "w") as f:
            json.dump({"description": "d", "entrypoint": ["/x"], "interface": {"types": [], "socket": ""}}, f)
        import os
        os.mkdir(f"{d}/rootfs")
        assert api.create_plugin("session/plugin", d)
    p = c.plugins.get("session/plugin")
    assert p.name == "session/plugin:latest" and not p.enabled and [x.id for x in c.plugins.list()] == [p.id]
    assert "not run by this engine" in refused(501, p.enable)
    p.remove()
    refused(404, c.plugins.get, "session/plugin")


def swarm():
    refused(503, c.swarm.leave)
    refused(503, c.services.list)
    c.swarm.init(advertise_addr=sys.argv[2], task_history_retention_limit=3)
    c.swarm.reload()
    assert c.swarm.attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
    c.swarm.update(task_history_retention_limit=4)
    c.swarm.reload()
    assert c.swarm.attrs["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 4
    # At once after the beginning, by what was read first: what the node says of itself outdates nothing.
    node = c.nodes.list()[0]
    assert node.update(dict(node.attrs["Spec"], Labels={"l": "1"}))
    assert c.nodes.get(node.id).attrs["Spec"]["Labels"] == {"l": "1"}
    net = c.networks.create("over", driver="overlay", attachable=True)
    secret = c.secrets.create(name="secret", data=b"word", labels={"a": "b"})
    config = c.configs.create(name="config", data=b"conf")
    assert c.secrets.list(filters={"name": "secret"})[0].id == secret.id
    assert c.configs.list()[0].id == config.id
    service = c.services.create(
        IMAGE, ["sh", "-c", "cat /run/secrets/secret /conf; echo; sleep 1000"], name="web", networks=["over"],
        labels={"a": "b"}, env=["A=b"], mode=types.ServiceMode("replicated", 2), constraints=["node.labels.l==1"],
        endpoint_spec=types.EndpointSpec(ports={8085: 8080}), mounts=["data:/data:rw"], stop_grace_period=1_000_000_000,
        secrets=[types.SecretReference(secret.id, "secret")],
        configs=[types.ConfigReference(config.id, "config", filename="/conf")],
        restart_policy=types.RestartPolicy(condition="on-failure", delay=0, max_attempts=2))

    def running(n):
        return lambda: len([t for t in service.tasks({"desired-state": "running"})
                            if t["Status"]["State"] == "running"]) == n

    until("two tasks run", running(2))
    until("what they say", lambda: b"".join(service.logs(stdout=True)).count(b"wordconf") == 2)
    assert service.attrs["Spec"]["TaskTemplate"]["RestartPolicy"]["Window"] == 0
    assert service.scale(1)
    until("one task runs", running(1))
    service.reload()
    assert service.update(labels={"x": "y"}, env=["A=c"])
    service.reload()
    assert service.attrs["Spec"]["Labels"] == {"x": "y"}
    asker = c.containers.run(IMAGE, ["sleep", "1000"], network="over", detach=True)
    # The one task is just being replaced.
    until("it is found by name", lambda: asker.exec_run(["ping", "-c", "1", "-W", "1", "web"]).exit_code == 0)
    asker.remove(force=True)
    refused(400, secret.remove)
    service.remove()
    refused(404, c.services.get, "web")
    until("its containers are gone", lambda: api.containers(all=True) == [])
    secret.remove()
    config.remove()
    until("the network is free", lambda: net.remove() is None)
    assert c.swarm.leave(force=True)
    refused(503, c.nodes.list)
    c.volumes.get("data").remove()


def events(began):
    told = list(c.events(since=int(began), until=int(time.time()) + 1, decode=True))
    seen = {(e["Type"], e["Action"].split(":")[0]) for e in told}
    for wanted in [("container", "create"), ("container", "start"), ("container", "die"), ("container", "destroy"),
                   ("container", "health_status"), ("container", "exec_create"), ("container", "rename"),
                   ("image", "tag"), ("image", "untag"), ("network", "create"), ("network", "connect"),
                   ("network", "destroy"), ("volume", "create"), ("volume", "destroy"), ("plugin", "remove")]:
        assert wanted in seen, (wanted, sorted(seen))


began = time.time()
for part in (the_engine, images, containers, networks, volumes, plugins, swarm):
    part()
    print(part.__name__, flush=True)
events(began)
assert c.containers.list(all=True) == [] and c.volumes.list() == []
assert sorted(n.name for n in c.networks.list() if n.name != "docker_gwbridge") == ["bridge", "host", "none"]
print("done")
