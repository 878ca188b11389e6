//! Lists: rows of named fields, shown as Docker's table, as JSON, or by the user's template.
use super::tabs::align;
use super::template::Template;
use serde_json::{Map, Value};

/// What a list has.
pub(crate) struct Table {
    /// Field and header of every column there is.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The columns shown by default, as a template.
    pub(crate) default: &'static str,
    /// What `-q` shows, as a template.
    pub(crate) quiet: &'static str,
}

/// How the user wants to see it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Show {
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json', or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Only display IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// A row from its fields.
macro_rules! row {
    ($($field:literal: $value:expr),* $(,)?) => {
        serde_json::Value::Object([$(($field.to_owned(), serde_json::Value::from($value))),*].into_iter().collect())
    };
}
pub(crate) use row;

/// The rows as text, with a newline at the end unless there is nothing.
pub(crate) fn render(table: &Table, show: &Show, rows: &[Value]) -> anyhow::Result<String> {
    let format = show.format.as_deref().unwrap_or_default();
    let format = format.replace("\\t", "\t").replace("\\n", "\n");
    let (headed, template) = match format.trim() {
        "" | "table" if show.quiet => (false, table.quiet.to_owned()),
        "" | "table" => (true, table.default.to_owned()),
        "json" => (false, "{{json .}}".to_owned()),
        other => match other.strip_prefix("table") {
            Some(columns) if columns.starts_with([' ', '\t', '{']) => (true, columns.trim().to_owned()),
            _ => (false, format.clone()),
        },
    };
    let template = Template::parse(&template)?;
    let mut text = String::new();
    if headed {
        let headers: Map<String, Value> = table.headers.iter().map(|(f, h)| ((*f).to_owned(), (*h).into())).collect();
        text.push_str(&template.headers(&Value::Object(headers))?);
        text.push('\n');
    }
    for row in rows {
        text.push_str(&template.render(row)?);
        text.push('\n');
    }
    Ok(if headed || text.contains('\t') { align(&text, 10) } else { text })
}

/// Prints the rows.
pub(crate) fn print(table: &Table, show: &Show, rows: &[Value]) -> anyhow::Result<()> {
    crate::terminal::say(&render(table, show, rows)?);
    Ok(())
}

/// `k=v,k2=v2`.
pub(crate) fn labels(labels: &wire::engine::Map) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        headers: &[("ID", "NETWORK ID"), ("Name", "NAME"), ("Labels", "LABELS")],
        default: "{{.ID}}\t{{.Name}}",
        quiet: "{{.ID}}",
    };

    #[test]
    fn one_list_many_views() {
        let rows =
            [row! {"ID": "1", "Name": "bridge", "Labels": "a=b,c=d"}, row! {"ID": "2", "Name": "x", "Labels": ""}];
        let show =
            |format: &str, quiet| render(&TABLE, &Show { format: Some(format.to_owned()), quiet }, &rows).unwrap();
        assert_eq!(show("", false), "NETWORK ID   NAME\n1            bridge\n2            x\n");
        assert_eq!(show("", true), "1\n2\n");
        assert_eq!(show("{{.Name}}:{{.ID}}", false), "bridge:1\nx:2\n");
        assert_eq!(show("table {{.Name}}\\t{{.Label \"c\"}}", false), "NAME      c\nbridge    d\nx         \n");
        assert_eq!(show("json", false).lines().next().unwrap(), r#"{"ID":"1","Labels":"a=b,c=d","Name":"bridge"}"#);
        assert_eq!(show("table {{.ID | lower}}", false), "NETWORK ID\n1\n2\n");
        assert!(render(&TABLE, &Show { format: Some("{{.Nope}}".into()), quiet: false }, &rows).is_err());
    }
}
