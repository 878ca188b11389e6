//! Containers as the genuine CLI makes them: what they share, what is refused, and what goes on without its client.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::time::Duration;

const HOST: &str = "vm-cont";
const HOST_ALONE: &str = "vm-cont-alone";
const SOON: Duration = Duration::from_secs(20);

#[test]
fn containers_share_memory_and_outlive_their_clients() {
    let lab = TestLab::swarm(&[HOST]);
    let on = |line: &str| lab.on(HOST, line);
    let shared = || on("mount | grep -c /run/shoal/shm/ || true");

    // The memory of a shareable container is that of those who join it; a private one has none to share.
    on(&format!("docker run -d --name donor --ipc shareable --shm-size 8m {IMAGE} sleep 1000"));
    on("docker exec donor sh -c 'echo told > /dev/shm/note'");
    assert_eq!(on(&format!("docker run --rm --ipc container:donor {IMAGE} cat /dev/shm/note")), "told");
    on(&format!("docker run -d --name guest --ipc container:donor {IMAGE} sleep 1000"));
    assert_eq!(on(&format!("docker run --rm --ipc container:guest {IMAGE} cat /dev/shm/note")), "told");
    assert_eq!(on("docker exec donor df -k /dev/shm | awk 'END {print $2}'"), "8192");
    assert_eq!(shared(), "1");
    on(&format!("docker run -d --name private {IMAGE} sleep 1000"));
    lab.refused(HOST, &format!("docker run --rm --ipc container:private {IMAGE} true"), "non-shareable IPC");
    assert_eq!(on(&format!("docker run --rm --ipc none {IMAGE} sh -c 'mount | grep -c /dev/shm || true'")), "0");
    on("docker rm -f donor");
    assert_eq!(on("docker exec guest cat /dev/shm/note"), "told", "who has it keeps it");
    assert_eq!(shared(), "0");

    // A client that goes away in the middle of a stop leaves no container that was only asked to go.
    let begin = on("date +%s");
    // `sleep` as process 1 heeds no signal.
    let mut client = lab.begin(HOST, "exec docker stop -t 5 private");
    lab.until("the stop has begun", SOON, || {
        let until = "$(( $(date +%s) + 1 ))";
        let told = on(&format!(
            "docker events --since {begin} --until {until} --filter event=kill --filter container=private --format '{{{{.Action}}}}'"
        ));
        if told.lines().any(|l| l == "kill") { Ok(()) } else { Err(told) }
    });
    client.kill().unwrap();
    client.wait().unwrap();
    lab.until("the stop is done to its end", SOON, || {
        let state = on("docker inspect private --format '{{.State.Status}} {{.State.ExitCode}}'");
        if state == "exited 137" { Ok(()) } else { Err(state) }
    });

    // A limit can be taken away again.
    on(&format!("docker run -d --name few --pids-limit 20 {IMAGE} sleep 1000"));
    on("docker update --pids-limit -1 few");
    assert_eq!(on("docker inspect few --format '{{.HostConfig.PidsLimit}}'"), "0");
    let limit = "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max";
    assert_eq!(on(&format!("docker exec few sh -c '{limit}'")), "max");

    // What Docker shows of it.
    let hidden =
        on("docker inspect few --format '{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}'");
    assert!(hidden.contains("/proc/kcore") && hidden.contains("/proc/sysrq-trigger"), "{hidden}");
    let create = |options: &str| on(&format!("docker create --name seen {options} {IMAGE} true"));
    create("--tmpfs /scratch -v /scratch");
    assert_eq!(on("docker inspect seen --format '{{len .Mounts}}'"), "0", "a tmpfs is shown in HostConfig");
    on("docker rm seen && docker network create near && docker network create far");
    create("--network near");
    on("docker network connect --alias other near seen");
    let aliases = on("docker inspect seen --format '{{json .NetworkSettings.Networks.near.Aliases}}'");
    assert!(aliases.contains("other"), "the wish of one that does not run is changed: {aliases}");
    on("docker rm seen && docker network rm near far");
    // The CLI asks by the id; a container is on a network once.
    on("docker network create -d overlay --attachable wide");
    create("--network wide");
    on("docker network connect --alias other wide seen && docker start seen");
    assert_eq!(on("docker inspect seen --format '{{len .NetworkSettings.Networks}}'"), "1");
    on("docker rm -f seen");
    create("--network wide");
    on("docker network disconnect wide seen");
    assert_eq!(on("docker inspect seen --format '{{len .NetworkSettings.Networks}}'"), "0");
    on("docker rm seen && docker network rm wide");

    // A network is one, by whichever of its names.
    let by_id = on("docker network create near");
    on(&format!("docker run -d --name both --network {by_id} -p 8123:80 {IMAGE} sleep 1000"));
    assert_eq!(on("docker inspect both --format '{{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}}'"), "near");
    assert_eq!(on("docker ps -q --filter network=near | wc -l"), "1");
    assert!(on("docker port both").contains(":8123"));
    on("docker rm -f both && docker network rm near");

    // What is told to process 1 before it can listen is not lost, where the engine's own init is process 1; and who is
    // gone is not shown as running.
    for round in 0..5 {
        on(&format!("docker create --name told --init {IMAGE} sleep 1000"));
        let post = |path: &str| {
            format!("curl -sf -X POST --unix-socket /var/run/docker.sock http://d/v1.51/containers/told/{path}")
        };
        on(&format!("{} && {}", post("start"), post("kill?signal=TERM")));
        assert_eq!(on("docker wait told"), "143", "round {round}");
        assert_eq!(on("docker inspect told --format '{{.State.Status}}'"), "exited");
        on("docker rm told");
    }

    // A link's name is a name of the container.
    on(&format!("docker run -d --name db {IMAGE} sleep 1000"));
    create("--link db:store");
    let name = on("curl -sf --unix-socket /var/run/docker.sock http://d/v1.51/containers/seen/store/json");
    assert!(name.contains("\"Name\":\"/db\""), "{name}");
    on("docker rm -f seen db");

    // A frozen process dies of a kill at once.
    on(&format!("docker run -d --name frozen {IMAGE} sleep 1000"));
    on("docker pause frozen && docker kill frozen && docker wait frozen");
    assert_eq!(on("docker inspect frozen --format '{{.State.Status}} {{.State.Paused}}'"), "exited false");
    on("docker start frozen && docker pause frozen && docker rm -f frozen");

    // Its own group is one of a user's groups; who is not known is not let in.
    let of = |user: &str| {
        on(&format!("docker run --rm --group-add 100 --user {user} {IMAGE} sh -c 'grep Groups /proc/self/status'"))
    };
    assert_eq!(of("1000:1001").split_whitespace().collect::<Vec<_>>(), ["Groups:", "100", "1001"]);
    on(&format!("docker run -d --name known {IMAGE} sleep 1000"));
    let said = lab.say(HOST, "docker exec -u nosuch known true; echo $?");
    assert!(said.out.ends_with("passwd file\r\n126") && said.out.starts_with("unable to find user"), "{said:?}");
    on("docker rm -f known");

    // Who says until when hears of all that is remembered.
    assert!(on("docker events --until $(date +%s) --format '{{.Action}}'").lines().any(|l| l == "create"));

    // What happens to volumes is told.
    let begin = on("date +%s");
    on(&format!("docker run --rm -v told:/told -v /unnamed {IMAGE} true"));
    let told = on(&format!(
        "docker events --since {begin} --until $(( $(date +%s) + 1 )) --filter type=volume --format '{{{{.Action}}}}'"
    ));
    let times = |action: &str| told.lines().filter(|l| *l == action).count();
    assert_eq!([times("create"), times("mount"), times("unmount"), times("destroy")], [2, 2, 2, 1], "{told}");
    on("docker volume rm told");

    // A stop that comes before the process listens is heard as soon as it does.
    let late = "sleep 1; trap \"exit 7\" TERM; while :; do sleep 0.1; done";
    on(&format!("docker run -d --name late {IMAGE} sh -c '{late}'"));
    on("docker stop -t 60 late");
    assert_eq!(on("docker inspect late --format '{{.State.ExitCode}}'"), "7");
    on("docker rm late");

    // A creation that fails takes nothing along that was there before, and leaves nothing that it made.
    let volumes = || on("docker volume ls -q | sort | tr '\\n' ' '");
    on("docker volume create data");
    on(&format!(
        "docker run --rm -v data:/data {IMAGE} sh -c 'echo kept > /data/file; ln -s / /data/out; mkdir /data/in'"
    ));
    let before = volumes();
    let missing = "--mount type=bind,src=/missing,dst=/x";
    lab.refused(HOST, &format!("docker run --rm -v data:/data -v /anon {missing} {IMAGE} true"), "does not exist");
    let read = |mount: &str| on(&format!("docker run --rm --mount {mount} {IMAGE} ls /v"));
    assert_eq!(on(&format!("docker run --rm -v data:/data {IMAGE} cat /data/file")), "kept");
    assert_eq!(volumes(), before);

    // Part of a volume is part of the volume, whatever its links say.
    let part = |path: &str| format!("type=volume,src=data,dst=/v,volume-subpath={path}");
    assert_eq!(read(&part("in")), "");
    lab.refused(HOST, &format!("docker run --rm --mount {} {IMAGE} true", part("out/run")), "cannot access path");
    lab.refused(HOST, &format!("docker run --rm --mount {} {IMAGE} true", part("../x")), "relative path within");
    on(&format!("docker create --name part --mount {} {IMAGE} ls /v", part("in")));
    on(&format!(
        "docker run --rm -v data:/data {IMAGE} sh -c 'rmdir /data/in && mkdir /data/run && ln -s /run /data/in'"
    ));
    on(&format!("docker run --rm -v data:/data {IMAGE} sh -c 'echo own > /data/run/own'"));
    assert_eq!(on("docker start -a part"), "own", "the link is followed in the volume, not on the machine");
    on("docker rm part && docker volume rm data");

    // What is copied out of a running container holds what is mounted there.
    on(&format!("docker run -d --name mounts -v /etc/inner {IMAGE} sh -c 'echo deep > /etc/inner/file; sleep 1000'"));
    lab.until("the copy has the file", SOON, || {
        let found = on("docker cp mounts:/etc - | tar t | grep inner/file || true");
        if found == "etc/inner/file" { Ok(()) } else { Err(found) }
    });
    assert_eq!(on("docker cp mounts:/ - | tar tP | head -1"), "/");
    let places = on("docker inspect mounts --format '{{range .GraphDriver.Data}}{{println .}}{{end}}'");
    assert_eq!(places.lines().filter(|p| p.starts_with("/var/lib/shoal/images/")).count(), 4, "{places}");
    on("docker rm -fv mounts");

    lab.refused(HOST, &format!("docker create -e =x {IMAGE} true"), "invalid environment variable: =x");
    lab.refused(HOST, &format!("docker create --volumes-from nobody {IMAGE} true"), "No such container: nobody");
    lab.refused(HOST, &format!("docker tag {IMAGE} sha256:sometag"), "ambiguous tag using digest algorithm as name");

    // Its own directory, seen from inside, follows the machine.
    lab.refused(
        HOST,
        &format!("docker create -v /var/lib/shoal:/x:private {IMAGE} true"),
        "must use either propagation mode \"rslave\" or \"rshared\"",
    );

    // What means nothing here is kept, and said so; what is no port is refused at once.
    let create = |body: &str| {
        let line = "curl -s --unix-socket /var/run/docker.sock -H 'Content-Type: application/json'";
        on(&format!("{line} -d '{body}' http://d/v1.51/containers/create?name=odd"))
    };
    let said = create(&format!("{{\"Image\":\"{IMAGE}\",\"HostConfig\":{{\"CpuCount\":2}}}}"));
    assert!(said.contains("CpuCount means nothing on Linux"), "{said}");
    on("docker rm odd");
    let ports = "{\"80/tcp\":[{\"HostPort\":\"abc\"}]}";
    let said = create(&format!("{{\"Image\":\"{IMAGE}\",\"HostConfig\":{{\"PortBindings\":{ports}}}}}"));
    assert!(said.contains("invalid port specification"), "{said}");

    // A service needs no name from its user.
    let id = on(&format!(
        "curl -sf --unix-socket /var/run/docker.sock -H 'Content-Type: application/json' \
                          -d '{{\"TaskTemplate\":{{\"ContainerSpec\":{{\"Image\":\"{IMAGE}\",\"Command\":[\"sleep\",\"1000\"]}}}}}}' \
                          http://d/v1.51/services/create"
    ));
    assert!(id.contains("\"ID\""), "{id}");
    let name = on("docker service ls --format '{{.Name}}'");
    assert!(name.contains('_'), "{name}");
    on(&format!("docker service rm {name}"));
    on("docker rm -f guest private few");
    lab.end();
}

#[test]
fn without_live_restore_containers_end_with_the_daemon() {
    let lab = TestLab::new(&[HOST_ALONE]);
    let on = |line: &str| lab.on(HOST_ALONE, line);
    let state =
        |name: &str| on(&format!("docker inspect {name} --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}'"));
    assert_eq!(on("docker info --format '{{.LiveRestoreEnabled}}'"), "true");
    on("echo '{\"live-restore\": false}' > /run/daemon.json");
    lab.signal_daemon(HOST_ALONE, nix::libc::SIGHUP);
    lab.until("the setting is read again", SOON, || {
        match on("docker info --format '{{.LiveRestoreEnabled}}'").as_str() {
            "false" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let heeds = "trap \"exit 3\" TERM; while :; do sleep 0.1; done";
    for (name, options) in [("plain", ""), ("always", "--restart always"), ("passing", "--rm")] {
        on(&format!("docker run -d --name {name} {options} {IMAGE} sh -c '{heeds}'"));
    }
    on(&format!("docker run -d --name deaf --stop-timeout 1 {IMAGE} sleep 1000"));
    let before = on("docker inspect always --format '{{.State.Pid}}'");
    lab.stop_daemon(HOST_ALONE);
    assert!(!std::path::Path::new(&format!("/proc/{before}")).exists(), "it ended with the daemon");
    lab.lab().start(HOST_ALONE).unwrap();
    assert_eq!((state("plain"), state("deaf")), ("exited 3".into(), "exited 137".into()));
    lab.refused(HOST_ALONE, "docker inspect passing", "No such object: passing");
    lab.until("its policy starts it again", SOON, || match state("always") {
        s if s.starts_with("running") => Ok(()),
        s => Err(s),
    });
    on("docker rm -f plain always deaf");
    lab.end();
}
