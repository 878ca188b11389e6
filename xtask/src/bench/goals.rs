//! What Shoal set out to reach, against what was measured.
use super::figures::{Figure, Of, Row};
use serde_json::{Value, json};

/// One goal.
pub struct Goal {
    what: &'static str,
    at_least: f64,
    got: Option<f64>,
}

/// All goals that these figures can tell about.
pub fn check(figures: &[Figure]) -> Vec<Goal> {
    let find = |key: &str, title: &str| figures.iter().find(|f| f.key == key && f.title.contains(title));
    let against = |figure: Option<&Figure>, ours: &str, of: Of, base: &str| -> Option<f64> {
        let figure = figure?;
        let (row, base): (&Row, &Row) = (figure.row(Of::Shoal, ours)?, figure.row(of, base)?);
        figure.ratio(row, base)
    };
    let direct = "overlay, direct";
    let vip = "overlay, virtual IP";
    let pss = "proportional (PSS)";
    let trio = |key: &str| against(find(key, ""), "three managers", Of::Docker, "three managers");
    let goals = [
        (
            "round trips through a virtual IP beside direct",
            0.95,
            against(find("round-trip", ""), vip, Of::Shoal, direct),
        ),
        (
            "new connections through a virtual IP beside direct",
            0.95,
            against(find("connections", ""), vip, Of::Shoal, direct),
        ),
        ("overlay throughput beside Docker's", 1.0, against(find("throughput", ""), direct, Of::Docker, direct)),
        (
            "50 replicas running, times as fast as Docker",
            4.0,
            against(find("create", "all running, 50"), "names only", Of::Docker, "names only"),
        ),
        (
            "`run --rm`, times as fast as Docker",
            3.0,
            against(find("run", "--network none`"), "command line", Of::Docker, "command line"),
        ),
        ("daemon memory (PSS), times as small as Docker's", 3.0, against(find("memory", "idle"), pss, Of::Docker, pss)),
        (
            "create, start, wait, remove by the API, times as fast",
            4.0,
            against(find("run", "by the API: create, start, wait, remove (none)"), "API", Of::Docker, "API"),
        ),
        (
            "50 containers started at once, times as fast",
            4.0,
            against(find("parallel", "started at once"), "API", Of::Docker, "API"),
        ),
        ("exec, times as fast", 3.0, against(find("exec", ""), "API", Of::Docker, "API")),
        ("image load of 200 MB, times as fast", 1.0 / 0.7, against(find("load", ""), "API", Of::Docker, "API")),
        (
            "private memory beside a container, times as small",
            2.0,
            against(find("memory", "its shim"), "private", Of::Docker, "private"),
        ),
        ("idle daemon without a swarm (PSS), times as small", 4.0, against(find("alone", ""), pss, Of::Docker, pss)),
        ("daemon start to API, times as fast", 5.0, against(find("start", ""), "again", Of::Docker, "again")),
        (
            "100 MB of logs read back, times as fast",
            1.0,
            against(find("logs", "read back"), "json-file", Of::Docker, "json-file"),
        ),
        ("10 to 50 replicas, times as fast as Docker", 4.0, trio("scale")),
        ("a lost node's tasks replaced, times as fast", 4.0, trio("failure")),
        ("first write after the leader's end, times as fast", 4.0, trio("leader")),
        ("a new endpoint reached on another node, times as fast", 4.0, trio("propagation")),
        ("a manager with 100 services (PSS), times as small", 4.0, against(find("services", ""), pss, Of::Docker, pss)),
    ];
    goals.into_iter().map(|(what, at_least, got)| Goal { what, at_least, got }).collect()
}

/// For a person.
pub fn print(goals: &[Goal]) {
    println!("\nGoals");
    for g in goals {
        match g.got {
            Some(got) => {
                let verdict = if got >= g.at_least { "reached" } else { "MISSED" };
                println!("  {:56} {got:>7.2}  (goal {:.2})  {verdict}", g.what, g.at_least);
            }
            None => println!("  {:56} {:>7}  (goal {})", g.what, "–", g.at_least),
        }
    }
}

/// For a program.
pub fn to_json(goals: &[Goal]) -> Value {
    goals.iter().map(|g| json!({ "what": g.what, "goal": g.at_least, "got": g.got })).collect()
}
