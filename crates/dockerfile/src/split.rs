//! From one logical line to words. Quotes stay here; [`crate::expand`] takes them off when variables are replaced.

/// An instruction's word, its `--flags`, and the rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub word: &'a str,
    pub flags: Vec<String>,
    pub rest: &'a str,
}

pub(crate) fn parts(line: &str, escape: char) -> Parts<'_> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (flags, rest) = flags(rest, escape);
    Parts { word, flags, rest: rest.trim() }
}

/// The leading words that begin with `--`.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (found, rest);
        }
        let (flag, after) = flag(rest, escape);
        rest = after;
        if flag == "--" {
            return (found, rest);
        }
        found.push(flag);
    }
}

/// One flag without its quotes, and what follows.
fn flag(text: &str, escape: char) -> (String, &str) {
    let (mut flag, mut quote) = (String::new(), None);
    let mut letters = text.char_indices();
    while let Some((at, c)) = letters.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, _) if c == escape => match letters.next() {
                Some((_, next)) => flag.push(next),
                None => return (flag, ""),
            },
            (c, None) if c.is_whitespace() => return (flag, &text[at..]),
            (c, _) => flag.push(c),
        }
    }
    (flag, "")
}

/// Splits at blanks outside of quotes; quotes and escapes stay.
pub(crate) fn words(text: &str, escape: char) -> Vec<String> {
    let (mut found, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                found.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // One at the very end protects nothing.
            let Some(next) = letters.next() else { break };
            word.push(c);
            word.push(next);
            continue;
        }
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        found.push(word);
    }
    found
}

/// Splits at blanks, whatever the quotes.
pub(crate) fn blanks(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A JSON list of strings. `Ok(None)`: it is none, and is to be taken as text.
pub(crate) fn json_list(text: &str) -> Result<Option<Vec<String>>, String> {
    if !text.trim_start().starts_with('[') {
        return Ok(None);
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Err(_) => Ok(None),
        Ok(values) => values
            .into_iter()
            .map(|v| match v {
                serde_json::Value::String(s) => Ok(s),
                _ => Err("when using JSON array syntax, arrays must be comprised of strings only".to_owned()),
            })
            .collect::<Result<_, _>>()
            .map(Some),
    }
}

/// `name=value name2="v 2"`, or the old `name value with blanks`.
pub(crate) fn pairs(text: &str, instruction: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = words(text, escape);
    let Some(first) = words.first() else { return Err(format!("{instruction} requires at least one argument")) };
    let named = |(name, value): (&str, &str)| match name {
        "" => Err(format!("{instruction} names can not be blank")),
        name => Ok((name.to_owned(), value.to_owned())),
    };
    if !first.contains('=') {
        let old = text.split_once(char::is_whitespace);
        let (name, value) = old.ok_or_else(|| format!("{instruction} must have two arguments"))?;
        return Ok(vec![named((name, value.trim_start()))?]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(pair) => named(pair),
            None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
        })
        .collect()
}
