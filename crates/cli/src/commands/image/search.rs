//! `search`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::list::{Show, Table, print, row};
use crate::spec::pairs;
use clap::Args;
use wire::engine::image::ImageSearchResult;

const FOUND: Table = Table {
    headers: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
    default: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    quiet: "{{.Name}}",
};
const DESCRIPTION_MAX: usize = 45;

/// Search Docker Hub for images.
#[derive(Args)]
pub(crate) struct Search {
    /// Filter output based on conditions provided
    #[arg(short, long)]
    filter: Vec<String>,
    /// Max number of search results
    #[arg(long)]
    limit: Option<u32>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    show: Show,
    /// TERM
    term: String,
}

impl Search {
    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let filters = pairs::filters(&self.filter)?;
        let mut request = ctx.client.get("/images/search").query("term", &self.term).filters(&filters);
        if let Some(limit) = self.limit {
            request = request.query("limit", limit);
        }
        let found: Vec<ImageSearchResult> = request.read().await?;
        let ok = |yes: bool| if yes { "[OK]" } else { "" };
        let rows: Vec<_> = found
            .iter()
            .map(|f| {
                row! {
                    "Name": f.name.as_str(),
                    "Description": self.description(&f.description),
                    "StarCount": f.star_count.to_string(),
                    "IsOfficial": ok(f.is_official),
                    "IsAutomated": ok(f.is_automated),
                }
            })
            .collect();
        print(&FOUND, &self.show, &rows)
    }

    fn description(&self, text: &str) -> String {
        let line = text.replace(['\n', '\r'], " ");
        if self.no_trunc || line.chars().count() <= DESCRIPTION_MAX {
            return line;
        }
        line.chars().take(DESCRIPTION_MAX - 1).chain(['…']).collect()
    }
}
