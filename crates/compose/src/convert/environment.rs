//! A container's variables: env files first, then `environment`; a key without a value is taken from the surroundings.
use super::mount::absolute;
use crate::error::Place;
use crate::read::At;
use crate::{ComposeError, Surroundings};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn all(at: &At<'_>, around: &Surroundings<'_>) -> Result<Vec<String>, ComposeError> {
    let mut env: BTreeMap<String, Option<String>> = BTreeMap::new();
    if let Some(files) = at.get("env_file") {
        for name in files.texts()? {
            let path = absolute(around, Path::new(&name));
            let place = Place::at(&files.path);
            let bytes = (around.read)(&path).map_err(|source| ComposeError::File {
                place: place.clone(),
                path: path.clone(),
                source,
            })?;
            let Ok(text) = String::from_utf8(bytes) else {
                return files.wrong(format!("env file {} is not valid UTF-8", path.display()));
            };
            match parse(&text, around.env) {
                Ok(pairs) => env.extend(pairs.into_iter().map(|(k, v)| (k, Some(v)))),
                Err(line) => return files.wrong(format!("{}:{line}: no variable name on line", path.display())),
            }
        }
    }
    if let Some(own) = at.get("environment") {
        for (key, value) in own.pairs('=')? {
            let value = value.or_else(|| (around.env)(&key));
            env.insert(key, value);
        }
    }
    Ok(env.into_iter().map(|(k, v)| v.map_or(k.clone(), |v| format!("{k}={v}"))).collect())
}

/// `K=V` lines; `#` comments; a bare `K` is taken from the surroundings or left out. Quotes are kept, as Docker does.
fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((key, _)) if key.trim().is_empty() => return Err(n + 1),
            Some((key, value)) => pairs.push((key.trim_end().to_owned(), value.to_owned())),
            None => pairs.extend(env(line.trim_end()).map(|v| (line.trim_end().to_owned(), v))),
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn env_files_are_read_line_by_line() {
        let env = |name: &str| (name == "HERE").then(|| "yes".to_owned());
        let text = "\u{feff}# comment\n\n  A=1\nB=x=y # kept\nHERE\nNOT_HERE\nC=\nD=\"q\"\n";
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let wanted = [pair("A", "1"), pair("B", "x=y # kept"), pair("HERE", "yes"), pair("C", ""), pair("D", "\"q\"")];
        assert_eq!(parse(text, &env).unwrap(), wanted);
        assert_eq!(parse("A=1\n=2", &env), Err(2));
    }
}
