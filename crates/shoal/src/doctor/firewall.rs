//! Firewalls of others: what they drop, no rule of ours brings back.
use kernel::nft::{Gate, Nft};
use wire::engine::diagnosis::Finding;

const CHECK: &str = "firewall";

pub(super) fn examine() -> Vec<Finding> {
    match Nft::open().and_then(|nft| nft.forward_gates()) {
        Ok(gates) if gates.is_empty() => vec![Finding::good(CHECK, "nobody drops forwarded packets")],
        Ok(gates) => gates.iter().map(judge).collect(),
        Err(e) => vec![Finding::warning(CHECK, e.to_string(), "run as root, on a kernel with nftables")],
    }
}

/// The daemon touches nobody else's table; what containers need there is for the machine's owner to allow. It is safe:
/// who may reach whom is decided by the daemon's own table.
fn judge(gate: &Gate) -> Finding {
    let Gate { family, table, chain } = gate;
    let found = format!(
        "chain {chain} of table {family} {table} drops forwarded packets that no rule of it accepts: \
         published ports and the containers' way out need such rules"
    );
    let bridges = r#"{ "docker0", "docker_gwbridge", "br-*" }"#;
    let fix = format!(
        "`nft 'insert rule {family} {table} {chain} iifname {bridges} accept'` and \
         `nft 'insert rule {family} {table} {chain} oifname {bridges} accept'`, and put them where that firewall keeps its rules"
    );
    Finding::warning(CHECK, found, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_named_with_the_rules_that_open_it() {
        let gate = Gate { family: "ip", table: "filter".into(), chain: "FORWARD".into() };
        let finding = judge(&gate);
        assert_eq!(finding.level, "warning");
        assert!(finding.found.contains("chain FORWARD of table ip filter"), "{}", finding.found);
        assert!(finding.fix.contains("insert rule ip filter FORWARD iifname"), "{}", finding.fix);
    }
}
