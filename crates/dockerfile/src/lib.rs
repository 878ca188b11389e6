//! Dockerfiles and `.dockerignore` files, pure: text in, instructions out.
//!
//! ```text
//! text ─ lines ─► logical lines ─ split ─► word, flags, rest ─ instruction ─► Step ─► Stage ─► Dockerfile
//! ```
//! Variables are not touched while parsing: [`Instruction::expand`] replaces them when a step is about to run, because
//! only then their values are known ([`args::BuildArgs`]).
#![forbid(unsafe_code)]

pub mod args;
pub mod duration;
pub mod expand;
pub mod glob;
pub mod ignore;
pub mod instruction;
mod lines;
mod split;

pub use instruction::{Command, Health, Instruction, Sources, Stage, Step};

/// Most bytes of a Dockerfile.
pub const BYTES_MAX: usize = 4 << 20;
/// Most instructions of one.
pub const STEPS_MAX: usize = 10_000;

/// What is wrong with a Dockerfile, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {line}: {why}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// `\`, or `` ` `` after `# escape=`.
    pub escape: char,
    /// The `ARG`s in front of the first `FROM`.
    pub arguments: Vec<Step>,
    /// The stages, at least one.
    pub stages: Vec<Stage>,
    /// What should be written otherwise.
    pub warnings: Vec<String>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > BYTES_MAX {
            return Err(ParseError { line: 1, why: format!("the file is longer than {BYTES_MAX} bytes") });
        }
        let lines::Lines { escape, lines, warnings } = lines::read(text)?;
        if lines.is_empty() {
            return Err(ParseError { line: 1, why: "file with no instructions".into() });
        }
        if let Some(line) = lines.get(STEPS_MAX) {
            return Err(ParseError { line: line.number, why: format!("more than {STEPS_MAX} instructions") });
        }
        let mut file = Self { escape, arguments: Vec::new(), stages: Vec::new(), warnings };
        for line in lines {
            let at = |why: String| ParseError { line: line.number, why };
            if line.text.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("FROM")) {
                file.stages.push(Stage::parse(&line.text, escape).map_err(at)?);
                continue;
            }
            let step = Step::parse(&line.text, escape).map_err(at)?;
            match file.stages.last_mut() {
                Some(stage) => stage.steps.push(step),
                None if matches!(step.instruction, Instruction::Arg(_)) => file.arguments.push(step),
                None => return Err(at("no build stage in current context".into())),
            }
        }
        if file.stages.is_empty() {
            return Err(ParseError { line: 1, why: "no build stage in current context".into() });
        }
        Ok(file)
    }

    /// Which stage `--target` means: by name, or by number.
    pub fn stage_named(&self, target: &str) -> Option<usize> {
        let by_name = self.stages.iter().position(|s| !s.name.is_empty() && s.name.eq_ignore_ascii_case(target));
        by_name.or_else(|| target.parse().ok().filter(|n| *n < self.stages.len()))
    }

    /// How many lines `Step n/m` counts.
    pub fn step_count(&self) -> usize {
        self.arguments.len() + self.stages.iter().map(|s| 1 + s.steps.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
