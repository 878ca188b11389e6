//! Whatever the text, there is a stack or a sentence, never a panic.
use crate::load_all;
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "services",
    "web",
    "image",
    "nginx",
    "deploy",
    "replicas",
    "ports",
    "networks",
    "volumes",
    "secrets",
    "configs",
    "environment",
    "healthcheck",
    "test",
    "80:80",
    "1-2:3",
    "./a:/b",
    "${X",
    "${X:-y}",
    "$",
    "5",
    "-1",
    "1e400",
    "true",
    "null",
    "external",
    "file",
    "a.env",
    "env_file",
    "ulimits",
    "[",
    "]",
    "{",
    "}",
    "<<",
    "*a",
    "&a",
    "x-y",
    "resources",
    "limits",
    "cpus",
    "memory",
    "0.5",
    "1g",
    "''",
    "\"",
    "update_config",
    "command",
    "labels",
    "ipam",
    "config",
    "subnet",
    "10.0.0.0/8",
    "::/0",
    "placement",
    "tmpfs",
    "/t:size=1m",
    "restart",
    "on-failure:x",
];

fn line() -> impl Strategy<Value = String> {
    let word = || proptest::sample::select(WORDS);
    (0usize..5, word(), word(), 0u8..5).prop_map(|(indent, a, b, form)| {
        let pad = "  ".repeat(indent);
        match form {
            0 => format!("{pad}{a}:"),
            1 => format!("{pad}{a}: {b}"),
            2 => format!("{pad}- {a}"),
            3 => format!("{pad}- {a}: {b}"),
            _ => format!("{pad}{a}: [{b}, {a}]"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_any_text(text in "\\PC{0,200}") {
        let _ = load_all(&[&text]);
    }

    #[test]
    fn on_anything_that_looks_like_a_compose_file(lines in proptest::collection::vec(line(), 1..14)) {
        let text = lines.join("\n");
        let _ = load_all(&[&format!("services:\n  web:\n    image: a\n{text}")]);
        let _ = load_all(&[&text, "services:\n  web:\n    image: a\n"]);
    }

    #[test]
    fn on_any_value_of_any_key(key in proptest::sample::select(WORDS), value in "\\PC{0,30}") {
        let quoted = format!("{value:?}");
        let _ = load_all(&[&crate::web(&format!("{key}: {quoted}"))]);
        let _ = load_all(&[&crate::web(&format!("{key}: [{quoted}]"))]);
        let _ = load_all(&[&crate::web(&format!("{key}: {{{key}: {quoted}}}"))]);
        let _ = load_all(&[&crate::web(&format!("deploy: {{{key}: {quoted}}}"))]);
    }
}
