//! The pure mind of the leader: [`plan`] looks at the tables and says what shall change.
//!
//! ```text
//!             ┌── memory: what was seen last, timers, restart and failure notes (soft, may be lost) ──┐
//!  tables ──► │ networks ─► services ─► orchestrators ─► tasks' addresses ─► scheduler ─► nodes' lb   │ ──► actions
//!             │  vni,subnet  vip,port   slots, restarts,    New → Pending     Pending →    addresses  │
//!             │                         updates, reaping                      Assigned                │
//!             └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Level-triggered: the caller applies the actions as one transaction and calls again, until there are none; then it
//! waits for a change of the tables or for [`Plan::wake_at`]. A transaction that was refused is simply planned anew.
//! Time and randomness are arguments.
#![forbid(unsafe_code)]

mod allocate;
mod draft;
mod enforce;
mod memory;
mod orchestrate;
mod reap;
mod schedule;
mod update;

pub use allocate::{AllocationError, allocate_network, allocate_service};
pub use memory::PlannerMemory;
pub use schedule::constraint::{Constraint, ConstraintError};
pub use schedule::refusal::{Refusal, Refusals, explain};
pub use update::is_up_to_date;

use draft::Draft;
use model::{Moment, StoreAction, Tables, Timestamp};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Where fresh ids and dice come from.
pub trait Random {
    /// Bytes for an id.
    fn id_bytes(&mut self) -> [u8; 17];
    /// A number.
    fn number(&mut self) -> u64;
}

/// What shall change now, and when to look again even if nothing changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// One transaction; empty when all is as it should be.
    pub actions: Vec<StoreAction>,
    /// The next moment at which time alone changes the answer.
    pub wake_at: Option<Timestamp>,
}

/// How many actions one plan may hold before it stops taking further decisions (a decision is never split).
pub const ACTIONS_MAX: usize = 200;

/// Plans the next transaction. A record at which this fails (a defect of ours, or a row that nobody could foresee) is
/// left aside for a while, shows the reason, and stops nothing else.
pub fn plan(tables: &Tables, moment: Moment, random: &mut dyn Random, memory: &mut PlannerMemory) -> Plan {
    loop {
        match catch_unwind(AssertUnwindSafe(|| plan_once(tables, moment, &mut *random, &mut *memory))) {
            Ok(plan) => return plan,
            Err(panic) => match memory.quarantine.blame() {
                Some(record) => {
                    let words = panic.downcast_ref::<String>().map(String::as_str);
                    let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is known");
                    memory.quarantine.put(Some(tables), record, format!("the planner cannot handle it: {words}"));
                    // It was left in the middle of something.
                    memory.forget();
                }
                None => resume_unwind(panic),
            },
        }
    }
}

fn plan_once(tables: &Tables, moment: Moment, random: &mut dyn Random, memory: &mut PlannerMemory) -> Plan {
    memory.observe(tables, moment);
    let mut draft = Draft::new(tables, moment.now, random);
    if memory.quarantine.is_careful() {
        draft.limit = 1;
    }
    allocate::networks::run(&mut draft, memory);
    orchestrate::run(&mut draft, memory);
    reap::loose_tasks(&mut draft, memory);
    allocate::tasks::run(&mut draft, memory);
    schedule::run(&mut draft, memory);
    allocate::nodes::run(&mut draft, memory);
    memory.quarantine.work_on(None);
    memory.loads.revert();
    let actions = draft.into_actions();
    let mut quarantine = std::mem::take(&mut memory.quarantine);
    quarantine.planned(&actions, |action| memory.owner(action));
    memory.quarantine = quarantine;
    memory.remember_plan(&actions);
    Plan { wake_at: memory.next_wake(), actions }
}
