//! `.dockerignore`: which files of a build context stay behind. The last pattern that fits a path, or a directory above
//! it, decides.
use crate::glob;

/// Most patterns that are read.
const PATTERNS_MAX: usize = 10_000;

/// The patterns of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    /// `!`: what fits comes along after all.
    back: bool,
}

impl Ignore {
    /// Reads a file; comments and blank lines count for nothing.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let patterns = text.lines().filter(|l| !l.starts_with('#')).filter_map(|line| {
            let line = line.trim();
            let (line, back) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line, false),
            };
            let text = clean(line);
            (!text.is_empty()).then_some(Pattern { text, back })
        });
        Self { patterns: patterns.take(PATTERNS_MAX).collect() }
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path (relative, with `/`) stays behind.
    pub fn excludes(&self, path: &str) -> bool {
        let path = clean(path);
        let mut excluded = false;
        for pattern in &self.patterns {
            // A pattern that changes nothing need not be tried.
            if pattern.back == excluded && above(&path).any(|p| glob::matches_deep(&pattern.text, p)) {
                excluded = !pattern.back;
            }
        }
        excluded
    }

    /// Whether something below an excluded directory may come along after all, so that it must be walked.
    pub fn may_come_back(&self, dir: &str) -> bool {
        let dir = clean(dir);
        self.patterns.iter().filter(|p| p.back).any(|p| {
            let (mut pattern, mut path) = (p.text.split('/'), dir.split('/'));
            loop {
                match (pattern.next(), path.next()) {
                    (_, None) => return true,
                    (None, _) => return false,
                    (Some(a), _) if a.contains("**") => return true,
                    (Some(a), Some(b)) if glob::matches(a, b) => {}
                    _ => return false,
                }
            }
        })
    }
}

/// The path and the directories above it.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

/// Without `.`, `..`, doubled and outer slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}
