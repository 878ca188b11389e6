//! Base images: here, or pulled.
use super::{Failure, steps::Work};
use images::{Image, Platform, Reference};
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::engine::progress::{Progress, ProgressDetail};

impl Work<'_> {
    /// By name or id. An image for another platform than the one asked for is as good as none.
    pub(crate) async fn image(&mut self, name: &str, platform: Option<&Platform>) -> Result<Arc<Image>, Failure> {
        let images = &self.job.builder.images;
        let here = images.get(name).ok();
        let fits = |image: &Image| {
            platform.is_none_or(|p| {
                p.os == image.config.os
                    && p.architecture == image.config.architecture
                    && (p.variant.is_empty() || p.variant == image.config.variant)
            })
        };
        let is_id = here.as_ref().is_some_and(|i| i.id.trim_start_matches("sha256:").starts_with(name));
        if let Some(image) = here
            && fits(&image)
            && (!self.job.request.pull || is_id)
        {
            return Ok(image);
        }
        let reference = Reference::parse(name).map_err(|e| Failure::new(format!("{e}: {name:?}")))?;
        let credentials = self.job.request.credentials_for(&reference);
        let (sink, mut lines) = mpsc::channel(64);
        let pull = images.pull(reference, platform.cloned(), credentials, sink);
        tokio::pin!(pull);
        loop {
            tokio::select! {
                biased;
                line = lines.recv() => match line {
                    Some(line) => self.output.line(progress_line(line)).await,
                    None => return Ok(pull.await?),
                },
                done = &mut pull => {
                    while let Ok(line) = lines.try_recv() {
                        self.output.line(progress_line(line)).await;
                    }
                    return Ok(done?);
                }
            }
        }
    }
}

/// A line of a pull or push as clients read it.
pub fn progress_line(p: images::Progress) -> Progress {
    Progress {
        status: p.status,
        id: p.id,
        progress: p.progress,
        progress_detail: p.detail.map(|d| ProgressDetail {
            current: d.current.unwrap_or_default() as i64,
            total: d.total.unwrap_or_default() as i64,
        }),
        aux: p.aux,
        ..Progress::default()
    }
}
