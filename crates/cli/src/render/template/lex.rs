//! Text → tokens. Text outside of `{{…}}` is one token; `{{-` and `-}}` take the white space beside them away.
use super::TemplateError;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Text(String),
    /// Begin and end of an action.
    Open,
    Close,
    /// A constant.
    Literal(Value),
    /// `.`
    Dot,
    /// `.A.B`; glued: no white space before it.
    Field {
        path: Vec<String>,
        glued: bool,
    },
    /// `$x`; `$` is empty.
    Variable(String),
    /// A function or keyword.
    Word(String),
    LeftParen,
    RightParen,
    Pipe,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

pub(super) fn lex(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let mut before = if trim_next { before.trim_start() } else { before };
        let after = after.map(|a| match a.strip_prefix('-').filter(|a| a.starts_with(char::is_whitespace)) {
            Some(a) => {
                before = before.trim_end();
                a
            }
            None => a,
        });
        if !before.is_empty() {
            tokens.push(Token::Text(before.to_owned()));
        }
        let Some(after) = after else { return Ok(tokens) };
        let left = if after.trim_start().starts_with("/*") {
            let (_, end) = after.split_once("*/").ok_or_else(|| error("unclosed comment"))?;
            end
        } else {
            tokens.push(Token::Open);
            let left = action(after, &mut tokens)?;
            tokens.push(Token::Close);
            left
        };
        let left = left.trim_start();
        (rest, trim_next) = match left.strip_prefix('-').map(|l| l.strip_prefix("}}")) {
            Some(Some(l)) => (l, true),
            _ => (left.strip_prefix("}}").ok_or_else(|| error("unclosed action"))?, false),
        };
    }
}

fn error(text: impl Into<String>) -> TemplateError {
    TemplateError(text.into())
}

/// Tokens up to the closing braces, and what is left from there.
fn action<'t>(text: &'t str, tokens: &mut Vec<Token>) -> Result<&'t str, TemplateError> {
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let spaced = trimmed.len() < rest.len();
        rest = trimmed;
        if rest.starts_with("}}") || (spaced && rest.starts_with("-}}")) {
            return Ok(rest);
        }
        let Some(c) = rest.chars().next() else { return Err(error("unclosed action")) };
        let (token, length) = match c {
            '(' => (Token::LeftParen, 1),
            ')' => (Token::RightParen, 1),
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '"' | '`' | '\'' => quoted(rest, c)?,
            '.' => {
                let mut path = Vec::new();
                let mut at = rest;
                while let Some(name) = at.strip_prefix('.').map(word).filter(|n| !n.is_empty()) {
                    path.push(name.to_owned());
                    at = &at[1 + name.len()..];
                }
                if path.is_empty() {
                    (Token::Dot, 1)
                } else {
                    let glued = !spaced
                        && !matches!(
                            tokens.last(),
                            None | Some(Token::Open | Token::LeftParen | Token::Pipe | Token::Comma)
                        );
                    (Token::Field { path, glued }, rest.len() - at.len())
                }
            }
            '$' => {
                let name = word(&rest[1..]);
                (Token::Variable(name.to_owned()), 1 + name.len())
            }
            '0'..='9' | '-' | '+' => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let name = word(rest);
                let token = match name {
                    "true" => Token::Literal(true.into()),
                    "false" => Token::Literal(false.into()),
                    "nil" => Token::Literal(Value::Null),
                    name => Token::Word(name.to_owned()),
                };
                (token, name.len())
            }
            c => return Err(error(format!("unexpected {c:?} in action"))),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn number(text: &str) -> Result<(Token, usize), TemplateError> {
    let end = text[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '.').map_or(text.len(), |n| n + 1);
    let digits = &text[..end];
    let value = match digits.parse::<i64>() {
        Ok(n) => Value::from(n),
        Err(_) => {
            digits.parse::<f64>().map(Value::from).map_err(|_| error(format!("bad number syntax: {digits:?}")))?
        }
    };
    Ok((Token::Literal(value), end))
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), TemplateError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let value = if quote == '\'' { out.chars().next().map_or(0, u32::from).into() } else { out.into() };
            return Ok((Token::Literal(value), at + 1));
        }
        if c == '\\' && quote != '`' {
            out.push(match chars.next().map(|(_, c)| c) {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(c @ ('"' | '\'' | '\\')) => c,
                _ => return Err(error("bad character in quoted string")),
            });
        } else {
            out.push(c);
        }
    }
    Err(error("unterminated quoted string"))
}
