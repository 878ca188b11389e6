//! When to stand for election: the lease has run out, a majority misses the leader too, and it is this manager's turn.
//! The question to the others (a "pre-vote") keeps a manager that was cut off from pushing the term up and deposing a
//! healthy leader when it comes back. The turns keep candidates from meeting: who has granted a vote grants no other for a
//! lease, so two that split the votes cost all of them that long.
use super::{Raft, TransportError, network};
use openraft::{ServerState, TokioInstant};
use rand::Rng;
use std::time::Duration;

/// How often a leader beats.
pub const HEARTBEAT: Duration = Duration::from_millis(150);
/// How long a leader's word holds. openraft refuses votes before that.
pub const LEASE: Duration = Duration::from_millis(700);
/// So much later than the manager before it a manager's turn comes: what an election takes, fsync and all.
const TURN: Duration = Duration::from_millis(60);
/// The shortest pause between two looks.
const LOOK_MIN: Duration = Duration::from_millis(10);
/// How long another manager may take to answer.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// Runs until raft stops.
pub async fn drive(raft: Raft) {
    let stop = raft.stop.clone();
    stop.run_until_cancelled(async {
        loop {
            let wait = match step(&raft).await {
                Ok(wait) => wait,
                Err(e) => {
                    tracing::debug!("no election: {e}");
                    break;
                }
            };
            tokio::time::sleep(wait).await;
        }
    })
    .await;
}

/// One look; gives the time until the next.
async fn step(raft: &Raft) -> Result<Duration, TransportError> {
    let voters = raft.voters();
    if !voters.contains_key(&raft.id()) || leads(raft) {
        return Ok(HEARTBEAT);
    }
    if voters.len() == 1 {
        elect(raft).await?;
        return Ok(HEARTBEAT);
    }
    let silence = leader_silence(raft).await?;
    if silence <= LEASE {
        // Looked at again as soon as the lease may have run out.
        return Ok((LEASE - silence).max(LOOK_MIN));
    }
    let term = raft.inner().metrics().borrow().current_term;
    let jitter = TURN.mul_f64(rand::rng().random_range(0.0..0.5));
    tokio::time::sleep(TURN * turn(voters.keys(), raft.id(), term) + jitter).await;
    if leads(raft) || !misses_leader(raft).await? {
        return Ok(HEARTBEAT);
    }
    let mut asked = tokio::task::JoinSet::new();
    let needed = voters.len() / 2;
    for (id, member) in voters.into_iter().filter(|(id, _)| *id != raft.id()) {
        let transport = raft.transport.clone();
        asked.spawn(async move {
            let answer = tokio::time::timeout(PROBE_TIMEOUT, network::probe(&*transport, id, &member)).await;
            matches!(answer, Ok(Ok(true)))
        });
    }
    let mut agree = 0;
    while let Some(answer) = asked.join_next().await {
        agree += usize::from(answer.unwrap_or(false));
        if agree >= needed {
            elect(raft).await?;
            break;
        }
    }
    // Time for the election to end before the next look.
    Ok(LEASE / 2)
}

/// How many others come before this manager. It changes with the term, so that one who cannot win does not go first for
/// ever; managers that are not of one mind about the term may still meet, and draw the rest of their pause.
fn turn<'v>(voters: impl ExactSizeIterator<Item = &'v u64>, own: u64, term: u64) -> u32 {
    let count = voters.len().max(1) as u64;
    let place = voters.take_while(|id| **id != own).count() as u64;
    ((place + count - term % count) % count) as u32
}

fn leads(raft: &Raft) -> bool {
    raft.inner().metrics().borrow().state == ServerState::Leader
}

async fn elect(raft: &Raft) -> Result<(), TransportError> {
    tracing::info!(id = raft.id(), "standing for election");
    raft.inner().trigger().elect().await.map_err(|e| TransportError::Stopped(e.to_string()))
}

/// Whether this manager has not heard of a leader for a lease.
pub async fn misses_leader(raft: &Raft) -> Result<bool, TransportError> {
    Ok(leader_silence(raft).await? > LEASE)
}

/// For how long this manager has not heard of a leader.
async fn leader_silence(raft: &Raft) -> Result<Duration, TransportError> {
    if leads(raft) {
        return Ok(Duration::ZERO);
    }
    let heard: Option<TokioInstant> = raft
        .inner()
        .with_raft_state(|s| s.vote_last_modified())
        .await
        .map_err(|e| TransportError::Stopped(e.to_string()))?;
    Ok(heard.map_or(Duration::MAX, |at| at.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_each_term_every_manager_has_a_turn_of_its_own() {
        let voters = [3, 14, 15, 92, 653, 5897];
        for term in 0..12 {
            let mut turns: Vec<u32> = voters.iter().map(|id| turn(voters.iter(), *id, term)).collect();
            let first = turns.iter().position(|t| *t == 0);
            assert_eq!(first, Some((term % 6) as usize));
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2, 3, 4, 5]);
        }
        assert_eq!(turn([7].iter(), 7, 3), 0);
    }
}
