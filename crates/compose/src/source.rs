//! Text → tree, and back from a key to its line.
use crate::{ComposeError, Source};
use serde_yaml_ng::Value;

/// Larger files are refused: nobody writes them, and merge keys can blow them up.
const TEXT_MAX: usize = 4 << 20;

pub(crate) fn parse(source: &Source) -> Result<Value, ComposeError> {
    let error = |message: String| ComposeError::Syntax { file: source.name.clone(), message };
    if source.text.len() > TEXT_MAX {
        return Err(error("the file is too large".into()));
    }
    let mut tree: Value = serde_yaml_ng::from_str(&source.text).map_err(|e| error(in_dockers_form(&e)))?;
    tree.apply_merge().map_err(|e| error(in_dockers_form(&e)))?;
    match tree {
        Value::Mapping(_) => Ok(tree),
        Value::Null => Err(error("empty compose file".into())),
        _ => Err(error("top-level object must be a mapping".into())),
    }
}

/// `yaml: line 2: did not find expected node content`.
fn in_dockers_form(e: &serde_yaml_ng::Error) -> String {
    let text = e.to_string();
    match e.location() {
        Some(at) => {
            let position = format!(" at line {} column {}", at.line(), at.column());
            format!("yaml: line {}: {}", at.line(), text.replacen(&position, "", 1))
        }
        None => format!("yaml: {text}"),
    }
}

/// The line of a key, found by its name and indentation. Flow style and anchors may hide it.
pub(crate) fn line_of(text: &str, path: &str) -> Option<usize> {
    let keys: Vec<&str> = path.split('.').map(|k| k.split('[').next().unwrap_or(k)).filter(|k| !k.is_empty()).collect();
    let mut wanted = keys.iter().peekable();
    let mut indents: Vec<usize> = Vec::new();
    let mut found = None;
    // Only direct children count; deeper keys of the same name belong to somebody else.
    let mut child_indent: Option<usize> = None;
    for (n, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        if let Some(parent) = indents.last()
            && indent <= *parent
        {
            // Left the parent: what was found is the best there is.
            break;
        }
        let Some(key) = wanted.peek() else { break };
        if *child_indent.get_or_insert(indent) != indent {
            continue;
        }
        let name = content.split(':').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        if content.contains(':') && name == **key {
            found = Some(n + 1);
            indents.push(indent);
            child_indent = None;
            wanted.next();
        }
    }
    // A deeper place that cannot be found is told by its parent, but not by the section alone.
    (indents.len() == keys.len() || indents.len() >= 2).then_some(found).flatten()
}
