//! Rolls a changed service out, slot by slot, and back when that fails.
//!
//! ```text
//!            stale slot found                all settled, monitor over
//!  (none) ──────────────────► updating ─────────────────────────────► completed
//!                               │ too many failed, or a task did not come up before the progress deadline
//!                               ├─ pause ────► paused              (until the user changes the service)
//!                               ├─ continue ─► (goes on)
//!                               └─ rollback ─► rollback_started ──► rollback_completed
//!                                                   └─ too many failed ─► rollback_paused
//!  one slot, stop-first:  old ─► shutdown, new held at ready ─► old has stopped: new ─► running
//!  one slot, start-first: new ─► running ─► it runs: old ─► shutdown
//! ```
//! Which slots are stale, in flight, settled or failed is read off their tasks and the time the update began, so a new
//! leader goes on in the middle. The control call that changes a spec must set `service.update` to `None` (and to
//! *rollback_started*, "manually requested rollback", when the user asks for that).
mod dirty;
pub use dirty::is_up_to_date;
mod rollout;

pub(crate) use dirty::is_current;
pub(crate) use rollout::{blocks_start_first, run};
