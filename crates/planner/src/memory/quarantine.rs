//! Records that the planner cannot handle harm only themselves: they are left aside, say why, and are tried again later or
//! when their user changes them.
//!
//! ```text
//!  a plan panics at work on a record ─────────────────────────────┐
//!  a plan is refused by the tables ─► plans of one decision each ─┴─► that record's is refused too ─► left aside
//! ```
use super::PlannerMemory;
use model::{Object, ObjectRef, ServiceId, StoreAction, Tables, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is left aside is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is left aside, and which record is being worked on.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    aside: BTreeMap<ObjectRef, Trouble>,
    /// The record at work, to be blamed for a panic.
    at_work: Option<ObjectRef>,
    /// Each plan holds one decision, so that a refusal names its cause.
    careful: bool,
    /// Whose decision the last careful plan was.
    last: BTreeSet<ObjectRef>,
    now: Timestamp,
}

#[derive(Debug)]
struct Trouble {
    /// The user's version of the record: another one is worth a try.
    version: u64,
    until: Timestamp,
    why: String,
}

impl Quarantine {
    /// From now on this record is to blame.
    pub fn work_on(&mut self, record: Option<ObjectRef>) {
        self.at_work = record;
    }

    /// The record that was at work.
    pub fn blame(&mut self) -> Option<ObjectRef> {
        self.at_work.take().filter(|r| !self.aside.contains_key(r))
    }

    /// Leaves a record aside.
    pub fn put(&mut self, tables: Option<&Tables>, record: ObjectRef, why: String) {
        tracing::error!(?record, "left aside: {why}");
        let version = tables.map_or(0, |t| version(t, &record));
        self.aside.insert(record, Trouble { version, until: self.now.after(AGAIN_AFTER), why });
    }

    /// Why a record is left aside.
    pub fn why(&self, record: &ObjectRef) -> Option<&str> {
        self.aside.get(record).map(|t| t.why.as_str())
    }

    pub fn why_service(&self, service: &ServiceId) -> Option<&str> {
        if self.aside.is_empty() {
            return None;
        }
        self.why(&ObjectRef::Service(service.clone()))
    }

    /// Takes back what is due or has been changed by its user.
    pub fn release(&mut self, tables: &Tables, now: Timestamp) -> Vec<ObjectRef> {
        self.now = now;
        let mut free = Vec::new();
        self.aside.retain(|record, trouble| {
            if trouble.version == 0 {
                trouble.version = version(tables, record);
            }
            let keep = trouble.until > now && version(tables, record) == trouble.version;
            if !keep {
                free.push(record.clone());
            }
            keep
        });
        free
    }

    pub fn next(&self) -> Option<Timestamp> {
        self.aside.values().map(|t| t.until).min()
    }

    pub fn is_careful(&self) -> bool {
        self.careful
    }

    /// A plan has been made.
    pub fn planned(&mut self, actions: &[StoreAction], owner: impl Fn(&StoreAction) -> Option<ObjectRef>) {
        if self.careful {
            self.last = actions.iter().filter_map(owner).collect();
            self.careful = !actions.is_empty();
        }
    }

    /// The tables have refused the last plan.
    pub fn refused(&mut self, why: &str) {
        if !self.careful {
            self.careful = true;
        } else if self.last.len() == 1
            && let Some(record) = self.last.pop_first()
        {
            self.put(None, record, format!("the swarm's tables refuse what is planned for it: {why}"));
        }
    }
}

/// What changes with the user's wish, not with what the planner writes.
fn version(tables: &Tables, record: &ObjectRef) -> u64 {
    match record {
        ObjectRef::Service(id) => tables.service(id).map_or(0, |s| s.spec_version),
        ObjectRef::Network(id) => tables.network(id).map_or(0, |n| n.meta.version),
        other => tables.get(other).map_or(0, |o| o.meta().version),
    }
}

impl PlannerMemory {
    /// The tables have refused the last plan, with these words: the record behind it will be found and left aside.
    pub fn plan_refused(&mut self, why: &str) {
        self.quarantine.refused(why);
    }

    /// Forgets everything but what is left aside.
    pub(crate) fn forget(&mut self) {
        let quarantine = std::mem::take(&mut self.quarantine);
        *self = Self { quarantine, ..Self::default() };
    }

    /// The service (or the object itself) that an action is about.
    pub(crate) fn owner(&self, action: &StoreAction) -> Option<ObjectRef> {
        let of_task =
            |t: &model::Task| Some(t.service.clone().map_or_else(|| ObjectRef::Task(t.id.clone()), ObjectRef::Service));
        match action {
            StoreAction::Create(Object::Task(t)) | StoreAction::Update(Object::Task(t)) => of_task(t),
            StoreAction::Create(o) | StoreAction::Update(o) => Some(o.reference()),
            StoreAction::Remove(ObjectRef::Task(id)) => self.tasks.get(id).and_then(|t| of_task(t)),
            StoreAction::Remove(r) => Some(r.clone()),
        }
    }
}
