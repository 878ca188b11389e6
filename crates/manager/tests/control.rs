//! What users are refused, with Docker's words and statuses.
mod support;

use manager::Manager;
use manager::control::AttachRequest;
use model::{
    ConfigSpec, EndpointSpec, Mount, NetworkAttachmentConfig, NetworkSpec, NetworkTarget, NodeRole, NodeSpec,
    PortConfig, PublishMode, ResourceRequirements, Resources, SecretReference, SecretSpec, ServiceMode, ServiceSpec,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;
use wire::{Refusal, RefusalKind::*};

fn port(published: u16, mode: PublishMode) -> PortConfig {
    PortConfig { target_port: 80, published_port: published, publish_mode: mode, ..Default::default() }
}

fn publishing(name: &str, ports: Vec<PortConfig>) -> ServiceSpec {
    ServiceSpec { endpoint: Some(EndpointSpec { ports, ..Default::default() }), ..service(name, 1) }
}

fn on(name: &str, network: &str) -> ServiceSpec {
    let mut spec = service(name, 1);
    spec.task.networks = vec![NetworkAttachmentConfig {
        target: NetworkTarget::Predefined(network.into()),
        aliases: Vec::new(),
        driver_opts: Default::default(),
        addresses: Vec::new(),
    }];
    spec
}

#[track_caller]
fn refused<T: std::fmt::Debug>(done: Result<T, Refusal>, kind: wire::RefusalKind, text: &str) {
    let refusal = done.expect_err("it should have been refused");
    assert_eq!((refusal.kind, refusal.message.as_str()), (kind, text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services() {
    let (_dir, m) = swarm().await;
    let c = m.control();
    let rpc = "rpc error: code = InvalidArgument desc =";
    let id = c.create_service(publishing("web", vec![port(8080, PublishMode::Ingress)])).await.unwrap();
    refused(
        c.create_service(service("WEB", 1)).await,
        Conflict,
        "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service WEB already exists",
    );
    let held = format!("{rpc} port '8080' is already in use by service 'web' ({id}) as an ingress port");
    refused(c.create_service(publishing("b", vec![port(8080, PublishMode::Ingress)])).await, Invalid, &held);
    refused(c.create_service(publishing("b", vec![port(8080, PublishMode::Host)])).await, Invalid, &held);
    let host = c.create_service(publishing("h", vec![port(9000, PublishMode::Host)])).await.unwrap();
    refused(
        c.create_service(publishing("b", vec![port(9000, PublishMode::Ingress)])).await,
        Invalid,
        &format!("{rpc} port '9000' is already in use by service 'h' ({host}) as a host-published port"),
    );
    c.create_service(publishing("h2", vec![port(9000, PublishMode::Host)])).await.unwrap();
    let twice = vec![port(7, PublishMode::Ingress), port(7, PublishMode::Ingress)];
    let text = format!("{rpc} EndpointSpec: duplicate published ports provided");
    refused(c.create_service(publishing("b", twice)).await, Invalid, &text);
    let text = format!("{rpc} name must be valid as a DNS name component");
    refused(c.create_service(service("a.b", 1)).await, Invalid, &text);
    let mut no_image = service("b", 1);
    no_image.task.container = Some(Default::default());
    refused(
        c.create_service(no_image).await,
        Invalid,
        &format!("{rpc} ContainerSpec: image reference must be provided"),
    );
    let mut mounts = service("b", 1);
    let mount = Mount { target: "/data".into(), ..Default::default() };
    mounts.task.container.as_mut().unwrap().mounts = vec![mount.clone(), mount];
    refused(c.create_service(mounts).await, Invalid, &format!("{rpc} ContainerSpec: duplicate mount point: /data"));
    let mut small = service("b", 1);
    let limits = Resources { nano_cpus: 1, ..Default::default() };
    small.task.resources = ResourceRequirements { limits, ..Default::default() };
    refused(
        c.create_service(small.clone()).await,
        Invalid,
        &format!("{rpc} invalid cpu value 1e-09: Must be at least 0.001"),
    );
    small.task.resources.limits = Resources { memory_bytes: 5, ..Default::default() };
    refused(c.create_service(small).await, Invalid, &format!("{rpc} invalid memory value 5: Must be at least 4MiB"));

    refused(c.create_service(on("b", "nowhere")).await, NotFound, "network nowhere not found");
    let text = format!("{rpc} Service cannot be explicitly attached to the ingress network \"ingress\"");
    refused(c.create_service(on("b", "ingress")).await, Invalid, &text);
    c.set_local_networks(Arc::new(|n| (n == "mybridge").then(|| "mybridge".to_owned())));
    refused(
        c.create_service(on("b", "mybridge")).await,
        Forbidden,
        "The network mybridge cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver.",
    );
    c.create_service(on("onhost", "host")).await.unwrap();

    let web = c.find_service("web").unwrap();
    assert_eq!(c.find_service(&id.as_str()[..10]).unwrap().id, id);
    refused(c.find_service("nothing"), NotFound, "service nothing not found");
    assert_eq!(web.ports[0].published_port, 8080);
    let version = |name: &str| c.find_service(name).unwrap().meta.version;
    let mut renamed = web.spec.clone();
    renamed.name = "other".into();
    refused(
        c.update_service("web", version("web"), renamed).await,
        Unimplemented,
        "rpc error: code = Unimplemented desc = renaming services is not supported",
    );
    let mut global = web.spec.clone();
    global.mode = ServiceMode::Global;
    refused(
        c.update_service("web", version("web"), global).await,
        Unimplemented,
        "rpc error: code = Unimplemented desc = service mode change is not allowed",
    );
    let outdated = c.update_service("web", 999_999, web.spec.clone()).await;
    refused(outdated, Internal, "rpc error: code = Unknown desc = update out of sequence");
    refused(
        c.rollback_service("web", version("web")).await,
        Invalid,
        "rpc error: code = FailedPrecondition desc = service web does not have a previous spec",
    );
    let mut more = web.spec.clone();
    more.mode = ServiceMode::Replicated { replicas: 3 };
    more.endpoint.as_mut().unwrap().ports[0].published_port = 8081;
    c.update_service("web", version("web"), more.clone()).await.unwrap();
    let now = c.find_service("web").unwrap();
    assert_eq!(now.previous_spec.as_deref(), Some(&web.spec));
    assert_eq!(now.ports[0].published_port, 8081);
    c.rollback_service("web", version("web")).await.unwrap();
    let now = c.find_service("web").unwrap();
    assert_eq!((&now.spec, now.previous_spec.as_deref()), (&web.spec, Some(&more)));
    c.remove_service("web").await.unwrap();
    refused(c.remove_service("web").await, NotFound, "service web not found");
    m.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_and_attachments() {
    let (_dir, m) = swarm().await;
    let c = m.control();
    let named = |name: &str| NetworkSpec { name: name.into(), ..Default::default() };
    let a = c.create_network(named("a")).await.unwrap();
    let b = c.create_network(NetworkSpec { attachable: true, ..named("b") }).await.unwrap();
    let t = m.store().tables();
    let subnet = |id| t.network(id).unwrap().subnets[0].subnet.to_string();
    assert_eq!((subnet(&a), subnet(&b)), ("10.0.1.0/24".into(), "10.0.2.0/24".into()));
    drop(t);
    refused(c.create_network(named("a")).await, Conflict, "network with name a already exists");
    refused(
        c.create_network(named("bridge")).await,
        Forbidden,
        "operation is not permitted on predefined bridge network ",
    );
    let there = m.store().tables().ingress().unwrap().id.clone();
    refused(
        c.create_network(NetworkSpec { ingress: true, ..named("i") }).await,
        Conflict,
        &format!("rpc error: code = AlreadyExists desc = ingress network ({there}) is already present"),
    );
    let same = model::IpamConfig { subnet: Some("10.0.1.0/25".parse().unwrap()), ..Default::default() };
    refused(
        c.create_network(NetworkSpec { ipam: vec![same], ..named("c") }).await,
        Invalid,
        "rpc error: code = InvalidArgument desc = Pool overlaps with other one on this address space",
    );
    refused(c.remove_network("no-such").await, NotFound, "network no-such not found");

    let seen: Arc<Mutex<Seen>> = Arc::default();
    let node = tokio::spawn(obey(m.local_session(), seen, "boss", true));
    let attach = |network: &str| AttachRequest {
        network: network.into(),
        node: m.node_id(),
        container_id: "c".repeat(64),
        names: vec!["box".into()],
        addresses: Vec::new(),
    };
    refused(
        c.attach_container(attach("a")).await,
        Forbidden,
        "Could not attach to network a: rpc error: code = PermissionDenied desc = network a not manually attachable",
    );
    let task = tokio::time::timeout(Duration::from_secs(3), c.attach_container(attach("b"))).await.unwrap().unwrap();
    let (addr, prefix) = task.networks[0].addresses[0];
    assert!(addr.to_string().starts_with("10.0.2.") && prefix == 24, "{addr}");
    refused(
        c.remove_network("b").await,
        Invalid,
        &format!("rpc error: code = FailedPrecondition desc = network {b} is in use by task {}", task.id),
    );
    c.detach_container(&task.id).await.unwrap();
    c.detach_container(&task.id).await.unwrap();
    c.remove_network("b").await.unwrap();
    node.abort();
    m.demolish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_configs_and_nodes() {
    let (_dir, m): (_, Manager) = swarm().await;
    let c = m.control();
    let rpc = "rpc error: code = InvalidArgument desc =";
    let spec = |name: &str| SecretSpec { name: name.into(), data: vec![1], ..Default::default() };
    let id = c.create_secret(spec("key")).await.unwrap();
    refused(
        c.create_secret(spec("key")).await,
        Conflict,
        "rpc error: code = AlreadyExists desc = secret key already exists",
    );
    let big = SecretSpec { data: vec![0; 500 * 1024], ..spec("big") };
    refused(
        c.create_secret(big).await,
        Invalid,
        &format!("{rpc} secret data must be larger than 0 and less than 512000 bytes"),
    );
    let empty = ConfigSpec { name: "c".into(), ..Default::default() };
    refused(
        c.create_config(empty).await,
        Invalid,
        &format!("{rpc} config data must be larger than 0 and less than 1024000 bytes"),
    );
    c.create_config(ConfigSpec { name: "c".into(), data: vec![1], ..Default::default() }).await.unwrap();
    let version = c.find_secret("key").unwrap().meta.version;
    let other = SecretSpec { data: vec![2], ..spec("key") };
    refused(
        c.update_secret("key", version, other).await,
        Invalid,
        &format!("{rpc} only updates to Labels are allowed"),
    );
    let labelled = SecretSpec { labels: [("a".into(), "b".into())].into(), ..spec("key") };
    c.update_secret("key", version, labelled).await.unwrap();

    let mut user = service("web", 1);
    let uses = |id: &model::SecretId, name: &str| SecretReference { id: id.clone(), name: name.into(), file: None };
    let missing: model::SecretId = "0123456789012345678901234".parse().unwrap();
    user.task.container.as_mut().unwrap().secrets = vec![uses(&missing, "nope"), uses(&missing, "nope2")];
    refused(c.create_service(user.clone()).await, Invalid, &format!("{rpc} secrets not found: nope, nope2"));
    user.task.container.as_mut().unwrap().secrets = vec![uses(&id, "key")];
    c.create_service(user).await.unwrap();
    refused(
        c.remove_secret("key").await,
        Invalid,
        &format!("{rpc} secret 'key' is in use by the following service: web"),
    );
    c.remove_config("c").await.unwrap();

    let node = c.find_node("boss").unwrap();
    let worker = NodeSpec { role: NodeRole::Worker, ..node.spec.clone() };
    refused(
        c.update_node("self", node.meta.version, worker).await,
        Invalid,
        "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm",
    );
    let drained = NodeSpec { availability: model::Availability::Drain, ..node.spec.clone() };
    refused(
        c.update_node("boss", 999_999, drained.clone()).await,
        Internal,
        "rpc error: code = Unknown desc = update out of sequence",
    );
    let version = c.find_node("self").unwrap().meta.version;
    c.update_node("boss", version, drained).await.unwrap();
    m.demolish().await;
}
