//! Builds the init of `--init` containers: it runs in any root file system, so it is static.
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=init/init.c");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("docker-init");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let built = Command::new(&compiler)
        .args(["-static", "-Os", "-s", "-Wall", "-o"])
        .arg(&out)
        .arg("init/init.c")
        .status()
        .is_ok_and(|status| status.success());
    if !built {
        println!("cargo:warning=no static C compiler ({compiler}): containers cannot be started with --init");
        std::fs::write(&out, []).expect("OUT_DIR can be written to");
    }
}
