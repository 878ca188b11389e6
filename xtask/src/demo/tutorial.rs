//! The story, step by step.
use super::images::Archives;
use super::stage::Stage;
use super::{MANAGER, WORKER};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::time::Duration;

const LAPTOP_ADDRESS: &str = "192.168.99.2";
const SERVICE: &str = "dataapp_dataservice";
const REQUESTS: usize = 200;
/// Requests that may be lost while a task is killed with SIGKILL: those that were inside it.
const LOST_MAX: usize = 2;

/// Plays it.
pub fn play(stage: &Stage, archives: &Archives) -> Result<()> {
    machines(stage)?;
    load(stage, archives)?;
    let addresses = swarm(stage)?;
    one_service(stage, &addresses)?;
    two_services(stage)?;
    look_around(stage)?;
    from_inside(stage)?;
    from_outside(stage, &addresses)?;
    tidy_up(stage)?;
    a_task_dies(stage, &addresses)?;
    println!("\n[{:5.1} s] All of it works. The machines stay:", stage.seconds());
    println!("          shoal machine ssh {MANAGER} docker service ps {SERVICE}");
    println!("          shoal machine ssh laptop curl http://{}:4000/", addresses[1]);
    println!("          cargo xtask demo --down          takes everything away");
    Ok(())
}

fn machines(stage: &Stage) -> Result<()> {
    stage.step("Two machines", "each with its own network, host name, disk and daemon, on a switch without an uplink");
    for name in [MANAGER, WORKER] {
        match stage.machine_quietly(&["status", name])? {
            s if s.ok && s.text.trim() == "Running" => stage.say(&format!("{name} runs already")),
            s if s.ok => drop(stage.machine(&["start", name])?),
            _ => drop(stage.machine(&["create", name])?),
        }
    }
    stage.machine(&["ls"])?;
    Ok(())
}

fn load(stage: &Stage, archives: &Archives) -> Result<()> {
    stage.step("The images, on both machines", "imported on one, saved there, loaded on the other: the same image ids");
    let has = |machine: &str| -> Result<bool> {
        let ids = stage.quietly(machine, "docker image ls -q shoal/greeter && docker image ls -q redis")?;
        Ok(ids.ok && ids.text.lines().count() >= 2)
    };
    let path = "--change 'ENV PATH=/usr/local/bin:/usr/bin:/bin'";
    if !has(MANAGER)? {
        let (greeter, redis) = (archives.greeter.display(), archives.redis.display());
        let command = r#"--change 'CMD ["/bin/greeter"]' --change 'EXPOSE 8080'"#;
        stage.on(MANAGER, &format!("docker import {path} {command} {greeter} shoal/greeter:latest"))?;
        let command = r#"--change 'CMD ["redis-server","--protected-mode","no","--save","","--bind","*","-::*"]' --change 'EXPOSE 6379'"#;
        stage.on(MANAGER, &format!("docker import {path} {command} {redis} redis:latest"))?;
    }
    if !has(WORKER)? {
        let saved = archives.saved.display();
        stage.on(MANAGER, &format!("docker save -o {saved} shoal/greeter:latest redis:latest"))?;
        stage.on(WORKER, &format!("docker load -i {saved}"))?;
    }
    let ids = |machine| -> Result<BTreeSet<String>> {
        let text = stage.on(machine, "docker image ls --no-trunc --format '{{.Repository}} {{.ID}}'")?;
        Ok(text
            .lines()
            .filter(|l| l.starts_with("shoal/greeter ") || l.starts_with("redis "))
            .map(str::to_owned)
            .collect())
    };
    let (here, there) = (ids(MANAGER)?, ids(WORKER)?);
    if here != there || here.len() != 2 {
        bail!("the images differ: {here:?} and {there:?}");
    }
    Ok(())
}

fn swarm(stage: &Stage) -> Result<[String; 2]> {
    stage.step("A swarm of two", "a manager, and a worker that joins with a token");
    let ip = |name: &str| Ok::<_, anyhow::Error>(stage.machine_quietly(&["ip", name])?.text.trim().to_owned());
    let addresses = [ip(MANAGER)?, ip(WORKER)?];
    let active = |machine: &str| -> Result<bool> {
        let state = stage.quietly(machine, "docker info --format '{{.Swarm.LocalNodeState}}'")?;
        Ok(state.text.lines().any(|l| l.trim() == "active"))
    };
    if !active(MANAGER)? {
        stage.on(MANAGER, &format!("docker swarm init --advertise-addr {}", addresses[0]))?;
    }
    if !active(WORKER)? {
        let token = stage.quietly(MANAGER, "docker swarm join-token -q worker")?.text;
        stage.on(WORKER, &format!("docker swarm join --token {} {}:2377", token.trim(), addresses[0]))?;
    }
    stage.wait("both nodes are ready", Duration::from_secs(30), || {
        let nodes =
            stage.quietly(MANAGER, "docker node ls --format '{{.Hostname}} {{.Status}}'").map_err(|e| e.to_string())?;
        let ready = |name: &str| nodes.text.lines().any(|l| l.trim() == format!("{name} Ready"));
        if ready(MANAGER) && ready(WORKER) { Ok(()) } else { Err(format!("the nodes are:\n{}", nodes.text)) }
    })?;
    stage.on(MANAGER, "docker node ls")?;
    Ok(addresses)
}

fn one_service(stage: &Stage, addresses: &[String; 2]) -> Result<()> {
    stage.step("One service, five replicas, port 4000", "`docker stack deploy` of a compose file");
    if stage.quietly(MANAGER, "docker stack ls --format '{{.Name}}'")?.text.lines().any(|l| l.trim() == "dataapp") {
        stage.say("(an earlier run's stack first has to go)");
        stage.on(MANAGER, "docker stack rm dataapp")?;
        stage.wait("it is gone", Duration::from_secs(60), || {
            let command = "docker network ls -q -f name=dataapp_ && docker container ls -q -f name=dataapp_";
            for machine in [MANAGER, WORKER] {
                let left = stage.quietly(machine, command).map_err(|e| e.to_string())?.text;
                if !left.trim().is_empty() {
                    return Err(format!("{machine} still has {left}"));
                }
            }
            Ok(())
        })?;
    }
    stage.on(MANAGER, "docker stack deploy -c docker-compose.yml dataapp")?;
    replicas(stage, SERVICE, "5/5")?;
    stage.on(MANAGER, &format!("docker service ps {SERVICE}"))?;
    let networks = stage.on(MANAGER, "docker network ls")?;
    for name in ["bridge", "dataapp_default", "docker_gwbridge", "host", "ingress", "none"] {
        if !networks.split_whitespace().any(|w| w == name) {
            bail!("`docker network ls` does not show {name}");
        }
    }
    let network = stage.on(MANAGER, "docker network inspect dataapp_default")?;
    for word in ["lb-dataapp_default", "dataapp_dataservice."] {
        if !network.contains(word) {
            bail!("`docker network inspect dataapp_default` does not show {word}…");
        }
    }
    answers(stage, &addresses[0], 1)?;
    Ok(())
}

fn two_services(stage: &Stage) -> Result<()> {
    stage.step("A second service and a network of their own", "the same stack, deployed again from the longer file");
    stage.on(MANAGER, "docker stack deploy -c docker-compose-redis.yml dataapp")?;
    replicas(stage, "dataapp_redis", "1/1")?;
    stage.wait("the update is complete", Duration::from_secs(120), || {
        let command = format!(
            "docker service inspect {SERVICE} --format '{{{{if .UpdateStatus}}}}{{{{.UpdateStatus.State}}}}{{{{end}}}}'"
        );
        let state = stage.quietly(MANAGER, &command).map_err(|e| e.to_string())?.text;
        if matches!(state.trim(), "" | "completed") { Ok(()) } else { Err(format!("it is {}", state.trim())) }
    })?;
    replicas(stage, SERVICE, "5/5")?;
    stage.on(MANAGER, "docker stack services dataapp")?;
    let redis = stage
        .on(MANAGER, "docker service ps dataapp_redis --filter desired-state=running --format '{{.Name}} {{.Node}}'")?;
    if !redis.lines().any(|l| l.contains(MANAGER)) || redis.contains(WORKER) {
        bail!("redis has to run on {MANAGER}: node.role == manager");
    }
    Ok(())
}

fn look_around(stage: &Stage) -> Result<()> {
    stage.step("Networks, containers, virtual addresses", "what each machine shows of them");
    let swarm = stage.on(MANAGER, "docker network ls -f scope=swarm")?;
    if !swarm.contains("dataapp_data-network") || swarm.contains("docker_gwbridge") {
        bail!("`-f scope=swarm` has to show dataapp_data-network and no local network");
    }
    stage.on(MANAGER, "docker network inspect dataapp_data-network")?;
    for machine in [MANAGER, WORKER] {
        stage.on(machine, "docker container ls")?;
    }
    let format = "'{{range .Endpoint.VirtualIPs}}{{println .NetworkID .Addr}}{{end}}'";
    let vips = stage.on(MANAGER, &format!("docker service inspect {SERVICE} --format {format}"))?;
    if vips.lines().filter(|l| l.contains('/')).count() != 2 {
        bail!("{SERVICE} has to have two virtual addresses: on ingress and on data-network");
    }
    Ok(())
}

fn from_inside(stage: &Stage) -> Result<()> {
    stage.step(
        "Names, from a container on the worker",
        "services by name, through their virtual addresses, across machines",
    );
    let container = container_on(stage, WORKER)?;
    let exec = |command: &str| stage.on(WORKER, &format!("docker container exec {container} {command}"));
    for name in ["dataservice", "redis"] {
        let text = exec(&format!("ping -c 2 {name}"))?;
        if !text.contains(" 0% packet loss") {
            bail!("ping {name} lost packets");
        }
    }
    let text = exec("nslookup tasks.dataservice")?;
    let addresses: BTreeSet<&str> =
        text.split_whitespace().filter(|w| w.starts_with("10.") && w.parse::<std::net::IpAddr>().is_ok()).collect();
    if addresses.len() != 5 {
        bail!("tasks.dataservice has {} addresses, not 5", addresses.len());
    }
    exec("cat /etc/resolv.conf")?;
    exec("redis-cli -h redis set fish shoal")?;
    if !exec("redis-cli -h redis get fish")?.contains("shoal") {
        bail!("redis forgot");
    }
    stage.say("Names are the containers' own; the machine does not know them:");
    stage.refused(WORKER, "ping -c 1 dataservice", &[])
}

fn from_outside(stage: &Stage, addresses: &[String; 2]) -> Result<()> {
    stage.step(
        "Port 4000 on both machines, from the laptop",
        "the routing mesh: any replica answers, and sees the client's true address",
    );
    for address in addresses {
        let ids = answers(stage, address, 3)?;
        stage.say(&format!(
            "{address}: {} replicas answered: {}",
            ids.len(),
            ids.into_iter().collect::<Vec<_>>().join(" ")
        ));
    }
    Ok(())
}

fn tidy_up(stage: &Stage) -> Result<()> {
    stage.step("The unused network goes, the used one cannot", "`docker network rm`");
    stage.refused(MANAGER, "docker network rm dataapp_data-network", &["in use", "active endpoints"])?;
    if stage.quietly(MANAGER, "docker network inspect dataapp_default")?.ok {
        stage.on(MANAGER, "docker network rm dataapp_default")?;
    }
    let left = stage.on(MANAGER, "docker network ls -f scope=swarm --format '{{.Name}}'")?;
    if left.contains("dataapp_default") {
        bail!("dataapp_default is still there");
    }
    Ok(())
}

fn a_task_dies(stage: &Stage, addresses: &[String; 2]) -> Result<()> {
    stage.step("A task is killed while clients ask", "they notice nothing; a new one takes its place");
    let script = format!(
        "for i in $(seq {REQUESTS}); do curl -s -m 3 http://{}:4000/ >/dev/null && echo ok || echo lost; sleep 0.02; done",
        addresses[1]
    );
    let clients = stage.begin("laptop", &script)?;
    let victim = container_on(stage, WORKER)?;
    stage.on(WORKER, &format!("docker kill {victim}"))?;
    let output = clients.wait_with_output().context("the clients on the laptop")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = |word: &str| text.lines().filter(|l| *l == word).count();
    stage.say(&format!("{} of {REQUESTS} requests were answered", count("ok")));
    if count("ok") + LOST_MAX < REQUESTS {
        bail!("{} of {REQUESTS} requests were lost", REQUESTS - count("ok"));
    }
    stage.wait("five replicas again, without the dead one", Duration::from_secs(60), || {
        let command = format!("docker service ls -f name={SERVICE} --format '{{{{.Replicas}}}}'");
        let replicas = stage.quietly(MANAGER, &command).map_err(|e| e.to_string())?.text;
        let alive = stage.quietly(WORKER, "docker container ls -q --no-trunc").map_err(|e| e.to_string())?.text;
        match (replicas.trim(), alive.contains(victim.as_str())) {
            ("5/5", false) => Ok(()),
            (r, _) => Err(format!("{r} run")),
        }
    })?;
    stage.on(MANAGER, &format!("docker service ps {SERVICE}"))?;
    Ok(())
}

fn replicas(stage: &Stage, service: &str, wanted: &str) -> Result<()> {
    stage.wait(&format!("{service} runs {wanted}"), Duration::from_secs(90), || {
        let command = "docker service ls --format '{{.Name}} {{.Replicas}}'";
        let text = stage.quietly(MANAGER, command).map_err(|e| e.to_string())?.text;
        let mut found = text.lines().filter_map(|l| l.split_once(' ')).filter(|(n, _)| *n == service);
        match found.next() {
            Some((_, r)) if r.trim() == wanted => Ok(()),
            Some((_, r)) => Err(format!("{r} run")),
            None => Err(format!("it is not among:\n{text}")),
        }
    })
}

fn container_on(stage: &Stage, machine: &str) -> Result<String> {
    let command = format!("docker container ls -q --no-trunc -f name={SERVICE}");
    let text = stage.quietly(machine, &command)?.text;
    text.lines()
        .next()
        .map(|l| l.trim().to_owned())
        .filter(|l| !l.is_empty())
        .with_context(|| format!("{machine} runs no task of {SERVICE}"))
}

/// Asks port 4000 of a machine ten times from the laptop; the containers that answered.
fn answers(stage: &Stage, address: &str, replicas_min: usize) -> Result<BTreeSet<String>> {
    let text = stage.on("laptop", &format!("for i in $(seq 10); do curl -sS -m 5 http://{address}:4000/; done"))?;
    let field = |name: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_owned()).collect()
    };
    let (containers, clients) = (field("container "), field("client "));
    if containers.len() != 10 {
        bail!("{} of 10 requests to {address}:4000 were answered", containers.len());
    }
    if let Some(other) = clients.iter().find(|c| *c != LAPTOP_ADDRESS) {
        bail!("a replica saw the client {other} instead of {LAPTOP_ADDRESS}");
    }
    let ids: BTreeSet<String> = containers.into_iter().collect();
    if ids.len() < replicas_min {
        bail!("only {} replicas answered 10 requests to {address}:4000", ids.len());
    }
    Ok(ids)
}
