//! What was measured, and how it looks beside what it is compared with.
use serde_json::{Value, json};

/// Which way is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// Rates.
    Higher,
    /// Times and sizes.
    Lower,
}

/// Where a row's numbers come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// The kernel with nothing on top.
    Kernel,
    /// dockerd.
    Docker,
    /// Us.
    Shoal,
}

/// One line of a table: one value per round, so that rows can be compared round by round.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured there.
    pub name: String,
    /// Whose it is.
    pub of: Of,
    /// One per round; `None` where a round failed.
    pub rounds: Vec<Option<f64>>,
    /// Why there is nothing.
    pub missing: Option<String>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// For `--only` and for JSON.
    pub key: &'static str,
    /// What, in words.
    pub title: String,
    /// Of the numbers.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// The lines.
    pub rows: Vec<Row>,
}

/// The middle, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// Of some values, if there are any.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut v: Vec<f64> = values.into_iter().collect();
    v.sort_by(f64::total_cmp);
    let (min, max) = (*v.first()?, *v.last()?);
    let middle = v.len() / 2;
    let median = if v.len() % 2 == 1 { v[middle] } else { f64::midpoint(v[middle - 1], v[middle]) };
    Some(Spread { median, min, max })
}

impl Row {
    /// Of `rounds`.
    pub fn new(name: &str, of: Of) -> Self {
        Self { name: name.to_owned(), of, rounds: Vec::new(), missing: None }
    }

    /// One that cannot be filled.
    pub fn without(name: &str, of: Of, why: &str) -> Self {
        Self { missing: Some(why.to_owned()), ..Self::new(name, of) }
    }

    /// Over all rounds.
    pub fn spread(&self) -> Option<Spread> {
        spread(self.rounds.iter().flatten().copied())
    }
}

impl Figure {
    /// An empty one.
    pub fn new(key: &'static str, title: &str, unit: &'static str, better: Better) -> Self {
        Self { key, title: title.to_owned(), unit, better, rows: Vec::new() }
    }

    /// Takes one round's result of a row.
    pub fn add(&mut self, name: &str, of: Of, value: anyhow::Result<f64>) {
        let at = self.rows.iter().position(|r| r.name == name && r.of == of).unwrap_or_else(|| {
            self.rows.push(Row::new(name, of));
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        match value {
            Ok(v) => row.rounds.push(Some(v)),
            Err(e) => {
                row.rounds.push(None);
                row.missing = Some(format!("{e:#}"));
            }
        }
    }

    /// How many times as good `row` is as `base`: the median over the rounds that both have.
    pub fn ratio(&self, row: &Row, base: &Row) -> Option<f64> {
        let pairs = row.rounds.iter().zip(&base.rounds).filter_map(|(a, b)| Some(((*a)?, (*b)?)));
        let one = |(a, b): (f64, f64)| if self.better == Better::Higher { a / b } else { b / a };
        spread(pairs.map(one)).map(|s| s.median)
    }

    /// By name.
    pub fn row(&self, of: Of, name: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.of == of && r.name == name)
    }

    /// The first of somebody's lines: what others are compared with.
    fn first(&self, of: Of) -> Option<&Row> {
        self.rows.iter().find(|r| r.of == of && !r.rounds.is_empty())
    }

    /// For a person.
    pub fn print(&self) {
        let way = if self.better == Better::Higher { "more is better" } else { "less is better" };
        println!("\n{} [{}; {way}]", self.title, self.unit);
        println!("  {:46} {:>26}  {:>10} {:>10}", "", "median (min–max)", "× kernel", "× Docker");
        for row in &self.rows {
            let owner = match row.of {
                Of::Kernel => "kernel",
                Of::Docker => "Docker",
                Of::Shoal => "Shoal",
            };
            let name = format!("{owner}: {}", row.name);
            let Some(s) = row.spread() else {
                println!("  {name:46} {}", row.missing.as_deref().unwrap_or("not measured"));
                continue;
            };
            let beside = |of: Of| match self.first(of) {
                Some(base) => self.ratio(row, base).map_or_else(String::new, |r| format!("{r:.2}")),
                None => String::new(),
            };
            let values = format!("{} ({}–{})", short(s.median), short(s.min), short(s.max));
            println!("  {name:46} {values:>26}  {:>10} {:>10}", beside(Of::Kernel), beside(Of::Docker));
            if let Some(why) = &row.missing {
                println!("  {:46} (a round is missing: {why})", "");
            }
        }
    }

    /// For a program.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|r| {
                let s = r.spread();
                json!({
                    "of": format!("{:?}", r.of).to_lowercase(), "name": r.name, "rounds": r.rounds, "missing": r.missing,
                    "median": s.map(|s| s.median), "min": s.map(|s| s.min), "max": s.map(|s| s.max),
                    "beside_kernel": self.first(Of::Kernel).and_then(|b| self.ratio(r, b)),
                    "beside_docker": self.first(Of::Docker).and_then(|b| self.ratio(r, b)),
                })
            })
            .collect();
        let better = format!("{:?}", self.better).to_lowercase();
        json!({ "key": self.key, "title": self.title, "unit": self.unit, "better": better, "rows": rows })
    }
}

/// Three figures that count.
fn short(v: f64) -> String {
    match v.abs() {
        a if a >= 100.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        a if a >= 1.0 => format!("{v:.2}"),
        _ => format!("{v:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_round_by_round() {
        let mut f = Figure::new("t", "t", "s", Better::Lower);
        for (ours, theirs) in [(1.0, 4.0), (2.0, 6.0), (1.0, 9.0)] {
            f.add("x", Of::Docker, Ok(theirs));
            f.add("x", Of::Shoal, Ok(ours));
        }
        f.add("x", Of::Docker, Err(anyhow::anyhow!("gone")));
        f.add("x", Of::Shoal, Ok(100.0));
        let (ours, theirs) = (f.row(Of::Shoal, "x").unwrap(), f.row(Of::Docker, "x").unwrap());
        assert_eq!(f.ratio(ours, theirs), Some(4.0));
        assert_eq!(theirs.spread(), Some(Spread { median: 6.0, min: 4.0, max: 9.0 }));
        assert_eq!(spread([1.0, 2.0, 3.0, 10.0]).unwrap().median, 2.5);
    }
}
