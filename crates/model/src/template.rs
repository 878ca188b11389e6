//! Placeholders in a service's hostname, environment and mounts: `{{.Service.Name}}-{{.Task.Slot}}`.
//!
//! Docker expands them with Go templates; what people use is field access, `index` into a label map and, in secrets and
//! configs with the template driver `golang`, the functions `env`, `secret` and `config`. These are done here, anything
//! else is refused by name.
use crate::object::{Node, Task};
use std::collections::BTreeMap;

/// Why a template cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("template {0:?}: unclosed action")]
    Unclosed(String),
    /// Not a known field or function.
    #[error(
        "template {text:?}: can't evaluate {action:?}; .Service.{{ID,Name,Labels}}, .Node.{{ID,Hostname,Platform.OS,Platform.Architecture}} and .Task.{{ID,Name,Slot}} are known"
    )]
    Unknown {
        /// The whole text.
        text: String,
        /// The action in it.
        action: String,
    },
}

/// What the placeholders stand for in one task.
#[derive(Clone, Debug, Default)]
pub struct Context {
    fields: BTreeMap<&'static str, String>,
    service_labels: BTreeMap<String, String>,
    files: Option<Files>,
}

/// What the content of a secret or config may refer to besides.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The container's environment.
    pub env: BTreeMap<String, String>,
    /// Secrets of the task, by the name of their file.
    pub secrets: BTreeMap<String, String>,
    /// Configs of the task, by the name of their file.
    pub configs: BTreeMap<String, String>,
}

impl Context {
    /// For a task on a node.
    pub fn new(task: &Task, node_id: &str, node: Option<&Node>, hostname: &str) -> Self {
        let platform = node.and_then(|n| n.description.as_ref()).map(|d| d.platform.clone()).unwrap_or_default();
        let name = task.container_name();
        let fields = [
            (".Service.ID", task.service.as_ref().map(|s| s.to_string()).unwrap_or_default()),
            (".Service.Name", task.service_name.clone()),
            (".Node.ID", node_id.to_owned()),
            (".Node.Hostname", hostname.to_owned()),
            (".Node.Platform.OS", if platform.os.is_empty() { "linux".into() } else { platform.os }),
            (
                ".Node.Platform.Architecture",
                if platform.architecture.is_empty() { "x86_64".into() } else { platform.architecture },
            ),
            (".Task.ID", task.id.to_string()),
            (".Task.Name", name),
            (".Task.Slot", if task.slot == 0 { node_id.to_owned() } else { task.slot.to_string() }),
        ];
        Self { fields: fields.into(), service_labels: task.service_labels.clone(), files: None }
    }

    /// For no task in particular: to see whether a text can be expanded at all.
    pub fn sample() -> Self {
        let names = [
            ".Service.ID",
            ".Service.Name",
            ".Node.ID",
            ".Node.Hostname",
            ".Node.Platform.OS",
            ".Node.Platform.Architecture",
            ".Task.ID",
            ".Task.Name",
            ".Task.Slot",
        ];
        Self { fields: names.map(|n| (n, "x".to_owned())).into(), ..Self::default() }
    }

    /// The same for the content of secrets and configs.
    pub fn with_files(&self, files: Files) -> Self {
        Self { files: Some(files), ..self.clone() }
    }

    /// The text with its placeholders expanded.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn expand(&self, text: &str) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find("}}") else { return Err(TemplateError::Unclosed(text.to_owned())) };
            let action = rest[at + 2..at + end].trim_matches(|c: char| c == '-' || c.is_whitespace());
            match self.value(action) {
                Some(v) => out.push_str(&v),
                None => return Err(TemplateError::Unknown { text: text.to_owned(), action: action.to_owned() }),
            }
            rest = &rest[at + end + 2..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, action: &str) -> Option<String> {
        if let Some(v) = self.fields.get(action) {
            return Some(v.clone());
        }
        if let Some(quoted) = action.strip_prefix('"').and_then(|a| a.strip_suffix('"')) {
            return Some(quoted.to_owned());
        }
        if let Some(args) = action.strip_prefix("index ") {
            let key = args.trim().strip_prefix(".Service.Labels")?.trim().trim_matches('"');
            return Some(self.service_labels.get(key).cloned().unwrap_or_default());
        }
        if let Some(files) = &self.files
            && let Some((function, argument)) = action.split_once(char::is_whitespace)
        {
            let name = argument.trim().strip_prefix('"')?.strip_suffix('"')?;
            return match function {
                // As in Docker: what is not set is empty, a file that is not there is an error.
                "env" => Some(files.env.get(name).cloned().unwrap_or_default()),
                "secret" => files.secrets.get(name).cloned(),
                "config" => files.configs.get(name).cloned(),
                _ => None,
            };
        }
        // A label whose name is an identifier may be written as a field.
        let label = action.strip_prefix(".Service.Labels.")?;
        Some(self.service_labels.get(label).cloned().unwrap_or_else(|| "<no value>".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            fields: [(".Service.Name", "web".to_owned()), (".Task.Slot", "3".to_owned())].into(),
            service_labels: [("tier".to_owned(), "front".to_owned())].into(),
            files: None,
        }
    }

    #[test]
    fn placeholders_are_expanded_and_unknown_ones_named() {
        let c = context();
        assert_eq!(c.expand("{{.Service.Name}}-{{ .Task.Slot }}").unwrap(), "web-3");
        assert_eq!(c.expand(r#"{{index .Service.Labels "tier"}}{{.Service.Labels.tier}}"#).unwrap(), "frontfront");
        assert_eq!(c.expand("plain").unwrap(), "plain");
        assert!(c.expand(r#"{{secret "key"}}"#).is_err(), "only contents of files may look into files");
        let files = Files {
            env: [("MODE".to_owned(), "fast".to_owned())].into(),
            secrets: [("key".to_owned(), "s3cret".to_owned())].into(),
            ..Files::default()
        };
        let f = c.with_files(files);
        assert_eq!(
            f.expand(r#"{{env "MODE"}}{{env "NO"}} {{ secret "key" }} {{.Task.Slot}}"#).unwrap(),
            "fast s3cret 3"
        );
        assert!(f.expand(r#"{{config "no"}}"#).is_err());
        assert!(Context::sample().expand("{{.Node.Hostname}}/{{.Task.Slot}}").is_ok());
        assert!(matches!(c.expand("{{.Nope}}"), Err(TemplateError::Unknown { action, .. }) if action == ".Nope"));
        assert!(matches!(c.expand("x{{.Task.Slot"), Err(TemplateError::Unclosed(_))));
    }
}
