//! What goes wrong on one machine: daemons and shims killed, a full disk, damaged files, clients that misbehave. Nothing
//! is lost, nothing stays behind, the daemon stays up, and what is refused is refused in words.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const MACHINE: &str = "vm-fault";
const SOON: Duration = Duration::from_secs(20);
/// Every run of these tests breaks things at the same moments.
const SEED: u64 = 0x5EED;

/// Moments, from a seed (SplitMix64).
struct Moments(u64);

impl Moments {
    fn next(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Duration::from_millis(from_ms + (z ^ (z >> 31)) % (to_ms - from_ms))
    }
}

/// Ids of containers that the machine has been seen to have.
type Seen = BTreeSet<String>;

/// What is on the machine that belongs to containers, besides what those that are known have.
fn left_behind(lab: &TestLab, seen: &mut Seen) -> Vec<String> {
    let known: Seen = lab.on(MACHINE, "docker container ls -aq --no-trunc").lines().map(str::to_owned).collect();
    seen.extend(known.iter().cloned());
    let gone: Vec<&String> = seen.difference(&known).collect();
    let script = r"
        for d in /var/lib/shoal/containers /var/lib/shoal/images/mounts /run/shoal/runtime /run/shoal/netns; do
            for f in $(ls $d 2>/dev/null); do echo $d/$f; done
        done
        grep -o '/var/lib/shoal/images/mounts/[^ ]*' /proc/self/mountinfo
        find /sys/fs/cgroup -maxdepth 4 -type d -path '*/docker/*' 2>/dev/null
        ip -o link show | sed -n 's/^[0-9]*: \(vb[^:@]*\).*/\1/p'
    ";
    let lines = lab.on(MACHINE, script);
    let of = |line: &str, id: &String| line.contains(id.as_str()) || line.contains(&id[..12]);
    let mut left = Vec::new();
    let mut pairs = 0;
    for line in lines.lines() {
        match line.split('/').next() {
            Some(pair) if pair.starts_with("vb") => pairs += 1,
            // Other labs share the tree of control groups.
            _ if line.starts_with("/sys/") && !gone.iter().any(|id| of(line, id)) => {}
            _ if known.iter().any(|id| of(line, id)) => {}
            _ => left.push(line.to_owned()),
        }
    }
    let running = lab.on(MACHINE, "docker container ls -q").lines().count();
    if pairs > running {
        left.push(format!("{pairs} virtual cables for {running} running containers"));
    }
    left
}

fn nothing_is_left_behind(lab: &TestLab, seen: &mut Seen) {
    lab.until("nothing is left behind", SOON, || {
        let left = left_behind(lab, seen);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}

fn open_files(lab: &TestLab) -> usize {
    let pid = lab.lab().daemon(MACHINE).unwrap().pid;
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// One request on a connection of its own, and its whole answer.
fn ask(socket: &Path, request: &[u8]) -> String {
    let mut s = UnixStream::connect(socket).unwrap();
    s.set_read_timeout(Some(SOON)).unwrap();
    s.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = s.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
        if n == 0 || answer.ends_with(b"}\n") || answer.ends_with(b"OK") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

#[test]
fn a_daemon_killed_again_and_again_under_load_loses_nothing_and_leaves_nothing() {
    let lab = TestLab::new(&[MACHINE]);
    let mut seen = Seen::new();
    let mut moments = Moments(SEED);
    let steady = lab.on(MACHINE, &format!("docker run -d --name steady -p 9000:8080 -v kept:/v {IMAGE}"));
    let pid =
        || lab.on(MACHINE, &format!("docker inspect {steady} --format '{{{{.State.Running}}}} {{{{.State.Pid}}}}'"));
    let before = pid();
    for round in 0..4 {
        let load = |k: usize| {
            format!(
                "for i in $(seq 40); do docker run --name l{round}-{k}-$i -v v{k}:/v {IMAGE} true
                 docker run --rm -p 0:80 {IMAGE} true; docker exec steady true
                 docker network create n{k}; docker network rm n{k}; docker rm l{round}-{k}-$i
                 [ -e /var/run/docker.sock ] || break; done >/dev/null 2>&1"
            )
        };
        let loads: Vec<_> = (0..3).map(|k| lab.begin(MACHINE, &load(k))).collect();
        std::thread::sleep(moments.next(300, 3000));
        lab.kill_daemon(MACHINE);
        lab.on(MACHINE, "rm -f /var/run/docker.sock");
        for mut load in loads {
            load.wait().unwrap();
        }
        lab.lab().start(MACHINE).unwrap();
        assert_eq!(pid(), before, "round {round}: a container lives on");
        let ids = lab.on(MACHINE, "docker container ls -aq --no-trunc");
        lab.on(MACHINE, &format!("docker inspect {}", ids.replace('\n', " ")));
        nothing_is_left_behind(&lab, &mut seen);
    }
    let ask = format!("curl -sS -m 5 http://{}:9000/", lab.address(MACHINE));
    assert!(lab.on(lab::LAPTOP, &ask).contains("container "), "its port is still published");
    lab.on(MACHINE, "docker rm -f $(docker container ls -aq)");
    nothing_is_left_behind(&lab, &mut seen);
    lab.on(MACHINE, "docker volume prune -af; docker network prune -f");
    assert_eq!(lab.on(MACHINE, "docker volume ls -q"), "");
    assert_eq!(lab.on(MACHINE, "docker network ls -q | wc -l"), "3");
    lab.end();
}

#[test]
fn a_container_whose_shim_is_killed_has_ended_and_can_be_started_again() {
    let lab = TestLab::new(&[MACHINE]);
    let kill_shim = |id: &str| {
        let found = lab.on(MACHINE, &format!("pgrep -f 'shim.*{id}'"));
        let pids: Vec<&str> = found.lines().collect();
        assert!(!pids.is_empty(), "{id} has no shim");
        // Whoever asked for it may be gone with it.
        lab.on(MACHINE, &format!("for p in {}; do kill -9 $p 2>/dev/null; done; true", pids.join(" ")));
    };
    let state = |id: &str| {
        lab.on(
            MACHINE,
            &format!(
                "docker inspect {id} --format '{{{{.State.Status}}}} {{{{.State.ExitCode}}}} {{{{.RestartCount}}}}'"
            ),
        )
    };
    let becomes = |id: &str, wanted: &str| {
        lab.until(wanted, SOON, || match state(id) {
            s if s == wanted => Ok(()),
            s => Err(s),
        });
    };
    let plain = lab.on(MACHINE, &format!("docker run -d --name plain {IMAGE}"));
    let always = lab.on(MACHINE, &format!("docker run -d --name always --restart always {IMAGE}"));
    let mut seen = Seen::new();
    let inside = lab.on(MACHINE, &format!("docker inspect {plain} --format '{{{{.State.Pid}}}}'"));
    kill_shim(&plain);
    kill_shim(&always);
    becomes("plain", "exited 137 0");
    becomes("always", "running 0 1");
    // Without its parent it is the first process's to reap, whenever that does.
    let stat = std::fs::read_to_string(format!("/proc/{inside}/stat")).unwrap_or_default();
    let ended = stat.is_empty() || stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z'));
    assert!(ended, "nobody watches over it, so it does not run: {stat}");
    assert!(lab.on(MACHINE, "docker exec always echo here").contains("here"));
    lab.on(MACHINE, "docker start plain");
    becomes("plain", "running 0 0");
    // And while no daemon watches.
    kill_shim(&plain);
    lab.on(MACHINE, "docker start plain || true");
    lab.kill_daemon(MACHINE);
    kill_shim(&always);
    lab.lab().start(MACHINE).unwrap();
    lab.until("it is started anew", SOON, || match state("always") {
        s if s.starts_with("running") => Ok(()),
        s => Err(s),
    });
    lab.on(MACHINE, "docker rm -f plain always");
    nothing_is_left_behind(&lab, &mut seen);
    lab.end();
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let lab = TestLab::new(&[MACHINE]);
    let image = lab.on(MACHINE, &format!("docker save {IMAGE} -o /run/image.tar && echo saved"));
    assert_eq!(image, "saved");
    lab.kill_daemon(MACHINE);
    lab.on(MACHINE, "mount -t tmpfs -o size=24m none /var/lib/shoal");
    lab.lab().start(MACHINE).unwrap();
    lab.on(MACHINE, "docker load -i /run/image.tar");
    let mut seen = Seen::new();
    let talker = "i=0; while :; do echo line $i; i=$((i+1)); usleep 20000; done";
    lab.on(MACHINE, &format!("docker run -d --name talker {IMAGE} sh -c '{talker}'"));
    let full = lab.say(MACHINE, &format!("docker run --name filler {IMAGE} dd if=/dev/zero of=/big bs=64k"));
    assert!(!full.ok && full.err.contains("No space left"), "{full:?}");

    for line in [
        format!("docker create --name late {IMAGE} true"),
        "docker load -i /run/image.tar && docker volume create big".to_owned(),
        "docker commit filler copy".to_owned(),
    ] {
        let said = lab.say(MACHINE, &line);
        let text = format!("{}{}", said.out, said.err).to_lowercase();
        assert!(said.ok || text.contains("no space left"), "{line}: {said:?}");
    }
    assert_eq!(lab.on(MACHINE, "docker inspect talker --format '{{.State.Running}}'"), "true");
    assert_eq!(lab.on(MACHINE, "docker exec talker echo alive"), "alive");
    lab.kill_daemon(MACHINE);
    lab.lab().start(MACHINE).unwrap();
    assert_eq!(lab.on(MACHINE, "docker inspect talker --format '{{.State.Running}}'"), "true", "also after a restart");

    // What takes the room can be taken away.
    lab.on(MACHINE, "docker rm filler; docker rm -f late || true; docker volume prune -af");
    assert_eq!(lab.on(MACHINE, &format!("docker run --rm {IMAGE} echo room")), "room");
    let lines = || lab.on(MACHINE, "docker logs --tail 1 talker");
    let before = lines();
    lab.until("the log goes on", SOON, || if lines() == before { Err(before.clone()) } else { Ok(()) });
    lab.on(MACHINE, "docker rm -f talker");
    nothing_is_left_behind(&lab, &mut seen);
    lab.kill_daemon(MACHINE);
    lab.on(MACHINE, "umount -l /var/lib/shoal");
    lab.lab().start(MACHINE).unwrap();
    lab.end();
}

/// Makes configs of 300 kB until one is refused; how many were taken, and the refusal.
fn configs_until_refused(lab: &TestLab, machine: &str, prefix: &str) -> (usize, String) {
    for n in 0..200 {
        let said =
            lab.say(machine, &format!("head -c 300000 /dev/urandom | base64 -w0 | docker config create {prefix}{n} -"));
        if !said.ok {
            return (n, said.err);
        }
    }
    panic!("a disk that is full takes everything");
}

#[test]
fn a_manager_whose_disk_is_full_goes_on_when_there_is_room() {
    const OTHERS: [&str; 2] = ["vm-two", "vm-three"];
    let lab = TestLab::new(&[MACHINE, OTHERS[0], OTHERS[1]]);
    lab.kill_daemon(MACHINE);
    lab.on(MACHINE, "mount -t tmpfs -o size=24m none /var/lib/shoal");
    lab.lab().start(MACHINE).unwrap();
    let address = lab.address(MACHINE);
    lab.on(MACHINE, &format!("docker swarm init --advertise-addr {address}"));
    let names = |machine: &str| lab.on(machine, "docker config ls --format '{{.Name}}' | sort");
    let takes_again = |name: &str| {
        lab.until("it takes changes again", SOON, || {
            let said = lab.say(MACHINE, &format!("echo x | docker config create {name} -"));
            if said.ok { Ok(()) } else { Err(said.err) }
        });
    };

    // Alone: it refuses, and says why.
    lab.on(MACHINE, "head -c 16m /dev/zero >/var/lib/shoal/fill");
    let (taken, refusal) = configs_until_refused(&lab, MACHINE, "alone");
    assert!(refusal.contains("No space left on device"), "{refusal}");
    lab.on(MACHINE, "docker ps");
    lab.on(MACHINE, "rm /var/lib/shoal/fill");
    takes_again("after-alone");
    let known = names(MACHINE);
    for n in 0..taken {
        assert!(known.lines().any(|l| l == format!("alone{n}")), "{n} of {taken} was taken: {known}");
    }

    // With others: they go on, and it comes back.
    let token = lab.on(MACHINE, "docker swarm join-token -q manager");
    for other in OTHERS {
        lab.on(other, &format!("docker swarm join --token {token} {address}:2377"));
        lab.node_becomes(other, "Ready", SOON);
    }
    lab.on(MACHINE, "docker config rm $(docker config ls -q); cat /dev/zero >/var/lib/shoal/fill; true");
    lab.until("another one leads", SOON, || {
        lab.say(OTHERS[0], "head -c 300000 /dev/urandom | base64 -w0 | docker config create more-$(cat /proc/sys/kernel/random/uuid) -");
        let nodes = lab.on(OTHERS[0], "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'");
        let gone = nodes.contains(&format!("{MACHINE} Unreachable"));
        if gone && nodes.contains(" Leader") { Ok(()) } else { Err(nodes) }
    });
    lab.on(OTHERS[0], "echo x | docker config create meanwhile -");
    lab.on(MACHINE, "rm /var/lib/shoal/fill");
    lab.until("it is a manager again", SOON, || {
        let nodes = lab.on(OTHERS[0], "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'");
        if nodes.contains(&format!("{MACHINE} Reachable")) { Ok(()) } else { Err(nodes) }
    });
    takes_again("after-all");
    assert_eq!(names(MACHINE), names(OTHERS[0]));
    assert!(names(MACHINE).contains("meanwhile"));
    lab.kill_daemon(MACHINE);
    lab.on(MACHINE, "umount -l /var/lib/shoal");
    lab.lab().start(MACHINE).unwrap();
    lab.end();
}

#[test]
fn damaged_files_cost_what_they_held_and_nothing_else() {
    let lab = TestLab::new(&[MACHINE]);
    let disk = lab.disk(MACHINE);
    lab.on(MACHINE, "docker network create mine; docker volume create one; docker volume create two");
    let whole = lab.on(MACHINE, &format!("docker run -d --name whole --network mine -v one:/v {IMAGE}"));
    let damaged = lab.on(MACHINE, &format!("docker run -d --name damaged {IMAGE}"));
    let pid = lab.on(MACHINE, "docker inspect whole --format '{{.State.Pid}}'");
    lab.kill_daemon(MACHINE);
    std::fs::write(disk.join("containers").join(&damaged).join("container.json"), b"{\"id\":").unwrap();
    std::fs::write(disk.join("volumes/two/volume.json"), b"").unwrap();
    lab.lab().start(MACHINE).unwrap();
    assert_eq!(lab.on(MACHINE, "docker inspect whole --format '{{.State.Pid}}'"), pid);
    assert_eq!(lab.on(MACHINE, "docker container ls -a --format '{{.Names}}'"), "whole");
    let log = std::fs::read_to_string(lab.lab().log(MACHINE)).unwrap();
    assert!(log.contains(&damaged[..12]), "the log names what cannot be read:\n{log}");
    assert_eq!(lab.on(MACHINE, &format!("docker run --rm --name damaged {IMAGE} echo again")), "again");

    // The networks' file: those of our own are lost with it, the daemon and the predefined ones are not.
    lab.kill_daemon(MACHINE);
    std::fs::write(disk.join("network/networks.json"), b"\0\0\0\0").unwrap();
    lab.lab().start(MACHINE).unwrap();
    let names = lab.on(MACHINE, "docker network ls --format '{{.Name}}'");
    assert!(["bridge", "host", "none"].iter().all(|n| names.lines().any(|l| l == *n)), "{names}");
    assert_eq!(lab.on(MACHINE, &format!("docker run --rm {IMAGE} echo net")), "net");
    lab.on(MACHINE, &format!("docker rm -f {whole}"));

    // A manager's store: the node says that its swarm is broken, and can leave it.
    let address = lab.address(MACHINE);
    lab.on(MACHINE, &format!("docker swarm init --advertise-addr {address}"));
    lab.kill_daemon(MACHINE);
    std::fs::write(disk.join("swarm/raft.redb"), vec![0xA5; 8192]).unwrap();
    lab.lab().start(MACHINE).unwrap();
    lab.until("the swarm's state is told", SOON, || {
        match lab.on(MACHINE, "docker info --format '{{.Swarm.LocalNodeState}}'") {
            s if s == "error" => Ok(()),
            s => Err(s),
        }
    });
    assert_eq!(lab.on(MACHINE, &format!("docker run --rm {IMAGE} echo still")), "still");
    lab.on(MACHINE, "docker swarm leave --force");
    lab.on(MACHINE, &format!("docker swarm init --advertise-addr {address}"));
    lab.on(MACHINE, "docker swarm leave --force");
    lab.end();
}

#[test]
fn clients_that_misbehave_disturb_nobody() {
    let lab = TestLab::new(&[MACHINE]);
    let socket = lab.lab().socket(MACHINE);
    let mut seen = Seen::new();
    let before = open_files(&lab);
    // Connections that send nothing, or half a head.
    let silent: Vec<UnixStream> = (0..1000)
        .map(|n| {
            let mut s = UnixStream::connect(&socket).unwrap();
            if n % 2 == 0 {
                s.write_all(b"GET /info HTTP/1.1\r\nHo").unwrap();
            }
            s
        })
        .collect();
    assert!(ask(&socket, b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").ends_with("OK"));
    assert_eq!(lab.on(MACHINE, &format!("docker run --rm {IMAGE} echo served")), "served");
    drop(silent);

    // Bodies that are no JSON, or not what they should be.
    for (body, because) in [
        (&b"{"[..], "invalid JSON"),
        (b"", "EOF"),
        (b"[1,2", "invalid JSON"),
        (b"\xff\xfe{}", "invalid JSON"),
        (b"{\"Image\":{\"a\":[[[[[]]]]]}}", "invalid JSON"),
    ] {
        let answer = ask(&socket, &post("/containers/create", body));
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(because), "{answer}");
    }
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(ask(&socket, &post("/containers/create", &deep)).starts_with("HTTP/1.1 400"));

    // A gigabyte where some JSON should be.
    let pid = lab.lab().daemon(MACHINE).unwrap().pid;
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let rss = resident();
    let mut s = UnixStream::connect(&socket).unwrap();
    s.write_all(
        format!("POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1u64 << 30).as_bytes(),
    )
    .unwrap();
    let chunk = vec![b' '; 1 << 20];
    let taken = (0..1024).take_while(|_| s.write_all(&chunk).is_ok()).count();
    assert!(taken < 200, "{taken} MB were taken for nothing");
    let grown = resident().saturating_sub(rss);
    assert!(grown < 100, "{grown} MB of memory for a body that is refused");
    let huge = "head -c 1073741824 /dev/zero | curl -sS --unix-socket /var/run/docker.sock -X POST -T - \
                -H 'Content-Type: application/json' http://x/containers/create";
    let said = lab.say(MACHINE, huge);
    assert!(said.out.contains("the request body is longer than") || said.err.contains("Broken pipe"), "{said:?}");

    // One name, two hundred who want it.
    let answers: Mutex<Vec<String>> = Mutex::default();
    let body = format!("{{\"Image\":\"{IMAGE}\",\"Cmd\":[\"true\"]}}");
    std::thread::scope(|scope| {
        for n in 0..200 {
            let (answers, body, socket) = (&answers, &body, &socket);
            scope.spawn(move || {
                let path = format!("/containers/create?name=name{}", n % 4);
                answers.lock().unwrap().push(ask(socket, &post(&path, body.as_bytes())));
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    let count = |status: &str| answers.iter().filter(|a| a.starts_with(status)).count();
    assert_eq!((count("HTTP/1.1 201"), count("HTTP/1.1 409")), (4, 196), "{answers:?}");
    assert!(answers.iter().all(|a| a.starts_with("HTTP/1.1 201") || a.contains("is already in use by container")));
    lab.on(MACHINE, "docker rm name0 name1 name2 name3");
    nothing_is_left_behind(&lab, &mut seen);
    lab.until("no descriptor stays open", SOON, || match open_files(&lab) {
        now if now <= before + 8 => Ok(()),
        now => Err(format!("{now} instead of {before}")),
    });
    lab.end();
}
