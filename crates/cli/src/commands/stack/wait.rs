//! Waits until the services of a deploy run, with a line for each task.
use crate::Ctx;
use crate::commands::Done;
use crate::commands::service::progress::{Look, Waiting};
use crate::terminal::{Live, interrupted, tell};
use std::time::Duration;

/// `services`: ids and names.
pub(super) async fn all(ctx: &Ctx, services: &[(String, String)], quiet: bool) -> Done {
    let mut live = Live::new(quiet);
    let mut open: Vec<(&String, &String, Waiting)> =
        services.iter().map(|(id, name)| (id, name, Waiting::default())).collect();
    let mut failures = Vec::new();
    let work = async {
        while !open.is_empty() {
            let mut still = Vec::new();
            for (id, name, mut waiting) in open.drain(..) {
                match waiting.look(ctx, id, &mut live, &format!("{name} ")).await {
                    Ok(Look::Done) => {}
                    Ok(Look::Open) => still.push((id, name, waiting)),
                    Err(e) => failures.push(format!("{name}: {e:#}")),
                }
            }
            open = still;
            if !open.is_empty() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = interrupted() => {
            tell(&format!("Operation continuing in background.\nUse `{} stack ps` to check progress.", ctx.name));
            return Ok(());
        }
    }
    anyhow::ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
