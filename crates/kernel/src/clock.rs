//! What the kernel says about its own clock.
use std::io;

/// State of the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// Something keeps it right.
    pub synchronized: bool,
    /// How wrong it may be, as the kernel thinks.
    pub error_max_us: i64,
}

/// Asks, and changes nothing.
///
/// # Errors
/// The kernel refuses (some sandboxes do).
pub fn state() -> io::Result<ClockState> {
    // SAFETY: all of timex's fields are integers, for which zero is a value; modes = 0 makes the call read only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole timex that lives through the call.
    let answer = unsafe { libc::adjtimex(&raw mut timex) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let unsynchronized = timex.status & libc::STA_UNSYNC != 0 || answer == libc::TIME_ERROR;
    Ok(ClockState { synchronized: !unsynchronized, error_max_us: timex.maxerror })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        assert!(super::state().unwrap().error_max_us >= 0);
    }
}
