//! Where the demo is played: commands as a person types them, on the machine that they are typed on.
use super::{MANAGER, WORKER};
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SHOWN_LINES_MAX: usize = 40;

/// The lab and the story's clock.
pub struct Stage {
    binary: PathBuf,
    dir: PathBuf,
    began: Instant,
    step: Cell<usize>,
}

/// How a command ended.
pub struct Said {
    /// Exit code 0.
    pub ok: bool,
    /// Standard output and what was complained of.
    pub text: String,
}

impl Stage {
    /// With Shoal's binary, and the directory that commands are typed in.
    pub fn new(binary: PathBuf, dir: PathBuf) -> Self {
        Self { binary, dir, began: Instant::now(), step: Cell::new(0) }
    }

    /// A headline: what is done now, and what that shows.
    pub fn step(&self, what: &str, shows: &str) {
        self.step.set(self.step.get() + 1);
        println!("\n[{:5.1} s] {}. {what}\n          ({shows})", self.began.elapsed().as_secs_f32(), self.step.get());
    }

    /// A remark.
    pub fn say(&self, text: &str) {
        println!("          {text}");
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f32 {
        self.began.elapsed().as_secs_f32()
    }

    /// `shoal machine …`.
    pub fn machine(&self, words: &[&str]) -> Result<String> {
        self.checked("laptop", "shoal machine", self.shoal_machine(words), words)
    }

    /// The same without a word on the screen.
    pub fn machine_quietly(&self, words: &[&str]) -> Result<Said> {
        said(self.shoal_machine(words))
    }

    /// A command on a machine, shown with what it says; an error if it fails.
    pub fn on(&self, machine: &str, command: &str) -> Result<String> {
        self.checked(machine, "", self.ssh(machine, command), &[command])
    }

    /// A command on a machine, not shown.
    pub fn quietly(&self, machine: &str, command: &str) -> Result<Said> {
        said(self.ssh(machine, command))
    }

    /// Starts a command on a machine and goes on.
    pub fn begin(&self, machine: &str, command: &str) -> Result<Child> {
        println!("          {machine}$ {command} &");
        let mut process = self.ssh(machine, command);
        process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {process:?}"))
    }

    /// Shown; must fail, and say one of `because`.
    pub fn refused(&self, machine: &str, command: &str, because: &[&str]) -> Result<()> {
        println!("          {machine}$ {command}");
        let said = said(self.ssh(machine, command))?;
        show(&said.text);
        if said.ok {
            bail!("`{command}` on {machine} should have been refused");
        }
        if !because.is_empty() && !because.iter().any(|b| said.text.contains(b)) {
            bail!("`{command}` on {machine} was refused, but without saying one of {because:?}");
        }
        Ok(())
    }

    /// Waits until `check` is content; what it last missed is the error.
    pub fn wait(&self, what: &str, limit: Duration, mut check: impl FnMut() -> Result<(), String>) -> Result<()> {
        let began = Instant::now();
        loop {
            match check() {
                Ok(()) => {
                    self.say(&format!("… {what}: after {:.1} s", began.elapsed().as_secs_f32()));
                    return Ok(());
                }
                Err(missing) if began.elapsed() > limit => {
                    self.complain();
                    bail!("{what}: not within {} s; {missing}", limit.as_secs());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// What one would look at first when something is missing.
    fn complain(&self) {
        for (machine, command) in [
            (MANAGER, "docker node ls"),
            (MANAGER, "docker service ls"),
            (MANAGER, "docker stack ps --no-trunc dataapp"),
            (MANAGER, "tail -n 25 /var/lib/shoal-machines/vm-manager/daemon.log"),
            (WORKER, "tail -n 25 /var/lib/shoal-machines/vm-worker1/daemon.log"),
        ] {
            println!("          {machine}$ {command}");
            if command.starts_with("tail") {
                let file = command.rsplit(' ').next().unwrap_or_default();
                let text = std::fs::read_to_string(file).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                show(&lines[lines.len().saturating_sub(25)..].join("\n"));
            } else if let Ok(said) = self.quietly(machine, command) {
                show(&said.text);
            }
        }
    }

    fn shoal_machine(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("machine").args(words).current_dir(&self.dir);
        command
    }

    fn ssh(&self, machine: &str, line: &str) -> Command {
        self.shoal_machine(&["ssh", machine, "--", line])
    }

    fn checked(&self, machine: &str, prefix: &str, command: Command, words: &[&str]) -> Result<String> {
        println!("          {machine}$ {}", format!("{prefix} {}", words.join(" ")).trim());
        let said = said(command)?;
        show(&said.text);
        if !said.ok {
            self.complain();
            bail!("`{}` on {machine} failed", words.join(" "));
        }
        Ok(said.text)
    }
}

fn said(mut command: Command) -> Result<Said> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok(Said { ok: output.status.success(), text })
}

fn show(text: &str) {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    for line in lines.iter().take(SHOWN_LINES_MAX) {
        println!("            {line}");
    }
    if lines.len() > SHOWN_LINES_MAX {
        println!("            … {} more lines", lines.len() - SHOWN_LINES_MAX);
    }
}
