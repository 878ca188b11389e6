use crate::{load, refused, web};
use model::*;
use std::time::Duration;

fn spec(lines: &str) -> ServiceSpec {
    load(&web(lines)).services["web"].spec.clone()
}

fn deploy(lines: &str) -> ServiceSpec {
    let lines: String = lines.lines().map(|l| format!("  {l}\n")).collect();
    spec(&format!("deploy:\n{lines}"))
}

#[test]
fn modes() {
    assert_eq!(deploy("mode: global").mode, ServiceMode::Global);
    assert_eq!(deploy("mode: global-job").mode, ServiceMode::GlobalJob);
    assert_eq!(deploy("mode: replicated\nreplicas: 0").mode, ServiceMode::Replicated { replicas: 0 });
    assert_eq!(
        deploy("mode: replicated-job\nreplicas: 4").mode,
        ServiceMode::ReplicatedJob { max_concurrent: 4, total_completions: 4 }
    );
    let e = refused(&web("deploy: {mode: global, replicas: 2}"));
    assert!(e.ends_with("replicas can only be used with replicated or replicated-job mode"), "{e}");
    assert!(refused(&web("deploy: {mode: some}")).ends_with("Unknown mode: some"));
}

#[test]
fn updates_and_rollbacks() {
    let s = deploy(
        "update_config:\n  parallelism: 2\n  delay: 10s\n  failure_action: rollback\n  monitor: 1m\n  max_failure_ratio: 0.25\n  order: start-first\nrollback_config:\n  parallelism: 0",
    );
    let wanted = UpdateConfig {
        parallelism: 2,
        delay: Duration::from_secs(10),
        failure_action: FailureAction::Rollback,
        monitor: Duration::from_secs(60),
        max_failure_ratio: 0.25,
        order: UpdateOrder::StartFirst,
    };
    assert_eq!(s.update, Some(wanted));
    assert_eq!(s.rollback, Some(UpdateConfig { parallelism: 0, ..Default::default() }));
    assert_eq!(deploy("update_config: {order: stop-first}").update.unwrap().parallelism, 1);
}

#[test]
fn resources_and_placement() {
    let s = deploy(
        "endpoint_mode: dnsrr\nlabels: [a=b]\nresources:\n  limits: {cpus: '0.50', memory: 50M, pids: 10}\n  reservations:\n    cpus: 0.25\n    memory: 20M\n    generic_resources:\n      - discrete_resource_spec: {kind: gpu, value: 2}\nplacement:\n  constraints: [node.role == manager]\n  preferences: [{spread: node.labels.zone}]\n  max_replicas_per_node: 3",
    );
    assert_eq!(s.endpoint.unwrap().mode, ResolutionMode::DnsRr);
    assert_eq!(s.labels["a"], "b");
    let r = &s.task.resources;
    assert_eq!((r.limits.nano_cpus, r.limits.memory_bytes, r.limits.pids), (500_000_000, 50 << 20, 10));
    assert_eq!((r.reservations.nano_cpus, r.reservations.memory_bytes), (250_000_000, 20 << 20));
    assert_eq!(r.reservations.generic, [GenericResource::Discrete { kind: "gpu".into(), value: 2 }]);
    let p = &s.task.placement;
    assert_eq!((p.constraints.len(), p.preferences[0].as_str(), p.max_replicas), (1, "node.labels.zone", 3));
}

#[test]
fn restarts() {
    let condition = |lines: &str| spec(lines).task.restart.map(|r| (r.condition, r.max_attempts));
    use RestartCondition::*;
    assert_eq!(condition(""), Option::None);
    assert_eq!(condition("restart: always"), Some((Any, 0)));
    assert_eq!(condition("restart: unless-stopped"), Some((Any, 0)));
    assert_eq!(condition("restart: on-failure:3"), Some((OnFailure, 3)));
    assert_eq!(condition("restart: \"no\""), Some((None, 0)));
    assert_eq!(condition("restart: no"), Some((None, 0)));
    assert_eq!(condition("restart: always\ndeploy: {restart_policy: {condition: none}}"), Some((None, 0)));
    assert!(refused(&web("restart: sometimes")).ends_with("unknown restart policy: sometimes"));
    let full = deploy("restart_policy: {condition: on-failure, delay: 1s, max_attempts: 2, window: 2m}").task.restart;
    let wanted = RestartPolicy {
        condition: OnFailure,
        delay: Duration::from_secs(1),
        max_attempts: 2,
        window: Some(Duration::from_secs(120)),
    };
    assert_eq!(full, Some(wanted));
}
