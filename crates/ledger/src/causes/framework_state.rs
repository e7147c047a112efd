//! `framework_state`: a framework keeps compiled or traced state for each thing that it was asked to do.
//!
//! **When it fires.** A compiled function has been traced many times, or many functions were registered with the framework, in a cell
//! that left 10 MiB or more that no name explains.
//!
//! **Why it matters.** TensorFlow keeps one graph for each Python value that a `tf.function` was called with, and each Keras model that
//! is fitted registers functions that are never given back.
//!
//! **How it is detected.** The framework's own counts: traces of functions within variables, and functions that its context knows.
//!
//! **Example.** `step(x, 0.001 * i)` with a Python float; `keras.Model(…).fit(…)` in a loop of trials
//!
//! **Fix.** Pass tensors, `reduce_retracing=True`; build the model once and reset its weights, or run the trials in a subprocess.
//!
//! **What is often said.** `clear_session()` and `set_memory_growth` return GPU memory: they give nothing back to the driver;
//! only the end of the process does. `with tf.device(…)` frees nothing either.
//!
//! **What it is confused with.** Slack of the allocator; the first trace of a function or model, which is the normal cost.
//!
//! **Step.** None.

use super::kept::{Told, dropped, finding, settled};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

const TRACES: u64 = 5;
const FUNCTIONS: u64 = 12;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let bytes = u64::try_from(evidence.unnamed).unwrap_or(0);
    let traced = facts
        .holders
        .iter()
        .filter(|holder| holder.kind == HolderKind::Traces && holder.count > most(holder))
        .max_by_key(|holder| (!holder.inside.is_empty(), holder.count));
    match traced {
        Some(holder) if bytes >= evidence.thresholds.min_held => {
            let told = told(holder, bytes);
            Verdict::Holds(vec![finding(Cause::FrameworkState, holder, bytes, told)])
        }
        Some(_) => Verdict::Unknown,
        None => settled(facts.complete, vec![]),
    }
}

/// How many are the normal cost.
fn most(holder: &Holder) -> u64 {
    if holder.inside.is_empty() {
        FUNCTIONS
    } else {
        TRACES
    }
}

fn told(holder: &Holder, bytes: u64) -> Told {
    let held = human(bytes);
    if holder.inside.is_empty() {
        return Told {
            kind: CulpritKind::Library,
            message: format!(
                "This cell left {} more functions with {}, and about {held} with them: each new model that is fitted or called keeps \
                 its own. Build the models once and reset their weights, or run each trial in a subprocess; clear_session() gives \
                 little back.",
                holder.count, holder.name
            ),
            hint: format!(
                "# build the {} model once and reuse it (reset its weights), or run each trial in a subprocess",
                holder.name
            ),
            step: None,
        };
    }
    Told {
        kind: CulpritKind::Variable,
        message: format!(
            "The tf.function `{}` has been traced {} times: each new Python value is a new trace with a graph of its own, and they hold \
             about {held}. Pass a tensor (tf.constant), or set reduce_retracing=True.",
            holder.name, holder.count
        ),
        hint: format!(
            "{}; import gc, ctypes; gc.collect(); ctypes.CDLL(None).malloc_trim(0);",
            dropped(&holder.inside)
        ),
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, inside, is_gone, is_unknown};
    use super::*;

    fn traced(count: u64) -> Case {
        let mut held = inside(
            HolderKind::Traces,
            "step",
            0,
            ("step", "", "Function", true),
        );
        held.count = count;
        Case::of(vec![held])
    }

    #[test]
    fn many_traces_with_memory_that_nothing_explains_are_found() {
        let found = finding(traced(61).unnamed(60 * MIB as i64).judge(detect));
        assert_eq!(
            (found.culprit.name.as_str(), found.bytes),
            ("step", 60 * MIB)
        );
        assert!(found.hint.starts_with("del step;"));
        assert!(is_unknown(traced(61).judge(detect)));
        assert!(is_gone(traced(2).unnamed(60 * MIB as i64).judge(detect)));
    }

    #[test]
    fn functions_that_the_framework_keeps_are_told_with_a_remark() {
        let mut held = holder(HolderKind::Traces, "keras", &[], 0);
        held.count = 30;
        let found = finding(Case::of(vec![held]).unnamed(60 * MIB as i64).judge(detect));
        assert!(found.hint.starts_with("# build the keras model once"));
    }
}
