//! JSON laid out as Docker's `inspect` shows it: four spaces, keys in the daemon's order, empty things on one line.
pub(crate) fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut chars = text.chars().peekable();
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.peek().is_some_and(|c| c.is_whitespace()) {
                    chars.next();
                }
                if let Some(&end @ ('}' | ']')) = chars.peek() {
                    chars.next();
                    out.push(end);
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_is_laid_out_as_docker_does() {
        let text = r#"[{"b":{},"a":[ ],"s":"x{,\":}","n":[1, 2]}]"#;
        let shown = "[\n    {\n        \"b\": {},\n        \"a\": [],\n        \"s\": \"x{,\\\":}\",\n        \"n\": [\n            1,\n            2\n        ]\n    }\n]";
        assert_eq!(super::indent(text), shown);
    }
}
