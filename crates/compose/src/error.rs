//! What can be wrong with a compose file. Messages name the file, the line when it can be told, and the key.
use crate::Source;
use crate::source::line_of;
use std::path::PathBuf;

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// None given.
    #[error("Please specify a Compose file (with --compose-file)")]
    NoFile,
    /// Not YAML.
    #[error("{file}: {message}")]
    Syntax {
        /// As the user named it.
        file: String,
        /// With line and column.
        message: String,
    },
    /// Keys that a swarm cannot honour and that must not be ignored.
    #[error("compose file contains unsupported options:\n\n{}", .0.join("\n\n"))]
    Forbidden(Vec<String>),
    /// A variable.
    #[error("{place}: {message}")]
    Interpolation {
        /// File, line, key.
        place: Place,
        /// Docker's sentence.
        message: String,
    },
    /// A key or a type.
    #[error("{place} {message}")]
    Shape {
        /// File, line, key.
        place: Place,
        /// Docker's sentence.
        message: String,
    },
    /// A value.
    #[error("{place}: {message}")]
    Value {
        /// File, line, key.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// A file that it names.
    #[error("{place}: {path}: {source}")]
    File {
        /// File, line, key.
        place: Place,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A place in a compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Empty until known.
    pub file: String,
    /// 1-based.
    pub line: Option<usize>,
    /// `services.web.ports[0]`; empty at the root.
    pub path: String,
}

impl Place {
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub(crate) fn in_source(source: &Source, path: &str) -> Self {
        Self { file: source.name.clone(), line: line_of(&source.text, path), path: path.to_owned() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.file.is_empty() {
            match self.line {
                Some(line) => write!(f, "{}:{line}: ", self.file)?,
                None => write!(f, "{}: ", self.file)?,
            }
        }
        f.write_str(if self.path.is_empty() { "(root)" } else { &self.path })
    }
}

impl ComposeError {
    /// Finds the place: the last file that has the key.
    pub(crate) fn in_file(mut self, sources: &[Source]) -> Self {
        let place = match &mut self {
            Self::Interpolation { place, .. }
            | Self::Shape { place, .. }
            | Self::Value { place, .. }
            | Self::File { place, .. } => place,
            _ => return self,
        };
        if place.file.is_empty() {
            let found = sources.iter().rev().find_map(|s| line_of(&s.text, &place.path).map(|l| (s, l)));
            match found {
                Some((source, line)) => (place.file, place.line) = (source.name.clone(), Some(line)),
                None if sources.len() == 1 => place.file = sources[0].name.clone(),
                None => {}
            }
        }
        self
    }
}
