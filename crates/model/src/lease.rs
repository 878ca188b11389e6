//! How long silence may last: between a node and the leader, and what each of them does meanwhile.
//!
//! ```text
//!  silence  0 s          1.6 s            2.9 s                  4.0 s              4.3 s
//!  leader   hears a beat masks the node   marks it down:                            lets the replacements of
//!                        (no name, no     replaces at once what                     leased tasks start
//!                        balancing)       may run twice
//!  node     beats, is                                            its lease ends:
//!           told "heard"                                         kills leased tasks
//! ```
//! A node counts from when it *sent* the beat that a leader has confirmed, a leader from when it *received* it: the
//! node's count is never the later one. Only a leader that a majority follows confirms. A node that learns that there
//! can be no leader (so many managers refuse connections, or know of no leader, that the rest is no majority) has its
//! lease prolonged: nobody can place a replacement then, so restarting a sole manager stops nothing.
//!
//! Not every task has a short lease. Two runs of one replica of a web service harm nobody, a swarm that stops when its
//! managers' machines are off does; two runs of a database on one volume harm. See [`is_leased`].
use crate::spec::{ServiceMode, ServiceSpec};
use std::collections::VecDeque;
use std::time::Duration;

/// How often nodes beat unless the swarm's settings ask for more.
pub const BEAT: Duration = Duration::from_millis(500);
/// What a node needs to kill its leased tasks.
const KILL_TIME: Duration = Duration::from_millis(300);
/// The watchdog of a leased task strikes so long after the daemon itself should have killed it.
const WATCHDOG_LATER: Duration = Duration::from_millis(100);
/// Time passes between a beat's arrival and the look that notices its absence.
const LOOK: Duration = Duration::from_millis(100);
/// After this without a leader a node stops every task: their addresses are given away after a day.
pub const LEASE_OF_ALL: Duration = Duration::from_secs(20 * 3600);
/// A node that was down for so long counts as gone: its tasks are orphaned, their addresses free.
pub const ORPHAN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// A node that could not look at its lease for so long was stopped itself (or its machine was).
const STALL: Duration = Duration::from_secs(1);

/// Silence after which nobody sends new connections to a node.
pub fn mask_after(beat: Duration) -> Duration {
    beat * 3 + LOOK
}

/// Silence after which a node is marked down.
pub fn down_after(beat: Duration) -> Duration {
    beat * 6 - LOOK
}

/// How long after the last confirmed beat leased tasks may run.
pub fn lease(beat: Duration) -> Duration {
    beat * 8
}

/// How long after a node was marked down its leased tasks have certainly ended.
pub fn replace_after() -> Duration {
    lease(BEAT) + KILL_TIME - down_after(BEAT)
}

/// How long after a leader has last confirmed a beat the node's leased tasks have certainly ended.
pub fn ended_after() -> Duration {
    lease(BEAT) + KILL_TIME
}

/// Whether the tasks of a service must never run twice at the same time. By default: those of a replicated service of
/// one, and those of replicated jobs. The label [`crate::service_labels::FENCE`] decides otherwise.
pub fn is_leased(spec: &ServiceSpec) -> bool {
    match spec.labels.get(crate::service_labels::FENCE).map(String::as_str) {
        Some("always") => true,
        Some("never") => false,
        _ => matches!(spec.mode, ServiceMode::Replicated { replicas: 0 | 1 } | ServiceMode::ReplicatedJob { .. }),
    }
}

/// Which tasks must have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fence {
    /// None.
    Open,
    /// The leased ones.
    Leased,
    /// All.
    All,
}

impl Fence {
    /// Whether a task has to stop.
    pub fn stops(self, leased: bool) -> bool {
        match self {
            Self::Open => false,
            Self::Leased => leased,
            Self::All => true,
        }
    }
}

/// A node's lease. The times are durations since some moment of the node's own; clocks do not matter.
#[derive(Clone, Debug)]
pub struct Lease {
    beat: Duration,
    /// When the last confirmed beat was sent.
    from: Duration,
    /// When the beats of this session were sent that are not confirmed yet.
    sent: VecDeque<Duration>,
    looked: Duration,
}

impl Lease {
    /// A lease that begins now.
    pub fn begin(now: Duration) -> Self {
        Self { beat: BEAT, from: now, sent: VecDeque::new(), looked: now }
    }

    /// A new session: what was sent on the old one will not be confirmed.
    pub fn session(&mut self, beat: Duration) {
        self.beat = beat.min(BEAT);
        self.sent.clear();
    }

    /// How often the leader wants to be told.
    pub fn interval(&mut self, beat: Duration) {
        self.beat = beat.min(BEAT);
    }

    /// A beat has been handed to the network.
    pub fn beaten(&mut self, now: Duration) {
        self.sent.push_back(now);
        // Nobody confirms any more; only the latest matter.
        if self.sent.len() > 1000 {
            self.sent.pop_front();
        }
    }

    /// A leader has confirmed the oldest unconfirmed beat.
    pub fn confirmed(&mut self) {
        if let Some(at) = self.sent.pop_front() {
            self.from = self.from.max(at);
        }
    }

    /// At this time there was certainly no leader.
    pub fn no_leader(&mut self, at: Duration) {
        self.from = self.from.max(at);
    }

    /// How long tasks may still run without another word: the leased ones, all. For their watchdogs.
    pub fn rest(&self, now: Duration) -> (Duration, Duration) {
        let silent = now.saturating_sub(self.from);
        let rest = |limit: Duration| (limit + WATCHDOG_LATER).saturating_sub(silent);
        (rest(lease(self.beat)), rest(LEASE_OF_ALL))
    }

    /// What has to have stopped by now.
    pub fn look(&mut self, now: Duration) -> Fence {
        // Who could not look could not hear either; what was said meanwhile is about to be read.
        if now.saturating_sub(self.looked) > STALL {
            self.from = self.from.max((now + STALL).saturating_sub(lease(self.beat)));
        }
        self.looked = now;
        match now.saturating_sub(self.from) {
            silent if silent >= LEASE_OF_ALL => Fence::All,
            silent if silent >= lease(self.beat) => Fence::Leased,
            _ => Fence::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn look_until(lease: &mut Lease, from: u64, to: u64) -> Fence {
        (from..=to).step_by(100).map(|t| lease.look(ms(t))).last().unwrap()
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_the_last_confirmed_beat() {
        let mut l = Lease::begin(ms(0));
        for t in [500, 1000, 1500] {
            l.beaten(ms(t));
        }
        l.confirmed();
        assert_eq!(look_until(&mut l, 100, 4400), Fence::Open);
        assert_eq!(l.look(ms(4500)), Fence::Leased);
        l.confirmed();
        assert_eq!(l.look(ms(4600)), Fence::Open);
        l.session(BEAT);
        l.confirmed();
        assert_eq!(look_until(&mut l, 4700, 5000), Fence::Leased, "a word about another session counts for nothing");
        l.no_leader(ms(4900));
        assert_eq!(l.look(ms(5100)), Fence::Open);
        let (leased, all) = l.rest(ms(5900));
        assert_eq!(leased, lease(BEAT) + WATCHDOG_LATER - ms(1000));
        assert_eq!(all, LEASE_OF_ALL + WATCHDOG_LATER - ms(1000));
        assert_eq!(l.rest(ms(50_000)).0, Duration::ZERO);
    }

    #[test]
    fn one_who_was_stopped_listens_before_it_acts() {
        let mut l = Lease::begin(ms(0));
        assert_eq!(l.look(ms(60_000)), Fence::Open);
        assert_eq!(look_until(&mut l, 60_100, 60_900), Fence::Open);
        assert_eq!(l.look(ms(61_000)), Fence::Leased);
    }

    #[test]
    fn the_leader_waits_longer_than_any_node() {
        for beat in [ms(100), ms(250), BEAT] {
            assert!(mask_after(beat) < down_after(beat) && down_after(beat) < lease(beat));
            assert!(down_after(beat) + replace_after() >= lease(beat) + KILL_TIME);
        }
        assert!(mask_after(BEAT) < Duration::from_secs(2) && down_after(BEAT) < Duration::from_secs(3));
        assert!(ended_after() < Duration::from_secs(5));
        assert!(WATCHDOG_LATER < KILL_TIME);
    }
}
