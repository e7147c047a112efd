//! `allocator_retention`: memory that Python has freed and that the C allocator keeps.
//!
//! **When it fires.** 48 MiB or more of glibc's heaps are resident and free, and no less than what is in use; or of Python's own
//! allocator of small objects, if that is several times what is in use of it.
//!
//! **Why it matters.** A heap shrinks only from its end: one small survivor above keeps all the free memory below resident. Each thread
//! has a heap of its own.
//!
//! **How it is detected.** Resident bytes of the heaps less what `mallinfo2` says is in use; Python's statistics of its arenas.
//!
//! **Example.** `rows = [np.ones(50_000) for …]; last = rows[-1]; del rows`
//!
//! **Fix.** `malloc_trim(0)`; with many threads `MALLOC_ARENA_MAX=2` in the environment of the kernel.
//!
//! **What is often said.** Memory that does not go down is a leak: no, it is free and will be used again. `gc.collect()` gives nothing back.
//!
//! **What it is confused with.** A leak: nothing is alive. A pool of a library's own (`pool_cache`).
//!
//! **Step.** `malloc_trim`.

use super::kept::settled;
use super::{Evidence, Verdict};
use crate::facts::Allocator;
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;

const TRIM: &str = "import ctypes, gc; gc.collect(); ctypes.CDLL(None).malloc_trim(0);";
const TIMES: u64 = 3;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let least = evidence.thresholds.min_slack;
    let slack = |name: &str| {
        let found = facts.allocators.iter().find(|one| one.name == name)?;
        (found.slack >= least).then_some(found)
    };
    // What is free beside as much that is in use is the normal state of a heap, and will be used again.
    let malloc_slack = slack("malloc").filter(|one| one.slack >= one.live);
    let mut found = Vec::new();
    found.extend(malloc_slack.map(malloc));
    let small = slack("small objects").filter(|one| one.slack >= one.live.saturating_mul(TIMES));
    found.extend(small.map(small_objects));
    settled(facts.complete, found)
}

fn malloc(heap: &Allocator) -> Finding {
    let message = format!(
        "{} were freed, but glibc's allocator (malloc) has not returned them to the system: its heap is fragmented. malloc_trim(0) \
         returns them. With many threads MALLOC_ARENA_MAX=2 keeps it smaller.",
        human(heap.slack)
    );
    finding(
        "glibc malloc",
        heap.slack,
        message,
        TRIM,
        Some("malloc_trim"),
    )
}

fn small_objects(arenas: &Allocator) -> Finding {
    let message = format!(
        "{} were freed, but Python's allocator of small objects (pymalloc) keeps them: few survivors lie scattered in its arenas, and \
         only when they die, or are copied closely together, does the memory go back.",
        human(arenas.slack)
    );
    let hint = "# copy what survived and drop the originals, for instance kept = [str(x) + \"\" for x in kept]";
    finding("pymalloc", arenas.slack, message, hint, None)
}

fn finding(name: &str, bytes: u64, message: String, hint: &str, step: Option<&str>) -> Finding {
    Finding {
        id: Cause::AllocatorRetention.id(name),
        cause: Cause::AllocatorRetention,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Library,
            name: name.into(),
        },
        bytes,
        confidence: Confidence::Likely,
        message,
        hint: hint.into(),
        step: step.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, is_gone, is_unknown};
    use super::*;

    fn asked(name: &str, live: u64, slack: u64) -> Case {
        let mut case = Case::of(vec![]);
        case.facts.allocators = vec![Allocator {
            name: name.into(),
            live,
            slack,
            ..Allocator::default()
        }];
        case
    }

    #[test]
    fn a_fragmented_heap_is_trimmed() {
        let found = finding(asked("malloc", 20 * MIB, 120 * MIB).judge(detect));
        assert_eq!(
            (found.bytes, found.step.as_deref()),
            (120 * MIB, Some("malloc_trim"))
        );
        assert!(is_gone(asked("malloc", 20 * MIB, 30 * MIB).judge(detect)));
        assert!(is_unknown(
            asked("malloc", 20 * MIB, 30 * MIB).partial().judge(detect)
        ));
    }

    #[test]
    fn arenas_of_small_objects_count_if_they_are_mostly_empty() {
        let found = finding(asked("small objects", 20 * MIB, 200 * MIB).judge(detect));
        assert!(found.hint.starts_with("# ") && found.step.is_none());
        assert!(is_gone(
            asked("small objects", 50 * MIB, 60 * MIB).judge(detect)
        ));
    }
}
