//! The one place where this crate asks for the time and for random ids.
use model::Timestamp;
use rand::RngCore;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// 64 random hex digits: a container, exec or local network id. Never all-numeric in its first 12, as Docker takes care of.
pub fn random_id() -> String {
    loop {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        if id[..12].parse::<u64>().is_err() {
            return id;
        }
    }
}

/// A name for a container whose user gave none: `<adjective>_<fish>`.
pub fn random_name(attempt: u32) -> String {
    const HOW: &[&str] = &[
        "agile", "amber", "bold", "brave", "bright", "brisk", "calm", "clever", "coral", "crisp", "daring", "deep",
        "eager", "fair", "fleet", "gentle", "glad", "golden", "keen", "kind", "lively", "lucid", "merry", "nimble",
        "noble", "patient", "proud", "quick", "quiet", "rapid", "serene", "sharp", "silver", "sleek", "steady",
        "sturdy", "subtle", "sunny", "swift", "tidal", "vivid", "warm", "wise", "witty",
    ];
    const WHO: &[&str] = &[
        "anchovy", "barbel", "bass", "bream", "carp", "char", "chub", "cod", "dace", "darter", "dory", "eel",
        "flounder", "goby", "grayling", "guppy", "haddock", "hake", "halibut", "herring", "ide", "ling", "loach",
        "mackerel", "minnow", "mullet", "perch", "pike", "plaice", "pollock", "roach", "salmon", "sardine", "shad",
        "smelt", "sole", "sprat", "sturgeon", "tench", "tetra", "trout", "tuna", "turbot", "whiting", "wrasse",
        "zander",
    ];
    let mut rng = rand::rng();
    let how = HOW[rng.next_u32() as usize % HOW.len()];
    let who = WHO[rng.next_u32() as usize % WHO.len()];
    if attempt == 0 { format!("{how}_{who}") } else { format!("{how}_{who}{}", rng.next_u32() % 1000) }
}
