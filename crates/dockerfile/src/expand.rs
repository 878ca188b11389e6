//! Replaces variables and takes quotes off, as a shell would: `$name`, `${name}`, `${name:-default}`, `${name:+instead}`,
//! `${name:?message}`, `${name#prefix}`, `${name%suffix}`, `${name/what/with}`.
use crate::glob;
use std::{iter::Peekable, str::Chars};

/// Where values come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Most letters of a result: a few nested variables could make it grow without end.
const LENGTH_MAX: usize = 1 << 20;
/// `${a:-${b:-…}}`.
const DEPTH_MAX: usize = 100;

/// One word; blanks in it stay.
///
/// # Errors
/// What is wrong with a quote or a `${…}`, or the message of `${name?message}`.
pub fn word(text: &str, escape: char, values: Lookup<'_>) -> Result<String, String> {
    run(text, escape, values).map(|out| out.text)
}

/// Splits the result at blanks that are not quoted.
///
/// # Errors
/// As [`word`].
pub fn words(text: &str, escape: char, values: Lookup<'_>) -> Result<Vec<String>, String> {
    run(text, escape, values).map(|out| out.words)
}

fn run(text: &str, escape: char, values: Lookup<'_>) -> Result<Output, String> {
    let mut lexer = Lexer { letters: text.chars().peekable(), escape, values, depth: 0 };
    let mut out = Output::default();
    lexer.until(None, false, &mut out).map_err(|why| format!("failed to process {text:?}: {why}"))?;
    out.end_word();
    Ok(out)
}

struct Lexer<'a> {
    letters: Peekable<Chars<'a>>,
    escape: char,
    values: Lookup<'a>,
    depth: usize,
}

/// The whole text, and the same in words.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    fn plain(&mut self, c: char) {
        self.text.push(c);
        if c.is_whitespace() { self.end_word() } else { self.word.push(c) }
    }
    fn quoted(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }
    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

impl Lexer<'_> {
    /// Up to `stop` (or the end, when there is none). Patterns keep their escapes.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool, out: &mut Output) -> Result<(), String> {
        while let Some(&c) = self.letters.peek() {
            if out.text.len() > LENGTH_MAX {
                return Err(format!("the result is longer than {LENGTH_MAX} bytes"));
            }
            if Some(c) == stop {
                self.letters.next();
                return Ok(());
            }
            match c {
                '\'' => {
                    let text = self.single()?;
                    out.quoted(&text);
                }
                '"' => {
                    let text = self.double(keep_escapes)?;
                    out.quoted(&text);
                }
                '$' => self.dollar()?.chars().for_each(|c| out.plain(c)),
                c if c == self.escape => {
                    self.letters.next();
                    if keep_escapes {
                        out.quoted(&c.to_string());
                    }
                    if let Some(next) = self.letters.next() {
                        out.quoted(&next.to_string());
                    }
                }
                c => {
                    self.letters.next();
                    out.plain(c);
                }
            }
        }
        match stop {
            None => Ok(()),
            Some('}') => Err("syntax error: missing '}'".into()),
            Some(c) => Err(format!("syntax error: missing '{c}' in ${{}}")),
        }
    }

    fn single(&mut self) -> Result<String, String> {
        self.letters.next();
        let mut text = String::new();
        for c in self.letters.by_ref() {
            if c == '\'' {
                return Ok(text);
            }
            text.push(c);
        }
        Err("unexpected end of statement while looking for matching single-quote".into())
    }

    fn double(&mut self, keep_escapes: bool) -> Result<String, String> {
        self.letters.next();
        let mut text = String::new();
        while let Some(&c) = self.letters.peek() {
            match c {
                '"' => {
                    self.letters.next();
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                c if c == self.escape => {
                    self.letters.next();
                    match self.letters.peek() {
                        None => {}
                        Some(&next) if matches!(next, '"' | '$') || next == self.escape => {
                            if keep_escapes {
                                text.push(c);
                            }
                            text.push(next);
                            self.letters.next();
                        }
                        Some(_) => text.push(c),
                    }
                }
                c => {
                    self.letters.next();
                    text.push(c);
                }
            }
        }
        Err("unexpected end of statement while looking for matching double-quote".into())
    }

    /// From the `$` on.
    fn dollar(&mut self) -> Result<String, String> {
        self.letters.next();
        if self.letters.peek() != Some(&'{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".into() } else { (self.values)(&name).unwrap_or_default() });
        }
        self.letters.next();
        match self.letters.peek() {
            None => return Err("syntax error: missing '}'".into()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".into()),
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.values)(&name);
        let Some(mut modifier) = self.letters.next() else { return Err("syntax error: missing '}'".into()) };
        if modifier == '}' {
            return Ok(value.unwrap_or_default());
        }
        let empty_is_unset = modifier == ':';
        if empty_is_unset {
            modifier = self.letters.next().ok_or("syntax error: missing '}'")?;
        }
        let shown = if empty_is_unset { format!(":{modifier}") } else { modifier.to_string() };
        let known = match modifier {
            '-' | '+' | '?' => true,
            '#' | '%' | '/' => !empty_is_unset,
            _ => false,
        };
        if !known {
            return Err(format!("unsupported modifier ({shown}) in substitution"));
        }
        if modifier == '/' {
            return self.replace(&value.unwrap_or_default());
        }
        let word = self.inner('}', matches!(modifier, '#' | '%'))?;
        let set = value.as_ref().is_some_and(|v| !(empty_is_unset && v.is_empty()));
        Ok(match modifier {
            '-' if set => value.unwrap_or_default(),
            '-' => word,
            '+' if set => word,
            '+' => String::new(),
            '?' if set => value.unwrap_or_default(),
            '?' if !word.is_empty() => return Err(format!("{name}: {word}")),
            '?' if value.is_none() => return Err(format!("{name}: is not allowed to be unset")),
            '?' => return Err(format!("{name}: is not allowed to be empty")),
            '#' => trim_prefix(&value.unwrap_or_default(), &word),
            _ => trim_suffix(&value.unwrap_or_default(), &word),
        })
    }

    fn replace(&mut self, value: &str) -> Result<String, String> {
        let all = self.letters.peek() == Some(&'/');
        if all {
            self.letters.next();
        }
        let pattern = self.inner('/', true)?;
        let with = self.inner('}', true)?;
        Ok(substitute(value, &pattern, &with, all))
    }

    fn inner(&mut self, stop: char, keep_escapes: bool) -> Result<String, String> {
        if self.depth >= DEPTH_MAX {
            return Err("substitutions are nested too deeply".into());
        }
        self.depth += 1;
        let mut out = Output::default();
        let result = self.until(Some(stop), keep_escapes, &mut out);
        self.depth -= 1;
        result.map(|()| out.text)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        let digits = self.letters.peek().is_some_and(char::is_ascii_digit);
        if let Some(&c) = self.letters.peek()
            && "@*#?-$!".contains(c)
        {
            self.letters.next();
            return c.to_string();
        }
        while let Some(&c) = self.letters.peek() {
            let fits = if digits { c.is_ascii_digit() } else { c.is_alphanumeric() || c == '_' };
            if !fits {
                break;
            }
            name.push(c);
            self.letters.next();
        }
        name
    }
}

/// In these patterns `*` crosses slashes: a letter that no pattern has stands for them.
fn fits(pattern: &str, text: &str) -> bool {
    glob::matches(&pattern.replace('/', "\u{0}"), &text.replace('/', "\u{0}"))
}

/// Where letters begin, and the end.
fn bounds(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

/// The shortest prefix; the longest with a doubled mark.
fn trim_prefix(value: &str, pattern: &str) -> String {
    let (pattern, longest) = pattern.strip_prefix('#').map_or((pattern, false), |p| (p, true));
    let ends = bounds(value);
    let mut fitting = ends.iter().filter(|end| fits(pattern, &value[..**end]));
    let end = if longest { fitting.next_back() } else { fitting.next() };
    value[end.copied().unwrap_or(0)..].to_owned()
}

fn trim_suffix(value: &str, pattern: &str) -> String {
    let (pattern, longest) = pattern.strip_prefix('%').map_or((pattern, false), |p| (p, true));
    let starts = bounds(value);
    let mut fitting = starts.iter().filter(|start| fits(pattern, &value[**start..]));
    let start = if longest { fitting.next() } else { fitting.next_back() };
    value[..start.copied().unwrap_or(value.len())].to_owned()
}

/// Longest matches, from the left.
fn substitute(value: &str, pattern: &str, with: &str, all: bool) -> String {
    const PLACES_MAX: usize = 2048;
    let places = bounds(value);
    if pattern.is_empty() || places.len() > PLACES_MAX {
        return value.to_owned();
    }
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while at < value.len() {
        let found = places.iter().rev().find(|end| **end > at && fits(pattern, &value[at..**end]));
        match found {
            Some(&end) if !done && out.len() < LENGTH_MAX => {
                out.push_str(with);
                at = end;
                done = !all;
            }
            _ => {
                let next = places.iter().find(|p| **p > at).copied().unwrap_or(value.len());
                out.push_str(&value[at..next]);
                at = next;
            }
        }
    }
    out
}
