//! Reaps every child, known or not: a process that joined the container's PID namespace and was never waited for would
//! keep process 1 from ending.
use super::{Shim, now};
use crate::exit::Exit;
use crate::launch::NamespaceMode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::io;
use std::time::Instant;

impl Shim {
    pub(super) fn reap(&mut self) -> io::Result<()> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => break,
                Ok(status) => status,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let (pid, exit) = match status {
                WaitStatus::Exited(pid, code) => (pid, Exit { code, signal: None, at: now(), oom_killed: false }),
                WaitStatus::Signaled(pid, signal, _) => {
                    let signal = signal as i32;
                    (pid, Exit { code: 128 + signal, signal: Some(signal), at: now(), oom_killed: false })
                }
                _ => continue,
            };
            self.reaped(pid.as_raw() as u32, exit);
        }
        self.tell_execs();
        Ok(())
    }

    fn reaped(&mut self, pid: u32, exit: Exit) {
        self.outputs.writer_ended(pid);
        if let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) {
            exec.exit = Some(exit);
            return;
        }
        if self.init.as_ref().is_some_and(|init| init.state.pid == pid) && self.ended.is_none() {
            let exit = Exit { oom_killed: self.cgroup.oom_kills() > 0, ..exit };
            self.ended = Some((exit, Instant::now()));
            // Without a PID namespace of its own, the container's other processes outlive their first one.
            if self.config.pid != NamespaceMode::Private {
                let _ = self.cgroup.kill_all();
            }
        }
    }
}
