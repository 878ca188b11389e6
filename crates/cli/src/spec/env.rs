//! Environment: `K=V`, `K` (from ours), files of them.
pub(crate) fn environment(
    list: &[String],
    files: &[String],
    ours: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    let mut add = |text: &str| -> anyhow::Result<()> {
        anyhow::ensure!(!text.is_empty() && !text.starts_with('='), "invalid environment variable: {text}");
        let entry = match text.split_once('=') {
            Some(_) => Some(text.to_owned()),
            None => ours(text).map(|v| format!("{text}={v}")),
        };
        if let Some(entry) = entry {
            let name = entry.split('=').next().unwrap_or_default();
            out.retain(|e| e.split('=').next() != Some(name));
            out.push(entry);
        }
        Ok(())
    };
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| anyhow::anyhow!("open {file}: {e}"))?;
        for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            add(line)?;
        }
    }
    for text in list {
        add(text)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn later_ones_win_and_bare_names_are_ours() {
        let ours = |k: &str| (k == "MINE").then(|| "x".to_owned());
        let list = ["A=1", "MINE", "NOT", "A=2"].map(str::to_owned);
        assert_eq!(super::environment(&list, &[], &ours).unwrap(), ["MINE=x", "A=2"]);
        assert!(super::environment(&["=x".into()], &[], &ours).is_err());
    }
}
