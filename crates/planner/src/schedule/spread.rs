//! Spread preferences: at each level, the label value with the fewest tasks of the service; within the last level, the
//! least loaded node.
//!
//! Nodes with the same values form a branch. Branches are compared level by level by the tasks of the service in them,
//! so two preferences spread over datacentres first and over racks within each.
use super::Candidate;
use model::Node;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Spread {
    /// For each candidate: its values, outermost first.
    values: Vec<Vec<String>>,
    /// Tasks of the service per branch, by prefix of values.
    tasks: BTreeMap<Vec<String>, u64>,
    closed: Vec<bool>,
    /// Without preferences: the open candidates, best first.
    order: BTreeSet<(Rank, usize)>,
}

/// What decides between nodes of one branch: suspect or not, tasks of the service, tasks.
type Rank = (bool, u64, u64);

fn rank(c: &Candidate) -> Rank {
    (c.suspect, c.own, c.all)
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
        let order = if preferences.is_empty() {
            candidates.iter().enumerate().map(|(i, c)| (rank(c), i)).collect()
        } else {
            BTreeSet::new()
        };
        Self { values, tasks, closed: vec![false; candidates.len()], order }
    }

    /// The best open candidate.
    pub fn choose(&self, candidates: &[Candidate]) -> Option<usize> {
        let depth = self.values.first().map_or(0, Vec::len);
        if depth == 0 {
            return self.order.first().map(|(_, i)| *i);
        }
        let branch = |i: usize| -> Vec<u64> {
            (1..=depth).map(|d| self.tasks.get(&self.values[i][..d]).copied().unwrap_or_default()).collect()
        };
        (0..candidates.len()).filter(|i| !self.closed[*i]).min_by_key(|i| (branch(*i), rank(&candidates[*i])))
    }

    /// A candidate has got a task.
    pub fn placed(&mut self, at: usize, candidate: &mut Candidate) {
        let was_open = self.order.remove(&(rank(candidate), at));
        candidate.own += 1;
        candidate.all += 1;
        if was_open {
            self.order.insert((rank(candidate), at));
        }
        for depth in 1..=self.values[at].len() {
            *self.tasks.entry(self.values[at][..depth].to_vec()).or_default() += 1;
        }
    }

    /// Takes a candidate out.
    pub fn close(&mut self, at: usize, candidate: &Candidate) {
        self.closed[at] = true;
        self.order.remove(&(rank(candidate), at));
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
