//! A container's own streams: from its pipes or terminal to the log and the attached clients, and back.
use super::client::{Client, Role};
use crate::launch::{LogConfig, LogDriver};
use crate::logs::LogWriter;
use crate::logs::aside::LogPipe;
use crate::protocol::Kind;
use crate::stdio::StdStream;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// So much input may wait for the container.
const INPUT_MAX: usize = 64 << 10;

/// Who writes the log.
pub(super) enum Log {
    /// The shim itself.
    Here(Box<LogWriter>),
    /// A process beside it.
    Aside(LogPipe),
}

impl Log {
    pub(super) fn open(config: &LogConfig, dir: &Path) -> io::Result<Option<Self>> {
        if config.buffer_bytes > 0 && config.driver != LogDriver::None {
            return Ok(Some(Self::Aside(LogPipe::start(dir)?)));
        }
        Ok(LogWriter::open(config)?.map(|log| Self::Here(Box::new(log))))
    }

    /// A full disk must not stop the container.
    fn write(&mut self, stream: StdStream, data: &[u8]) {
        match self {
            Self::Here(log) => drop(log.write(stream, data)),
            Self::Aside(pipe) => pipe.write(stream, data),
        }
    }

    fn end(&mut self, stream: StdStream) {
        if let Self::Here(log) = self {
            let _ = log.end(stream);
        }
    }
}

pub(super) struct Outputs {
    log: Option<Log>,
    /// stdout (or the terminal) and stderr.
    from: [Option<File>; 2],
    to: Option<File>,
    terminal: bool,
    pending: Vec<u8>,
    /// Closed once what is pending was taken.
    ending: bool,
    buffer: Vec<u8>,
}

impl Outputs {
    pub(super) fn new(log: Option<Log>) -> Self {
        Self {
            log,
            from: [None, None],
            to: None,
            terminal: false,
            pending: Vec::new(),
            ending: false,
            buffer: vec![0; 32 << 10],
        }
    }

    pub(super) fn set_pipes(&mut self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        self.from = [Some(nonblocking(stdout)?), Some(nonblocking(stderr)?)];
        Ok(())
    }

    pub(super) fn set_input(&mut self, stdin: OwnedFd) -> io::Result<()> {
        self.to = Some(nonblocking(stdin)?);
        Ok(())
    }

    pub(super) fn set_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        let master = nonblocking(master)?;
        self.to = Some(master.try_clone()?);
        self.from = [Some(master), None];
        self.terminal = true;
        Ok(())
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match &self.from[0] {
            Some(master) if self.terminal => kernel::pty::resize(master.as_fd(), rows, columns),
            // Nothing to do, as for Docker.
            _ => Ok(()),
        }
    }

    /// Streams to be read; `true` = stderr.
    pub(super) fn readable(&self) -> impl Iterator<Item = (bool, BorrowedFd<'_>)> {
        self.from.iter().enumerate().filter_map(|(index, file)| Some((index == 1, file.as_ref()?.as_fd())))
    }

    /// The stream that input waits for.
    pub(super) fn writable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.to.iter().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    pub(super) fn at_end(&self) -> bool {
        self.from.iter().all(Option::is_none)
    }

    /// Moves what has been written, as much as one buffer holds.
    pub(super) fn pump(&mut self, error: bool, clients: &mut [Client]) {
        let (stream, kind) = if error { (StdStream::Stderr, Kind::Stderr) } else { (StdStream::Stdout, Kind::Stdout) };
        let Some(file) = &mut self.from[stream as usize] else { return };
        match file.read(&mut self.buffer) {
            Ok(count) if count > 0 => {
                let data = &self.buffer[..count];
                for client in clients.iter_mut().filter(|client| client.role == Role::Attach) {
                    client.send_output(kind, data);
                }
                if let Some(log) = &mut self.log {
                    log.write(stream, data);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // A terminal nobody holds any more answers EIO.
            Ok(_) | Err(_) => {
                self.from[stream as usize] = None;
                if let Some(log) = &mut self.log {
                    log.end(stream);
                }
            }
        }
    }

    /// Gives up what is still open, and ends the log.
    pub(super) fn close(&mut self) {
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            self.from[stream as usize] = None;
            if let Some(log) = &mut self.log {
                log.end(stream);
            }
        }
        if let Some(Log::Aside(pipe)) = &mut self.log {
            pipe.close();
        }
        self.to = None;
        self.pending = Vec::new();
    }

    /// Whether all has been said, and a process beside the shim still writes.
    pub(super) fn awaits_writer(&self) -> bool {
        matches!(&self.log, Some(Log::Aside(pipe)) if pipe.is_closed())
    }

    /// A child of the shim has ended; when it was the writer, nothing more is kept.
    pub(super) fn writer_ended(&mut self, pid: u32) {
        if matches!(&self.log, Some(Log::Aside(pipe)) if pipe.writer() == pid) {
            self.log = None;
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < INPUT_MAX
    }

    /// Takes input for the container; without a stdin it is dropped.
    pub(super) fn input(&mut self, data: &[u8]) {
        if self.to.is_some() && !self.ending {
            self.pending.extend_from_slice(data);
            self.feed();
        }
    }

    pub(super) fn end_input(&mut self) {
        self.ending = true;
        self.feed();
    }

    /// Writes what waits for the container.
    pub(super) fn feed(&mut self) {
        let Some(file) = &mut self.to else { return };
        let mut written = 0;
        let mut broken = false;
        while written < self.pending.len() {
            match file.write(&self.pending[written..]) {
                Ok(count) if count > 0 => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => {
                    broken = true;
                    break;
                }
            }
        }
        self.pending.drain(..written);
        if broken || (self.ending && self.pending.is_empty()) {
            self.to = None;
            self.pending = Vec::new();
        }
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<File> {
    let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(fd.into())
}
