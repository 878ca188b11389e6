//! Networks of one machine, as the genuine CLI uses them: joined ones, changed ones, missing ones.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};

const HOST: &str = "vm-local";

#[test]
fn containers_share_change_and_miss_networks() {
    let lab = TestLab::swarm(&[HOST]);
    let on = |line: &str| lab.on(HOST, line);
    let interfaces = |name: &str| {
        let listed = on(&format!("docker exec {name} ip -o -4 addr"));
        listed.lines().filter_map(|l| l.split_whitespace().nth(1)).filter(|i| *i != "lo").count()
    };

    // Who joins another's network has its name and its files too.
    on(&format!("docker run -d --name first -h told --add-host far:10.1.2.3 {IMAGE} sleep 1000"));
    let join = format!("docker run --rm --network container:first {IMAGE}");
    assert_eq!(on(&format!("{join} hostname")), "told");
    assert_eq!(on(&format!("{join} cat /etc/hosts")), on("docker exec first cat /etc/hosts"));
    assert_eq!(on(&format!("{join} cat /etc/resolv.conf")), on("docker exec first cat /etc/resolv.conf"));
    lab.refused(
        HOST,
        &format!("docker run --rm --network container:first -p 80:80 {IMAGE} true"),
        "conflicting options: port publishing and the container type network mode",
    );

    // What is missing is told as such; no client goes and pulls the image.
    lab.refused(HOST, &format!("docker run --network nowhere {IMAGE} true"), "network nowhere not found");
    lab.refused(HOST, &format!("docker run --pid container:nobody {IMAGE} true"), "No such container: nobody");

    // An overlay gives a container no way out that it has already, and gives it one when it has lost its own.
    on("docker network create -d overlay --attachable wide");
    on("docker network create near");
    on(&format!("docker run -d --name walker --network near {IMAGE} sleep 1000"));
    on("docker network connect wide walker");
    assert_eq!(interfaces("walker"), 2);
    on("docker network disconnect near walker");
    assert_eq!(interfaces("walker"), 2);
    assert!(on("docker exec walker ip route").contains("default via"));
    on("docker network connect near walker");
    assert_eq!(interfaces("walker"), 2);
    lab.refused(HOST, "docker network disconnect bridge walker", "is not connected to network bridge");
    lab.refused(HOST, "docker network connect host walker", "connected to host network");

    // A macvlan container is on the parent's wire.
    on("ip link add wire type bridge && ip link set wire up");
    on("docker network create -d macvlan -o parent=wire --subnet 10.77.5.0/24 vlan");
    let address = on(&format!("docker run --rm --network vlan {IMAGE} ip -o -4 addr show eth0"));
    assert!(address.contains("10.77.5.2/24"), "{address}");

    on("docker rm -f first walker && docker container prune -f");
    on("docker network rm wide near vlan && ip link del wire");
    lab.end();
}
