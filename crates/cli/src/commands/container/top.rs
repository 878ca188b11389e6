//! `container top`.
use crate::Ctx;
use crate::commands::Done;
use crate::render::tabs::align;
use crate::terminal::say;
use clap::Args;
use wire::engine::container::ContainerTop;

/// Display the running processes of a container.
#[derive(Args)]
#[command(override_usage = "top CONTAINER [ps OPTIONS]")]
pub(crate) struct Top {
    /// Container, and options of ps
    #[arg(required = true, trailing_var_arg = true, num_args = 1.., value_name = "CONTAINER [ps OPTIONS]")]
    words: Vec<String>,
}

impl Top {
    /// Of one container.
    pub(crate) fn of(container: String, options: Vec<String>) -> Self {
        Self { words: std::iter::once(container).chain(options).collect() }
    }

    pub(crate) async fn run(self, ctx: &Ctx) -> Done {
        let call = ctx.client.get(format!("/containers/{}/top", self.words[0]));
        let top: ContainerTop = call.text("ps_args", &self.words[1..].join(" ")).read().await?;
        let lines: Vec<String> = std::iter::once(&top.titles).chain(&top.processes).map(|l| l.join("\t")).collect();
        say(&(align(&lines.join("\n"), 20) + "\n"));
        Ok(())
    }
}
