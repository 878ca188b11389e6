//! Compiles the eBPF programs with clang into `OUT_DIR/road.o`.
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("road.o");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-mcpu=v2"])
        // Debian keeps <asm/types.h> there.
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .args(["-c", "bpf/road.bpf.c", "-o"])
        .arg(&out)
        .status()
        .unwrap_or_else(|e| panic!("cannot run {clang} (clang and libbpf-dev are needed to build the data path): {e}"));
    assert!(status.success(), "{clang} could not compile bpf/road.bpf.c");
}
