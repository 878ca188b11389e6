//! Placement constraints: `node.role == manager`, `node.labels.zone != a`.
use super::filter::architecture;
use model::{Node, NodeRole, Subnet};
use std::net::IpAddr;
use std::str::FromStr;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Architecture,
    NodeLabel(String),
    EngineLabel(String),
}

/// One constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    key: Key,
    equal: bool,
    value: String,
}

/// Why a text is no constraint, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Neither `==` nor `!=`, or nothing to compare.
    #[error("constraint expected one operator from ==, !=")]
    Operator,
    /// Not a key.
    #[error("key '{0}' is invalid")]
    Key(String),
    /// Not a value.
    #[error("value '{0}' is invalid")]
    Value(String),
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let (at, equal) = match (text.find("=="), text.find("!=")) {
            (Some(e), Some(n)) if n < e => (n, false),
            (Some(e), _) => (e, true),
            (None, Some(n)) => (n, false),
            (None, None) => return Err(ConstraintError::Operator),
        };
        let (key, value) = (text[..at].trim(), text[at + 2..].trim());
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
        let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.is_empty() || !key.starts_with(edge) || !key.chars().all(inner) {
            return Err(ConstraintError::Key(key.to_owned()));
        }
        let plain = |c: char| {
            c.is_ascii_alphanumeric()
                || matches!(
                    c,
                    '_' | '*'
                        | '('
                        | ')'
                        | '?'
                        | '+'
                        | '['
                        | ']'
                        | '\\'
                        | '^'
                        | '$'
                        | '|'
                        | ':'
                        | '-'
                        | '.'
                        | '/'
                        | '@'
                        | ','
                        | ' '
                )
        };
        if value.is_empty() || !value.chars().all(plain) {
            return Err(ConstraintError::Value(value.to_owned()));
        }
        let lower = key.to_lowercase();
        let key = match lower.as_str() {
            "node.id" => Key::Id,
            "node.hostname" => Key::Hostname,
            "node.ip" => Key::Ip,
            "node.role" => Key::Role,
            "node.platform.os" => Key::Os,
            "node.platform.arch" => Key::Architecture,
            l if l.starts_with("node.labels.") && l.len() > 12 => Key::NodeLabel(key[12..].to_owned()),
            l if l.starts_with("engine.labels.") && l.len() > 14 => Key::EngineLabel(key[14..].to_owned()),
            _ => return Err(ConstraintError::Key(key.to_owned())),
        };
        Ok(Self { key, equal, value: value.to_owned() })
    }
}

impl Constraint {
    /// Whether a node meets it. What a node lacks equals nothing.
    pub fn holds(&self, node: &Node) -> bool {
        let description = node.description.as_ref();
        let is = |text: &str| text.eq_ignore_ascii_case(&self.value);
        let equal = match &self.key {
            Key::Id => is(node.id.as_str()),
            Key::Hostname => description.is_some_and(|d| is(&d.hostname)),
            Key::Ip => return self.holds_for_address(node),
            Key::Role => is(match node.role {
                NodeRole::Worker => "worker",
                NodeRole::Manager => "manager",
            }),
            Key::Os => description.is_some_and(|d| is(&d.platform.os)),
            Key::Architecture => {
                description.is_some_and(|d| architecture(&d.platform.architecture) == architecture(&self.value))
            }
            Key::NodeLabel(key) => node.spec.labels.get(key).is_some_and(|v| is(v)),
            Key::EngineLabel(key) => description.and_then(|d| d.engine_labels.get(key)).is_some_and(|v| is(v)),
        };
        equal == self.equal
    }

    /// An address or a block; what is neither holds nowhere.
    fn holds_for_address(&self, node: &Node) -> bool {
        let Ok(addr) = node.status.addr.parse::<IpAddr>() else { return !self.equal };
        let equal = if let Ok(ip) = self.value.parse::<IpAddr>() {
            ip == addr
        } else if let Some((ip, prefix)) = self.value.split_once('/')
            && let (Ok(ip), Ok(prefix)) = (ip.parse::<IpAddr>(), prefix.parse::<u8>())
        {
            Subnet::containing(ip, prefix).contains(addr)
        } else {
            return false;
        };
        equal == self.equal
    }
}
