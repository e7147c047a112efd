//! What was read at the start and at the end of a cell becomes the change between them.

use crate::{
    gpu::Observation,
    platform::Status,
    reading::{Children, Host, PeakQuality, delta, difference},
    worker::{Family, Member},
};

/// What was read at the start of a cell.
#[derive(Clone, Debug, Default)]
pub struct Before {
    pub(crate) status: Option<Status>,
    /// Whether the peak mark was set back.
    pub(crate) reset: bool,
    pub(crate) family: Option<Family>,
    pub(crate) gpu: Vec<Observation>,
}

impl Before {
    /// Resident bytes of the interpreter at the start of the cell.
    pub fn resident(&self) -> Option<u64> {
        self.status.map(|status| status.rss)
    }
}

/// The host's part of a reading, without children and limit.
pub(crate) fn host(before: &Before, after: Option<Status>, polled: Option<u64>) -> Host {
    let start = before.status;
    let change = |part: fn(&Status) -> Option<u64>| {
        delta(after.as_ref().and_then(part), start.as_ref().and_then(part))
    };
    let (peak, peak_quality) = peak(before, after, polled).unzip();
    Host {
        before: start.map(|status| status.rss),
        after: after.map(|status| status.rss),
        delta: change(|status| Some(status.rss)),
        peak,
        peak_quality,
        anon: change(|status| status.anon),
        file: change(|status| status.file),
        shmem: change(|status| status.shmem),
        swap: change(|status| status.swap),
        ..Host::default()
    }
}

/// The highest of all that was seen. The system's mark counts if it was set back, or if it rose: then it is of this
/// cell. It may lag behind the samples by what the kernel has not added up yet, so those count in any case.
fn peak(before: &Before, after: Option<Status>, polled: Option<u64>) -> Option<(u64, PeakQuality)> {
    let start = before.status?;
    let mark = after.and_then(|after| after.highest);
    let rose = mark > start.highest && start.highest.is_some();
    let mark = mark.filter(|_| before.reset || rose);
    let seen = after
        .map(|after| after.rss)
        .max(polled)
        .max(Some(start.rss));
    let quality = if mark.is_some() {
        PeakQuality::Exact
    } else {
        PeakQuality::Sampled
    };
    Some((seen.max(mark)?, quality))
}

/// The change of the family, of which either end may be unknown.
pub(crate) fn children(before: Option<Family>, after: Option<Family>) -> Option<Children> {
    let after = after?;
    Some(Children {
        count: after.count,
        pss: after.pss,
        own: after.own,
        delta: before
            .as_ref()
            .and_then(|before| before.pss)
            .zip(after.pss)
            .map(|(before, after)| difference(after, before)),
        left: before.map_or_else(Vec::new, |before| {
            let is_new = |member: &Member| !before.members.iter().any(|old| old.is(member));
            let new = after.members.into_iter().filter(is_new);
            new.map(|member| member.left).collect()
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(rss: u64, highest: Option<u64>) -> Option<Status> {
        Some(Status {
            rss,
            highest,
            ..Status::default()
        })
    }

    fn before(reset: bool, status: Option<Status>) -> Before {
        Before {
            status,
            reset,
            ..Before::default()
        }
    }

    #[test]
    fn a_peak_is_exact_only_if_the_systems_mark_is_of_this_cell() {
        use PeakQuality::{Exact, Sampled};
        let cases = [
            (
                "set back",
                true,
                Some(90),
                Some(50),
                None,
                Some((50, Exact)),
            ),
            (
                "samples above a lagging mark",
                true,
                Some(90),
                Some(50),
                Some(55),
                Some((55, Exact)),
            ),
            (
                "old mark",
                false,
                Some(90),
                Some(90),
                Some(40),
                Some((40, Sampled)),
            ),
            (
                "old mark, no samples",
                false,
                Some(90),
                Some(90),
                None,
                Some((30, Sampled)),
            ),
            (
                "a new record",
                false,
                Some(90),
                Some(95),
                Some(40),
                Some((95, Exact)),
            ),
            (
                "no mark at all",
                true,
                None,
                None,
                Some(40),
                Some((40, Sampled)),
            ),
            (
                "a mark that only the end has",
                false,
                None,
                Some(95),
                None,
                Some((30, Sampled)),
            ),
        ];
        for (name, reset, mark_before, mark_after, polled, expected) in cases {
            let before = before(reset, status(20, mark_before));
            assert_eq!(
                peak(&before, status(30, mark_after), polled),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_process_that_ended_during_a_cell_leaves_what_was_seen_of_it() {
        let before = before(true, status(20, Some(25)));
        let host = host(&before, None, Some(40));
        let expected = Host {
            before: Some(20),
            peak: Some(40),
            peak_quality: Some(PeakQuality::Sampled),
            ..Host::default()
        };
        assert_eq!(host, expected);
    }

    #[test]
    fn children_change_by_what_is_known_at_both_ends() {
        let family = |count, pss| {
            Some(Family {
                count,
                pss,
                own: pss,
                ..Family::default()
            })
        };
        for (before, after, expected) in [
            (
                family(0, Some(0)),
                family(2, Some(70)),
                Some((2, Some(70), Some(70))),
            ),
            (
                family(2, Some(70)),
                family(0, Some(0)),
                Some((0, Some(0), Some(-70))),
            ),
            (
                family(2, None),
                family(2, Some(70)),
                Some((2, Some(70), None)),
            ),
            (family(2, Some(70)), family(2, None), Some((2, None, None))),
            (None, family(1, Some(5)), Some((1, Some(5), None))),
            (family(1, Some(5)), None, None),
        ] {
            let found = children(before, after).map(|found| (found.count, found.pss, found.delta));
            assert_eq!(found, expected);
        }
    }
}
