//! Warnings that a flood of bad input cannot turn into a flood of log lines.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line in this time; the rest is counted.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Logs `reason` about `subject`, neither of which may hold message content or the key.
    pub(crate) fn warn(&self, subject: &str, reason: &dyn Display) {
        if let Some(suppressed) = self.pass(Instant::now()) {
            tracing::warn!(suppressed, "{subject}: {reason}");
        }
    }

    /// `Some(lines suppressed since the last one)` when a line may be written at `now`.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .last
            .is_some_and(|last| now.duration_since(last) < INTERVAL)
        {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_counts_the_others() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start), None);
        assert_eq!(throttle.pass(start + INTERVAL / 2), None);
        assert_eq!(throttle.pass(start + INTERVAL), Some(2));
    }
}
