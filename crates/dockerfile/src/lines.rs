//! From text to logical lines: directives, comments, continuations.
use crate::ParseError;

/// One instruction's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it begins.
    pub number: usize,
    /// Without its continuations.
    pub text: String,
}

#[derive(Debug)]
pub(crate) struct Lines {
    pub escape: char,
    pub lines: Vec<Line>,
    pub warnings: Vec<String>,
}

/// What a comment in front of everything else may set.
enum Directive {
    Escape(char),
    /// `syntax` and `check` are for other builders.
    Other(String),
}

pub(crate) fn read(text: &str) -> Result<Lines, ParseError> {
    let mut all = Lines { escape: '\\', lines: Vec::new(), warnings: Vec::new() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = text.split('\n').map(|row| row.strip_suffix('\r').unwrap_or(row)).enumerate().peekable();
    let mut seen: Vec<String> = Vec::new();
    while let Some((n, row)) = rows.peek() {
        let number = n + 1;
        let Some(found) = directive(row) else { break };
        let found = found.map_err(|why| ParseError { line: number, why })?;
        let name = match &found {
            Directive::Escape(_) => "escape".to_owned(),
            Directive::Other(name) => name.clone(),
        };
        if seen.contains(&name) {
            let why = format!("only one {name} parser directive can be used");
            return Err(ParseError { line: number, why });
        }
        seen.push(name);
        if let Directive::Escape(c) = found {
            all.escape = c;
        }
        rows.next();
    }
    while let Some((n, row)) = rows.next() {
        let row = row.trim_start();
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        let (mut whole, mut goes_on) = cut(row, all.escape);
        let mut hole = false;
        while goes_on {
            let Some((_, row)) = rows.next() else { break };
            let bare = row.trim_start();
            if bare.starts_with('#') {
                continue;
            }
            if bare.is_empty() {
                hole = true;
                continue;
            }
            let (part, more) = cut(row, all.escape);
            whole.push_str(&part);
            goes_on = more;
        }
        if whole.trim().is_empty() {
            continue;
        }
        if hole {
            all.warnings.push(format!("Empty continuation line found in: {whole}"));
        }
        refuse_heredoc(&whole).map_err(|why| ParseError { line: n + 1, why })?;
        all.lines.push(Line { number: n + 1, text: whole });
    }
    Ok(all)
}

/// `# name=value`; `None` for everything else.
fn directive(row: &str) -> Option<Result<Directive, String>> {
    let (name, value) = row.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    match name.as_str() {
        "escape" => Some(match value {
            "\\" => Ok(Directive::Escape('\\')),
            "`" => Ok(Directive::Escape('`')),
            _ => Err(format!("invalid escape token '{value}' does not match ` or \\")),
        }),
        "syntax" | "check" => Some(Ok(Directive::Other(name))),
        _ => None,
    }
}

/// Takes the continuation mark off a row; tells whether there was one. A doubled mark is none.
fn cut(row: &str, escape: char) -> (String, bool) {
    let end = row.trim_end_matches([' ', '\t']);
    match end.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), true),
        _ => (row.to_owned(), false),
    }
}

/// `<<EOF` would need the other builder; taking it as an ordinary word would do something else than is meant.
fn refuse_heredoc(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let mut first = words.next().unwrap_or_default().to_ascii_uppercase();
    if first == "ONBUILD" {
        first = words.next().unwrap_or_default().to_ascii_uppercase();
    }
    if !matches!(first.as_str(), "RUN" | "COPY" | "ADD") {
        return Ok(());
    }
    let words: Vec<&str> = words.skip_while(|w| w.starts_with("--")).collect();
    if words.first().is_some_and(|w| w.starts_with('[')) {
        return Ok(());
    }
    let is_heredoc = |word: &&&str| {
        let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else { return false };
        let rest = rest.strip_prefix('-').unwrap_or(rest).trim_matches(['"', '\'']);
        rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    match words.iter().find(is_heredoc) {
        Some(word) => Err(format!(
            "{first} with a here-document ({word}) requires BuildKit, which this engine does not have: write the text to a file of the build context and COPY it"
        )),
        None => Ok(()),
    }
}
