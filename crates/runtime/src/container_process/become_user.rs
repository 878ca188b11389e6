//! From root with everything to the user with what it may have.
use super::{During, Failure, Result, in_words, take_stdio};
use crate::plan::Process;
use kernel::process::CapabilitySets;
use nix::unistd::{AccessFlags, Gid, Uid, access};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A program that was found and may be run.
pub(super) struct Program {
    pub(super) path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Runs it in place of this process; returns only an error.
    pub(super) fn run(&self) -> nix::errno::Errno {
        match nix::unistd::execve(&self.path, &self.args, &self.env) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }
}

/// Goes to the working directory. `false`: only the user may enter it, so it has to be tried again as the user.
fn change_directory(cwd: &str) -> Result<bool> {
    match nix::unistd::chdir(cwd) {
        Ok(()) => inside(cwd).map(|()| true),
        Err(nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) => Ok(false),
        Err(error) => Err(no_cwd(cwd, error)),
    }
}

fn no_cwd(cwd: &str, error: nix::errno::Errno) -> Failure {
    Failure {
        exit_code: 126,
        message: format!("chdir to cwd (\"{cwd}\") set in config.json failed: {}", in_words(&error.into())),
    }
}

/// A directory descriptor of the host must never become the container's working directory.
fn inside(cwd: &str) -> Result<()> {
    match nix::unistd::getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        _ => Err(Failure {
            exit_code: 128,
            message: format!("current working directory {cwd} is outside of the container"),
        }),
    }
}

/// Takes the standard streams, drops every right the process shall not have, and finds the program.
pub(super) fn become_user(
    process: &Process,
    filter: Option<&[u8]>,
    terminal: Option<OwnedFd>,
    stdio: Option<[OwnedFd; 3]>,
) -> Result<Program> {
    let arrived = change_directory(&process.cwd)?;
    if let Some(terminal) = &terminal {
        kernel::process::set_controlling_terminal(terminal.as_fd()).during("cannot take the terminal")?;
        let (rows, columns) = process.console_size;
        let _ = kernel::pty::resize(terminal.as_fd(), rows, columns);
        take_stdio([terminal, terminal, terminal])?;
    } else if let Some([stdin, stdout, stderr]) = &stdio {
        take_stdio([stdin, stdout, stderr])?;
    }
    drop((terminal, stdio));
    own_stdio(process.uid)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if process.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().during("cannot set no_new_privs")?;
    }
    let load = |filter: Option<&[u8]>| match filter {
        Some(filter) => kernel::process::load_seccomp(filter).during("error setting seccomp filter"),
        None => Ok(()),
    };
    kernel::process::limit_bounding_set(process.capabilities).during("cannot limit the bounding set")?;
    if !process.no_new_privileges {
        // Loading a filter is a privileged act, so it comes before the privileges go.
        load(filter)?;
    }
    let groups: Vec<Gid> = process.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    kernel::process::keep_capabilities(true).during("cannot keep capabilities")?;
    nix::unistd::setgroups(&groups).during("cannot set the supplementary groups")?;
    nix::unistd::setgid(Gid::from_raw(process.gid)).during("cannot set the group")?;
    nix::unistd::setuid(Uid::from_raw(process.uid)).during("cannot set the user")?;
    kernel::process::keep_capabilities(false).during("cannot keep capabilities")?;
    let sets = CapabilitySets {
        bounding: process.capabilities,
        permitted: process.capabilities,
        effective: process.capabilities,
        inheritable: 0,
    };
    kernel::process::set_capabilities(sets).during("cannot drop capabilities")?;
    if !arrived {
        nix::unistd::chdir(process.cwd.as_str()).map_err(|error| no_cwd(&process.cwd, error))?;
        inside(&process.cwd)?;
    }
    let program = find_program(process)?;
    if process.no_new_privileges {
        load(filter)?;
    }
    Ok(program)
}

/// Lets the user open its own streams again by path (`/dev/stdout`).
fn own_stdio(uid: u32) -> Result<()> {
    let streams = [
        io::stdin().as_fd().try_clone_to_owned(),
        io::stdout().as_fd().try_clone_to_owned(),
        io::stderr().as_fd().try_clone_to_owned(),
    ];
    for stream in streams {
        let stream = stream.during("cannot look at the standard streams")?;
        let stat = nix::sys::stat::fstat(&stream).during("cannot look at the standard streams")?;
        let null =
            kernel::mount::device_numbers(&stream).during("cannot look at the standard streams")? == Some((1, 3));
        if stat.st_uid != uid && !null {
            match nix::unistd::fchown(&stream, Some(Uid::from_raw(uid)), None) {
                // Some file systems have no owners; the streams work all the same.
                Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::EPERM | nix::errno::Errno::EROFS) => {}
                Err(error) => return Err(Failure::new("cannot give the standard streams to the user", error.desc())),
            }
        }
    }
    Ok(())
}

fn find_program(process: &Process) -> Result<Program> {
    let name = process.args.first().map_or("", String::as_str);
    let path = if name.contains('/') { check(name)? } else { search(name, process)? };
    let text = |bytes: &OsStr| {
        CString::new(bytes.as_bytes())
            .map_err(|_| Failure { exit_code: 128, message: "a zero byte in an argument".to_owned() })
    };
    let all = |list: &[String]| list.iter().map(|entry| text(OsStr::new(entry))).collect::<Result<Vec<_>>>();
    Ok(Program { path: text(path.as_os_str())?, args: all(&process.args)?, env: all(&process.env)? })
}

/// A path, as Go's `exec.LookPath` checks it.
fn check(name: &str) -> Result<PathBuf> {
    let refuse = |exit_code, why: String| Err(Failure { exit_code, message: format!("exec: \"{name}\": {why}") });
    match std::fs::metadata(name) {
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::PermissionDenied { 126 } else { 127 };
            refuse(code, format!("stat {name}: {}", in_words(&error)))
        }
        Ok(found) if found.is_dir() => refuse(126, "is a directory".to_owned()),
        Ok(_) if access(name, AccessFlags::X_OK).is_err() => refuse(126, "permission denied".to_owned()),
        Ok(_) => Ok(PathBuf::from(name)),
    }
}

fn search(name: &str, process: &Process) -> Result<PathBuf> {
    let path = process.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or("");
    path.split(':')
        .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name))
        .find(|path| path.metadata().is_ok_and(|found| !found.is_dir()) && access(path, AccessFlags::X_OK).is_ok())
        .filter(|_| !name.is_empty())
        .ok_or_else(|| Failure {
            exit_code: 127,
            message: format!("exec: \"{name}\": executable file not found in $PATH"),
        })
}
