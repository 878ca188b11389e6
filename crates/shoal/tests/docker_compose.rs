//! The genuine docker-compose 1.29: two services, one of them built, networks, volumes, ports, order, scale, logs, exec,
//! and everything taken away again.
#![forbid(unsafe_code)]
mod lab;

use lab::TestLab;
use std::path::Path;
use std::time::Duration;

const HOST: &str = "vm-compose";
const SOON: Duration = Duration::from_secs(30);

const COMPOSE: &str = r#"
version: "3.7"
services:
  web:
    build:
      context: ./web
      args: { WORD: built-by-compose }
    image: shop/web:1
    depends_on: [store]
    networks: [front, back]
    links: ["store:warehouse"]
    ports: ["8080"]
    environment: [STORE=store]
    volumes: ["pages:/www/pages"]
  store:
    image: shoal/greeter
    command: sh -c "trap 'exit 0' TERM; echo stored > /data/x; echo store ready; nc -ll -p 7000 -e cat /data/x & wait"
    networks: [back]
    volumes: ["data:/data", "/scratch"]
networks:
  front:
  back:
    internal: true
volumes:
  pages:
  data:
"#;

const DOCKERFILE: &str = r#"
ARG BASE=shoal/greeter
FROM ${BASE} AS pages
ARG WORD
RUN mkdir -p /out && echo "$WORD" > /out/index.html
FROM ${BASE}
COPY --from=pages /out /www
COPY . /context
COPY --chown=7:8 greet.sh /bin/
WORKDIR /www
EXPOSE 8080
CMD ["/bin/web"]
"#;

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_two_service_file_from_build_to_down() {
    let lab = TestLab::new(&[HOST]);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "docker-compose.yml", COMPOSE);
    write(dir.path(), "web/Dockerfile", DOCKERFILE);
    write(dir.path(), "web/greet.sh", "nc \"$STORE\" 7000 </dev/null\n");
    write(dir.path(), "web/secret.log", "must stay at home\n");
    write(dir.path(), "web/.dockerignore", "*.log\nDockerfile\n");
    let at = dir.path().display();
    let compose = |words: &str| {
        lab.on(HOST, &format!("cd {at} && env -u DOCKER_HOST COMPOSE_PROJECT_NAME=shop docker-compose {words} 2>&1"))
    };

    let built = compose("build");
    assert!(built.contains("Successfully tagged shop/web:1"), "{built}");
    let again = compose("build");
    assert_eq!(again.matches("Using cache").count(), 8, "every step is found again: {again}");
    assert_eq!(lab.on(HOST, "docker run --rm shop/web:1 ls -A /context"), ".dockerignore\ngreet.sh");
    assert_eq!(lab.on(HOST, "docker run --rm shop/web:1 stat -c %u:%g /bin/greet.sh"), "7:8");

    compose("up -d");
    let listed = compose("ps");
    assert_eq!(listed.lines().filter(|l| l.starts_with("shop_") && l.contains("Up")).count(), 2, "{listed}");
    let port = compose("port web 8080");
    let port = port.trim().rsplit(':').next().unwrap().to_owned();
    lab.until("the published port answers", SOON, || {
        let said = lab.say(HOST, &format!("curl -sS -m 5 http://127.0.0.1:{port}/index.html"));
        if said.out == "built-by-compose" { Ok(()) } else { Err(format!("{said:?}")) }
    });
    lab.until("the other service answers by its name", SOON, || {
        let said =
            lab.say(HOST, &format!("cd {at} && COMPOSE_PROJECT_NAME=shop docker-compose exec -T web sh /bin/greet.sh"));
        if said.out == "stored" { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let logs = compose("logs --no-color");
    assert!(logs.contains("store_1  | store ready") && logs.contains("web_1    | serving"), "{logs}");

    // A name that only this service uses, of a neighbour on one of its two networks.
    assert_eq!(compose("exec -T web sh -c 'nc warehouse 7000 </dev/null'").trim(), "stored");

    // A changed service is made anew, and keeps what its unnamed volumes hold.
    write(dir.path(), "docker-compose.yml", &COMPOSE.replace("STORE=store", "STORE=warehouse"));
    compose("exec -T store sh -c 'echo remembered > /scratch/note'");
    let recreated = compose("up -d --force-recreate");
    assert!(recreated.contains("Recreating shop_web_1"), "{recreated}");
    assert_eq!(compose("exec -T store cat /scratch/note").trim(), "remembered");
    lab.until("the new one answers, by its new environment", SOON, || {
        let said =
            lab.say(HOST, &format!("cd {at} && COMPOSE_PROJECT_NAME=shop docker-compose exec -T web sh /bin/greet.sh"));
        if said.out == "stored" { Ok(()) } else { Err(format!("{said:?}")) }
    });

    compose("up -d --scale store=3");
    assert_eq!(compose("ps -q store").lines().count(), 3);
    compose("restart store");
    compose("stop store");
    assert_eq!(lab.on(HOST, "docker ps -q --filter label=com.docker.compose.service=store"), "");
    compose("start store");
    assert_eq!(compose("run --rm web cat /www/index.html").lines().last(), Some("built-by-compose"));
    let named = lab.on(HOST, "docker volume ls -q | grep shop");
    assert_eq!(named.lines().collect::<Vec<_>>(), ["shop_data", "shop_pages"]);

    compose("down -v --rmi all");
    // What was handed on to the next container by its name is nobody's.
    lab.on(HOST, "docker volume prune -f");
    assert_eq!(lab.on(HOST, "docker ps -aq"), "");
    assert_eq!(lab.on(HOST, "docker volume ls -q"), "");
    let networks = lab.on(HOST, "docker network ls --format '{{.Name}}'");
    assert_eq!(networks.lines().collect::<Vec<_>>(), ["bridge", "host", "none"]);
    assert!(!lab.on(HOST, "docker images --format '{{.Repository}}'").contains("shop/web"));
    lab.end();
}

/// What a build says, in the clients' words, and what it leaves behind.
#[test]
fn builds_that_fail_say_why_and_leave_nothing() {
    let lab = TestLab::new(&[HOST]);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    write(dir.path(), "f", "f\n");
    for (text, because) in [
        ("FROM shoal/greeter\nRUN exit 7\n", "The command '/bin/sh -c exit 7' returned a non-zero code: 7"),
        (
            "FROM shoal/greeter\nRUNN x\n",
            "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)",
        ),
        (
            "FROM shoal/greeter\nCOPY none /\n",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat none",
        ),
        ("FROM shoal/greeter\nCOPY ../f /\n", "forbidden path outside the build context"),
        ("FROM shoal/greeter\nRUN --mount=type=cache,target=/x true\n", "the --mount option requires BuildKit"),
        ("FROM scratch\nRUN x\n", "RUN needs an image with a program in it"),
        ("FROM shoal/greeter\nCOPY --from=1 /a /b\n", "index out of bounds"),
    ] {
        write(dir.path(), "Dockerfile", text);
        lab.refused(HOST, &format!("DOCKER_BUILDKIT=0 docker build --force-rm -t bad {at}"), because);
        assert_eq!(lab.on(HOST, "docker ps -aq"), "", "{text}");
        lab.refused(HOST, "docker image inspect bad", "No such image");
    }
    // Our own client, with a Dockerfile from its standard input: alone, and beside a context.
    lab.on(HOST, "printf 'FROM shoal/greeter\nCMD echo alone\n' | shoal build -q -t alone -");
    assert_eq!(lab.on(HOST, "docker run --rm alone"), "alone");
    lab.on(HOST, &format!("printf 'FROM shoal/greeter\nCOPY f /f\nCMD cat /f\n' | shoal build -q -t beside -f - {at}"));
    assert_eq!(lab.on(HOST, "shoal run --rm beside"), "f");
    // A client that goes away takes its build along.
    write(dir.path(), "Dockerfile", "FROM shoal/greeter\nRUN sleep 1000\n");
    lab.say(HOST, &format!("DOCKER_BUILDKIT=0 timeout 3 docker build {at}"));
    lab.until("the container of the given-up build is gone", SOON, || match lab.on(HOST, "docker ps -aq").as_str() {
        "" => Ok(()),
        left => Err(left.to_owned()),
    });
    lab.end();
}
