//! Reading is as lenient as Go's, whatever a client sends.
use wire::engine::container::{ContainerConfig, ContainerCreateBody};
use wire::engine::service::ServiceSpec;
use wire::engine::swarm::SwarmInit;
use wire::engine::{Filters, lenient};

#[test]
fn keys_have_no_case_and_null_is_zero() {
    let spec: ServiceSpec = lenient::from_slice(
        br#"{"name":"web","LABELS":null,"taskTemplate":{"containerspec":{"image":"busybox","healthcheck":{"test":["CMD","x"],"interval":1000},"Env":null}},
            "mode":{"replicated":{"replicas":3}},"Unknown":{"x":[1,2]}}"#,
    )
    .unwrap();
    let c = spec.task_template.container_spec.unwrap();
    assert_eq!((spec.name.as_str(), c.image.as_str()), ("web", "busybox"));
    assert_eq!(c.healthcheck.unwrap().interval, 1000);
    assert_eq!(spec.mode.replicated.unwrap().replicas, Some(3));
    // Keys of maps keep their case.
    let c: ContainerConfig = lenient::from_slice(br#"{"labels":{"Key":"v"},"volumes":{"/Data":null}}"#).unwrap();
    assert!(c.labels.contains_key("Key") && c.volumes.unwrap().contains_key("/Data"));
    let i: SwarmInit = lenient::from_slice(br#"{"AutoLockManagers":true,"Availability":"drain"}"#).unwrap();
    assert!(i.auto_lock_managers);
}

#[test]
fn a_create_body_of_every_client_is_read_whole() {
    let body = br#"{"Hostname":"h","Cmd":"echo hi","Entrypoint":["sh"],"Image":"busybox","ExposedPorts":{"80/tcp":{}},
        "Env":["A=b"],"HostConfig":{"Binds":["/a:/b"],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/tcp":null},
        "RestartPolicy":{"Name":"always"},"Dns":null,"ConsoleSize":[24,80],"Init":true,"PidsLimit":5,"NanoCpus":500000000},
        "NetworkingConfig":{"EndpointsConfig":{"net":null,"other":{"Aliases":["x"],"IPAMConfig":{"IPv4Address":"10.0.0.9"}}}}}"#;
    let b = ContainerCreateBody::from_slice(body).unwrap();
    assert_eq!(b.config.cmd.words(), ["echo hi"]);
    assert_eq!(b.host_config.port_bindings["80/tcp"].as_ref().unwrap()[0].host_port, "8080");
    assert!(b.host_config.port_bindings["81/tcp"].is_none());
    assert_eq!(b.host_config.console_size, (24, 80));
    assert!(b.networking_config.endpoints_config["net"].is_none());
    let again = ContainerCreateBody::from_slice(&serde_json::to_vec(&b).unwrap()).unwrap();
    assert_eq!(b, again);
}

#[test]
fn wrong_kinds_are_errors_not_surprises() {
    assert!(lenient::from_slice::<ServiceSpec>(br#"{"Name":5}"#).is_err());
    assert!(lenient::from_slice::<ServiceSpec>(br#"[1]"#).is_err());
    assert!(lenient::from_slice::<ServiceSpec>(br#"{"Mode":{"Replicated":{"Replicas":-1}}}"#).is_err());
    assert!(lenient::from_slice::<ServiceSpec>(b"{").is_err());
}

#[test]
fn filters_come_as_maps_and_as_lists() {
    let a = Filters::parse(Some(r#"{"name":{"web":true,"db":true}}"#)).unwrap();
    assert_eq!(a, Filters::parse(Some(r#"{"name":["db","web"]}"#)).unwrap());
    assert_eq!(Filters::parse(Some(&a.to_json())).unwrap(), a);
    assert_eq!(a.allow(&["label"]).unwrap_err().message, "invalid filter 'name'");
    assert!(Filters::parse(Some("[]")).is_err());
    assert!(Filters::parse(None).unwrap().is_empty());
}
