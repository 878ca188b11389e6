//! `inspect`: objects whole, as JSON with the daemon's own order of keys, or through a template.
use super::json::indent;
use super::template::Template;
use bytes::Bytes;

/// Objects found so far, as the daemon sent them.
#[derive(Default)]
pub(crate) struct Objects(Vec<String>);

impl Objects {
    pub(crate) fn push(&mut self, body: &Bytes) {
        self.0.push(String::from_utf8_lossy(body).trim().to_owned());
    }

    /// The text to print.
    pub(crate) fn render(&self, format: Option<&str>) -> anyhow::Result<String> {
        match format.unwrap_or_default() {
            "" => Ok(if self.0.is_empty() { "[]\n".into() } else { indent(&format!("[{}]", self.0.join(","))) + "\n" }),
            "json" => Ok(format!("[{}]\n", self.0.join(","))),
            text => {
                let template = Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))?;
                let mut out = String::new();
                for object in &self.0 {
                    out.push_str(&template.render(&serde_json::from_str(object)?)?);
                    out.push('\n');
                }
                Ok(out)
            }
        }
    }
}
