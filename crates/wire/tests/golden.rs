//! What Docker always sends is always sent, in its spelling.
use serde_json::{Value, json};
use wire::engine::container::{ContainerConfig, ContainerSummary, HostConfig};
use wire::engine::network::Network;
use wire::engine::swarm::SwarmInfo;
use wire::engine::system::Info;
use wire::engine::{Time, volume::VolumeList};

fn keys(v: &Value) -> Vec<&str> {
    v.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn empty_things_have_the_fields_that_docker_sends() {
    assert_eq!(
        serde_json::to_value(SwarmInfo { local_node_state: "inactive".into(), ..Default::default() }).unwrap(),
        json!({"NodeID":"","NodeAddr":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":"","RemoteManagers":null})
    );
    assert_eq!(serde_json::to_value(VolumeList::default()).unwrap(), json!({"Volumes":[],"Warnings":null}));
    let n = serde_json::to_value(Network::default()).unwrap();
    assert_eq!(n["Containers"], json!({}));
    assert_eq!(n["IPAM"], json!({"Driver":"","Options":null,"Config":[]}));
    assert_eq!(n["Created"], json!("0001-01-01T00:00:00Z"));
    assert!(n.get("Peers").is_none());
    let s = serde_json::to_value(ContainerSummary::default()).unwrap();
    assert_eq!((&s["Ports"], &s["Labels"], &s["Mounts"]), (&json!([]), &json!({}), &json!([])));
    let c = serde_json::to_value(ContainerConfig::default()).unwrap();
    assert_eq!((&c["Cmd"], &c["Entrypoint"], &c["Volumes"]), (&Value::Null, &Value::Null, &Value::Null));
    let h = serde_json::to_value(HostConfig::default()).unwrap();
    for key in
        ["CpuShares", "NanoCpus", "UTSMode", "ShmSize", "OomKillDisable", "PidsLimit", "IOMaximumIOps", "MaskedPaths"]
    {
        assert!(h.get(key).is_some(), "{key} in {:?}", keys(&h));
    }
    let i = serde_json::to_value(Info::default()).unwrap();
    for key in
        ["ID", "NCPU", "MemTotal", "SecurityOptions", "Runtimes", "Warnings", "IndexServerAddress", "OSType", "Swarm"]
    {
        assert!(i.get(key).is_some(), "{key}");
    }
    assert_eq!(i["Plugins"]["Authorization"], Value::Null);
}

#[test]
fn times_are_rfc_3339_with_nanoseconds() {
    let t: Time = "2024-05-06T07:08:09.123456789Z".parse().unwrap();
    assert_eq!(t.to_string(), "2024-05-06T07:08:09.123456789Z");
    assert_eq!("2024-05-06T09:08:09.123456789+02:00".parse::<Time>().unwrap(), t);
    assert_eq!(Time::default().to_string(), "0001-01-01T00:00:00Z");
    assert!("yesterday".parse::<Time>().is_err());
}
