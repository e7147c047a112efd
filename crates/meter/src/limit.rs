//! Which memory limit binds first, and how much may still be used under all of them.

use std::time::{Duration, Instant};

use crate::{
    platform::{self, Bound},
    reading::LimitSource,
};

/// Limits rarely change, and looking them up takes a tenth of a millisecond.
const FRESH: Duration = Duration::from_secs(5);

/// The limits that hold for one process, as of a moment.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    policy: Option<u64>,
    groups: Vec<Bound>,
    machine: Option<u64>,
    read_at: Instant,
}

impl Limits {
    /// Looks up the limits of a process; `policy` is the person's own, in bytes.
    pub(crate) fn read(pid: u32, policy: Option<u64>) -> Self {
        Self {
            policy,
            groups: platform::bounds(pid),
            machine: platform::machine_memory().total,
            read_at: Instant::now(),
        }
    }

    /// Whether this may still be used.
    pub(crate) fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < FRESH
    }

    /// The smallest limit in bytes. Of equal ones the most particular: it is the one that a person can change.
    pub(crate) fn smallest(&self) -> Option<(u64, LimitSource)> {
        let groups = self.groups.iter().map(|bound| (bound.limit, bound.source));
        let policy = self.policy.map(|limit| (limit, LimitSource::Policy));
        let machine = self.machine.map(|limit| (limit, LimitSource::Machine));
        policy
            .into_iter()
            .chain(groups)
            .chain(machine)
            .min_by_key(|(limit, _)| *limit)
    }

    /// Bytes that may be used beyond those of now, under every limit; `resident` is what the person's own limit counts.
    pub(crate) fn available(&self, resident: Option<u64>) -> Option<u64> {
        let policy = self
            .policy
            .and_then(|limit| Some(limit.saturating_sub(resident?)));
        let groups = self
            .groups
            .iter()
            .filter_map(|bound| Some(bound.limit.saturating_sub(platform::bytes_in_use(bound)?)));
        let machine = platform::machine_memory().available;
        policy.into_iter().chain(groups).chain(machine).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(policy: Option<u64>, machine: Option<u64>) -> Limits {
        Limits {
            policy,
            groups: Vec::new(),
            machine,
            read_at: Instant::now(),
        }
    }

    #[test]
    fn the_smallest_limit_binds_and_the_persons_own_wins_a_tie() {
        use LimitSource::{Machine, Policy};
        for (policy, machine, expected) in [
            (None, Some(9), Some((9, Machine))),
            (Some(5), Some(9), Some((5, Policy))),
            (Some(20), Some(9), Some((9, Machine))),
            (Some(9), Some(9), Some((9, Policy))),
            (None, None, None),
        ] {
            assert_eq!(limits(policy, machine).smallest(), expected);
        }
    }

    #[test]
    fn a_limit_of_ones_own_leaves_what_is_not_resident_and_never_less_than_nothing() {
        assert_eq!(limits(Some(100), None).available(Some(30)), Some(70));
        assert_eq!(limits(Some(100), None).available(Some(130)), Some(0));
    }

    #[test]
    fn without_a_limit_of_ones_own_the_machine_bounds_what_is_available() {
        let limits = Limits::read(std::process::id(), None);
        let total = platform::machine_memory().total.unwrap();
        assert!(limits.available(None).unwrap() < total);
        assert!(limits.smallest().unwrap().0 <= total);
    }
}
