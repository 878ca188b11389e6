//! `image tag`.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::container::commit::split_tag;
use clap::Args;

/// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE.
#[derive(Args)]
pub(crate) struct Tag {
    /// SOURCE_IMAGE[:TAG]
    source: String,
    /// TARGET_IMAGE[:TAG]
    target: String,
}

impl Tag {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let (repo, tag) = split_tag(&self.target);
        ctx.client.post(format!("/images/{}/tag", self.source)).query("repo", repo).text("tag", tag).done().await
    }
}
