//! `image history`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::human::{ago, date, ellipsis, short_id, size};
use crate::render::list::{Show, Table, print, row};
use clap::Args;
use model::Timestamp;
use serde_json::Value;
use wire::engine::image::ImageHistory;

const HISTORY: Table = Table {
    headers: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    default: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};

/// Show the history of an image.
#[derive(Args)]
pub(crate) struct History {
    #[command(flatten)]
    show: Show,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    image: String,
}

impl History {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let layers: Vec<ImageHistory> = ctx.client.get(format!("/images/{}/history", self.image)).read().await?;
        let rows: Vec<Value> = layers
            .iter()
            .map(|l| {
                let created = Timestamp(l.created.saturating_mul(1_000_000_000));
                let by = l.created_by.replace('\t', " ");
                row! {
                    "ID": if self.no_trunc { &l.id } else { short_id(&l.id) },
                    "CreatedSince": if self.human { ago(created) } else { date(created) },
                    "CreatedAt": date(created),
                    "CreatedBy": if self.no_trunc { by } else { ellipsis(&by, 45) },
                    "Size": if self.human { size(l.size) } else { l.size.to_string() },
                    "Comment": l.comment.clone(),
                }
            })
            .collect();
        print(&HISTORY, &self.show, &rows)
    }
}
