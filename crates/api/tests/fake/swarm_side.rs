//! The swarm's traits.
use super::*;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use wire::Refusal;
use wire::engine::diagnosis::{EchoReport, Finding, NodeFit};
use wire::engine::swarm::{SwarmInit, SwarmJoin, TlsInfo};

#[async_trait]
impl Swarm for Fake {
    async fn init(&self, _request: SwarmInit, spec: ClusterSpec) -> Answer<NodeId> {
        let (meta, id, node) = (self.meta(), self.swarm_id(), self.swarm_id::<NodeId>());
        let mut s = self.0.lock();
        s.role = SwarmRole::Manager;
        s.cluster = Some(Arc::new(Cluster {
            id,
            meta,
            spec,
            root_ca_cert: "PEM".into(),
            root_ca_key: "secret".into(),
            join_secret_worker: "w".into(),
            join_secret_manager: "m".into(),
            default_addr_pool: vec!["10.0.0.0/8".parse().unwrap()],
            subnet_size: 24,
            data_path_port: 4789,
            removed_nodes: BTreeMap::new(),
            unlock_key: None,
            rotation: None,
        }));
        s.nodes.push(Arc::new(Node {
            id: node.clone(),
            meta,
            spec: NodeSpec { role: NodeRole::Manager, ..Default::default() },
            description: Some(NodeDescription {
                hostname: "fakehost".into(),
                engine_version: "0.1.0".into(),
                platform: Platform { os: "linux".into(), architecture: "x86_64".into() },
                ..Default::default()
            }),
            status: NodeStatus { state: NodeState::Ready, addr: "127.0.0.1".into(), ..Default::default() },
            role: NodeRole::Manager,
            manager: Some(ManagerStatus {
                raft_id: 1,
                addr: "127.0.0.1:2377".parse().unwrap(),
                leader: true,
                reachable: true,
            }),
            data_path_addr: None,
            attachments: vec![],
        }));
        Ok(node)
    }
    async fn join(&self, _request: SwarmJoin) -> Answer<()> {
        self.0.lock().role = SwarmRole::Worker;
        Ok(())
    }
    async fn leave(&self, force: bool) -> Answer<()> {
        if !force {
            return Err(Refusal::unavailable(
                "You are attempting to leave the swarm on a node that is participating as a manager. Use --force",
            ));
        }
        self.0.lock().role = SwarmRole::Inactive;
        Ok(())
    }
    async fn inspect(&self) -> Answer<SwarmView> {
        let cluster = self.0.lock().cluster.clone().ok_or_else(|| Refusal::unavailable("no swarm"))?;
        Ok(SwarmView {
            cluster,
            tls: TlsInfo::default(),
            worker_token: "SWMTKN-1-w".into(),
            manager_token: "SWMTKN-1-m".into(),
        })
    }
    async fn update(&self, _v: u64, spec: ClusterSpec, _r: Rotate) -> Answer<()> {
        let mut s = self.0.lock();
        if let Some(c) = &mut s.cluster {
            Arc::make_mut(c).spec = spec;
        }
        Ok(())
    }
    async fn unlock(&self, _key: &str) -> Answer<()> {
        Err(Refusal::conflict("swarm is not locked"))
    }
    async fn unlock_key(&self) -> Answer<String> {
        Ok(String::new())
    }
    async fn backup(&self) -> Answer<Vec<u8>> {
        Ok(b"all of it".to_vec())
    }
    async fn restore(&self, wish: SwarmRestore) -> Answer<NodeId> {
        Err(Refusal::invalid(format!("the backup cannot be used: {} bytes", wish.backup.len())))
    }
}

#[async_trait]
impl Nodes for Fake {
    async fn list(&self) -> Answer<Vec<Arc<Node>>> {
        Ok(self.0.lock().nodes.clone())
    }
    async fn own_id(&self) -> Option<NodeId> {
        self.0.lock().nodes.first().map(|n| n.id.clone())
    }
    async fn update(&self, _id: &NodeId, version: u64, _spec: NodeSpec) -> Answer<()> {
        if version == 0 {
            return Err(Refusal::internal("update out of sequence").as_rpc());
        }
        Ok(())
    }
    async fn remove(&self, id: &NodeId, _force: bool) -> Answer<()> {
        Err(Refusal::invalid(format!("node {id} is not down and can't be removed")).as_rpc())
    }
}

#[async_trait]
impl Services for Fake {
    async fn list(&self) -> Answer<Vec<Arc<Service>>> {
        Ok(self.0.lock().services.clone())
    }
    async fn create(&self, spec: ServiceSpec, _auth: Option<String>) -> Answer<(ServiceId, Vec<String>)> {
        if self.0.lock().services.iter().any(|s| s.spec.name == spec.name) {
            return Err(Refusal::conflict(format!(
                "name conflicts with an existing object: service {} already exists",
                spec.name
            ))
            .as_rpc());
        }
        let (id, meta) = (self.swarm_id::<ServiceId>(), self.meta());
        let replicas = if let ServiceMode::Replicated { replicas } = spec.mode { replicas } else { 1 };
        for slot in 1..=replicas {
            let task = Task {
                id: self.swarm_id(),
                meta,
                spec: spec.task.clone(),
                spec_version: 1,
                service: Some(id.clone()),
                service_name: spec.name.clone(),
                service_labels: spec.labels.clone(),
                slot,
                node: Nodes::own_id(self).await,
                status: TaskStatus { state: TaskState::Running, timestamp: now(), ..Default::default() },
                desired: DesiredState::Running,
                networks: spec
                    .task
                    .networks
                    .iter()
                    .map(|n| TaskNetwork {
                        network: n.target.clone(),
                        addresses: vec![("10.0.1.3".parse().unwrap(), 24)],
                        aliases: vec![],
                        driver_opts: BTreeMap::new(),
                    })
                    .collect(),
                endpoint: EndpointSpec::default(),
                draining_since: None,
                job_iteration: None,
                leased: false,
                generic: Vec::new(),
            };
            self.0.lock().tasks.push(Arc::new(task));
        }
        let ports = spec.endpoint.as_ref().map(|e| e.ports.clone()).unwrap_or_default();
        self.0.lock().services.push(Arc::new(Service {
            id: id.clone(),
            meta,
            spec,
            spec_version: 1,
            previous_spec: None,
            ports,
            vips: vec![],
            update: None,
            job_iteration: 0,
            job_last_execution: Timestamp::default(),
        }));
        Ok((id, vec![]))
    }
    async fn update(&self, id: &ServiceId, version: u64, spec: ServiceSpec, _a: RegistryAuth) -> Answer<Vec<String>> {
        let meta = self.meta();
        let mut s = self.0.lock();
        let service = s.services.iter_mut().find(|s| s.id == *id).unwrap();
        if service.meta.version != version {
            return Err(Refusal::internal("update out of sequence").as_rpc());
        }
        let service = Arc::make_mut(service);
        service.previous_spec = Some(Box::new(std::mem::replace(&mut service.spec, spec)));
        service.meta = meta;
        Ok(vec![])
    }
    async fn rollback(&self, id: &ServiceId, _version: u64) -> Answer<Vec<String>> {
        Err(Refusal::invalid(format!("service {id} does not have a previous spec")).as_rpc())
    }
    async fn remove(&self, id: &ServiceId) -> Answer<()> {
        let mut s = self.0.lock();
        s.services.retain(|s| s.id != *id);
        s.tasks.retain(|t| t.service.as_ref() != Some(id));
        Ok(())
    }
    async fn logs(&self, which: LogSelector, _q: LogQuery) -> Answer<Logs> {
        let s = self.0.lock();
        let lines: Vec<_> = s
            .tasks
            .iter()
            .filter(|t| match &which {
                LogSelector::Service(id) => t.service.as_ref() == Some(id),
                LogSelector::Task(id) => t.id == *id,
            })
            .map(|t| {
                let attrs = [
                    ("com.docker.swarm.node.id".to_owned(), t.node.as_ref().unwrap().to_string()),
                    ("com.docker.swarm.service.id".to_owned(), t.service.as_ref().unwrap().to_string()),
                    ("com.docker.swarm.task.id".to_owned(), t.id.to_string()),
                ];
                Ok(LogLine {
                    stream: StdStream::Stdout,
                    time: now(),
                    line: Bytes::from("hello\n"),
                    attrs: attrs.into(),
                })
            })
            .collect();
        Ok(Logs { tty: false, lines: stream::iter(lines).boxed() })
    }
}

#[async_trait]
impl Tasks for Fake {
    async fn list(&self) -> Answer<Vec<Arc<Task>>> {
        Ok(self.0.lock().tasks.clone())
    }
    async fn networks(&self) -> Answer<Vec<Arc<Network>>> {
        Ok(self.0.lock().networks.clone())
    }
    async fn up_to_date(
        &self,
        _: &std::collections::BTreeSet<ServiceId>,
    ) -> Answer<std::collections::BTreeSet<TaskId>> {
        let all = self.0.lock();
        let version = |id: &ServiceId| all.services.iter().find(|s| s.id == *id).map(|s| s.spec_version);
        let current = all.tasks.iter().filter(|t| t.service.as_ref().and_then(version) == Some(t.spec_version));
        Ok(current.map(|t| t.id.clone()).collect())
    }
}

#[async_trait]
impl Secrets for Fake {
    async fn list(&self) -> Answer<Vec<Arc<Secret>>> {
        Ok(self.0.lock().secrets.clone())
    }
    async fn create(&self, spec: SecretSpec) -> Answer<SecretId> {
        let s = Secret { id: self.swarm_id(), meta: self.meta(), spec };
        let id = s.id.clone();
        self.0.lock().secrets.push(Arc::new(s));
        Ok(id)
    }
    async fn update(&self, _id: &SecretId, _v: u64, _s: SecretSpec) -> Answer<()> {
        Ok(())
    }
    async fn remove(&self, id: &SecretId) -> Answer<()> {
        self.0.lock().secrets.retain(|s| s.id != *id);
        Ok(())
    }
}

#[async_trait]
impl Configs for Fake {
    async fn list(&self) -> Answer<Vec<Arc<Config>>> {
        Ok(self.0.lock().configs.clone())
    }
    async fn create(&self, spec: ConfigSpec) -> Answer<ConfigId> {
        let c = Config { id: self.swarm_id(), meta: self.meta(), spec };
        let id = c.id.clone();
        self.0.lock().configs.push(Arc::new(c));
        Ok(id)
    }
    async fn update(&self, _id: &ConfigId, _v: u64, _s: ConfigSpec) -> Answer<()> {
        Ok(())
    }
    async fn remove(&self, id: &ConfigId) -> Answer<()> {
        self.0.lock().configs.retain(|c| c.id != *id);
        Ok(())
    }
}

#[async_trait]
impl Diagnosis for Fake {
    async fn doctor(&self) -> Answer<Vec<Finding>> {
        Ok(vec![Finding::good("fake", "fine")])
    }
    async fn echo(&self, container: Option<&str>, address: std::net::IpAddr, count: u32) -> Answer<EchoReport> {
        let from = container.unwrap_or("node").to_owned();
        Ok(EchoReport { address: address.to_string(), sent: count, times_nanos: vec![1; count as usize], error: from })
    }
    async fn explain(&self, _: &Arc<Task>) -> Answer<Vec<NodeFit>> {
        let nodes = self.0.lock().nodes.clone();
        Ok(nodes.iter().map(|n| NodeFit { node_id: n.id.to_string(), ..NodeFit::default() }).collect())
    }
}
