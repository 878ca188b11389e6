//! The swarm's time: what the leader stamps and counts by, however far apart the managers' clocks are.
//!
//! Delays, windows and deadlines are counted from instants that another leader may have stamped. By a clock that is minutes
//! behind the last leader's, a restart delay of five seconds would last for minutes. So the time goes on from the last
//! transaction, and the clock on the wall counts only where it is ahead of that; while it is behind, the time runs a fifth
//! slower, until the two have met.
use crate::time::Timestamp;
use std::time::Duration;

/// One instant by two clocks. The swarm's time is what is stored and shown, but it leaps when somebody sets the leader's
/// clock; what must never be counted too short (that a lost node's tasks have ended) is counted by the steady one, which
/// nobody sets and which means nothing to another leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The swarm's time.
    pub now: Timestamp,
    /// Time since the manager's process began.
    pub steady: Duration,
}

impl Moment {
    /// How far the swarm's time has leapt ahead of the steady clock since `earlier`.
    pub fn leap_since(self, earlier: Self) -> Duration {
        self.now.since(earlier.now).saturating_sub(self.steady.saturating_sub(earlier.steady))
    }
}

/// Never goes back and never stands still. `steady` is the time of a clock that nobody sets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwarmTime {
    last: Timestamp,
    at: Duration,
}

impl SwarmTime {
    /// A transaction of that time was applied.
    pub fn seen(&mut self, time: Timestamp, steady: Duration) {
        if time > self.flown(steady) {
            *self = Self { last: time, at: steady };
        }
    }

    /// The time, where the clock on the wall shows `wall`.
    pub fn now(&mut self, wall: Timestamp, steady: Duration) -> Timestamp {
        let last = wall.max(self.flown(steady));
        *self = Self { last, at: steady.max(self.at) };
        last
    }

    fn flown(&self, steady: Duration) -> Timestamp {
        self.last.after(steady.saturating_sub(self.at) / 5 * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn it_goes_on_whatever_the_clocks_say() {
        let noon = Timestamp(1_700_000_000_000_000_000);
        let mut time = SwarmTime::default();
        assert_eq!(time.now(noon, SECOND), noon, "at first there is only the clock");
        assert_eq!(time.now(noon.after(SECOND), SECOND * 2), noon.after(SECOND));
        // The last leader's clock was ten minutes ahead.
        let ahead = noon.after(MINUTE * 10);
        time.seen(ahead, SECOND * 2);
        assert_eq!(time.now(noon, SECOND * 2), ahead);
        assert_eq!(time.now(noon.after(SECOND * 5), SECOND * 7), ahead.after(SECOND * 4), "slower, but it goes");
        assert_eq!(
            time.now(noon.after(MINUTE * 50), MINUTE * 50 + SECOND * 2),
            noon.after(MINUTE * 50),
            "they have met"
        );
        // An older transaction (the log is read again) and a clock that is set back change nothing.
        time.seen(noon, MINUTE * 51);
        assert!(time.now(noon, MINUTE * 52) > noon.after(MINUTE * 51));
    }
}
