//! Compose files from the disk, and `stack config`.
use super::ComposeFiles;
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say;
use clap::Args;
use compose::{Source, Stack, Surroundings, folder_of};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Outputs the final config file, after doing merges and interpolations.
#[derive(Args)]
pub(crate) struct Config {
    #[command(flatten)]
    files: ComposeFiles,
    /// Skip interpolation and output only merged config
    #[arg(long)]
    skip_interpolation: bool,
}

impl Config {
    pub(crate) async fn run(self, _: &Ctx) -> Done {
        let (sources, _) = read(&self.files)?;
        let env = |name: &str| std::env::var(name).ok();
        let env: Option<compose::Environment<'_>> = if self.skip_interpolation { None } else { Some(&env) };
        say(&compose::config(&sources, env)?);
        Ok(())
    }
}

/// The texts, and the folder of the first.
pub(super) fn read(files: &ComposeFiles) -> anyhow::Result<(Vec<Source>, PathBuf)> {
    let mut sources = Vec::new();
    let mut folder = None;
    for name in &files.compose_file {
        let text = if name == "-" {
            let mut text = String::new();
            std::io::stdin().take(8 << 20).read_to_string(&mut text)?;
            folder.get_or_insert(std::env::current_dir()?);
            text
        } else {
            let text = std::fs::read_to_string(name).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => anyhow::anyhow!("open {name}: no such file or directory"),
                _ => anyhow::anyhow!("open {name}: {e}"),
            })?;
            let path = std::env::current_dir()?.join(name);
            folder.get_or_insert(folder_of(&path));
            text
        };
        sources.push(Source { name: name.clone(), text });
    }
    Ok((sources, folder.unwrap_or_default()))
}

/// The stack that the files describe.
pub(super) fn load(files: &ComposeFiles, stack: &str) -> anyhow::Result<Stack> {
    let (sources, folder) = read(files)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let around = Surroundings {
        stack,
        folder: &folder,
        home: home.as_deref(),
        env: &|name| std::env::var(name).ok(),
        read: &|path: &Path| std::fs::read(path),
    };
    Ok(compose::load(&sources, &around)?)
}
