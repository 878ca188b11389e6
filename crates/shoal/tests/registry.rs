//! A registry with a password on two machines: who deploys knows the password, the nodes that run the tasks get it.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const MANAGER: &str = "vm-manager";
const WORKER: &str = "vm-worker1";
const SOON: Duration = Duration::from_secs(30);
/// `captain`, `swordfish`.
const HTPASSWD: &str = "captain:$2b$04$U6Cqci8i15/0ES29u3t66uPWQYOrxbUhOSA.wM18tef9kMSYQmU4i\n";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Each machine has its own registry on its loopback; they share one directory.
fn registry(lab: &TestLab, machine: &str, dir: &Path) -> Running {
    let root = dir.display();
    std::fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
    let config = dir.join("config.yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: 127.0.0.1:5000\n\
         auth:\n  htpasswd:\n    realm: test\n    path: {root}/htpasswd\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = lab.lab().command(machine, "docker-registry").unwrap();
    command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    lab.until("the registry answers", SOON, || {
        let said = lab.say(machine, "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:5000/v2/");
        if said.out == "401" { Ok(()) } else { Err(format!("{said:?}")) }
    });
    running
}

#[test]
fn credentials_reach_the_nodes_that_pull() {
    let lab = TestLab::swarm(&[MANAGER, WORKER]);
    let dir = tempfile::tempdir().unwrap();
    let registries = [MANAGER, WORKER].map(|m| registry(&lab, m, dir.path()));
    let docker = format!("DOCKER_CONFIG={}/client docker", dir.path().display());
    let image = "127.0.0.1:5000/private/greeter:1";

    lab.on(MANAGER, &format!("docker tag {IMAGE} {image}"));
    lab.refused(MANAGER, &format!("docker push {image}"), "no basic auth credentials");
    let login = |password: &str| format!("echo {password} | {docker} login -u captain --password-stdin 127.0.0.1:5000");
    lab.refused(MANAGER, &login("haddock"), "unauthorized");
    assert!(lab.on(MANAGER, &login("swordfish")).contains("Login Succeeded"));
    lab.on(MANAGER, &format!("{docker} push {image}"));
    lab.refused(WORKER, &format!("docker pull {image}"), "no basic auth credentials");

    let create = |name: &str, more: &str| {
        format!("{docker} service create -d --name {name} {more} --constraint node.role==worker {image}")
    };
    // Nobody told the worker.
    lab.on(MANAGER, &create("without", ""));
    lab.until("a task fails for want of the image", SOON, || {
        let said = lab.on(MANAGER, "docker service ps without --no-trunc --format '{{.CurrentState}} {{.Error}}'");
        if said.contains("No such image") { Ok(()) } else { Err(said) }
    });
    lab.on(MANAGER, "docker service rm without");
    lab.on(MANAGER, &create("with", "--with-registry-auth"));
    lab.replicas("with", "1/1", SOON);
    let shown = lab.on(MANAGER, "docker service inspect with");
    assert!(!shown.contains("swordfish") && !shown.to_lowercase().contains("credential"), "{shown}");

    // An update without the flag keeps them: the worker has to pull another image with them.
    let second = "127.0.0.1:5000/private/greeter:2";
    lab.on(MANAGER, &format!("c=$(docker create {IMAGE}) && docker commit $c {second} && docker rm $c"));
    lab.on(MANAGER, &format!("{docker} push {second}"));
    lab.on(MANAGER, &format!("docker service update -d --image {second} with"));
    lab.until("the worker runs the second image", SOON, || {
        let said = lab.on(WORKER, "docker ps --no-trunc --format '{{.Image}}'");
        if said.contains(second) { Ok(()) } else { Err(said) }
    });
    lab.on(MANAGER, "docker service rm with");

    // Every tag, there and back.
    let third = "127.0.0.1:5000/private/greeter:3";
    lab.on(MANAGER, &format!("docker tag {second} {third}"));
    let said = lab.on(MANAGER, &format!("{docker} push -a 127.0.0.1:5000/private/greeter"));
    assert!(["1: digest", "2: digest", "3: digest"].iter().all(|tag| said.contains(tag)), "{said}");
    let said = lab.on(WORKER, &format!("{docker} pull -a 127.0.0.1:5000/private/greeter"));
    assert!(said.contains("Status: Downloaded newer image for 127.0.0.1:5000/private/greeter"), "{said}");
    lab.on(WORKER, &format!("docker image inspect {image} {second} {third}"));

    // What the registry has under another name is not sent again.
    lab.on(MANAGER, &format!("docker tag {second} 127.0.0.1:5000/public/greeter"));
    let said = lab.on(MANAGER, &format!("{docker} push 127.0.0.1:5000/public/greeter"));
    assert!(said.contains("Mounted from private/greeter") && !said.contains("Pushed"), "{said}");

    // What is here is not spoken of layer by layer. Clients other than the CLI leave the tag where it is.
    let auth = "$(printf '{\"username\":\"captain\",\"password\":\"swordfish\"}' | base64 -w0)";
    let post = |path: &str| {
        let url = format!("--unix-socket /var/run/docker.sock 'http://d/v1.51{path}'");
        lab.on(WORKER, &format!("curl -s -X POST -H \"X-Registry-Auth: {auth}\" -w '%{{http_code}}' {url}"))
    };
    let said = post(&format!("/images/create?fromImage={third}"));
    assert!(said.contains(&format!("Image is up to date for {third}")) && !said.contains("Already exists"), "{said}");
    assert!(said.ends_with("200"), "{said}");
    assert!(post(&format!("/images/{third}/tag?repo=other:tag")).ends_with("201"));
    lab.on(WORKER, "docker image inspect other:tag");
    let said = post(&format!("/images/{third}/push"));
    assert!(said.contains("3: digest") && !said.contains("2: digest"), "{said}");
    drop(registries);
    lab.end();
}
