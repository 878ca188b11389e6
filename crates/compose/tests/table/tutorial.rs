use crate::load;
use compose::{Names, StackObject};
use model::*;

const FILE: &str = r#"
version: "3"
services:
  dataservice:
    image: web
    deploy: { replicas: 5, restart_policy: { condition: on-failure } }
    ports: ["4000:8080"]
    networks: [data-network]
  redis:
    image: redis
    ports: ["6379:6379"]
    deploy: { placement: { constraints: [node.role == manager] } }
    networks: [data-network]
networks:
  data-network:
"#;

#[test]
fn the_tutorials_stack() {
    let stack = load(FILE);
    assert!(stack.warnings.is_empty());
    let StackObject::Own(network) = &stack.networks["app_data-network"] else { panic!() };
    assert_eq!((network.driver.as_str(), network.ipv4, network.attachable), ("overlay", true, false));
    assert_eq!(network.labels, [("com.docker.stack.namespace".to_owned(), "app".to_owned())].into());
    assert_eq!(stack.networks.len(), 1, "the default network is not made when nobody uses it");

    let data = &stack.services["dataservice"];
    assert_eq!(data.spec.name, "app_dataservice");
    assert_eq!(data.spec.labels["com.docker.stack.image"], "web");
    assert_eq!(data.spec.labels["com.docker.stack.namespace"], "app");
    assert_eq!(data.spec.mode, ServiceMode::Replicated { replicas: 5 });
    assert_eq!(data.spec.task.restart.as_ref().unwrap().condition, RestartCondition::OnFailure);
    assert_eq!(data.spec.endpoint.as_ref().unwrap().ports[0].published_port, 4000);
    assert_eq!(
        (data.networks[0].network.as_str(), data.networks[0].aliases.as_slice()),
        ("app_data-network", &["dataservice".to_owned()][..])
    );
    let redis = &stack.services["redis"];
    assert_eq!(redis.spec.task.placement.constraints, ["node.role == manager"]);
}

#[test]
fn names_become_ids() {
    struct Known;
    impl Names for Known {
        fn network(&self, name: &str) -> Option<NetworkTarget> {
            (name == "app_data-network").then(|| NetworkTarget::Swarm(NetworkId::from_random([7; 17])))
        }
        fn secret(&self, _: &str) -> Option<(SecretId, String)> {
            None
        }
        fn config(&self, _: &str) -> Option<(ConfigId, String)> {
            None
        }
    }
    let mut service = load(FILE).services["redis"].clone();
    let spec = service.resolve(&Known).unwrap();
    assert_eq!(spec.task.networks[0].target, NetworkTarget::Swarm(NetworkId::from_random([7; 17])));
    assert_eq!(spec.task.networks[0].aliases, ["redis"]);
    service.networks[0].network = "other".into();
    assert_eq!(service.resolve(&Known).unwrap_err(), "network other not found");
}
