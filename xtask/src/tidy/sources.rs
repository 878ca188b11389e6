//! Rules on source files.
use std::path::Path;

const LINES_MAX: usize = 800;
const NO_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];
/// Time and seeds are arguments here.
const PURE: [&str; 4] = ["crates/model/src", "crates/planner/src", "crates/compose/src", "crates/cluster/src/store"];
const IMPURE: [&str; 6] =
    ["SystemTime::now", "Instant::now", "Timestamp::now", "rand::rng", "rand::random", "thread_rng"];
/// Where raw descriptors and `unsafe` may be.
const UNSAFE: [&str; 2] = ["crates/kernel/", "crates/datapath/"];

/// A file or folder name that says nothing.
pub fn check_name(file: &Path) -> Vec<String> {
    let says_nothing = |part: &str| NO_NAMES.contains(&part.strip_suffix(".rs").unwrap_or(part));
    let bad = file.iter().filter_map(|p| p.to_str()).find(|p| says_nothing(p));
    bad.map(|p| format!("{}: \"{p}\" is not a name; name the thing", file.display())).into_iter().collect()
}

/// The text of one Rust file.
pub fn check(file: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut finding = |line: usize, what: String| findings.push(format!("{}:{line}: {what}", file.display()));
    let lines = text.lines().count();
    if lines > LINES_MAX {
        finding(lines, format!("{lines} lines (at most {LINES_MAX}): it wants a wall"));
    }
    let is_test_file = file.iter().any(|p| p == "tests" || p == "tests.rs" || p == "benches" || p == "examples");
    let pure = PURE.iter().any(|p| file.starts_with(p)) && !is_test_file;
    let may_be_unsafe = UNSAFE.iter().any(|p| file.starts_with(p));
    let own_rules = file.starts_with("xtask/src/tidy");
    let mut in_tests = false;
    for (at, line) in text.lines().enumerate() {
        let code = code_of(line);
        in_tests |= code.trim() == "#[cfg(test)]";
        if own_rules {
            continue;
        }
        if pure && !in_tests {
            for word in IMPURE.iter().filter(|w| code.contains(*w)) {
                finding(at + 1, format!("{word}: this crate is pure, time and randomness are arguments"));
            }
        }
        if !may_be_unsafe && has_word(code, "unsafe") && !code.contains("unsafe_code") {
            finding(at + 1, "unsafe belongs into `kernel` (or the eBPF loader)".to_owned());
        }
        if !may_be_unsafe && code.contains("allow(unsafe_code)") {
            finding(at + 1, "only `kernel` and the eBPF loader may allow unsafe code".to_owned());
        }
        if code.trim_start().starts_with("#[ignore") {
            finding(at + 1, "a test that does not run proves nothing: make it run or remove it".to_owned());
        }
        for word in ["todo!(", "unimplemented!(", "dbg!("] {
            if has_word(code, word.trim_end_matches("!(")) && code.contains(word) {
                finding(at + 1, format!("{word}…) is not finished work"));
            }
        }
    }
    findings
}

/// A line without its comment and without what stands in quotes.
fn code_of(line: &str) -> &str {
    let end = line.find("//").unwrap_or(line.len());
    let code = &line[..end];
    code.find('"').map_or(code, |quote| &code[..quote])
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c: char| !part(c)).any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> usize {
        check(Path::new(file), text).len()
    }

    #[test]
    fn clocks_are_found_in_pure_crates_only_and_not_in_their_tests() {
        let clock = "let t = Instant::now();\n";
        assert_eq!(findings("crates/planner/src/lib.rs", clock), 1);
        assert_eq!(findings("crates/node/src/lib.rs", clock), 0);
        assert_eq!(findings("crates/planner/src/lib.rs", &format!("#[cfg(test)]\n{clock}")), 0);
        assert_eq!(findings("crates/planner/src/tests/a.rs", clock), 0);
        assert_eq!(findings("crates/planner/src/lib.rs", "// Instant::now is banned\n"), 0);
    }

    #[test]
    fn unsafe_is_found_outside_the_cellar() {
        assert_eq!(findings("crates/node/src/lib.rs", "unsafe { x() }\n"), 1);
        assert_eq!(findings("crates/node/src/lib.rs", "#![forbid(unsafe_code)]\n"), 0);
        assert_eq!(findings("crates/kernel/src/lib.rs", "unsafe { x() }\n"), 0);
    }

    #[test]
    fn long_files_empty_names_and_sleeping_tests_are_found() {
        assert_eq!(findings("crates/node/src/lib.rs", &"x\n".repeat(801)), 1);
        assert_eq!(findings("crates/node/src/lib.rs", "#[ignore]\n"), 1);
        assert_eq!(check_name(Path::new("crates/node/src/util.rs")).len(), 1);
        assert_eq!(check_name(Path::new("crates/node/src/common/a.rs")).len(), 1);
        assert_eq!(check_name(Path::new("crates/node/src/agent/a.rs")).len(), 0);
    }
}
