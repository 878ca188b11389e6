//! `container commit`.
use crate::Ctx;
use crate::commands::Done;
use crate::terminal::say_line;
use clap::Args;
use wire::engine::container::IdResponse;

/// Create a new image from a container's changes.
#[derive(Args)]
pub(crate) struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long)]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long)]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long)]
    message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    container: String,
    /// REPOSITORY[:TAG]
    reference: Option<String>,
}

impl Commit {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let (repo, tag) = self.reference.as_deref().map(split_tag).unwrap_or_default();
        let mut call = ctx
            .client
            .post("/commit")
            .query("container", &self.container)
            .text("repo", repo)
            .text("tag", tag)
            .text("comment", self.message.as_deref().unwrap_or_default())
            .text("author", self.author.as_deref().unwrap_or_default())
            .query("pause", u8::from(self.pause));
        for change in &self.change {
            call = call.query("changes", change);
        }
        let made: IdResponse = call.json(&serde_json::json!({}))?.read().await?;
        say_line(&made.id);
        Ok(())
    }
}

/// `host:5000/x/y:tag` → name and tag.
pub(crate) fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, ""),
    }
}
