//! `container create`, and what `run` shares with it.
use super::flags::ContainerFlags;
use crate::Ctx;
use crate::client::is_status;
use crate::commands::Done;
use crate::commands::image::pull::pull;
use crate::terminal::{say_line, tell};
use clap::Args;
use wire::engine::container::{ContainerCreateBody, ContainerCreated};

/// Create a new container.
#[derive(Args)]
#[command(disable_help_flag = true, override_usage = "create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Create {
    #[command(flatten)]
    flags: ContainerFlags,
}

impl Create {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        say_line(&create(ctx, &self.flags, &self.flags.body(false)?).await?.id);
        Ok(())
    }
}

/// Makes the container; pulls its image as `--pull` says.
pub(super) async fn create(
    ctx: &Ctx,
    flags: &ContainerFlags,
    body: &ContainerCreateBody,
) -> anyhow::Result<ContainerCreated> {
    let id_file = match &flags.cidfile {
        Some(path) => {
            anyhow::ensure!(
                !std::path::Path::new(path).exists(),
                "container ID file found, make sure the other container isn't running or delete {path}"
            );
            Some(path)
        }
        None => None,
    };
    let platform = flags.platform.as_deref().unwrap_or_default();
    let attempt = async || -> anyhow::Result<ContainerCreated> {
        ctx.client
            .post("/containers/create")
            .text("name", flags.name.as_deref().unwrap_or_default())
            .text("platform", platform)
            .json(body)?
            .read()
            .await
    };
    if !["always", "missing", "never"].contains(&flags.pull.as_str()) {
        anyhow::bail!("invalid pull option: '{}': must be one of \"always\", \"missing\" or \"never\"", flags.pull);
    }
    if flags.pull == "always" {
        pull(ctx, flags.image(), platform, flags.quiet, true).await?;
    }
    let created = match attempt().await {
        Err(e)
            if flags.pull == "missing"
                && is_status(&e, 404)
                && e.to_string().to_lowercase().contains("no such image") =>
        {
            tell(&format!("Unable to find image '{}' locally", with_tag(flags.image())));
            pull(ctx, flags.image(), platform, flags.quiet, true).await?;
            attempt().await?
        }
        other => other?,
    };
    for warning in &created.warnings {
        tell(&format!("WARNING: {warning}"));
    }
    if let Some(path) = id_file {
        std::fs::write(path, &created.id)
            .map_err(|e| anyhow::anyhow!("failed to create the container ID file: {path}: {e}"))?;
    }
    Ok(created)
}

/// `busybox` → `busybox:latest`.
pub(crate) fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}
