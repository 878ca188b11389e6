//! The real clock and real dice, for the pure parts that have none.
use model::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A fresh id.
pub fn fresh<I: model::Id>() -> I {
    I::from_random(cluster::ca::crypto::random())
}

/// The planner's dice.
pub struct Dice;

impl planner::Random for Dice {
    fn id_bytes(&mut self) -> [u8; 17] {
        cluster::ca::crypto::random()
    }
    fn number(&mut self) -> u64 {
        rand::random()
    }
}
