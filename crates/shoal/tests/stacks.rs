//! Our own command line with real stacks: versions of secrets and configs, gates, ways back, and fifty stacks in a row.
#![forbid(unsafe_code)]
// Each test takes what it needs of the lab.
mod lab;

use lab::{IMAGE, LAPTOP, TestLab};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MACHINE: &str = "vm-manager";
const SHOAL: &str = env!("CARGO_BIN_EXE_shoal");
const SOON: Duration = Duration::from_secs(15);
const PATIENTLY: Duration = Duration::from_secs(60);
const LOOPS: usize = 50;

/// A folder with compose files, and the machine to deploy them on.
struct Stage {
    lab: TestLab,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let lab = TestLab::new(&[MACHINE]);
        lab.on(MACHINE, &format!("{SHOAL} swarm init --advertise-addr {}", lab.address(MACHINE)));
        Self { lab, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs our command line in the folder. No registry is there to be asked.
    #[track_caller]
    fn shoal(&self, line: &str) -> String {
        self.lab.on(MACHINE, &self.line(line))
    }

    fn line(&self, line: &str) -> String {
        let line = line.replace("stack deploy", "stack deploy --resolve-image never");
        format!("cd {} && {SHOAL} {line}", self.folder.path().display())
    }

    /// What a file inside a service's container says.
    fn content(&self, service: &str, file: &str) -> String {
        let container = self.lab.container(MACHINE, service).unwrap_or_else(|| panic!("no container of {service}"));
        self.shoal(&format!("exec {container} cat {file}"))
    }
}

#[test]
fn a_stack_is_rolled_when_its_files_change_and_rolled_back_when_asked() {
    let stage = Stage::new();
    stage.write("password.txt", "one");
    stage.write("motd.txt", "hello");
    stage.write(
        "app.yml",
        &format!(
            "services:
  web:
    image: {IMAGE}
    ports: [\"127.0.0.1:4000:8080\", \"4001:8080\"]
    secrets: [password]
    configs: [{{source: motd, target: /etc/motd, mode: 0440}}]
    deploy: {{update_config: {{monitor: 1s}}}}
secrets: {{password: {{file: password.txt}}}}
configs: {{motd: {{file: motd.txt}}}}
"
        ),
    );
    let before = stage.shoal("stack diff -c app.yml app");
    for word in ["+ network app_default", "+ secret app_password", "+ config app_motd", "+ service app_web"] {
        assert!(before.lines().any(|l| l == word), "{word} is not in {before}");
    }
    let said = stage.shoal("stack deploy -q -c app.yml app");
    for word in ["Creating network app_default", "Creating secret app_password", "Creating service app_web"] {
        assert!(said.lines().any(|l| l == word), "{word} is not in {said}");
    }
    assert_eq!(stage.content("app_web", "/run/secrets/password"), "one");
    assert_eq!(stage.content("app_web", "/etc/motd"), "hello");
    assert_eq!(stage.shoal("stack diff --exit-code -c app.yml app"), "");

    a_port_at_one_address(&stage);

    // The same again changes nothing: the container stays.
    let container = stage.lab.container(MACHINE, "app_web");
    stage.shoal("stack deploy -q -c app.yml app");
    assert_eq!(stage.lab.container(MACHINE, "app_web"), container);
    assert_eq!(stage.shoal("stack history -q app"), "1", "a deploy that changes nothing is not written down");

    stage.write("password.txt", "two");
    let diff = stage.lab.say(MACHINE, &stage.line("stack diff --exit-code -c app.yml app"));
    assert!(!diff.ok && diff.out.contains("~ secret app_password (another content: app_password-"), "{diff:?}");
    assert!(diff.out.contains("TaskTemplate.ContainerSpec.Secrets[0].SecretName"), "{diff:?}");
    stage.shoal("stack deploy -q -c app.yml app");
    assert_eq!(stage.content("app_web", "/run/secrets/password"), "two");
    assert_eq!(stage.content("app_web", "/etc/motd"), "hello");
    let secrets = stage.shoal("secret ls --format '{{.Name}}'");
    assert_eq!(secrets.lines().count(), 2, "the way back needs the first version: {secrets}");
    assert_eq!(stage.shoal("config ls --format '{{.Name}}'"), "app_motd", "records are not shown");

    let history = stage.shoal("stack history --format '{{.Number}} {{.What}} {{.Changes}}' app");
    assert_eq!(history, "2 deploy app.yml ~web\n1 deploy app.yml +web");
    stage.shoal("stack rollback -q app");
    assert_eq!(stage.content("app_web", "/run/secrets/password"), "one");
    let history = stage.shoal("stack history --format '{{.Number}} {{.What}}' app");
    assert_eq!(history.lines().next(), Some("3 rollback to 1"));
    stage.lab.refused(MACHINE, &stage.line("stack rollback --to 9 app"), "no deploy 9 of app");

    let said = stage.shoal("stack rm app");
    assert!(said.contains("Removing secret app_password-"), "{said}");
    for list in ["secret ls -q", "config ls -q --filter label=com.docker.stack.namespace", "service ls -q"] {
        assert_eq!(stage.shoal(list), "", "{list}");
    }
    stage.lab.end();
}

/// `127.0.0.1:4000` is for this machine, `4001` for everybody.
fn a_port_at_one_address(stage: &Stage) {
    let ask = |from: &str, url: String| stage.lab.say(from, &format!("curl -sS -m 5 http://{url}/")).ok;
    let address = stage.lab.address(MACHINE);
    stage.lab.until("the port for everybody answers", SOON, || {
        if ask(LAPTOP, format!("{address}:4001")) { Ok(()) } else { Err("silent".to_owned()) }
    });
    assert!(ask(MACHINE, "127.0.0.1:4000".into()));
    assert!(!ask(MACHINE, format!("{address}:4000")) && !ask(LAPTOP, format!("{address}:4000")));
}

#[test]
fn services_wait_for_what_they_depend_on() {
    let stage = Stage::new();
    stage.write(
        "app.yml",
        &format!(
            "services:
  web:
    image: {IMAGE}
    depends_on:
      db: {{condition: service_healthy}}
      migrate: {{condition: service_completed_successfully}}
    deploy: {{update_config: {{monitor: 1s}}}}
  migrate:
    image: {IMAGE}
    command: sleep 1
    depends_on: {{db: {{condition: service_healthy}}}}
    deploy: {{mode: replicated-job, restart_policy: {{condition: none}}}}
  db:
    image: {IMAGE}
    command: sh -c 'sleep 2; touch /tmp/ready; sleep 1000'
    init: true
    healthcheck: {{test: test -e /tmp/ready, interval: 300ms, retries: 50}}
    deploy: {{update_config: {{monitor: 1s}}}}
"
        ),
    );
    let said = stage.shoal("stack deploy -c app.yml app");
    let at = |word: &str| said.find(word).unwrap_or_else(|| panic!("{word} is not in {said}"));
    assert!(at("Creating service app_db") < at("app_migrate: waits for app_db to be healthy"));
    assert!(at("app_migrate: waits for app_db to be healthy") < at("Creating service app_migrate"));
    assert!(at("app_web: waits for app_migrate to complete") < at("Creating service app_web"));
    let created = |service: &str| stage.shoal(&format!("service inspect app_{service} --format '{{{{.CreatedAt}}}}'"));
    assert!(created("db") < created("migrate") && created("migrate") < created("web"));

    // A second deploy waits for nobody: all of it is there.
    let said = stage.shoal("stack deploy -c app.yml app");
    assert!(!said.contains("waits for"), "{said}");

    let broken = std::fs::read_to_string(stage.path("app.yml")).unwrap().replace("sleep 1\n", "sh -c 'exit 3'\n");
    stage.write("broken.yml", &broken);
    let said = stage.lab.say(MACHINE, &stage.line("stack deploy -c broken.yml other"));
    assert!(!said.ok && said.err.contains("other_web: not made: other_migrate has failed"), "{said:?}");
    assert!(said.err.contains("non-zero exit (3)"), "{said:?}");
    stage.shoal("stack rm app other");
    stage.lab.end();
}

/// What has ended and is not started again is not waited for: as an error if it failed.
#[test]
fn a_deploy_ends_with_what_has_ended() {
    let stage = Stage::new();
    let once =
        format!("  once: {{image: {IMAGE}, command: \"true\", deploy: {{restart_policy: {{condition: none}}}}}}\n");
    stage.write("once.yml", &format!("services:\n{once}"));
    let said = stage.shoal("stack deploy -c once.yml app");
    assert!(said.contains("its tasks have completed"), "{said}");
    stage.write(
        "failing.yml",
        &format!(
            "services:
{once}  job:
    image: {IMAGE}
    command: sh -c 'exit 3'
    deploy: {{mode: replicated-job, restart_policy: {{condition: on-failure, max_attempts: 1, delay: 100ms}}}}
  unit:
    image: {IMAGE}
    command: sh -c 'exit 4'
    deploy: {{restart_policy: {{condition: none}}}}
"
        ),
    );
    let said = stage.lab.say(MACHINE, &stage.line("stack deploy -c failing.yml app"));
    assert!(!said.ok, "{said:?}");
    let job = "app_job: the job has failed, with 0 of 1 complete: task: non-zero exit (3)";
    let unit = "app_unit: its tasks have failed and are not started again: task: non-zero exit (4)";
    assert!(said.err.contains(job) && said.err.contains(unit), "{said:?}");
    let runs = stage.shoal("service ps -q app_job").lines().count();
    assert_eq!(runs, 2, "it was tried again as its policy wants");
    // Who does not want to wait does not learn it.
    stage.shoal("stack deploy --detach -c failing.yml app");
    stage.shoal("stack rm app");
    stage.lab.end();
}

#[test]
fn fifty_stacks_in_a_row() {
    let stage = Stage::new();
    stage.write("password.txt", "hush");
    stage.write(
        "app.yml",
        &format!(
            "services:
  web:
    image: {IMAGE}
    ports: [\"4000:8080\"]
    networks: [front, back]
    secrets: [password]
    configs: [motd]
    stop_grace_period: 1s
    deploy: {{replicas: 2, update_config: {{monitor: 1ms}}}}
  store:
    image: redis
    networks: [back]
    stop_grace_period: 1s
    deploy: {{update_config: {{monitor: 1ms}}}}
networks: {{front: {{}}, back: {{ipam: {{config: [{{subnet: 10.77.0.0/24}}]}}}}}}
secrets: {{password: {{file: password.txt}}}}
configs: {{motd: {{content: hello}}}}
"
        ),
    );
    for n in 0..LOOPS {
        // Every fifth runs before it goes, the others are taken away in the middle of their birth.
        let detach = if n % 5 == 0 { "--detach=false" } else { "--detach" };
        for line in [format!("stack deploy -q {detach} -c app.yml app"), "stack rm app".to_owned()] {
            let said = stage.lab.say(MACHINE, &stage.line(&line));
            assert!(said.ok, "round {n}: {line}\n{}\n{}", said.out, said.err);
        }
        let left = stage.shoal("network ls -q -f scope=swarm -f name=app_");
        assert_eq!(left, "", "round {n} leaves a network");
    }
    stage.lab.end();
}

/// The tables that people read, ours beside the genuine command line's, on the same engine.
#[test]
fn our_tables_are_dockers() {
    let Some(genuine) = genuine() else {
        assert!(std::env::var_os("CI").is_none(), "the genuine docker command line is not installed");
        eprintln!("the genuine docker command line is not installed: nothing to compare with");
        return;
    };
    let stage = Stage::new();
    let ours = stage.path("docker");
    std::os::unix::fs::symlink(SHOAL, &ours).unwrap();
    stage.write(
        "app.yml",
        &format!("services:\n  web:\n    image: {IMAGE}\n    ports: [\"4000:8080\"]\n    deploy: {{replicas: 2}}\nsecrets: {{s: {{file: app.yml}}}}\nconfigs: {{c: {{file: app.yml}}}}\n"),
    );
    stage.shoal("stack deploy -q -c app.yml app");
    stage.shoal(&format!("run -d --name plain -p 127.0.0.1:9000:8080 -v data:/data {IMAGE}"));
    stage.lab.replicas("app_web", "2/2", PATIENTLY);
    let lines = [
        "node ls",
        "service ls",
        "service ps app_web",
        "stack ls",
        "stack services app",
        "stack ps --no-trunc app",
        "network ls",
        "volume ls",
        "secret ls",
        "config ls",
        "images",
        "container ls --no-trunc",
        "ps -a --format '{{.Names}} {{.Image}} {{.Ports}}'",
        "port plain",
        "context ls",
        "context show",
        "service inspect --pretty app_web",
        "node inspect --pretty self",
        "inspect --format '{{json .Config.Cmd}} {{.State.Status}}' plain",
        "history shoal/greeter",
        "info --format '{{.Swarm.LocalNodeState}} {{.Driver}} {{.ServerVersion}}'",
        "version --format '{{.Server.APIVersion}}'",
        "secret inspect nothing",
        "service inspect nothing",
        "network inspect nothing",
        "stack rm nothing",
    ];
    let mut different = Vec::new();
    for line in lines {
        // Ages move on between two questions: both are asked again until they fall together.
        let agreed = (0..3).any(|_| {
            let said = |cli: &Path| stage.lab.say(MACHINE, &format!("{} {line}", cli.display()));
            let (theirs, own) = (said(&genuine), said(&ours));
            let same = theirs.ok == own.ok && theirs.out == own.out;
            if !same {
                eprintln!(
                    "$ docker {line}\n--- theirs\n{}\n{}\n--- ours\n{}\n{}",
                    theirs.out, theirs.err, own.out, own.err
                );
            }
            same
        });
        if !agreed {
            different.push(line);
        }
    }
    assert!(different.is_empty(), "different: {different:#?}");
    stage.shoal("rm -f plain");
    stage.shoal("stack rm app");
    stage.lab.end();
}

fn genuine() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join("docker")).find(|file| file.is_file())?;
    // Ours under that name is no genuine one.
    let target = std::fs::canonicalize(&found).ok()?;
    (target.file_name()? != "shoal").then_some(found)
}

/// `user` with the password `pass`.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K\n";

/// A registry that wants to know who asks: login, push, digests, and tasks that stay when it is silent.
#[test]
fn images_are_pinned_when_a_registry_answers() {
    if !Path::new("/usr/bin/docker-registry").exists() {
        assert!(std::env::var_os("CI").is_none(), "Debian's docker-registry is not installed");
        eprintln!("Debian's docker-registry is not installed: nothing to ask");
        return;
    }
    let stage = Stage::new();
    let folder = stage.folder.path().display().to_string();
    stage.write("htpasswd", HTPASSWD);
    stage.write(
        "registry.yml",
        &format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\nhttp: {{addr: 127.0.0.1:5000}}\nauth: {{htpasswd: {{realm: lab, path: {folder}/htpasswd}}}}\n"
        ),
    );
    let mut registry =
        stage.lab.begin(MACHINE, &format!("exec docker-registry serve {folder}/registry.yml 2>/dev/null"));
    stage.lab.until("the registry listens", SOON, || {
        let said = stage.lab.say(MACHINE, "curl -sS -m 2 http://127.0.0.1:5000/v2/");
        if said.ok { Ok(()) } else { Err(said.err) }
    });
    let shoal = |line: &str| stage.lab.on(MACHINE, &format!("cd {folder} && {SHOAL} --config {folder}/client {line}"));
    let refused = |line: &str, why: &str| {
        stage.lab.refused(MACHINE, &format!("{SHOAL} --config {folder}/client {line}"), why);
    };
    refused("login -u user -p wrong 127.0.0.1:5000", "unauthorized: incorrect username or password");
    shoal(&format!("tag {IMAGE} 127.0.0.1:5000/greeter:1"));
    refused("push 127.0.0.1:5000/greeter:1", "no basic auth credentials");
    let said = stage.lab.on(
        MACHINE,
        &format!("echo pass | {SHOAL} --config {folder}/client login -u user --password-stdin 127.0.0.1:5000"),
    );
    assert_eq!(said, "Login Succeeded");
    shoal("push -q 127.0.0.1:5000/greeter:1");

    stage.write(
        "app.yml",
        "services:\n  web:\n    image: 127.0.0.1:5000/greeter:1\n    deploy: {update_config: {monitor: 1ms}}\n",
    );
    let image = || shoal("service inspect app_web --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}'");
    shoal("stack deploy -q --with-registry-auth --resolve-image never -c app.yml app");
    assert_eq!(image(), "127.0.0.1:5000/greeter:1");
    shoal("stack deploy -q --with-registry-auth -c app.yml app");
    let pinned = image();
    assert!(pinned.starts_with("127.0.0.1:5000/greeter:1@sha256:"), "{pinned}");
    let container = stage.lab.container(MACHINE, "app_web");
    for how in ["changed", "never", "always"] {
        shoal(&format!("stack deploy -q --resolve-image {how} -c app.yml app"));
        assert_eq!((image(), stage.lab.container(MACHINE, "app_web")), (pinned.clone(), container.clone()), "{how}");
    }
    // SIGKILL for the child that this test started.
    registry.kill().unwrap();
    registry.wait().unwrap();
    shoal("stack deploy -q -c app.yml app");
    assert_eq!(
        (image(), stage.lab.container(MACHINE, "app_web")),
        (pinned, container),
        "a silent registry rolls nothing"
    );

    assert_eq!(shoal("logout 127.0.0.1:5000"), "Removing login credentials for 127.0.0.1:5000");
    let kept = std::fs::read_to_string(stage.path("client/config.json")).unwrap();
    assert!(!kept.contains("127.0.0.1:5000"), "{kept}");
    shoal("stack rm app");
    stage.lab.end();
}
