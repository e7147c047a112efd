//! `traceback_refs`: the frames of the last exception keep their local variables.
//!
//! **When it fires.** The frames of the last exception reach 10 MiB or more that no variable holds.
//!
//! **Why it matters.** After a failed cell `sys.last_value`, `sys.last_traceback` (from Python 3.12 `sys.last_exc`) and IPython's
//! `InteractiveTB.tb` keep the traceback, it keeps its frames, and these keep every array that was local where it failed. A later cell that
//! succeeds frees nothing; the next exception does.
//!
//! **How it is detected.** The agent sizes what the frames reach after it has been through all variables of the user.
//!
//! **Example.** A training function that fails with "CUDA out of memory": its tensors stay, and the next try fails as well.
//!
//! **Fix.** All references are dropped and cycles collected: the shell's own frame is part of the traceback and refers back to the
//! exception. It ends `%tb` and `%debug`.
//!
//! **What is often said.** A function's locals are freed when it ends: not those of a function that failed. `traceback.clear_frames` frees
//! nothing up to 3.12, since IPython's formatter has made snapshots of the locals; dropping the references does not depend on frames and
//! works in every version. `torch.cuda.empty_cache()` cannot free a tensor that a frame holds.
//!
//! **What it is confused with.** An exception that the user stored: then a variable reaches the frames. The output history
//! (`ipython_refs`), which a failed cell does not fill.
//!
//! **Step.** `clear_traceback`.

use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;

const STEP: &str = "clear_traceback";

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let Some(holder) = facts
        .holders
        .iter()
        .find(|holder| holder.kind == HolderKind::Traceback)
    else {
        return if facts.complete {
            Verdict::Gone
        } else {
            Verdict::Unknown
        };
    };
    if holder.bytes < evidence.thresholds.min_traceback {
        return if facts.complete {
            Verdict::Gone
        } else {
            Verdict::Unknown
        };
    }
    let place = if holder.detail.is_empty() {
        String::new()
    } else {
        format!(", most of it {}", holder.detail)
    };
    let sure = facts.complete && !holder.maybe_shared;
    Verdict::Holds(vec![Finding {
        id: Cause::TracebackRefs.id("last"),
        cause: Cause::TracebackRefs,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Holder,
            name: holder.name.clone(),
        },
        bytes: holder.bytes,
        confidence: if sure {
            Confidence::Certain
        } else {
            Confidence::Possible
        },
        message: format!(
            "The traceback of the last exception ({}) keeps {} in the local variables of its frames{place}. \
             The next exception replaces it; the hint clears it, which ends %tb and %debug for this one.",
            holder.type_name,
            human(holder.bytes)
        ),
        hint: hint(holder),
        step: Some(STEP.into()),
    }])
}

fn hint(holder: &Holder) -> String {
    let debugged = holder
        .names
        .iter()
        .chain([&holder.name])
        .any(|name| name == "InteractiveTB.pdb");
    let pdb = if debugged {
        " = get_ipython().InteractiveTB.pdb"
    } else {
        ""
    };
    format!(
        "import gc, sys; sys.last_type = sys.last_value = sys.last_traceback = sys.last_exc = \
         get_ipython().InteractiveTB.tb{pdb} = get_ipython().last_execution_result = None; gc.collect();"
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, finding, holder, holders, judge};
    use super::*;

    fn traceback(names: &[&str], bytes: u64) -> Holder {
        let mut holder = holder(HolderKind::Traceback, "sys.last_traceback", names, bytes);
        holder.type_name = "ValueError".into();
        holder.detail = "in fit".into();
        holder
    }

    #[test]
    fn large_locals_of_a_failed_cell_are_a_finding() {
        let facts = holders(vec![traceback(
            &["sys.last_value", "InteractiveTB.tb"],
            96 * MIB,
        )]);
        let found = finding(judge(detect, Some(&facts), vec![]));
        assert_eq!(found.culprit.name, "sys.last_traceback");
        assert_eq!(found.bytes, 96 * MIB);
        assert!(
            found.message.contains("(ValueError) keeps 96.0 MiB")
                && found.message.contains("in fit")
        );
        assert!(!found.hint.contains("pdb"));
    }

    #[test]
    fn after_debug_the_debugger_is_dropped_too() {
        let facts = holders(vec![traceback(&["InteractiveTB.pdb"], 96 * MIB)]);
        assert!(
            finding(judge(detect, Some(&facts), vec![]))
                .hint
                .contains("InteractiveTB.pdb = ")
        );
    }

    #[test]
    fn small_locals_are_no_finding() {
        for facts in [holders(vec![traceback(&[], 31 * MIB)]), holders(vec![])] {
            assert!(matches!(judge(detect, Some(&facts), vec![]), Verdict::Gone));
        }
    }
}
