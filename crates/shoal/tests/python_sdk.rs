//! The Python SDK goes through all of its collections, against a daemon on a machine of its own.
#![forbid(unsafe_code)]
mod lab;

use lab::{IMAGE, TestLab};
use std::path::{Path, PathBuf};

const MACHINE: &str = "vm-sdk";

/// The interpreter that has the SDK: `cargo xtask test` puts one there when the machine's own has none.
fn python() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python-sdk/bin/python");
    if own.exists() { own } else { "python3".into() }
}

#[test]
fn every_collection_of_the_python_sdk() {
    let lab = TestLab::new(&[MACHINE]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_sdk/session.py");
    let address = lab.address(MACHINE);
    let said = lab.say(MACHINE, &format!("{} {} {IMAGE} {address}", python().display(), script.display()));
    assert!(said.ok && said.out.ends_with("done"), "{}\n{}", said.out, said.err);
    lab.end();
}
