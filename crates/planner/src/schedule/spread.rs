//! Spread preferences: at each level, the label value with the fewest tasks of the service; within the last level, the
//! least loaded node.
//!
//! Nodes with the same values form a branch. Branches are compared level by level by the tasks of the service in them,
//! so two preferences spread over datacentres first and over racks within each.
use super::Candidate;
use model::Node;
use std::collections::BTreeMap;

pub(crate) struct Spread {
    /// For each candidate: its values, outermost first.
    values: Vec<Vec<String>>,
    /// Tasks of the service per branch, by prefix of values.
    tasks: BTreeMap<Vec<String>, u64>,
    closed: Vec<bool>,
}

impl Spread {
    pub fn of(preferences: &[String], candidates: &[Candidate]) -> Self {
        let values: Vec<Vec<String>> =
            candidates.iter().map(|c| preferences.iter().map(|p| value(p, &c.node)).collect()).collect();
        let mut tasks: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        for (candidate, values) in candidates.iter().zip(&values) {
            for depth in 1..=values.len() {
                *tasks.entry(values[..depth].to_vec()).or_default() += candidate.own;
            }
        }
        Self { values, tasks, closed: vec![false; candidates.len()] }
    }

    /// The best open candidate.
    pub fn choose(&self, candidates: &[Candidate]) -> Option<usize> {
        let open = (0..candidates.len()).filter(|i| !self.closed[*i]);
        let rank = |i: usize| {
            let c = &candidates[i];
            (c.suspect, c.own, c.all)
        };
        let depth = self.values.first().map_or(0, Vec::len);
        if depth == 0 {
            return open.min_by_key(|i| rank(*i));
        }
        let branch = |i: usize| -> Vec<u64> {
            (1..=depth).map(|d| self.tasks.get(&self.values[i][..d]).copied().unwrap_or_default()).collect()
        };
        open.min_by_key(|i| (branch(*i), rank(*i)))
    }

    pub fn placed(&mut self, at: usize) {
        for depth in 1..=self.values[at].len() {
            *self.tasks.entry(self.values[at][..depth].to_vec()).or_default() += 1;
        }
    }

    /// Takes a candidate out.
    pub fn close(&mut self, at: usize) {
        self.closed[at] = true;
    }
}

fn value(preference: &str, node: &Node) -> String {
    let label = if let Some(key) = preference.strip_prefix("node.labels.") {
        node.spec.labels.get(key)
    } else if let Some(key) = preference.strip_prefix("engine.labels.") {
        node.description.as_ref().and_then(|d| d.engine_labels.get(key))
    } else {
        None
    };
    label.cloned().unwrap_or_default()
}
