//! `figures`: pyplot keeps every figure until it is closed.
//!
//! **When it fires.** Three or more figures are in pyplot's registry and hold 10 MiB or more.
//!
//! **Why it matters.** A figure keeps its data, and its canvas keeps a picture and the renderer's own memory, which no Python object
//! accounts for. `del fig` frees nothing: the registry refers to the figure too.
//!
//! **How it is detected.** The registry's figures are sized; what nothing else explains of a cell that opened figures is the renderers'.
//!
//! **Example.** `for item in items: plt.figure(); plt.plot(item); plt.savefig(name)`
//!
//! **Fix.** `plt.close(fig)` in the loop, or one figure that is cleared and drawn again. `plt.close("all")` now, with a collection and a
//! trim: figures are cycles, and the freed memory lies within the C allocator's heap.
//!
//! **What it is confused with.** Figures that are closed already and wait for the collector (`ref_cycle`); the memory of closed
//! figures that the allocator keeps (`allocator_retention`).
//!
//! **Step.** `figures`.

use super::kept::{Told, finding};
use super::{Evidence, Verdict};
use crate::facts::HolderKind;
use crate::record::{Cause, CulpritKind};
use crate::size::human;

const MANY: u64 = 3;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let open = |kind| facts.holders.iter().find(|holder| holder.kind == kind);
    let Some(holder) = open(HolderKind::Figures).filter(|holder| holder.count >= MANY) else {
        return if facts.complete || open(HolderKind::Figures).is_some() {
            Verdict::Gone
        } else {
            Verdict::Unknown
        };
    };
    if holder.delta() <= 0 {
        return Verdict::Unknown; // as many as before: what was said of them stands
    }
    let renderers = u64::try_from(evidence.unnamed).unwrap_or(0);
    let bytes = holder.bytes.saturating_add(renderers);
    if bytes < evidence.thresholds.min_held {
        return Verdict::Unknown;
    }
    let told = Told {
        kind: CulpritKind::Library,
        message: format!(
            "{} open figures hold {}: pyplot keeps each one until plt.close(fig).",
            holder.count,
            human(bytes)
        ),
        hint: "import ctypes, gc, matplotlib.pyplot as plt; plt.close(\"all\"); gc.collect(); \
               ctypes.CDLL(None).malloc_trim(0);"
            .into(),
        step: Some("figures"),
    };
    Verdict::Holds(vec![finding(Cause::Figures, holder, bytes, told)])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, is_gone, is_unknown};
    use super::*;

    fn figures(count: u64, bytes: u64, before: u64) -> Case {
        let mut held = holder(HolderKind::Figures, "matplotlib.pyplot", &[], bytes);
        (held.count, held.before) = (count, before);
        Case::of(vec![held])
    }

    #[test]
    fn many_open_figures_hold_their_data_and_their_renderers() {
        let found = finding(
            figures(8, 90 * MIB, 0)
                .unnamed(30 * MIB as i64)
                .judge(detect),
        );
        assert_eq!(found.bytes, 120 * MIB);
        assert!(found.hint.contains("plt.close(\"all\")") && found.message.starts_with("8 open"));
    }

    #[test]
    fn a_few_small_or_old_figures_are_no_news() {
        assert!(is_gone(figures(2, 90 * MIB, 0).judge(detect)));
        assert!(is_unknown(figures(8, 2 * MIB, 0).judge(detect)));
        assert!(is_unknown(figures(8, 90 * MIB, 90 * MIB).judge(detect)));
        assert!(is_gone(Case::of(vec![]).judge(detect)));
        assert!(is_unknown(Case::of(vec![]).partial().judge(detect)));
    }
}
