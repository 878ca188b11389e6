//! Services: made, changed, rolled back, removed.
use super::{Control, check_version, failed_precondition, invalid, lookup, validate};
use crate::clock;
use model::{
    NetworkTarget, PortConfig, PublishMode, Service, ServiceId, ServiceMode, ServiceSpec, StoreAction, Tables,
    Timestamp, UpdateState, UpdateStatus,
};
use planner::AllocationError;
use wire::Refusal;

/// Networks that every machine has and a service may use.
const PREDEFINED: [&str; 3] = ["host", "bridge", "none"];

impl Control {
    /// A new service. Networks may be given by name, as [`NetworkTarget::Predefined`]; they are resolved here.
    ///
    /// # Errors
    /// Docker's.
    pub async fn create_service(&self, mut spec: ServiceSpec) -> Result<ServiceId, Refusal> {
        validate::service(&spec)?;
        let id: ServiceId = clock::fresh();
        self.update(|tables| {
            self.check_against(tables, &mut spec, None)?;
            let job_last_execution = if spec.mode.is_job() { self.store.now() } else { Default::default() };
            let mut service = Service {
                id: id.clone(),
                meta: Default::default(),
                spec,
                spec_version: 0,
                previous_spec: None,
                ports: Vec::new(),
                vips: Vec::new(),
                update: None,
                job_iteration: 0,
                job_last_execution,
            };
            allocate(tables, &mut service)?;
            Ok((vec![StoreAction::Create(service.into())], id))
        })
        .await
    }

    /// Changes a service.
    ///
    /// # Errors
    /// Docker's.
    pub async fn update_service(&self, wanted: &str, version: u64, mut spec: ServiceSpec) -> Result<(), Refusal> {
        validate::service(&spec)?;
        self.update(|tables| {
            let old = lookup::service(tables, wanted)?;
            check_version(old.meta.version, version)?;
            if spec.name != old.spec.name {
                return Err(Refusal::unimplemented("renaming services is not supported").as_rpc());
            }
            if !same_kind(&spec.mode, &old.spec.mode) {
                return Err(Refusal::unimplemented("service mode change is not allowed").as_rpc());
            }
            self.check_against(tables, &mut spec, Some(&old))?;
            let mut service = (*old).clone();
            service.previous_spec = Some(Box::new(std::mem::replace(&mut service.spec, spec)));
            service.update = None;
            next_iteration(&mut service, &old, self.store.now());
            allocate(tables, &mut service)?;
            Ok((vec![StoreAction::Update(service.into())], ()))
        })
        .await
    }

    /// Puts a service back to its previous spec.
    ///
    /// # Errors
    /// Docker's.
    pub async fn rollback_service(&self, wanted: &str, version: u64) -> Result<(), Refusal> {
        self.update(|tables| {
            let old = lookup::service(tables, wanted)?;
            check_version(old.meta.version, version)?;
            let mut service = (*old).clone();
            let Some(previous) = service.previous_spec.take() else {
                return Err(failed_precondition(format!("service {wanted} does not have a previous spec")));
            };
            let mut previous = *previous;
            self.check_against(tables, &mut previous, Some(&old))?;
            service.previous_spec = Some(Box::new(std::mem::replace(&mut service.spec, previous)));
            service.update = Some(UpdateStatus {
                state: UpdateState::RollbackStarted,
                started_at: self.store.now(),
                completed_at: None,
                message: "manually requested rollback".into(),
            });
            next_iteration(&mut service, &old, self.store.now());
            allocate(tables, &mut service)?;
            Ok((vec![StoreAction::Update(service.into())], ()))
        })
        .await
    }

    /// Removes a service; its tasks are stopped by the planner.
    ///
    /// # Errors
    /// Docker's.
    pub async fn remove_service(&self, wanted: &str) -> Result<(), Refusal> {
        self.update(|tables| {
            let service = lookup::service(tables, wanted)?;
            Ok((vec![StoreAction::Remove(service.id.clone().into())], ()))
        })
        .await
    }

    /// What needs a look at the tables; network names become ids.
    fn check_against(&self, tables: &Tables, spec: &mut ServiceSpec, old: Option<&Service>) -> Result<(), Refusal> {
        for network in &mut spec.task.networks {
            self.resolve(tables, &mut network.target)?;
        }
        let mut seen = Vec::new();
        spec.task.networks.retain(|n| {
            let fresh = !seen.contains(&n.target);
            seen.push(n.target.clone());
            fresh
        });
        check_files(tables, spec)?;
        check_ports(tables, spec, old.map(|s| &s.id))
    }

    fn resolve(&self, tables: &Tables, target: &mut NetworkTarget) -> Result<(), Refusal> {
        let wanted = match target {
            NetworkTarget::Swarm(id) => id.to_string(),
            NetworkTarget::Predefined(name) => name.clone(),
        };
        match lookup::network(tables, &wanted) {
            Ok(n) if n.spec.ingress => {
                let text = format!("Service cannot be explicitly attached to the ingress network {:?}", n.spec.name);
                Err(invalid(text))
            }
            Ok(n) => {
                *target = NetworkTarget::Swarm(n.id.clone());
                Ok(())
            }
            Err(_) if PREDEFINED.contains(&wanted.as_str()) => Ok(()),
            Err(unknown) => match self.local_network(&wanted) {
                Some(name) if PREDEFINED.contains(&name.as_str()) => {
                    *target = NetworkTarget::Predefined(name);
                    Ok(())
                }
                Some(name) => Err(Refusal::forbidden(format!(
                    "The network {name} cannot be used with services. Only networks scoped to the swarm can be used, such as those created with the overlay driver."
                ))),
                None => Err(unknown),
            },
        }
    }
}

fn same_kind(a: &ServiceMode, b: &ServiceMode) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// A job runs again when it is forced.
fn next_iteration(service: &mut Service, old: &Service, now: Timestamp) {
    if service.spec.mode.is_job() && service.spec.task.force_update > old.spec.task.force_update {
        service.job_iteration += 1;
        service.job_last_execution = now;
    }
}

/// Ports and virtual addresses at once, so that a clash is told now. A full network is not: the tasks will wait, with
/// the reason in their status.
fn allocate(tables: &Tables, service: &mut Service) -> Result<(), Refusal> {
    match planner::allocate_service(tables, service) {
        Ok(()) => Ok(()),
        Err(e @ AllocationError::NoIngress) => Err(failed_precondition(e.to_string())),
        Err(e @ (AllocationError::PortTaken { .. } | AllocationError::PortTwice | AllocationError::PortsExhausted)) => {
            Err(invalid(e.to_string()))
        }
        Err(e) => {
            tracing::warn!(service = %service.spec.name, "allocated later: {e}");
            Ok(())
        }
    }
}

fn check_files(tables: &Tables, spec: &ServiceSpec) -> Result<(), Refusal> {
    let Some(c) = &spec.task.container else { return Ok(()) };
    let missing = |kind: &str, names: Vec<&str>| match names.as_slice() {
        [] => Ok(()),
        [one] => Err(invalid(format!("{kind} not found: {one}"))),
        more => Err(invalid(format!("{kind}s not found: {}", more.join(", ")))),
    };
    let gone = c.secrets.iter().filter(|r| tables.secret(&r.id).is_none()).map(|r| r.name.as_str());
    missing("secret", gone.collect())?;
    let gone = c.configs.iter().filter(|r| tables.config(&r.id).is_none()).map(|r| r.name.as_str());
    missing("config", gone.collect())
}

/// A port is taken when either side publishes it on the mesh; two services may publish it on hosts (the scheduler keeps
/// them apart).
fn check_ports(tables: &Tables, spec: &ServiceSpec, own: Option<&ServiceId>) -> Result<(), Refusal> {
    let wished = spec.endpoint.iter().flat_map(|e| &e.ports).filter(|p| p.published_port != 0);
    for port in wished {
        for other in tables.services().filter(|s| Some(&s.id) != own) {
            let spec_ports = other.spec.endpoint.iter().flat_map(|e| &e.ports);
            if let Some(held) = other.ports.iter().chain(spec_ports).find(|held| clash(port, held)) {
                let how = match held.publish_mode {
                    PublishMode::Ingress => "an ingress port",
                    PublishMode::Host => "a host-published port",
                };
                return Err(invalid(format!(
                    "port '{}' is already in use by service '{}' ({}) as {how}",
                    port.published_port, other.spec.name, other.id
                )));
            }
        }
    }
    Ok(())
}

fn clash(a: &PortConfig, b: &PortConfig) -> bool {
    let mesh = a.publish_mode == PublishMode::Ingress || b.publish_mode == PublishMode::Ingress;
    a.published_port == b.published_port && a.protocol == b.protocol && mesh
}
