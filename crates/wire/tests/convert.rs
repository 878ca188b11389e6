//! Nothing that the model holds is lost on the way out and in; what it cannot hold is refused by name.
use model::NetworkTarget;
use serde_json::json;
use wire::engine::service::ServiceSpec;
use wire::engine::{convert, lenient, network::NetworkCreate};
use wire::{Refusal, RefusalKind};

fn resolve(name: &str) -> Result<NetworkTarget, Refusal> {
    match name {
        "host" => Ok(NetworkTarget::Predefined("host".into())),
        id => id.parse().map(NetworkTarget::Swarm).map_err(|_| Refusal::not_found(format!("network {id} not found"))),
    }
}

fn spec(v: serde_json::Value) -> Result<model::ServiceSpec, Refusal> {
    convert::service_spec_in(&lenient::from_value::<ServiceSpec>(v).unwrap(), &resolve)
}

#[test]
fn a_full_service_survives_the_round_trip() {
    let id = "a".repeat(25);
    let full = json!({
        "Name":"web","Labels":{"a":"b"},
        "TaskTemplate":{
            "ContainerSpec":{"Image":"busybox:latest","Labels":{"c":"d"},"Command":["sh"],"Args":["-c","x"],"Hostname":"h-{{.Task.Slot}}",
                "Env":["A=b"],"Dir":"/w","User":"1:2","Groups":["g"],"Privileges":{"NoNewPrivileges":true,"Seccomp":{"Mode":"custom","Profile":"e30="},"AppArmor":{"Mode":"disabled"},"SELinuxContext":{"Disable":true}},
                "Init":true,"StopSignal":"SIGINT","TTY":true,"OpenStdin":true,"ReadOnly":true,
                "Mounts":[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rshared","CreateMountpoint":true}},
                    {"Type":"volume","Source":"v","Target":"/v","VolumeOptions":{"NoCopy":true,"Labels":{"l":"1"},"Subpath":"s","DriverConfig":{"Name":"local","Options":{"o":"x"}}}},
                    {"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1024,"Mode":448}}],
                "StopGracePeriod":3000000000i64,"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1,"Timeout":2,"StartPeriod":3,"StartInterval":4,"Retries":5},
                "Hosts":["1.2.3.4 x"],"DNSConfig":{"Nameservers":["1.1.1.1"],"Search":["s"],"Options":["o"]},
                "Secrets":[{"SecretID":id,"SecretName":"s","File":{"Name":"t","UID":"0","GID":"0","Mode":256}}],
                "Configs":[{"ConfigID":id,"ConfigName":"c","File":{"Name":"/c","UID":"1","GID":"1","Mode":292}}],
                "Sysctls":{"net.x":"1"},"CapabilityAdd":["CAP_A"],"CapabilityDrop":["CAP_B"],"Ulimits":[{"Name":"nofile","Hard":2,"Soft":1}],"OomScoreAdj":7},
            "Resources":{"Limits":{"NanoCPUs":500000000,"MemoryBytes":67108864,"Pids":9},"Reservations":{"NanoCPUs":1,"MemoryBytes":2,
                "GenericResources":[{"NamedResourceSpec":{"Kind":"g","Value":"u"}},{"DiscreteResourceSpec":{"Kind":"h","Value":3}}]},"SwapBytes":-1,"MemorySwappiness":10},
            "RestartPolicy":{"Condition":"on-failure","Delay":1000000000,"MaxAttempts":3,"Window":0},
            "Placement":{"Constraints":["node.role == manager"],"Preferences":[{"Spread":{"SpreadDescriptor":"node.labels.z"}}],"MaxReplicas":2,"Platforms":[{"Architecture":"amd64","OS":"linux"}]},
            "Networks":[{"Target":id,"Aliases":["w"],"DriverOpts":{"k":"v"}},{"Target":"host"}],
            "LogDriver":{"Name":"json-file","Options":{"max-size":"1m"}},"ForceUpdate":4,"Runtime":"container"},
        "Mode":{"Replicated":{"Replicas":5}},
        "UpdateConfig":{"Parallelism":2,"Delay":1,"FailureAction":"rollback","Monitor":9,"MaxFailureRatio":0.5,"Order":"start-first"},
        "RollbackConfig":{"Parallelism":0,"FailureAction":"continue","Order":"stop-first"},
        "EndpointSpec":{"Mode":"dnsrr","Ports":[{"Name":"p","Protocol":"udp","TargetPort":53,"PublishedPort":5353,"PublishMode":"host","HostIP":"10.0.0.9"}]}
    });
    let model = spec(full).unwrap();
    let shown = convert::service_spec_out(&model);
    assert_eq!(shown.task_template.networks[0].target, id);
    assert_eq!(shown.task_template.restart_policy.as_ref().unwrap().window, Some(0), "told, though it means nothing");
    let again =
        convert::service_spec_in(&lenient::from_value(serde_json::to_value(&shown).unwrap()).unwrap(), &resolve)
            .unwrap();
    assert_eq!(model, again);
}

#[test]
fn what_cannot_be_held_is_refused_by_name() {
    let with = |c: serde_json::Value| spec(json!({"Name":"w","TaskTemplate":{"ContainerSpec":c}})).unwrap_err();
    for (c, word) in [
        (json!({"Mounts":[{"Type":"cluster","Target":"/x"}]}), "cluster"),
        (json!({"Mounts":[{"Type":"bind","Target":"/x","BindOptions":{"NonRecursive":true}}]}), "NonRecursive"),
        (json!({"Privileges":{"CredentialSpec":{"File":"x"}}}), "CredentialSpec"),
        (json!({"Configs":[{"ConfigID":"x","Runtime":{}}]}), "Runtime"),
    ] {
        let e = with(c);
        assert_eq!(e.kind, RefusalKind::Unimplemented);
        assert!(e.message.contains(word), "{e}");
    }
    assert_eq!(spec(json!({"TaskTemplate":{"Runtime":"plugin"}})).unwrap_err().kind, RefusalKind::Unimplemented);
    assert_eq!(spec(json!({"EndpointSpec":{"Ports":[{"TargetPort":70000}]}})).unwrap_err().kind, RefusalKind::Invalid);
    assert_eq!(spec(json!({"Networks":[{"Target":"nope"}]})).unwrap_err().kind, RefusalKind::NotFound);
}

#[test]
fn a_network_is_parsed_or_refused_in_docker_s_words() {
    let create = |v| convert::network_spec_in(&lenient::from_value::<NetworkCreate>(v).unwrap());
    let n = create(json!({"Name":"n","Driver":"overlay","Attachable":true,"IPAM":{"Config":[{"Subnet":"10.77.0.0/24","Gateway":"10.77.0.254"}]}})).unwrap();
    assert!(n.ipv4 && !n.ipv6 && n.attachable);
    assert_eq!(n.ipam[0].gateway.unwrap().to_string(), "10.77.0.254");
    let e = create(json!({"Name":"n","Driver":"overlay","IPAM":{"Config":[{"Subnet":"10.0.0.1/24"}]}})).unwrap_err();
    assert_eq!(e.message, "invalid network config:\ninvalid subnet 10.0.0.1/24: it should be 10.0.0.0/24");
    assert_eq!(
        create(json!({"Name":"n","Driver":"macvlan","Scope":"swarm"})).unwrap_err().kind,
        RefusalKind::Unimplemented
    );
}

#[test]
fn swarm_settings_are_merged_not_replaced() {
    let mut base = model::ClusterSpec { task_history_limit: 3, ..Default::default() };
    let wish = lenient::from_value(json!({"Dispatcher":{"HeartbeatPeriod":6000000000i64}})).unwrap();
    convert::cluster_spec_merge(&mut base, &wish).unwrap();
    assert_eq!((base.task_history_limit, base.dispatcher_heartbeat.as_secs()), (3, 6));
    let mut again = model::ClusterSpec::default();
    convert::cluster_spec_merge(&mut again, &convert::cluster_spec_out(&base)).unwrap();
    assert_eq!(base, again);
    let rotate = lenient::from_value(json!({"CAConfig":{"ForceRotate":1}})).unwrap();
    convert::cluster_spec_merge(&mut base, &rotate).unwrap();
    assert_eq!(base.force_rotate, 1);
    let rotate = lenient::from_value(json!({"CAConfig":{"SigningCACert":"x"}})).unwrap();
    assert_eq!(convert::cluster_spec_merge(&mut base, &rotate).unwrap_err().kind, RefusalKind::Invalid);
    let own =
        lenient::from_value(json!({"CAConfig":{"SigningCACert":"x","SigningCAKey":"y","ForceRotate":1}})).unwrap();
    convert::cluster_spec_merge(&mut base, &own).unwrap();
    // It is shown without its key, and comes back like that.
    let shown = convert::cluster_spec_out(&base);
    assert_eq!((shown.ca_config.signing_ca_cert.as_str(), shown.ca_config.signing_ca_key.as_str()), ("x\n", ""));
    convert::cluster_spec_merge(&mut base, &shown).unwrap();
    assert_eq!(base.signing_ca_cert, "x\n");
    let fresh = lenient::from_value(json!({"CAConfig":{"ForceRotate":2}})).unwrap();
    convert::cluster_spec_merge(&mut base, &fresh).unwrap();
    assert_eq!(base.signing_ca_cert, "");
}

/// What a client is shown and sends back must be the same spec, or every `service scale` would replace all tasks.
#[test]
fn a_spec_that_is_sent_back_as_it_was_shown_has_not_changed() {
    let sent = r#"{"Name":"w","TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest","Args":["sleep","9"],"DNSConfig":{}},
        "Resources":{},"RestartPolicy":{"Delay":1000000000},"Placement":{},"ForceUpdate":0},
        "Mode":{"Replicated":{"Replicas":5}},"EndpointSpec":{"Mode":"vip"}}"#;
    let resolve = |_: &str| unreachable!("no networks");
    let body: ServiceSpec = lenient::from_slice(sent.as_bytes()).unwrap();
    let first = convert::service_spec_in(&body, &resolve).unwrap();
    let shown = serde_json::to_vec(&convert::service_spec_out(&first)).unwrap();
    let back: ServiceSpec = lenient::from_slice(&shown).unwrap();
    assert_eq!(convert::service_spec_in(&back, &resolve).unwrap(), first);
}
