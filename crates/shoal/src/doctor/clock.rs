//! The clock: certificates and the order of events depend on it.
use kernel::clock::{ClockState, state};
use wire::engine::diagnosis::Finding;

const CHECK: &str = "clock";
const FIX: &str =
    "run a time service: `timedatectl set-ntp true`, or install chrony; then look again with `chronyc tracking`";
/// Nodes' certificates begin an hour early, and tokens and timeouts bear seconds; more than this is a mistake.
const ERROR_MAX_US: i64 = 2_000_000;

pub(super) fn examine() -> Finding {
    match state() {
        Ok(state) => judge(state),
        Err(e) => Finding::warning(CHECK, format!("the kernel does not say how its clock is: {e}"), FIX),
    }
}

fn judge(state: ClockState) -> Finding {
    match state {
        ClockState { synchronized: false, .. } => Finding::warning(CHECK, "nothing keeps the clock right", FIX),
        ClockState { error_max_us, .. } if error_max_us > ERROR_MAX_US => {
            Finding::warning(CHECK, format!("the clock may be wrong by {} s", error_max_us / 1_000_000), FIX)
        }
        ClockState { error_max_us, .. } => {
            Finding::good(CHECK, format!("kept right, to {} ms", (error_max_us + 999) / 1000))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_is_told() {
        let level = |synchronized, error_max_us| judge(ClockState { synchronized, error_max_us }).level;
        assert_eq!(level(true, 500), "ok");
        assert_eq!(level(true, 16_000_000), "warning");
        assert_eq!(level(false, 500), "warning");
    }
}
