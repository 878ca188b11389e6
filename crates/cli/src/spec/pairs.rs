//! `k=v` lists and comma lists.
use std::collections::BTreeMap;
use std::path::Path;
use wire::engine::Filters;

/// `k=v` or `k`.
pub(crate) fn map(list: &[String]) -> BTreeMap<String, String> {
    list.iter()
        .map(|text| text.split_once('=').map_or((text.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

/// Labels from flags and files of `k=v` lines.
pub(crate) fn labels(list: &[String], files: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(Path::new(file)).map_err(|e| anyhow::anyhow!("open {file}: {e}"))?;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (k, v) = line.split_once('=').unwrap_or((line, ""));
            out.insert(k.to_owned(), v.to_owned());
        }
    }
    out.extend(map(list));
    Ok(out)
}

/// `--filter key=value`.
pub(crate) fn filters(list: &[String]) -> anyhow::Result<Filters> {
    let mut out = Filters::default();
    for text in list {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            anyhow::anyhow!("invalid argument \"{text}\" for \"-f, --filter\" flag: invalid filter '{text}'")
        })?;
        out.add(key.trim().to_lowercase().as_str(), value.trim());
    }
    Ok(out)
}

/// `source=x,"target=a,b",readonly` → pairs; a lone word has no value. Quotes as in CSV.
pub(crate) fn fields(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(format!("extraneous or missing \" in quoted-field: {text}"));
    }
    fields.push(field);
    Ok(fields
        .into_iter()
        .map(|f| match f.split_once('=') {
            Some((k, v)) => (k.trim().to_lowercase(), Some(v.to_owned())),
            None => (f.trim().to_lowercase(), None),
        })
        .collect())
}

/// Go's way to read a truth.
pub(crate) fn truth(text: Option<&str>) -> Option<bool> {
    match text {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_csv() {
        let some = |s: &str| Some(s.to_owned());
        let got = fields("Type=bind,\"source=a,b\",readonly,volume-opt=o=x").unwrap();
        let wanted = [("type", some("bind")), ("source", some("a,b")), ("readonly", None), ("volume-opt", some("o=x"))];
        assert_eq!(got, wanted.map(|(k, v)| (k.to_owned(), v)));
        assert!(fields("\"open").is_err());
        assert!(filters(&["x".into()]).is_err());
        assert_eq!(filters(&["Name=a".into(), "name=b".into()]).unwrap().to_json(), r#"{"name":{"a":true,"b":true}}"#);
    }
}
