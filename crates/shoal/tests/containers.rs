//! Containers as the genuine CLI makes them: what they share, what is refused, and what goes on without its client.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::time::Duration;

const HOST: &str = "vm-cont";
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
    assert!(!lab.say(HOST, "timeout 1 docker stop -t 3 private").ok, "`sleep` as process 1 heeds no signal");
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

    lab.refused(HOST, &format!("docker create -e =x {IMAGE} true"), "invalid environment variable: =x");
    lab.refused(HOST, &format!("docker create --volumes-from nobody {IMAGE} true"), "No such container: nobody");
    lab.refused(HOST, &format!("docker tag {IMAGE} sha256:sometag"), "ambiguous tag using digest algorithm as name");

    // Its own directory, seen from inside, follows the machine.
    lab.refused(
        HOST,
        &format!("docker create -v /var/lib/shoal:/x:private {IMAGE} true"),
        "must use either propagation mode \"rslave\" or \"rshared\"",
    );

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
