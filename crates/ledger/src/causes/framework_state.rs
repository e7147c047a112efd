//! `framework_state`: a framework keeps compiled or traced state for each thing that it was asked to do.
//!
//! **When it fires.** A compiled function has been traced many times, or several Keras models were built, in cells that left 10 MiB or
//! more that no name explains.
//!
//! **Why it matters.** TensorFlow keeps one graph for each Python value that a `tf.function` was called with, and each Keras model that
//! is fitted registers functions that are never given back. numba compiles a function once for each combination of types, and LLVM gives
//! no machine code back.
//!
//! **How it is detected.** The framework's own counts: traces and compiled versions of functions within variables, and the models that
//! Keras has given a name.
//!
//! **Example.** `step(x, 0.001 * i)` with a Python float; `keras.Model(…).fit(…)` in a loop of trials;
//! `kernel(tuple(weights))` of numba with tuples of many lengths
//!
//! **Fix.** Pass tensors, `reduce_retracing=True`; build the model once and reset its weights, or run the trials in a subprocess. Give
//! numba's functions arguments of one type.
//!
//! **What is often said.** `clear_session()` and `set_memory_growth` return GPU memory: they give nothing back to the driver;
//! only the end of the process does. `with tf.device(…)` frees nothing either.
//!
//! **What it is confused with.** Slack of the allocator; the first trace of a function or model, which is the normal cost.
//!
//! **Step.** None.

use super::kept::{Told, dropped, finding, settled};
use super::{Evidence, Verdict};
use crate::facts::{Facts, Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

const TRACES: u64 = 5;
const MODELS: u64 = 3;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let traced = facts
        .holders
        .iter()
        .filter(|holder| holder.kind == HolderKind::Traces)
        // A model that was not reached may be one that a variable keeps.
        .filter(|holder| facts.complete || !holder.inside.is_empty())
        .map(|holder| (holder, evidence.growth.traces_of(holder)))
        .filter(|(holder, traces)| {
            traces.later >= normal(holder).saturating_add(kept(facts, holder))
        })
        .max_by_key(|(holder, traces)| (traces.bytes, holder.count));
    match traced {
        Some((holder, traces)) if traces.bytes >= evidence.thresholds.min_held => {
            let told = told(holder, traces.later, traces.bytes);
            Verdict::Holds(vec![finding(
                Cause::FrameworkState,
                holder,
                traces.bytes,
                told,
            )])
        }
        Some(_) => Verdict::Unknown,
        None => settled(facts.complete, vec![]),
    }
}

/// How many of the models the notebook keeps itself: these are meant to be there.
fn kept(facts: &Facts, holder: &Holder) -> u64 {
    facts
        .holders
        .iter()
        .filter(|one| one.kind == HolderKind::Models && one.type_name == holder.name)
        .fold(0u64, |sum, one| sum.saturating_add(one.count))
}

/// So many after the first are more than the normal cost.
fn normal(holder: &Holder) -> u64 {
    if holder.inside.is_empty() {
        MODELS
    } else {
        TRACES
    }
}

fn told(holder: &Holder, later: u64, bytes: u64) -> Told {
    let held = human(bytes);
    if holder.inside.is_empty() {
        return Told {
            kind: CulpritKind::Library,
            message: format!(
                "{later} more {} models were built, and about {held} that no name explains came with them: each new model that is fitted \
                 or called leaves state with the framework. Build the model once and reset its weights, or run each trial in a \
                 subprocess; clear_session() gives little back.",
                holder.name
            ),
            hint: format!(
                "# build the {} model once and reuse it (reset its weights), or run each trial in a subprocess",
                holder.name
            ),
            step: None,
        };
    }
    if holder.type_name == "numba" {
        return Told {
            kind: CulpritKind::Variable,
            message: format!(
                "The function `{0}` has been compiled {1} times by numba: each new combination of types (another dtype, length of a tuple, \
                 width of a string, number of dimensions) is compiled anew, and the machine code of all takes about {held}, which is \
                 given back at the end of the process only. Call it with arguments of one type.",
                holder.name, holder.count
            ),
            hint: format!(
                "# call {} with one type of argument (an array instead of a tuple, one dtype by astype), or give numba.njit an explicit \
                 signature; what is compiled stays until the process ends: try many types in a subprocess",
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
            dropped(holder)
        ),
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, inside, is_gone, is_unknown};
    use super::*;

    fn traced(count: u64, unnamed: u64) -> Case {
        let mut held = inside(
            HolderKind::Traces,
            "step",
            0,
            ("step", "", "Function", true),
        );
        held.count = count;
        Case::of(vec![held]).unnamed(unnamed as i64).grown(1)
    }

    #[test]
    fn many_traces_with_memory_that_nothing_explains_are_found() {
        let found = finding(traced(61, 60 * MIB).judge(detect));
        assert_eq!(
            (found.culprit.name.as_str(), found.bytes),
            ("step", 60 * MIB)
        );
        assert!(found.hint.starts_with("del step;"));
        assert!(is_unknown(traced(61, 0).judge(detect)));
        assert!(is_gone(traced(2, 60 * MIB).judge(detect)));
    }

    #[test]
    fn versions_that_numba_compiled_are_told_without_a_line_that_would_not_free_them() {
        let mut held = inside(
            HolderKind::Traces,
            "step",
            0,
            ("step", "", "CPUDispatcher", true),
        );
        held.count = 20;
        held.type_name = "numba".into();
        let found = finding(
            Case::of(vec![held])
                .unnamed(60 * MIB as i64)
                .grown(1)
                .judge(detect),
        );
        assert!(found.message.contains("compiled 20 times by numba"));
        assert!(found.hint.starts_with("# call step with one type"));
    }

    #[test]
    fn models_that_nobody_keeps_are_told_with_a_remark_and_others_not_at_all() {
        let built = |kept: u64| {
            let mut made = holder(HolderKind::Traces, "keras", &[], 0);
            made.count = 9;
            let mut named = inside(
                HolderKind::Models,
                "models",
                0,
                ("models", "list", "", true),
            );
            (named.type_name, named.count) = ("keras".into(), kept);
            let case = Case::of(vec![made, named]);
            case.unnamed(60 * MIB as i64).grown(1).judge(detect)
        };
        assert!(
            finding(built(1))
                .hint
                .starts_with("# build the keras model once")
        );
        assert!(is_gone(built(8)));
    }
}
