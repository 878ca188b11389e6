use super::*;
use ignore::Ignore;
use proptest::prelude::*;

fn step(line: &str) -> Instruction {
    Step::parse(line, '\\').unwrap().instruction
}

fn wrong(line: &str) -> String {
    Step::parse(line, '\\').unwrap_err()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn a_file_with_two_stages() {
    let text = "# a comment\nARG BASE=busybox\nFROM ${BASE} AS First\nRUN echo a \\\n  # in between\n\n  && echo b\n\nFROM --platform=linux/amd64 scratch\r\nCOPY --from=first --chown=1:2 /a /b/\nCMD [\"/a\", \"x\"]";
    let file = Dockerfile::parse(text).unwrap();
    assert_eq!(file.arguments.len(), 1);
    assert_eq!((file.stages[0].base.as_str(), file.stages[0].name.as_str()), ("${BASE}", "first"));
    assert_eq!(
        file.stages[0].steps[0].instruction,
        Instruction::Run(Command::Shell("echo a   && echo b".into()), Vec::new())
    );
    assert_eq!(file.stages[1].platform, "linux/amd64");
    let Instruction::Copy(copy) = &file.stages[1].steps[0].instruction else { panic!() };
    assert_eq!((copy.from.as_str(), copy.chown.as_str(), copy.destination.as_str()), ("first", "1:2", "/b/"));
    assert_eq!(file.stages[1].steps[1].instruction, Instruction::Cmd(Command::Exec(vec!["/a".into(), "x".into()])));
    assert_eq!(file.warnings.len(), 1);
    assert_eq!(file.step_count(), 6);
    assert_eq!((file.stage_named("FIRST"), file.stage_named("1"), file.stage_named("2")), (Some(0), Some(1), None));
}

#[test]
fn mistakes_name_their_line() {
    let cases = [
        ("", "dockerfile parse error on line 1: file with no instructions"),
        ("RUN x", "dockerfile parse error on line 1: no build stage in current context"),
        ("FROM a\nRUNN x", "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"),
        ("FROM a b", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        ("FROM a\n\nENV x", "dockerfile parse error on line 3: ENV must have two arguments"),
        ("# escape=x\nFROM a", "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\"),
        (
            "FROM a AS 1st",
            "dockerfile parse error on line 1: invalid name for build stage: \"1st\", name can't start with a number or contain symbols",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(Dockerfile::parse(text).unwrap_err().to_string(), message, "{text:?}");
    }
    assert!(Dockerfile::parse("FROM a\nRUN <<EOF\nx\nEOF").unwrap_err().why.contains("requires BuildKit"));
    assert!(Dockerfile::parse("FROM a\nCOPY <<-'E' /x\nx\nE").unwrap_err().why.contains("requires BuildKit"));
    assert!(Dockerfile::parse("FROM a\nRUN cat <<< word && echo $((1<<2))").is_ok());
}

#[test]
fn the_escape_directive_counts_only_at_the_top() {
    let file = Dockerfile::parse("# escape=`\nFROM a\nRUN dir c:\\ `\n x").unwrap();
    assert_eq!(file.escape, '`');
    assert_eq!(file.stages[0].steps[0].text, "RUN dir c:\\  x");
    assert_eq!(Dockerfile::parse("FROM a\n# escape=`\nRUN x").unwrap().escape, '\\');
    assert_eq!(Dockerfile::parse("# hello\n# escape=`\nFROM a").unwrap().escape, '\\');
}

#[test]
fn instructions_are_understood() {
    assert_eq!(
        step("ENV a=1 b=\"x y\" c=x\\ y"),
        Instruction::Env(pairs(&[("a", "1"), ("b", "\"x y\""), ("c", "x\\ y")]))
    );
    assert_eq!(step("env old  way of it"), Instruction::Env(pairs(&[("old", "way of it")])));
    assert_eq!(step("ARG a=1 b"), Instruction::Arg(vec![("a".into(), Some("1".into())), ("b".into(), None)]));
    assert_eq!(step("CMD [not json"), Instruction::Cmd(Command::Shell("[not json".into())));
    assert_eq!(step("ENTRYPOINT []"), Instruction::Entrypoint(Command::Exec(Vec::new())));
    assert_eq!(step("RUN --mount=type=cache x"), Instruction::Run(Command::Shell("x".into()), vec!["mount".into()]));
    assert_eq!(step("CMD --help"), Instruction::Cmd(Command::Shell("--help".into())));
    assert_eq!(step("ONBUILD RUN x"), Instruction::OnBuild("RUN x".into()));
    assert_eq!(step("VOLUME /a /b"), Instruction::Volume(vec!["/a".into(), "/b".into()]));
    let Instruction::Healthcheck(h) = step("HEALTHCHECK --interval=5s --retries=3 CMD curl -f x || exit 1") else {
        panic!()
    };
    assert_eq!((h.interval, h.retries, h.test.len()), (5_000_000_000, 3, 2));
    assert_eq!(
        step("HEALTHCHECK NONE"),
        Instruction::Healthcheck(Health { test: vec!["NONE".into()], ..Health::default() })
    );
    let Instruction::Add(add) = step("ADD [\"a b\", \"/c d/\"]") else { panic!() };
    assert_eq!((add.sources, add.destination.as_str()), (vec!["a b".to_owned()], "/c d/"));
    let Instruction::Copy(copy) = step("COPY --chmod=755 a /b") else { panic!() };
    assert_eq!(copy.unsupported, ["chmod"]);
    for (line, message) in [
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("COPY --form=a b c", "unknown flag: form"),
        ("SHELL /bin/sh -c", "SHELL requires the arguments to be in JSON form: SHELL /bin/sh -c"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("LABEL a=1 b", "Syntax error - can't find = in \"b\". Must be of the form: name=value"),
        ("USER --x y", "unknown flag: x"),
        ("ENV =x", "ENV names can not be blank"),
        ("HEALTHCHECK --interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms"),
    ] {
        assert_eq!(wrong(line), message);
    }
}

#[test]
fn variables_are_replaced_as_a_shell_would() {
    let values = |name: &str| match name {
        "a" => Some("one".to_owned()),
        "empty" => Some(String::new()),
        "path" => Some("/usr/local/bin/x.tar.gz".to_owned()),
        "two" => Some("80 443".to_owned()),
        _ => None,
    };
    for (text, result) in [
        ("$a-${a}$b.", "one-one."),
        ("'$a' \"$a\" \\$a", "$a one $a"),
        ("${b:-x$a}", "xone"),
        ("${empty:-x}|${empty-x}", "x|"),
        ("${a:+y}${b:+y}", "y"),
        ("${path##*/}", "x.tar.gz"),
        ("${path#*/}", "usr/local/bin/x.tar.gz"),
        ("${path%.*}", "/usr/local/bin/x.tar"),
        ("${path%%.*}", "/usr/local/bin/x"),
        ("${path/local/x}", "/usr/x/bin/x.tar.gz"),
        ("${path//\\//_}", "_usr_local_bin_x.tar.gz"),
        ("a\"b\\\"c\\d\"", "ab\"c\\d"),
        ("$", "$"),
        ("price: 5$", "price: 5$"),
    ] {
        assert_eq!(expand::word(text, '\\', &values).as_deref(), Ok(result), "{text}");
    }
    for (text, why) in [
        ("${b?gone}", "b: gone"),
        ("${b:?}", "b: is not allowed to be unset"),
        ("${a", "missing '}'"),
        ("${a:=x}", "unsupported modifier (:=) in substitution"),
        ("${}", "bad substitution"),
        ("'x", "single-quote"),
        ("\"x", "double-quote"),
    ] {
        let said = expand::word(text, '\\', &values).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
    assert_eq!(expand::words("$two \"$two\"", '\\', &values).unwrap(), ["80", "443", "80 443"]);
    let mut label = Step::label("it's", "$a").instruction;
    label.expand('\\', &values).unwrap();
    assert_eq!(label, Instruction::Label(pairs(&[("it's", "$a")])));
}

#[test]
fn arguments_belong_to_their_stage() {
    let given =
        [("v".to_owned(), Some("2".to_owned())), ("unused".into(), None), ("http_proxy".into(), Some("p".into()))];
    let mut args = args::BuildArgs::new(given.into());
    args.declare_global("v", Some("1".into()));
    args.declare_global("g", Some("global".into()));
    args.begin_stage();
    assert_eq!(args.globals()["v"], "2");
    assert_eq!(args.allowed().get("g"), None);
    args.declare("g", None);
    args.declare("v", Some("3".into()));
    assert_eq!(args.beside(&["v=environment".into()]), ["g=global", "http_proxy=p"]);
    assert!(!args.counts("http_proxy") && args.counts("g"));
    assert_eq!(args.unused(), ["unused"]);
    args.begin_stage();
    assert_eq!(args.beside(&[]), ["http_proxy=p"]);
}

#[test]
fn ignored_files_stay_behind() {
    let ignore = Ignore::parse(
        "# comment\n*.log\n**/*.tmp\n/build\n!build/keep\nnode_modules/\n ignored-with-spaces \ndocs/**/x\n!docs/a/x\n../up\n[ab].c\n",
    );
    for (path, excluded) in [
        ("a.log", true),
        ("d/a.log", false),
        ("d/e/a.tmp", true),
        ("a.tmp", true),
        ("build", true),
        ("build/x/y", true),
        ("build/keep", false),
        ("build/keep/z", false),
        ("node_modules/m/x.js", true),
        ("ignored-with-spaces", true),
        ("docs/x", true),
        ("docs/b/c/x", true),
        ("docs/a/x", false),
        ("up", true),
        ("a.c", true),
        ("c.c", false),
        ("# comment", false),
    ] {
        assert_eq!(ignore.excludes(path), excluded, "{path}");
    }
    assert!(ignore.may_come_back("build") && ignore.may_come_back("docs"));
    assert!(!ignore.may_come_back("node_modules"));
    assert!(Ignore::parse("*\n!**/x").may_come_back("any/where"));
}

#[test]
fn patterns() {
    for (pattern, path, fits) in [
        ("*.go", "a.go", true),
        ("*.go", "d/a.go", false),
        ("a?c", "abc", true),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[]a]x", "]x", true),
        ("a\\*", "a*", true),
        ("a\\*", "ab", false),
        ("[", "[", false),
        ("**", "a", true),
    ] {
        assert_eq!(glob::matches(pattern, path), fits, "{pattern} {path}");
    }
    assert!(glob::is_pattern("a*") && !glob::is_pattern("a\\*") && !glob::is_pattern("a"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever comes: an answer, no panic, and what was read can be read again.
    #[test]
    fn any_text_is_read_or_refused(text in "(?s)(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|HEALTHCHECK|ONBUILD|SHELL|#|\\\\|\\n|\"|'|\\[|\\]|\\$|\\{|\\}|<<|--|=|,| |.){0,60}") {
        if let Ok(file) = Dockerfile::parse(&text) {
            for step in file.stages.iter().flat_map(|s| &s.steps) {
                let mut again = Step::parse(&step.text, file.escape).unwrap();
                prop_assert_eq!(&again.instruction, &step.instruction);
                let _ = again.instruction.expand(file.escape, &|_| Some("v".into()));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Dockerfile::parse(&text);
        let _ = expand::words(&text, '\\', &|_| Some("$a'\"".into()));
        let _ = Ignore::parse(&text).excludes("a/b/c");
    }

    #[test]
    fn no_pattern_takes_for_ever(pattern in "[*?a/\\[\\]\\\\^-]{0,40}", path in "[a/]{0,60}") {
        let _ = glob::matches(&pattern, &path);
        let _ = glob::matches_deep(&pattern, &path);
    }
}
