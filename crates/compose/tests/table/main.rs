//! Compose text in, stack (or sentence) out.
mod conversion;
mod deploying;
mod malformed;
mod merging;
mod no_panic;
mod real;
mod tutorial;

use compose::{ComposeError, Source, Stack, Surroundings};
use std::path::Path;

/// The environment and files of every test.
fn env(name: &str) -> Option<String> {
    match name {
        "TAG" => Some("7".into()),
        "N" => Some("3".into()),
        "TOKEN" => Some("s3cret".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    match path.to_str().unwrap() {
        "/work/app/a.env" => Ok(b"A=file\nB=file\nTOKEN\n".to_vec()),
        "/work/app/secret.txt" => Ok(b"hush".to_vec()),
        "/work/nginx.conf" => Ok(b"conf".to_vec()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    }
}

fn load_all(texts: &[&str]) -> Result<Stack, ComposeError> {
    let source = |(n, text): (usize, &&str)| Source { name: format!("{n}.yml"), text: (*text).to_owned() };
    let sources: Vec<_> = texts.iter().enumerate().map(source).collect();
    let around = Surroundings {
        stack: "app",
        folder: Path::new("/work/app"),
        home: Some(Path::new("/home/me")),
        env: &env,
        read: &read,
    };
    compose::load(&sources, &around)
}

fn load(text: &str) -> Stack {
    load_all(&[text]).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: &str) -> String {
    load_all(&[text]).expect_err("this must be refused").to_string()
}

/// One service `web` with these lines.
fn web(lines: &str) -> String {
    let lines: String = lines.lines().map(|l| format!("    {l}\n")).collect();
    format!("version: \"3.8\"\nservices:\n  web:\n    image: nginx\n{lines}")
}
