//! What Docker's API has no words for: the state of a machine, the way to an address, the reasons why a task waits.
use super::shape::shapes;

shapes! {
    /// One thing that was looked at.
    Finding {
        check: String = "Check";
        level: String = "Level";
        found: String = "Found";
        fix: String = "Fix" omitempty;
    }
    /// Answers to echo requests.
    EchoReport {
        address: String = "Address";
        sent: u32 = "Sent";
        times_nanos: Vec<u64> = "TimesNanos";
        error: String = "Error" omitempty;
    }
    /// Whether a node could have a task.
    NodeFit {
        node_id: String = "NodeID";
        hostname: String = "Hostname";
        refusal: String = "Refusal" omitempty;
    }
}

impl Finding {
    /// All is well.
    pub fn good(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.into(), level: "ok".into(), found: found.into(), fix: String::new() }
    }
    /// It works, but not as it could.
    pub fn warning(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), level: "warning".into(), found: found.into(), fix: fix.into() }
    }
    /// It cannot work.
    pub fn error(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), level: "error".into(), found: found.into(), fix: fix.into() }
    }
}
