//! One of the two engines under test: a swarm of two nodes, driven over its API, whoever it is.
use super::api::Api;
use super::figures::Of;
use super::ground;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The image that everything runs from.
pub const IMAGE: &str = "bench:1";
/// The overlay network.
pub const NETWORK: &str = "bench";
/// Where the server is published for the mesh.
pub const PUBLISHED: u16 = 8099;

const PATIENCE: Duration = Duration::from_secs(120);

/// A node: the first is the manager.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its host name.
    pub name: String,
    /// Its door.
    pub api: Api,
    /// Its address on the switch.
    pub address: String,
    /// The UTS namespace that its own processes are in (its containers have others).
    pub uts: PathBuf,
}

/// A swarm.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Whose.
    pub of: Of,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Whether a virtual IP and the mesh can work here.
    pub balances: bool,
}

/// A service's tasks as it is asked for.
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many.
    pub replicas: u32,
    /// On which node, if it matters.
    pub on: Option<&'a str>,
    /// A name with all addresses, instead of a virtual IP.
    pub by_name_only: bool,
    /// Published for the mesh.
    pub published: bool,
    /// Kept on one CPU.
    pub cpu: Option<&'a str>,
}

impl Engine {
    /// The manager's door.
    pub fn manager(&self) -> &Api {
        &self.nodes[0].api
    }

    /// Makes the swarm, the image and the network.
    pub fn form(&self, archive: &[u8]) -> Result<()> {
        self.form_with(archive, "Worker")
    }

    /// The same, with all nodes as managers.
    pub fn form_of_managers(&self, archive: &[u8]) -> Result<()> {
        self.form_with(archive, "Manager")
    }

    fn form_with(&self, archive: &[u8], role: &str) -> Result<()> {
        let manager = &self.nodes[0];
        let listen = |n: &Node| json!({ "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": n.address });
        manager.api.post("/swarm/init", &listen(manager)).context("swarm init")?;
        let swarm = manager.api.get("/swarm")?;
        for node in &self.nodes[1..] {
            let mut join = listen(node);
            join["RemoteAddrs"] = json!([format!("{}:2377", manager.address)]);
            join["JoinToken"] = swarm["JoinTokens"][role].clone();
            node.api.post("/swarm/join", &join).with_context(|| format!("{} joins", node.name))?;
        }
        for node in &self.nodes {
            node.api.import(archive, "bench", "1")?;
        }
        self.all_ready(&manager.api)?;
        manager.api.post("/networks/create", &json!({ "Name": NETWORK, "Driver": "overlay", "Attachable": true }))?;
        Ok(())
    }

    /// Waits until a manager says that all nodes are there, and that all managers can be reached.
    pub fn all_ready(&self, manager: &Api) -> Result<()> {
        wait("all nodes ready", || {
            // Without a leader there is no answer yet.
            let Ok(nodes) = manager.get("/nodes") else { return Ok(None) };
            let reachable =
                |n: &Value| n["ManagerStatus"].is_null() || n["ManagerStatus"]["Reachability"] == "reachable";
            let there = |n: &&Value| n["Status"]["State"] == "ready" && reachable(n);
            let ready = nodes.as_array().into_iter().flatten().filter(there).count();
            Ok((ready == self.nodes.len()).then_some(()))
        })
    }

    /// Creates a service; its id.
    pub fn create(&self, wanted: &Wanted<'_>) -> Result<String> {
        let made = self.manager().post("/services/create", &spec(wanted)?)?;
        Ok(made["ID"].as_str().context("a service without an id")?.to_owned())
    }

    /// Changes how many tasks a service has.
    pub fn scale(&self, service: &str, replicas: u32) -> Result<()> {
        let found = self.manager().get(&format!("/services/{service}"))?;
        let mut spec = found["Spec"].clone();
        spec["Mode"]["Replicated"]["Replicas"] = json!(replicas);
        let version = &found["Version"]["Index"];
        self.manager().post(&format!("/services/{service}/update?version={version}"), &spec).map(drop)
    }

    /// Waits until `count` of its tasks run and are meant to.
    pub fn running(&self, service: &str, count: u32, poll: Duration) -> Result<Vec<Value>> {
        let path = format!("/tasks?filters={}", filter("service", service));
        wait_every(poll, "all tasks running", || {
            let tasks = self.manager().get(&path)?;
            let runs = |t: &&Value| t["Status"]["State"] == "running" && t["DesiredState"] == "running";
            let running: Vec<Value> = tasks.as_array().into_iter().flatten().filter(runs).cloned().collect();
            Ok((running.len() >= count as usize).then_some(running))
        })
    }

    /// Removes a service and waits until no node has a container of it.
    pub fn remove(&self, service: &str) -> Result<()> {
        self.manager().delete(&format!("/services/{service}"))?;
        let label = filter("label", &format!("com.docker.swarm.service.id={service}"));
        wait_every(Duration::from_millis(30), "its containers gone", || {
            for node in &self.nodes {
                let left = node.api.get(&format!("/containers/json?all=1&filters={label}"))?;
                if left.as_array().is_some_and(|l| !l.is_empty()) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// A `docker` on a node's door; the genuine one where it is installed, else ours under its name.
    pub fn docker(&self, node: usize, shoal: &Path) -> Command {
        let genuine = crate::program::exists("docker");
        let mut command = Command::new(if genuine { Path::new("docker") } else { shoal });
        command.env("DOCKER_HOST", self.nodes[node].api.host()).stdin(Stdio::null());
        command
    }
}

/// A service as the API takes it.
pub fn spec(wanted: &Wanted<'_>) -> Result<Value> {
    let cpu = wanted.cpu.map_or_else(Vec::new, |c| vec!["-c", c]);
    let words: Vec<&str> = ["/bin/load"].into_iter().chain(cpu).chain(["serve", ground::PORT]).collect();
    let mut spec = json!({
        "Name": wanted.name,
        "TaskTemplate": {
            "ContainerSpec": { "Image": IMAGE, "Command": words },
            "Networks": [{ "Target": NETWORK }],
            "Placement": {},
        },
        "Mode": { "Replicated": { "Replicas": wanted.replicas } },
        "EndpointSpec": { "Mode": if wanted.by_name_only { "dnsrr" } else { "vip" } },
    });
    if let Some(node) = wanted.on {
        spec["TaskTemplate"]["Placement"]["Constraints"] = json!([format!("node.hostname=={node}")]);
    }
    if wanted.published {
        let target: u16 = ground::PORT.parse()?;
        spec["EndpointSpec"]["Ports"] =
            json!([{ "Protocol": "tcp", "TargetPort": target, "PublishedPort": PUBLISHED, "PublishMode": "ingress" }]);
    }
    Ok(spec)
}

/// `{"key":["value"]}`, for a query.
pub fn filter(key: &str, value: &str) -> String {
    json!({ key: [value] }).to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D")
}

/// Asks until there is something.
pub fn wait<T>(what: &str, ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_every(Duration::from_millis(50), what, ask)
}

/// Asks as often as said until there is something.
pub fn wait_every<T>(poll: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(poll);
    }
}
