//! `image pull`.
use super::progress::{To, show};
use crate::Ctx;
use crate::commands::{Done, auth};
use crate::terminal::{say_line, tell};
use clap::Args;

/// Download an image from a registry.
#[derive(Args)]
pub(crate) struct Pull {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    /// NAME[:TAG|@DIGEST]
    image: String,
}

impl Pull {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        anyhow::ensure!(!self.all_tags, "pull --all-tags is not supported: name the tags");
        if !self.quiet && !self.image.rsplit('/').next().unwrap_or_default().contains([':', '@']) {
            say_line("Using default tag: latest");
        }
        pull(ctx, &self.image, self.platform.as_deref().unwrap_or_default(), self.quiet, false).await?;
        say_line(&canonical(&self.image));
        Ok(())
    }
}

/// Pulls; `on_stderr`: stdout belongs to what comes after.
pub(crate) async fn pull(ctx: &Ctx, image: &str, platform: &str, quiet: bool, on_stderr: bool) -> Done {
    let (name, tag) = match image.split_once('@') {
        Some((name, digest)) => (name, digest),
        None => crate::commands::container::commit::split_tag(image),
    };
    let mut call = ctx
        .client
        .post("/images/create")
        .query("fromImage", name)
        .query("tag", if tag.is_empty() { "latest" } else { tag })
        .text("platform", platform);
    if let Some(auth) = auth::header_for(ctx, image) {
        call = call.header("x-registry-auth", &auth);
    }
    let to = match (quiet, on_stderr) {
        (true, _) => To::Nowhere,
        (false, true) => To::Stderr,
        (false, false) => To::Stdout,
    };
    let last = show(call.values().await?, to).await?;
    if quiet && on_stderr && last.is_empty() {
        tell(image);
    }
    Ok(())
}

/// `busybox` → `docker.io/library/busybox:latest`.
fn canonical(image: &str) -> String {
    let tagged = crate::commands::container::create::with_tag(image);
    match tagged.split_once('/') {
        None => format!("docker.io/library/{tagged}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => tagged,
        Some(_) => format!("docker.io/{tagged}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_in_full() {
        let table = [
            ("busybox", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("r.io/x@sha256:1", "r.io/x@sha256:1"),
        ];
        for (text, wanted) in table {
            assert_eq!(super::canonical(text), wanted);
        }
    }
}
