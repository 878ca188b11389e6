//! The device rules of a version 2 group: a small eBPF program, written by hand.
use super::DeviceRule;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Translates rules. `struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type); u32 major; u32 minor; }`.
fn compile(rules: &[DeviceRule]) -> Vec<u64> {
    fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
        u64::from(code) | u64::from(dst | src << 4) << 8 | u64::from(off as u16) << 16 | u64::from(imm as u32) << 32
    }
    const LDX_W: u8 = 0x61;
    const MOV_K: u8 = 0xb4;
    const MOV_X: u8 = 0xbc;
    const AND_K: u8 = 0x54;
    const RSH_K: u8 = 0x74;
    const JNE_K: u8 = 0x56;
    const JNE_X: u8 = 0x5e;
    const EXIT: u8 = 0x95;
    let mut program = vec![
        insn(LDX_W, 2, 1, 0, 0),
        insn(AND_K, 2, 0, 0, 0xffff),
        insn(LDX_W, 3, 1, 0, 0),
        insn(RSH_K, 3, 0, 0, 16),
        insn(LDX_W, 4, 1, 4, 0),
        insn(LDX_W, 5, 1, 8, 0),
    ];
    // Later rules win, so they are asked first.
    for rule in rules.iter().rev() {
        let mut tests: Vec<u64> = Vec::new();
        // Offsets are filled in once the length is known.
        match rule.kind {
            'b' => tests.push(insn(JNE_K, 2, 0, 0, 1)),
            'c' => tests.push(insn(JNE_K, 2, 0, 0, 2)),
            _ => {}
        }
        let access = rule.access.chars().fold(0, |mask, c| {
            mask | match c {
                'm' => ACCESS_MKNOD,
                'r' => ACCESS_READ,
                'w' => ACCESS_WRITE,
                _ => 0,
            }
        });
        if access != ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE {
            tests.push(insn(MOV_X, 1, 3, 0, 0));
            tests.push(insn(AND_K, 1, 0, 0, access));
            if rule.allow {
                // Everything that is wanted must be allowed…
                tests.push(insn(JNE_X, 1, 3, 0, 0));
            } else {
                // … and nothing of it denied.
                tests.push(insn(0x16, 1, 0, 0, 0));
            }
        }
        if let Some(major) = rule.major {
            tests.push(insn(JNE_K, 4, 0, 0, major as i32));
        }
        if let Some(minor) = rule.minor {
            tests.push(insn(JNE_K, 5, 0, 0, minor as i32));
        }
        let length = tests.len();
        let unconditional = length == 0;
        for (index, test) in tests.into_iter().enumerate() {
            let code = test as u8;
            let is_jump = matches!(code, JNE_K | JNE_X | 0x16);
            let skip = (length - index + 1) as u64;
            program.push(if is_jump { test | skip << 16 } else { test });
        }
        program.push(insn(MOV_K, 0, 0, 0, i32::from(rule.allow)));
        program.push(insn(EXIT, 0, 0, 0, 0));
        if unconditional {
            // What follows could never run, which the verifier refuses.
            return program;
        }
    }
    program.push(insn(MOV_K, 0, 0, 0, 0));
    program.push(insn(EXIT, 0, 0, 0, 0));
    program
}

/// Loads the rules and attaches them to the group's directory, in place of former ones.
pub(super) fn attach(dir: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let program = compile(rules);
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the structure has the size that is passed along and points to memory that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    let loaded = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let group = std::fs::File::open(dir)?;
    let attach = Attach {
        target: group.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: as above; both descriptors are open.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Cgroup, Layout};
    use super::*;

    fn rule(allow: bool, kind: char, major: Option<u64>, minor: Option<u64>, access: &str) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access: access.into() }
    }

    #[test]
    fn the_verifier_takes_it_and_it_denies() {
        let Some(root) = &Layout::of_this_machine().v2 else { return };
        let group = Cgroup::at(format!("shoal-dev-{}", std::process::id()));
        group.create().unwrap();
        let dir = root.join(group.path());
        let rules = [
            rule(false, 'a', None, None, "rwm"),
            rule(true, 'c', Some(1), Some(3), "rwm"),
            rule(true, 'c', Some(1), Some(9), "r"),
            rule(true, 'c', None, None, "m"),
            rule(false, 'b', Some(8), None, "w"),
        ];
        let attached = attach(&dir, &rules);
        let procs = dir.join("cgroup.procs");
        let script = format!(
            "echo 0 > {} && cat /dev/null && head -c1 /dev/urandom >/dev/null && ! head -c1 /dev/zero 2>/dev/null",
            procs.display()
        );
        let status = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
        group.remove().unwrap();
        attached.unwrap();
        assert!(status.success());
    }
}
