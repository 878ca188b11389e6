//! `image ls`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::{ago, date, short_id, size};
use crate::render::list::{Show, Table, print, row};
use crate::spec::pairs;
use clap::Args;
use model::Timestamp;
use serde_json::Value;
use wire::engine::image::ImageSummary;

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];
const IMAGES: Table = Table {
    headers: HEADERS,
    default: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "{{.ID}}",
};
const WITH_DIGESTS: Table =
    Table { default: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", ..IMAGES };

/// List images.
#[derive(Args)]
pub(crate) struct List {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long)]
    filter: Vec<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    show: Show,
    /// REPOSITORY[:TAG]
    reference: Option<String>,
}

impl List {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let mut filters = pairs::filters(&self.filter)?;
        if let Some(reference) = &self.reference {
            filters.add("reference", reference);
        }
        let digests = self.digests || self.show.format.as_deref().is_some_and(|f| f.contains(".Digest"));
        let images: Vec<ImageSummary> =
            ctx.client.get("/images/json").flag("all", self.all).filters(&filters).read().await?;
        let mut rows = Vec::new();
        for image in &images {
            let names = names(image, digests);
            // With -q an image is one line, however many names it has.
            for (repository, tag, digest) in if self.show.quiet { names.into_iter().take(1).collect() } else { names } {
                rows.push(shown(image, &repository, &tag, &digest, !self.no_trunc));
            }
        }
        print(if self.digests { &WITH_DIGESTS } else { &IMAGES }, &self.show, &rows)
    }
}

/// (repository, tag, digest), one for each line.
fn names(image: &ImageSummary, digests: bool) -> Vec<(String, String, String)> {
    let none = || "<none>".to_owned();
    let tags = image.repo_tags.iter().filter(|t| *t != "<none>:<none>").filter_map(|t| t.rsplit_once(':'));
    let digest_of = |repository: &str| {
        let mut known = image.repo_digests.iter().filter_map(|d| d.split_once('@'));
        known.find(|(r, _)| *r == repository).map_or_else(none, |(_, d)| d.to_owned())
    };
    let mut out: Vec<_> = tags
        .map(|(repository, tag)| {
            (repository.to_owned(), tag.to_owned(), if digests { digest_of(repository) } else { none() })
        })
        .collect();
    if out.is_empty() {
        let known = image.repo_digests.iter().filter_map(|d| d.split_once('@')).filter(|(r, _)| *r != "<none>");
        out = known.map(|(r, d)| (r.to_owned(), none(), d.to_owned())).collect();
    }
    if out.is_empty() {
        out.push((none(), none(), none()));
    }
    out
}

fn shown(image: &ImageSummary, repository: &str, tag: &str, digest: &str, trunc: bool) -> Value {
    let created = Timestamp(image.created.saturating_mul(1_000_000_000));
    let optional = |n: i64| if n < 0 { "N/A".to_owned() } else { size(n) };
    row! {
        "ID": if trunc { short_id(&image.id) } else { &image.id },
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "CreatedSince": if image.created <= 0 { "N/A".into() } else { ago(created) },
        "CreatedAt": if image.created <= 0 { "N/A".into() } else { date(created) },
        "Size": size(image.size),
        "VirtualSize": size(image.size),
        "Containers": if image.containers < 0 { "N/A".into() } else { image.containers.to_string() },
        "SharedSize": optional(image.shared_size),
        "UniqueSize": if image.shared_size < 0 { "N/A".into() } else { size(image.size - image.shared_size) },
    }
}
