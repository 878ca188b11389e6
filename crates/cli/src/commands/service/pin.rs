//! An image's digest from its registry, so that every node runs the same one.
use crate::Ctx;
use crate::commands::container::create::with_tag;
use crate::terminal::tell;
use std::time::Duration;
use wire::engine::image::DistributionInspect;
use wire::engine::service::{Platform, TaskSpec};

/// A registry that does not answer is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Puts the digest, and the platforms that the image is for, into the spec; tells when the registry cannot be asked.
pub(crate) async fn pin(ctx: &Ctx, task: &mut TaskSpec, auth: Option<&str>) {
    let Some(container) = &mut task.container_spec else { return };
    if is_pinned(&container.image) {
        return;
    }
    let image = with_tag(&container.image);
    let mut call = ctx.client.get(format!("/distribution/{image}/json"));
    if let Some(auth) = auth {
        call = call.header("x-registry-auth", auth);
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
        }
        _ => tell(&unknown(&container.image)),
    }
}

fn is_pinned(image: &str) -> bool {
    image.is_empty() || image.contains('@') || (image.len() == 64 && image.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn unknown(image: &str) -> String {
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
