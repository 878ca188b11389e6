//! How a service's connections are spread over its tasks: a wish written as labels of the service.
use crate::spec::Labels;
use serde::{Deserialize, Serialize};

/// Label that names the policy.
pub const POLICY_LABEL: &str = "shoal.balance";
/// Label that asks for tasks of the client's node.
pub const PREFER_LOCAL_LABEL: &str = "shoal.prefer-local";

/// How new connections are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Which task is chosen.
    pub policy: BalancePolicy,
    /// Tasks on the client's (or the entry) node are taken while there is a ready one.
    pub prefer_local: bool,
}

/// Which task a new connection goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BalancePolicy {
    /// In turn.
    #[default]
    RoundRobin,
    /// Of two at random, the one with fewer live connections as the choosing node sees them.
    LeastConnections,
    /// The same for one client address, while the set of tasks stays the same.
    Source,
    /// Any.
    Random,
}

impl BalancePolicy {
    const ALL: [(&str, Self); 4] = [
        ("round-robin", Self::RoundRobin),
        ("least-connections", Self::LeastConnections),
        ("source", Self::Source),
        ("random", Self::Random),
    ];
}

/// A label of ours that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    /// Not one of the policies.
    #[error("invalid label {POLICY_LABEL}={0}: round-robin, least-connections, source or random is expected")]
    Policy(String),
    /// Neither yes nor no.
    #[error("invalid label {PREFER_LOCAL_LABEL}={0}: true or false is expected")]
    PreferLocal(String),
}

impl Balance {
    /// Reads a service's labels.
    ///
    /// # Errors
    /// See [`BalanceError`].
    pub fn from_labels(labels: &Labels) -> Result<Self, BalanceError> {
        let mut balance = Self::default();
        if let Some(wish) = labels.get(POLICY_LABEL) {
            let found = BalancePolicy::ALL.iter().find(|(name, _)| name == wish);
            balance.policy = found.ok_or_else(|| BalanceError::Policy(wish.clone()))?.1;
        }
        if let Some(wish) = labels.get(PREFER_LOCAL_LABEL) {
            balance.prefer_local = wish.parse().map_err(|_| BalanceError::PreferLocal(wish.clone()))?;
        }
        Ok(balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[(&str, &str)]) -> Result<Balance, BalanceError> {
        Balance::from_labels(&labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn labels_are_read_and_mistakes_name_the_choices() {
        assert_eq!(read(&[("com.example", "x")]), Ok(Balance::default()));
        let wish = [(POLICY_LABEL, "least-connections"), (PREFER_LOCAL_LABEL, "true"), ("zone", "a")];
        assert_eq!(read(&wish), Ok(Balance { policy: BalancePolicy::LeastConnections, prefer_local: true }));
        for (name, policy) in BalancePolicy::ALL {
            assert_eq!(read(&[(POLICY_LABEL, name)]).unwrap().policy, policy);
        }
        let said = |labels: &[(&str, &str)]| read(labels).unwrap_err().to_string();
        assert_eq!(
            said(&[(POLICY_LABEL, "fastest")]),
            "invalid label shoal.balance=fastest: round-robin, least-connections, source or random is expected"
        );
        assert_eq!(
            said(&[(PREFER_LOCAL_LABEL, "yes")]),
            "invalid label shoal.prefer-local=yes: true or false is expected"
        );
    }
}
