//! Runs the planner while this manager leads: after every change, and when the plan said that time alone will matter.
//!
//! The plan is made inside the store's transaction, so it always sees the latest tables and is never out of sequence.
use crate::clock::Dice;
use cluster::Store;
use cluster::store::UpdateError;
use model::Timestamp;
use planner::PlannerMemory;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Changes that come together are planned together.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// A plan waits no longer than this, however many changes come.
const DEBOUNCE_MAX: Duration = Duration::from_millis(50);
/// Transactions in one round before others get their turn.
const TRANSACTIONS_PER_ROUND: usize = 50;
/// However soon the plan wants to look again.
const WAKE_MIN: Duration = Duration::from_millis(10);
/// After a planner that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub async fn drive(store: Store, stop: CancellationToken) {
    let mut leadership = store.leadership();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            led = leadership.wait_for(|l| l.here) => if led.is_err() { return },
        }
        tracing::info!("this manager leads: planning begins");
        tokio::select! {
            () = stop.cancelled() => return,
            () = lead(&store) => {}
            _ = leadership.wait_for(|l| !l.here) => {}
        }
        tracing::info!("this manager leads no longer: planning ends");
    }
}

/// Plans until somebody else leads.
async fn lead(store: &Store) {
    let mut memory = PlannerMemory::default();
    let mut changed = store.watch_revision();
    loop {
        changed.borrow_and_update();
        let wake_at = match round(store, &mut memory).await {
            Round::Quiet(wake_at) => wake_at,
            Round::More => continue,
            Round::Failed => {
                memory = PlannerMemory::default();
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                continue;
            }
            Round::Deposed => return,
        };
        let wake = wake_at.map(|at| at.since(store.now()).max(WAKE_MIN));
        tokio::select! {
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            more = changed.changed() => {
                if more.is_err() {
                    return;
                }
                settle(&mut changed).await;
            }
        }
    }
}

/// Waits until no change has come for a moment.
async fn settle(changed: &mut tokio::sync::watch::Receiver<u64>) {
    let end = Instant::now() + DEBOUNCE_MAX;
    loop {
        changed.borrow_and_update();
        let next = (Instant::now() + DEBOUNCE).min(end);
        if !matches!(tokio::time::timeout_at(next, changed.changed()).await, Ok(Ok(()))) || Instant::now() >= end {
            return;
        }
    }
}

enum Round {
    /// Nothing is left to do until then.
    Quiet(Option<Timestamp>),
    /// The cap was reached.
    More,
    /// The planner panicked or its transaction was refused.
    Failed,
    /// Somebody else leads.
    Deposed,
}

async fn round(store: &Store, memory: &mut PlannerMemory) -> Round {
    for _ in 0..TRANSACTIONS_PER_ROUND {
        let mut panicked = false;
        let done = store
            .update(|tables| {
                let planned =
                    catch_unwind(AssertUnwindSafe(|| planner::plan(tables, store.moment(), &mut Dice, memory)));
                let plan = planned.unwrap_or_else(|_| {
                    panicked = true;
                    planner::Plan::default()
                });
                let quiet = plan.actions.is_empty();
                Ok::<_, Infallible>((plan.actions, (quiet, plan.wake_at)))
            })
            .await;
        if panicked {
            tracing::error!("the planner panicked; its memory is dropped and it is tried again");
            return Round::Failed;
        }
        match done {
            Ok((true, wake_at)) => return Round::Quiet(wake_at),
            Ok((false, _)) => {}
            Err(UpdateError::Refused(e)) => {
                tracing::error!("the tables refused a plan: {e}");
                memory.plan_refused(&e.to_string());
            }
            Err(UpdateError::NotLeader(_) | UpdateError::Stopped(_)) => return Round::Deposed,
            Err(UpdateError::Declined(never)) => match never {},
        }
    }
    tokio::task::yield_now().await;
    Round::More
}
