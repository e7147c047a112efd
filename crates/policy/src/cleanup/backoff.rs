//! A step that gave back nothing is left alone for a while.

use std::collections::BTreeMap;

use super::Step;

/// So many bytes that moved outweigh one occasion to be passed over.
const MUCH: u64 = 64 << 20;

/// What steps gave back lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff(BTreeMap<Step, Wait>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wait {
    /// Occasions still to be passed over.
    left: u64,
    /// How many were passed over last time.
    last: u64,
}

impl Backoff {
    /// Occasions that the step is still to be passed over, if no more than `moved` bytes came or went since it ran: much memory
    /// that moved is a reason to look again, the more of it the longer the wait.
    #[must_use]
    pub fn left(&self, step: Step, moved: u64) -> u64 {
        let wait = self.0.get(&step).copied().unwrap_or_default();
        let still = moved < MUCH.saturating_mul(wait.last);
        if still { wait.left } else { 0 }
    }

    /// An occasion on which the step was passed over.
    pub fn passed(&mut self, step: Step) {
        if let Some(wait) = self.0.get_mut(&step) {
            wait.left = wait.left.saturating_sub(1);
        }
    }

    /// The step was run: `useful` says whether it gave back anything worth it. If not, it is passed over once, then twice, four
    /// times, … but never more than `most` times.
    pub fn ran(&mut self, step: Step, useful: bool, most: u64) {
        if useful {
            self.0.remove(&step);
            return;
        }
        let wait = self.0.entry(step).or_default();
        wait.last = wait.last.saturating_mul(2).clamp(1.min(most), most);
        wait.left = wait.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Occasions that are passed over after each of some fruitless runs.
    fn waits(runs: usize, most: u64) -> Vec<u64> {
        let mut backoff = Backoff::default();
        (0..runs)
            .map(|_| {
                backoff.ran(Step::Gc, false, most);
                let mut passed = 0;
                while backoff.left(Step::Gc, 0) > 0 {
                    backoff.passed(Step::Gc);
                    passed += 1;
                }
                passed
            })
            .collect()
    }

    #[test]
    fn each_fruitless_run_doubles_the_wait_up_to_the_most() {
        assert_eq!(waits(6, 16), [1, 2, 4, 8, 16, 16]);
        assert_eq!(waits(4, 3), [1, 2, 3, 3]);
        assert_eq!(waits(3, 0), [0, 0, 0]);
    }

    #[test]
    fn a_useful_run_ends_the_wait_and_steps_wait_for_themselves() {
        let mut backoff = Backoff::default();
        backoff.ran(Step::Gc, false, 16);
        backoff.ran(Step::Gc, false, 16);
        assert_eq!(
            (backoff.left(Step::Gc, 0), backoff.left(Step::MallocTrim, 0)),
            (2, 0)
        );
        assert_eq!(backoff.left(Step::Gc, 2 * MUCH - 1), 2);
        assert_eq!(backoff.left(Step::Gc, 2 * MUCH), 0, "much has moved");
        backoff.ran(Step::Gc, true, 16);
        assert_eq!(backoff, Backoff::default());
    }
}
