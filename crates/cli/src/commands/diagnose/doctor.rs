//! `doctor`: what of this machine stands in a swarm's way, each finding with its fix.
use crate::Ctx;
use crate::client::{Exit, is_unreachable};
use crate::commands::Done;
use crate::terminal::{say, tell};
use clap::Args;
use wire::engine::diagnosis::Finding;

/// Examine this machine: ports, MTU, offload, clock, kernel features, control groups.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Only what is not well
    #[arg(short, long)]
    quiet: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let findings: Vec<Finding> = match ctx.client.get("/doctor").read().await {
            Ok(findings) => findings,
            Err(e) if is_unreachable(&e) => {
                tell(&format!("{e:#}"));
                tell("The machine of this command is examined, without a daemon:");
                (ctx.local.doctor)()
            }
            Err(e) => return Err(e),
        };
        if self.json {
            say(&format!("{}\n", serde_json::to_string_pretty(&findings)?));
        } else {
            say(&shown(&findings, self.quiet));
        }
        if findings.iter().any(|f| f.level == "error") { Err(Exit(1).into()) } else { Ok(()) }
    }
}

fn shown(findings: &[Finding], quiet: bool) -> String {
    let wide = findings.iter().map(|f| f.check.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for f in findings.iter().filter(|f| !quiet || f.level != "ok") {
        out.push_str(&format!("{:<8} {:<wide$}  {}\n", f.level, f.check, f.found));
        if !f.fix.is_empty() {
            out.push_str(&format!("{:<8} {:<wide$}  fix: {}\n", "", "", f.fix));
        }
    }
    let count = |level: &str| findings.iter().filter(|f| f.level == level).count();
    out.push_str(&format!("{} well, {} warnings, {} errors\n", count("ok"), count("warning"), count("error")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_with_their_fix() {
        let all = [Finding::good("kernel", "6.1"), Finding::error("port 2377/tcp", "held by x", "stop x")];
        assert_eq!(
            shown(&all, false),
            "ok       kernel         6.1\nerror    port 2377/tcp  held by x\n                        fix: stop x\n1 well, 0 warnings, 1 errors\n"
        );
        assert!(!shown(&all, true).contains("kernel"));
    }
}
