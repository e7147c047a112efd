//! `ref_cycle`: garbage in cycles that the collector has not found yet, or cannot find.
//!
//! **When it fires.** Objects that nothing leads to and whose references all come from one another hold 10 MiB or more.
//!
//! **Why it matters.** The collector starts by the number of objects, not by their bytes: a few dead ones with large arrays may wait for
//! long. After `gc.disable()` or `gc.freeze()` they wait for ever, and into arrays of objects it cannot see at all.
//!
//! **How it is detected.** In idle time, by reference counts; nothing is collected to find out.
//!
//! **Example.** `child.parent = self`; a figure that was closed; `sites = np.empty(n, dtype=object)` with a back reference
//!
//! **Fix.** `gc.collect()`, `gc.enable()`, a `weakref` for the way back. Where the garbage lies within the C allocator's heap below
//! something that lives, a collection alone returns nothing to the system: then it is `allocator_retention`, and a trim is needed too.
//!
//! **What it is confused with.** Garbage of cells that the collector keeps at a level: if it has freed half as much by itself before, this
//! is no leak. Open figures (`figures`), objects that an exit function keeps (`registry_callback`).
//!
//! **Step.** `gc`.

use super::kept::{Told, each_of, finding, settled};
use super::{Evidence, Verdict};
use crate::facts::{Facts, Holder, HolderKind};
use crate::record::{Cause, CulpritKind, Finding};
use crate::size::human;

const LIBRARIES: u64 = 6;
const EXPLAINS: u64 = 3;
const COLLECT: &str = "import gc; gc.collect();";
const BOTH: &str = "import ctypes, gc; gc.collect(); ctypes.CDLL(None).malloc_trim(0);";

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let found = facts
        .holders
        .iter()
        .filter(|holder| holder.kind == HolderKind::Cycle)
        .filter_map(|holder| match holder.type_name.as_str() {
            "frozen" => frozen(evidence, facts, holder),
            _ if goes_by_itself(evidence, holder) => None,
            _ => matters(evidence, holder).then(|| told(evidence, facts, holder)),
        })
        .filter(|finding| finding.bytes >= evidence.thresholds.min_held)
        .collect();
    settled(facts.complete, found)
}

/// What `gc.DEBUG_SAVEALL`, or a collection that could not free it, put into `gc.garbage`.
pub(super) fn put_aside(evidence: &Evidence) -> Verdict {
    each_of(evidence, Cause::RefCycle, HolderKind::Cycle, |holder| {
        Some(Told {
            kind: CulpritKind::Library,
            message: format!(
                "The collector found garbage in cycles and put it aside: {} objects in {} keep {}. gc.set_debug(gc.DEBUG_SAVEALL) \
                 does that, and is for debugging only.",
                holder.count,
                holder.name,
                human(holder.bytes)
            ),
            hint: "import gc; gc.set_debug(0); gc.garbage.clear(); gc.collect();".into(),
            step: None,
        })
    })
}

/// The collector does not look at what `gc.freeze()` has frozen, and nobody can: so it is only told if there is no other explanation for
/// what no name leads to.
fn frozen(evidence: &Evidence, facts: &Facts, holder: &Holder) -> Option<Finding> {
    let others = facts
        .holders
        .iter()
        .any(|one| one.bytes >= evidence.thresholds.min_held);
    let bytes = u64::try_from(evidence.unnamed).unwrap_or(0);
    let told = Told {
        kind: CulpritKind::Library,
        message: format!(
            "gc.freeze() hides {} objects from the garbage collector; what has become garbage in cycles among them stays, and {} have no \
             other explanation.",
            holder.count,
            human(bytes)
        ),
        hint: "import gc; gc.unfreeze(); gc.collect();".into(),
        step: None,
    };
    (!others).then(|| finding(Cause::RefCycle, holder, bytes, told))
}

/// Whether the collector has found as much by itself in this session: then it will find this, too, and the cells that make such garbage
/// have reached their level.
fn goes_by_itself(evidence: &Evidence, holder: &Holder) -> bool {
    let collected = evidence.growth.collected();
    !waits_for_ever(holder)
        && collected >= evidence.thresholds.min_held
        && holder.bytes <= collected.saturating_mul(2)
}

fn waits_for_ever(holder: &Holder) -> bool {
    holder.type_name == "object array" || holder.detail == "disabled"
}

/// Packages leave garbage of their own when they are loaded, and while they are used: what is not of the notebook's classes counts from
/// more bytes on, unless it waits for ever, and only if it is a good part of what is to be explained.
fn matters(evidence: &Evidence, holder: &Holder) -> bool {
    let unnamed = u64::try_from(evidence.unnamed).unwrap_or(0);
    let times = if waits_for_ever(holder) { 1 } else { LIBRARIES };
    holder.direct
        || (holder.bytes >= evidence.thresholds.min_held.saturating_mul(times)
            && holder.bytes >= unnamed / EXPLAINS)
}

fn told(evidence: &Evidence, facts: &Facts, holder: &Holder) -> Finding {
    let figures = holder.name == "Figure";
    // A figure's renderer has memory of its own, which is part of what no name explained.
    let native = u64::try_from(evidence.unnamed).unwrap_or(0);
    let mut bytes = match figures {
        true => {
            let all = holder.bytes.max(native.min(holder.bytes.saturating_mul(2)));
            // Free memory that lies between what the renderers hold goes with it.
            all.saturating_add(slack_of_malloc(facts).min(all / 2))
        }
        false => holder.bytes,
    };
    let name = if figures {
        "matplotlib Figure"
    } else {
        &holder.name
    };
    let mut holder = Holder {
        name: name.into(),
        ..holder.clone()
    };
    if holder.type_name == "heap" {
        bytes = holder.bytes.saturating_add(slack_of_malloc(facts));
        let told = Told {
            kind: CulpritKind::Library,
            message: format!(
                "{} lie within the heap of glibc's allocator (malloc), freed or held by garbage in cycles ({}) below something that \
                 lives: gc.collect() alone returns little to the system, malloc_trim(0) after it does.",
                human(bytes),
                holder.name
            ),
            hint: BOTH.into(),
            step: Some("malloc_trim"),
        };
        holder.name = "glibc malloc".into();
        return finding(Cause::AllocatorRetention, &holder, bytes, told);
    }
    let opaque = holder.type_name == "object array";
    let (rest, hint) = if opaque {
        (
            "gc.collect() cannot free them, since the cycle leads through an object array (dtype=object): keep such objects in a list, \
             or make the back reference a weakref.",
            "# keep the objects in a list instead of an array with dtype=object, or make the back reference a weakref",
        )
    } else {
        (
            "they wait for the garbage collector, which counts objects and not bytes.",
            COLLECT,
        )
    };
    let told = Told {
        kind: if figures {
            CulpritKind::Library
        } else {
            CulpritKind::Holder
        },
        message: format!(
            "Objects that refer to each other in a cycle ({}) keep {} although nothing uses them; {rest}",
            holder.name,
            human(bytes)
        ),
        hint: hint.into(),
        step: (!opaque).then_some("gc"),
    };
    finding(Cause::RefCycle, &holder, bytes, told)
}

fn slack_of_malloc(facts: &Facts) -> u64 {
    let malloc = facts.allocators.iter().find(|one| one.name == "malloc");
    malloc.map_or(0, |one| one.slack)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, is_gone};
    use super::*;
    use crate::facts::Allocator;

    fn garbage(name: &str, of: &str, bytes: u64) -> Case {
        let mut held = holder(HolderKind::Cycle, name, &[], bytes);
        held.type_name = of.into();
        held.direct = true;
        Case::of(vec![held])
    }

    #[test]
    fn what_is_frozen_is_blamed_only_for_what_has_no_other_explanation() {
        let row = |of: &str, bytes| {
            let mut held = holder(HolderKind::Cycle, "gc.freeze", &[], bytes);
            held.type_name = of.into();
            held
        };
        let alone = Case::of(vec![row("frozen", 0)]).unnamed(40 * MIB as i64);
        let found = finding(alone.judge(detect));
        assert_eq!(found.bytes, 40 * MIB);
        assert!(found.hint.contains("gc.unfreeze()"));
        let few = Case::of(vec![row("frozen", 0)]).unnamed(MIB as i64);
        assert!(is_gone(few.judge(detect)));
        let mut other = row("", 40 * MIB);
        other.direct = true;
        let both = Case::of(vec![row("frozen", 0), other]).unnamed(40 * MIB as i64);
        assert!(finding(both.judge(detect)).hint.contains("gc.collect()"));
    }

    #[test]
    fn what_the_collector_put_aside_is_let_go() {
        let mut held = holder(HolderKind::Cycle, "gc.garbage", &[], 40 * MIB);
        held.type_name = "garbage".into();
        let found = finding(Case::of(vec![held]).judge(put_aside));
        assert!(found.hint.contains("gc.garbage.clear()"));
    }

    #[test]
    fn garbage_is_collected_unless_the_collector_is_blind_to_it() {
        for (of, hint, step) in [
            ("", COLLECT, Some("gc")),
            ("object array", "# keep the objects in a list", None),
        ] {
            let found = finding(garbage("Node", of, 80 * MIB).judge(detect));
            assert!(found.hint.starts_with(hint));
            assert_eq!(
                (found.cause, found.step.as_deref()),
                (Cause::RefCycle, step)
            );
        }
        assert!(is_gone(garbage("Node", "", MIB).judge(detect)));
    }

    #[test]
    fn garbage_that_the_collector_keeps_at_a_level_is_none() {
        let after = |of: &str, detail: &str, collections, unnamed: i64| {
            let mut case = garbage("Figure", of, 60 * MIB).collected(collections, unnamed);
            case.facts.holders[0].detail = detail.into();
            case.judge(detect)
        };
        let fell = -40 * MIB as i64;
        assert!(is_gone(after("", "", 1, fell)));
        finding(after("", "", 1, fell / 2)); // it has never freed that much
        finding(after("", "", 0, fell)); // that was somebody else
        finding(after("", "disabled", 1, fell));
        finding(after("object array", "", 1, fell));
    }

    #[test]
    fn garbage_of_packages_counts_if_it_is_much_and_explains_much() {
        let theirs = |bytes, unnamed: u64| {
            let mut case = garbage("deque", "", bytes).unnamed(unnamed as i64);
            case.facts.holders[0].direct = false;
            case.judge(detect)
        };
        finding(theirs(80 * MIB, 80 * MIB));
        assert!(is_gone(theirs(40 * MIB, 40 * MIB)));
        assert!(is_gone(theirs(80 * MIB, 400 * MIB)));
        let mut case = garbage("deque", "", 40 * MIB).unnamed(40 * MIB as i64);
        (case.facts.holders[0].direct, case.facts.holders[0].detail) = (false, "disabled".into());
        finding(case.judge(detect));
    }

    #[test]
    fn closed_figures_have_renderers_too() {
        let case = garbage("Figure", "", 60 * MIB).unnamed(90 * MIB as i64);
        assert_eq!(finding(case.judge(detect)).bytes, 90 * MIB);
        let case = garbage("Figure", "", 60 * MIB).unnamed(900 * MIB as i64);
        assert_eq!(finding(case.judge(detect)).bytes, 120 * MIB);
    }

    #[test]
    fn garbage_that_pins_free_heap_needs_a_trim_as_well() {
        let mut case = garbage("Node", "heap", 60 * MIB);
        case.facts.allocators = vec![Allocator {
            name: "malloc".into(),
            slack: 30 * MIB,
            ..Allocator::default()
        }];
        let found = finding(case.judge(detect));
        assert_eq!(
            (found.cause, found.bytes),
            (Cause::AllocatorRetention, 90 * MIB)
        );
        assert!(found.hint.contains("malloc_trim"));
    }
}
