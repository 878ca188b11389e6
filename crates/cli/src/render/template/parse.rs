//! Tokens → tree.
use super::TemplateError;
use super::lex::Token;
use serde_json::Value;
use std::iter::Peekable;
use std::vec::IntoIter;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// `$x := a | b`
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// Whether the variables are new.
    pub(super) declares: bool,
    /// Each a function with arguments, or one operand.
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Debug)]
pub(super) enum Operand {
    Literal(Value),
    Dot,
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Nested(Box<Pipeline>, Vec<String>),
}

type Tokens = Peekable<IntoIter<Token>>;

fn error(text: impl Into<String>) -> TemplateError {
    TemplateError(text.into())
}

/// How a list of nodes ended.
#[allow(clippy::enum_variant_names)] // `{{end}}` is called so.
enum End {
    File,
    End,
    /// `{{else}}`, `{{else if …}}` or `{{else with …}}`.
    Else(Option<String>),
}

pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, TemplateError> {
    let mut tokens = tokens.into_iter().peekable();
    match list(&mut tokens)? {
        (nodes, End::File) => Ok(nodes),
        (_, End::End) => Err(error("unexpected {{end}}")),
        (_, End::Else(_)) => Err(error("unexpected {{else}}")),
    }
}

fn list(tokens: &mut Tokens) -> Result<(Vec<Node>, End), TemplateError> {
    let mut nodes = Vec::new();
    loop {
        match tokens.next() {
            None => return Ok((nodes, End::File)),
            Some(Token::Text(text)) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Some(Token::Open) => {}
            Some(other) => return Err(error(format!("unexpected {other:?}"))),
        }
        let keyword = match tokens.peek() {
            Some(Token::Word(w)) => w.clone(),
            Some(Token::Close) => return Err(error("missing value for command")),
            _ => String::new(),
        };
        match keyword.as_str() {
            "end" => {
                tokens.next();
                close(tokens)?;
                return Ok((nodes, End::End));
            }
            "else" => {
                tokens.next();
                let chained = match tokens.peek() {
                    Some(Token::Word(w)) if w == "if" || w == "with" => {
                        let word = w.clone();
                        tokens.next();
                        Some(word)
                    }
                    _ => None,
                };
                if chained.is_none() {
                    close(tokens)?;
                }
                return Ok((nodes, End::Else(chained)));
            }
            "if" | "with" | "range" => {
                tokens.next();
                nodes.push(control(&keyword, tokens)?);
            }
            "break" | "continue" => {
                tokens.next();
                close(tokens)?;
                nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
            }
            "define" | "template" | "block" => return Err(error(format!("{{{{{keyword}}}}} is not supported"))),
            _ => {
                nodes.push(Node::Print(pipeline(tokens)?));
                close(tokens)?;
            }
        }
    }
}

fn control(keyword: &str, tokens: &mut Tokens) -> Result<Node, TemplateError> {
    let condition = pipeline(tokens)?;
    close(tokens)?;
    let (body, end) = list(tokens)?;
    let otherwise = match end {
        End::End => vec![],
        End::File => return Err(error("unexpected EOF")),
        End::Else(Some(word)) => vec![control(&word, tokens)?],
        End::Else(None) => match list(tokens)? {
            (nodes, End::End) => nodes,
            (_, End::File) => return Err(error("unexpected EOF")),
            (_, End::Else(_)) => return Err(error("unexpected {{else}}")),
        },
    };
    Ok(match keyword {
        "if" => Node::If(condition, body, otherwise),
        "with" => Node::With(condition, body, otherwise),
        _ => Node::Range(condition, body, otherwise),
    })
}

fn close(tokens: &mut Tokens) -> Result<(), TemplateError> {
    match tokens.next() {
        Some(Token::Close) => Ok(()),
        other => Err(error(format!("unexpected {other:?} in command"))),
    }
}

fn pipeline(tokens: &mut Tokens) -> Result<Pipeline, TemplateError> {
    let mut whole = Pipeline { variables: vec![], declares: false, commands: vec![] };
    let mut first = command(tokens)?;
    while let [Operand::Variable(name, path)] = &first[..]
        && path.is_empty()
        && matches!(tokens.peek(), Some(Token::Comma | Token::Declare | Token::Assign))
    {
        whole.variables.push(name.clone());
        let sign = tokens.next();
        whole.declares = sign == Some(Token::Declare);
        first = command(tokens)?;
        if sign != Some(Token::Comma) {
            break;
        }
    }
    whole.commands.push(first);
    while tokens.peek() == Some(&Token::Pipe) {
        tokens.next();
        whole.commands.push(command(tokens)?);
    }
    Ok(whole)
}

fn command(tokens: &mut Tokens) -> Result<Vec<Operand>, TemplateError> {
    let mut operands = Vec::new();
    loop {
        let operand = match tokens.peek() {
            Some(
                Token::Literal(_)
                | Token::Dot
                | Token::Field { .. }
                | Token::Variable(_)
                | Token::Word(_)
                | Token::LeftParen,
            ) => tokens.next(),
            _ if operands.is_empty() => return Err(error("missing value for command")),
            _ => return Ok(operands),
        };
        operands.push(match operand {
            Some(Token::Literal(value)) => Operand::Literal(value),
            Some(Token::Dot) => Operand::Dot,
            Some(Token::Field { path, .. }) => Operand::Field(path),
            Some(Token::Variable(name)) => Operand::Variable(name, glued(tokens)),
            Some(Token::Word(name)) => Operand::Function(name),
            _ => {
                let inner = pipeline(tokens)?;
                if tokens.next() != Some(Token::RightParen) {
                    return Err(error("unclosed left paren"));
                }
                Operand::Nested(Box::new(inner), glued(tokens))
            }
        });
    }
}

/// Fields right behind a variable or a parenthesis.
fn glued(tokens: &mut Tokens) -> Vec<String> {
    match tokens.peek() {
        Some(Token::Field { path, glued: true }) => {
            let path = path.clone();
            tokens.next();
            path
        }
        _ => vec![],
    }
}
