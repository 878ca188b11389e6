//! Labels of a service that the engine itself reads: what Docker's specs have no field for.
use crate::spec::Labels;
use crate::time::parse_duration;
use std::time::Duration;

/// How long live connections are waited for before a task gets its stop signal (`10s`; default 5 s).
pub const DRAIN_TIMEOUT: &str = "shoal.drain-timeout";
/// How long an update waits for a new task to come up before it counts as failed (default 10 min; `0` waits for ever).
pub const PROGRESS_DEADLINE: &str = "shoal.progress-deadline";
/// Whether a node that is cut off stops the tasks: `auto` (default: those of services with one replica, and jobs),
/// `always` or `never`.
pub const FENCE: &str = "shoal.fence";

/// An update does not wait longer for a task.
const PROGRESS_DEADLINE_DEFAULT: Duration = Duration::from_secs(600);

/// A label that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not a duration.
    #[error("label {label}: {value:?} is not a duration such as 30s or 10m (0 for none)")]
    Duration {
        /// Which.
        label: &'static str,
        /// As given.
        value: String,
    },
    /// Not one of the words.
    #[error("label {FENCE}: {0:?} is not one of auto, always and never")]
    Fence(String),
}

/// Whether the labels can be read.
///
/// # Errors
/// See [`LabelError`].
pub fn check(labels: &Labels) -> Result<(), LabelError> {
    for label in [DRAIN_TIMEOUT, PROGRESS_DEADLINE] {
        if let Some(value) = labels.get(label)
            && parse_duration(value).is_none()
        {
            return Err(LabelError::Duration { label, value: value.clone() });
        }
    }
    match labels.get(FENCE).map(String::as_str) {
        None | Some("auto" | "always" | "never") => Ok(()),
        Some(other) => Err(LabelError::Fence(other.to_owned())),
    }
}

/// How long an update waits for a task; `None`: for ever.
pub fn progress_deadline(labels: &Labels) -> Option<Duration> {
    let asked = labels.get(PROGRESS_DEADLINE).and_then(|v| parse_duration(v));
    Some(asked.unwrap_or(PROGRESS_DEADLINE_DEFAULT)).filter(|d| !d.is_zero())
}

/// The drain time-out, if one is asked for.
pub fn drain_timeout(labels: &Labels) -> Option<Duration> {
    labels.get(DRAIN_TIMEOUT).and_then(|v| parse_duration(v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_or_refused_by_name() {
        let with = |k: &str, v: &str| Labels::from([(k.to_owned(), v.to_owned())]);
        assert_eq!(progress_deadline(&Labels::new()), Some(Duration::from_secs(600)));
        assert_eq!(progress_deadline(&with(PROGRESS_DEADLINE, "0")), None);
        assert_eq!(progress_deadline(&with(PROGRESS_DEADLINE, "90s")), Some(Duration::from_secs(90)));
        check(&with(FENCE, "never")).unwrap();
        check(&with(DRAIN_TIMEOUT, "500ms")).unwrap();
        assert!(check(&with(FENCE, "maybe")).unwrap_err().to_string().contains("maybe"));
        assert!(check(&with(PROGRESS_DEADLINE, "soon")).is_err());
    }
}
