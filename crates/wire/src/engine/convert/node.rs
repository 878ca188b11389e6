//! Nodes.
use super::service::plain_resources_out;
use super::swarm::{availability_in, availability_out};
use super::version;
use crate::Refusal;
use crate::engine::shape::Base64;
use crate::engine::swarm::TlsInfo;
use crate::engine::{node as en, service as es};
use model::NodeRole;

/// Parses a spec.
///
/// # Errors
/// 400 for unknown words.
pub fn node_spec_in(s: &en::NodeSpec) -> Result<model::NodeSpec, Refusal> {
    Ok(model::NodeSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        role: match s.role.to_ascii_lowercase().as_str() {
            "worker" => NodeRole::Worker,
            "manager" => NodeRole::Manager,
            _ => return Err(Refusal::invalid(format!("invalid Role: {:?}", s.role))),
        },
        availability: match s.availability.as_str() {
            "" => return Err(Refusal::invalid("invalid Availability: \"\"")),
            word => availability_in(word)?,
        },
    })
}

/// Shows a spec.
pub fn node_spec_out(s: &model::NodeSpec) -> en::NodeSpec {
    en::NodeSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        role: role_out(s.role).into(),
        availability: availability_out(s.availability).into(),
    }
}

fn role_out(r: NodeRole) -> &'static str {
    match r {
        NodeRole::Worker => "worker",
        NodeRole::Manager => "manager",
    }
}

/// Shows a node.
pub fn node_out(n: &model::Node) -> en::Node {
    let d = n.description.clone().unwrap_or_default();
    en::Node {
        id: n.id.to_string(),
        version: version(&n.meta),
        created_at: n.meta.created_at.into(),
        updated_at: n.meta.updated_at.into(),
        spec: node_spec_out(&n.spec),
        description: en::NodeDescription {
            hostname: d.hostname,
            platform: es::Platform { architecture: d.platform.architecture, os: d.platform.os },
            resources: plain_resources_out(&d.resources),
            engine: en::EngineDescription {
                engine_version: d.engine_version,
                labels: d.engine_labels,
                plugins: d.plugins.into_iter().map(|(typ, name)| en::PluginDescription { typ, name }).collect(),
            },
            tls_info: TlsInfo {
                trust_root: d.trust_root,
                cert_issuer_subject: Base64(d.cert_issuer_subject),
                cert_issuer_public_key: Base64(d.cert_issuer_public_key),
            },
        },
        status: en::NodeStatus {
            state: n.status.state.as_str().into(),
            message: n.status.message.clone(),
            addr: n.status.addr.clone(),
        },
        manager_status: n.manager.as_ref().map(|m| en::ManagerStatus {
            leader: m.leader,
            reachability: if m.reachable { "reachable" } else { "unreachable" }.into(),
            addr: m.addr.to_string(),
        }),
    }
}
