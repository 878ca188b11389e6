//! Finding the leader: the managers are asked, each a moment after the one before, until one has answered as the leader.
//! One that is stopped or whose machine has lost its power takes requests and says nothing: nobody waits for it.
use super::link::Link;
use super::{CALL_TIMEOUT, Channel, ChannelError};
use crate::ca::tls;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use wire::Refusal;

/// How long one manager may think before the next is asked too.
const NEXT_MANAGER: Duration = Duration::from_millis(200);
/// How long the last of them may think when another has said that it does not lead.
const LAST_MANAGER: Duration = Duration::from_millis(400);
/// Meanwhile those that have answered may hear of a new leader: they are asked again so often.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// What a search knows so far.
struct Search {
    /// To be asked for the first time.
    waiting: VecDeque<SocketAddr>,
    asked: Vec<SocketAddr>,
    /// They have not answered yet.
    pending: Vec<SocketAddr>,
    /// They do not lead, and are asked again at that time, while others say nothing.
    again: VecDeque<(Instant, SocketAddr)>,
    links: HashMap<SocketAddr, Arc<Link>>,
    /// They refuse connections or know of no leader.
    leaderless: HashSet<SocketAddr>,
    refusal: Option<Refusal>,
    why: String,
    misses: u32,
    give_up: Option<Instant>,
}

impl Search {
    fn of(channel: &Channel) -> Self {
        let inner = &channel.inner;
        let held = inner.link.lock().clone().filter(|l| l.is_open());
        let mut waiting: VecDeque<SocketAddr> = inner.managers.lock().iter().map(|m| m.addr).collect();
        if let Some(link) = &held {
            waiting.push_front(link.addr);
        }
        // Those that said nothing the last time are asked last.
        let slow = inner.slow.lock().clone();
        waiting.make_contiguous().sort_by_key(|addr| slow.contains(addr));
        Self {
            waiting,
            asked: Vec::new(),
            pending: Vec::new(),
            again: VecDeque::new(),
            links: held.into_iter().map(|l| (l.addr, l)).collect(),
            leaderless: HashSet::new(),
            refusal: None,
            why: "no manager is known".into(),
            misses: inner.misses.load(Ordering::Relaxed),
            give_up: None,
        }
    }

    /// Whom to ask now.
    fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        while let Some(addr) = self.waiting.pop_front() {
            if !self.asked.contains(&addr) {
                self.asked.push(addr);
                self.pending.push(addr);
                return Some(addr);
            }
        }
        // Nobody is silent: then there is no leader, and the search is over.
        if self.pending.is_empty() || self.again.front().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, addr) = self.again.pop_front()?;
        self.pending.push(addr);
        Some(addr)
    }

    /// How long to wait for an answer before something else is done.
    fn patience(&mut self, now: Instant) -> Duration {
        if !self.waiting.is_empty() {
            return NEXT_MANAGER;
        }
        if self.refusal.is_none() {
            return CALL_TIMEOUT * 2;
        }
        // The others do not lead: who says nothing now is probably gone.
        let last = LAST_MANAGER * (1 << self.misses.min(3));
        let until = *self.give_up.get_or_insert(now + last);
        let until = self.again.front().map_or(until, |(at, _)| until.min(*at));
        until.saturating_duration_since(now)
    }

    /// Whether nobody is left whom to wait for, when the patience has ended.
    fn is_over(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.give_up.is_none_or(|at| at <= now)
    }

    /// A manager has answered, but not as the leader.
    fn note(&mut self, addr: SocketAddr, said: ChannelError, now: Instant) {
        match said {
            ChannelError::Elsewhere(leader, refusal) => {
                self.refusal = Some(refusal);
                self.again.push_back((now + ASKED_AGAIN, addr));
                match leader {
                    Some(leader) => self.waiting.push_front(leader),
                    None => drop(self.leaderless.insert(addr)),
                }
            }
            ChannelError::Refused(refusal) => self.refusal = Some(refusal),
            e => {
                if matches!(e, ChannelError::Closed(_)) {
                    self.leaderless.insert(addr);
                }
                self.why = e.to_string();
            }
        }
    }

    fn failure(self) -> ChannelError {
        self.refusal.map_or(ChannelError::Unreachable(self.why), ChannelError::Refused)
    }
}

impl Channel {
    /// The leader's answer.
    pub(super) async fn ask_leader<T, F, A>(&self, ask: A) -> Result<T, ChannelError>
    where
        A: Fn(Arc<Link>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, ChannelError>> + Send + 'static,
        T: Send + 'static,
    {
        let begin = Instant::now();
        let mut search = Search::of(self);
        let mut running = JoinSet::new();
        loop {
            if let Some(addr) = search.next(Instant::now()) {
                let open = search.links.get(&addr).cloned().filter(|l| l.is_open());
                let (config, ask) = (tls::client_config(&self.inner.credentials)?, ask.clone());
                running.spawn(async move {
                    let link = match open {
                        Some(link) => link,
                        None => match Link::connect(addr, config).await {
                            Ok(link) => Arc::new(link),
                            Err(e) => return (addr, None, Err(e)),
                        },
                    };
                    (addr, Some(link.clone()), ask(link).await)
                });
            } else if running.is_empty() {
                self.note_absence(search.leaderless.len(), begin);
                return Err(search.failure());
            }
            let ended = match tokio::time::timeout(search.patience(Instant::now()), running.join_next()).await {
                Ok(Some(ended)) => ended,
                Err(_) if search.is_over(Instant::now()) => {
                    self.note_absence(search.leaderless.len(), begin);
                    self.inner.misses.fetch_add(1, Ordering::Relaxed);
                    *self.inner.slow.lock() = std::mem::take(&mut search.pending);
                    return Err(search.failure());
                }
                Ok(None) | Err(_) => continue,
            };
            let (addr, link, ended) = match ended {
                Ok(ended) => ended,
                Err(e) => {
                    search.why = e.to_string();
                    continue;
                }
            };
            search.pending.retain(|p| *p != addr);
            match ended {
                Ok(answer) => {
                    *self.inner.slow.lock() = search.pending;
                    self.inner.misses.store(0, Ordering::Relaxed);
                    *self.inner.link.lock() = link;
                    return Ok(answer);
                }
                Err(e) => {
                    search.links.extend(link.map(|l| (addr, l)));
                    search.note(addr, e, Instant::now());
                }
            }
        }
    }

    /// So many managers refused the connection or knew of no leader. A leader needs a majority; these are in nobody's.
    fn note_absence(&self, leaderless: usize, at: Instant) {
        let known = self.inner.managers.lock().len();
        if leaderless > 0 && known.saturating_sub(leaderless) <= known / 2 {
            self.inner.absence.send_replace(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 2377))
    }

    fn search(managers: &[u8]) -> Search {
        Search {
            waiting: managers.iter().map(|n| addr(*n)).collect(),
            asked: Vec::new(),
            pending: Vec::new(),
            again: VecDeque::new(),
            links: HashMap::new(),
            leaderless: HashSet::new(),
            refusal: None,
            why: String::new(),
            misses: 0,
            give_up: None,
        }
    }

    fn elsewhere(leader: Option<u8>) -> ChannelError {
        ChannelError::Elsewhere(leader.map(addr), Refusal::unavailable("not here"))
    }

    fn answers(search: &mut Search, from: u8, said: ChannelError, now: Instant) {
        search.pending.retain(|p| *p != addr(from));
        search.note(addr(from), said, now);
    }

    #[test]
    fn a_silent_leader_is_not_waited_for_when_another_is_elected() {
        let now = Instant::now();
        let mut s = search(&[1, 2, 3]);
        assert_eq!(s.next(now), Some(addr(1)));
        assert_eq!(s.patience(now), NEXT_MANAGER);
        assert_eq!(s.next(now), Some(addr(2)));
        // It still names the one that is silent.
        answers(&mut s, 2, elsewhere(Some(1)), now);
        assert_eq!(s.next(now), Some(addr(3)));
        answers(&mut s, 3, elsewhere(None), now);
        assert_eq!(s.next(now), None, "all were asked a moment ago");
        assert_eq!(s.patience(now), ASKED_AGAIN);
        assert!(!s.is_over(now));
        let later = now + ASKED_AGAIN;
        assert_eq!(s.next(later), Some(addr(2)));
        answers(&mut s, 2, elsewhere(Some(3)), later);
        assert_eq!(s.next(later), Some(addr(3)), "the new one is asked again");
        assert_eq!(s.leaderless.len(), 1, "who was asked twice counts once");
        assert_eq!(s.pending, [addr(1), addr(3)]);
    }

    #[test]
    fn a_search_ends_when_the_patience_does() {
        let now = Instant::now();
        let mut s = search(&[1, 2]);
        s.next(now);
        s.next(now);
        answers(&mut s, 2, elsewhere(None), now);
        s.patience(now);
        let end = now + LAST_MANAGER;
        assert!(!s.is_over(end - Duration::from_millis(1)));
        assert!(s.is_over(end), "asking again prolongs nothing");
    }

    #[test]
    fn where_all_have_answered_nobody_is_asked_twice() {
        let now = Instant::now();
        let mut s = search(&[1, 2]);
        for n in [1, 2] {
            assert_eq!(s.next(now), Some(addr(n)));
            answers(&mut s, n, elsewhere(None), now);
        }
        assert_eq!(s.next(now + CALL_TIMEOUT), None);
        assert_eq!(s.leaderless.len(), 2);
    }
}
