//! Tree and value → text.
use super::TemplateError;
use super::functions::{call, truth};
use super::parse::{Node, Operand, Pipeline};
use super::print::shown;
use serde_json::Value;

type Result<T> = std::result::Result<T, TemplateError>;

struct Run<'v> {
    /// `$` and the variables, innermost last.
    variables: Vec<(String, Option<Value>)>,
    root: &'v Value,
    /// Rendering a table's headers: a function gives its first argument back.
    headers: bool,
    out: String,
}

/// Whether a list of nodes ran to its end.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub(super) fn run(nodes: &[Node], value: &Value, headers: bool) -> Result<String> {
    let variables = vec![(String::new(), Some(value.clone()))];
    let mut run = Run { variables, root: value, headers, out: String::new() };
    run.list(nodes, &Some(value.clone()))?;
    Ok(run.out)
}

fn error<T>(text: impl Into<String>) -> Result<T> {
    Err(TemplateError(text.into()))
}

impl Run<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Option<Value>) -> Result<Flow> {
        for node in nodes {
            let depth = self.variables.len();
            let flow = self.node(node, dot)?;
            // A bare `{{$x := …}}` lives on to the end of the list.
            if !matches!(node, Node::Print(_)) {
                self.variables.truncate(depth);
            }
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Option<Value>) -> Result<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    if value.is_none()
                        && let [command] = &pipeline.commands[..]
                        && let [Operand::Field(path)] = &command[..]
                        && let [name] = &path[..]
                        && dot.as_ref() == Some(self.root)
                    {
                        return error(format!("executing \"\" at <.{name}>: map has no entry for key {name:?}"));
                    }
                    self.out.push_str(&shown(value.as_ref()));
                }
            }
            Node::If(condition, then, otherwise) => {
                let value = self.pipeline(condition, dot)?;
                return self.list(if truth(value.as_ref()) { then } else { otherwise }, dot);
            }
            Node::With(condition, then, otherwise) => {
                let value = self.pipeline(condition, dot)?;
                return if truth(value.as_ref()) { self.list(then, &value) } else { self.list(otherwise, dot) };
            }
            Node::Range(over, body, otherwise) => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(&mut self, over: &Pipeline, body: &[Node], otherwise: &[Node], dot: &Option<Value>) -> Result<Flow> {
        let items: Vec<(Value, Value)> = match self.commands(over, dot)? {
            None | Some(Value::Null) => vec![],
            Some(Value::Array(items)) => items.into_iter().enumerate().map(|(n, v)| (n.into(), v)).collect(),
            Some(Value::Object(map)) => {
                let mut items: Vec<(Value, Value)> = map.into_iter().map(|(k, v)| (k.into(), v)).collect();
                items.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
                items
            }
            Some(other) => return error(format!("range can't iterate over {other}")),
        };
        if items.is_empty() {
            return self.list(otherwise, dot);
        }
        for (key, value) in items {
            let depth = self.variables.len();
            let value = Some(value);
            match &over.variables[..] {
                [v] => self.variables.push((v.clone(), value.clone())),
                [k, v] => {
                    self.variables.push((k.clone(), Some(key)));
                    self.variables.push((v.clone(), value.clone()));
                }
                _ => {}
            }
            let flow = self.list(body, &value)?;
            self.variables.truncate(depth);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Option<Value>) -> Result<Option<Value>> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            if pipeline.declares {
                self.variables.push((name.clone(), value.clone()));
            } else {
                match self.variables.iter_mut().rev().find(|(n, _)| n == name) {
                    Some((_, slot)) => *slot = value.clone(),
                    None => return error(format!("undefined variable \"${name}\"")),
                }
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Option<Value>) -> Result<Option<Value>> {
        let mut last: Option<Option<Value>> = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.flatten())
    }

    /// `piped`: the value of the command before, which comes as the last argument.
    fn command(
        &mut self,
        command: &[Operand],
        dot: &Option<Value>,
        piped: Option<Option<Value>>,
    ) -> Result<Option<Value>> {
        let (first, rest) = command.split_first().expect("the parser makes no empty command");
        let mut arguments = rest.iter().map(|o| self.operand(o, dot)).collect::<Result<Vec<_>>>()?;
        arguments.extend(piped);
        match first {
            Operand::Function(name) if self.headers => {
                // Unknown functions are mistakes in headers too.
                let known = call(name, &[]).err().is_none_or(|e| !e.0.ends_with("not defined"));
                if !known {
                    return error(format!("function {name:?} not defined"));
                }
                Ok(arguments.into_iter().find(Option::is_some).flatten())
            }
            Operand::Function(name) => call(name, &arguments),
            Operand::Field(path) if path.last().is_some_and(|l| l == "Label") && arguments.len() == 1 => {
                let key = arguments[0].as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok(Some(if self.headers { key } else { label(dot, &key) }.into()))
            }
            operand if arguments.is_empty() => self.operand(operand, dot),
            _ => error("can't give argument to non-function"),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Option<Value>) -> Result<Option<Value>> {
        match operand {
            Operand::Literal(value) => Ok(Some(value.clone())),
            Operand::Dot => Ok(dot.clone()),
            Operand::Field(path) => walk(dot.clone(), path),
            Operand::Variable(name, path) => match self.variables.iter().rev().find(|(n, _)| n == name) {
                Some((_, value)) => walk(value.clone(), path),
                None => error(format!("undefined variable \"${name}\"")),
            },
            Operand::Function(name) => call(name, &[]),
            Operand::Nested(pipeline, path) => walk(self.pipeline(pipeline, dot)?, path),
        }
    }
}

/// `.Label "key"` of a row whose `Labels` are `k=v,…`.
fn label(dot: &Option<Value>, key: &str) -> String {
    let labels = dot.as_ref().and_then(|d| d.get("Labels")).and_then(Value::as_str).unwrap_or_default();
    labels
        .split(',')
        .find_map(|l| l.split_once('=').filter(|(k, _)| *k == key))
        .map(|(_, v)| v.to_owned())
        .unwrap_or_default()
}

/// Down the fields; the last one may be missing.
fn walk(mut at: Option<Value>, path: &[String]) -> Result<Option<Value>> {
    for (n, name) in path.iter().enumerate() {
        at = match at {
            Some(Value::Object(mut map)) => match map.remove(name) {
                Some(value) => Some(value),
                None => {
                    let found = map.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(k, _)| k.clone());
                    found.and_then(|k| map.remove(&k))
                }
            },
            None | Some(Value::Null) if n > 0 => {
                return error(format!(
                    "executing \"\" at <.{}>: map has no entry for key {:?}",
                    path.join("."),
                    path[n - 1]
                ));
            }
            None | Some(Value::Null) => None,
            Some(other) => {
                return error(format!(
                    "executing \"\" at <.{}>: can't evaluate field {name} in {other}",
                    path.join(".")
                ));
            }
        };
    }
    Ok(at)
}
