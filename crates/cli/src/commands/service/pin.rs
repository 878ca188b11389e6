//! An image's digest from its registry, so that every node runs the same one.
use crate::Ctx;
use crate::commands::auth;
use crate::commands::container::create::with_tag;
use crate::terminal::tell;
use std::time::Duration;
use wire::engine::image::DistributionInspect;
use wire::engine::service::{Platform, TaskSpec};

/// A registry that does not answer is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Puts the digest, and the platforms that the image is for, into the spec. Whether the registry answered.
///
/// The user's credentials are used for this question also where they are not handed on to the nodes.
pub(crate) async fn pin(ctx: &Ctx, task: &mut TaskSpec) -> bool {
    let Some(container) = &mut task.container_spec else { return true };
    if is_pinned(&container.image) {
        return true;
    }
    let image = with_tag(&container.image);
    let mut call = ctx.client.get(format!("/distribution/{image}/json"));
    if let Some(auth) = auth::header_for(ctx, &image) {
        call = call.header("x-registry-auth", &auth);
    }
    match tokio::time::timeout(PATIENCE, call.read::<DistributionInspect>()).await {
        Ok(Ok(found)) if !found.descriptor.digest.is_empty() => {
            container.image = format!("{image}@{}", found.descriptor.digest);
            let platforms: Vec<Platform> = found
                .platforms
                .into_iter()
                .map(|p| Platform { architecture: p.architecture, os: p.os })
                // Attestations come as platforms that are none.
                .filter(|p| p.os != "unknown")
                .collect();
            if !platforms.is_empty() {
                task.placement.get_or_insert_default().platforms = platforms;
            }
            true
        }
        _ => false,
    }
}

/// [`pin`], for a spec that is new: told when the registry did not answer.
pub(crate) async fn pin_or_tell(ctx: &Ctx, task: &mut TaskSpec) {
    if !pin(ctx, task).await {
        tell(&unknown(task.container_spec.as_ref().map_or("", |c| &c.image)));
    }
}

/// Whether a registry has said already which image it is.
pub(crate) fn is_pinned(image: &str) -> bool {
    image.is_empty() || image.contains('@') || (image.len() == 64 && image.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Docker's words for a registry that does not answer.
pub(crate) fn unknown(image: &str) -> String {
    format!(
        "image {image} could not be accessed on a registry to record\nits digest. Each node will access {image} \
         independently,\npossibly leading to different nodes running different\nversions of the image.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_not_asked_for_twice() {
        assert!(is_pinned("x:1@sha256:abc") && is_pinned(&"a".repeat(64)) && is_pinned(""));
        assert!(!is_pinned("x:1") && !is_pinned("reg:5000/x"));
    }
}
