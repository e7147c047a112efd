//! `ipython_refs`: the shell's own references keep a result that no variable holds.
//!
//! **When it fires.** What the shell's references reach and no variable does holds 10 MiB or more.
//!
//! **Why it matters.** IPython keeps the value of a cell's last expression in `Out[n]`, `_n`, `_`, `__`, `___`, in a second copy of these
//! names (`user_ns_hidden`) and in its display hook. `del x` then frees nothing, and a cell that is run again and again keeps the value of
//! every run.
//!
//! **How it is detected.** The agent sizes what these references reach after it has been through all variables of the user. What is left
//! belongs to them alone.
//!
//! **Example.** `df.describe()`, or a bare `df`, as the last line of a cell, and `del df` in a later one.
//!
//! **Fix.** `%xdel _3`, or the same for several results through `del_var`: the only stock way that reaches all places. A cell that ends in
//! `;` or `print(…)` keeps no result.
//!
//! **What is often said.** `%reset out`, `Out.clear()` and `del Out[3], _3, _` leave the hidden copies. `gc.collect()` does nothing for
//! references that are alive.
//!
//! **What it is confused with.** A result that a variable holds as well: dropping it from `Out` frees nothing, so it is no finding. Growth of
//! the same cell's variables (`user_growth`): there a name of the user's grows.
//!
//! **Step.** `clear_out`.

use super::kept::{Told, each_of};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;

/// The magic leaves the hidden names and what tracebacks read; the texts lie in the heap.
const SOURCES: &str = "get_ipython().run_line_magic(\"reset\", \"-f in\"); get_ipython().history_manager.writeout_cache(); \
    get_ipython().user_ns_hidden.update({_k: \"\" for _k in get_ipython().user_ns_hidden if _k.startswith(\"_i\")}); \
    import linecache, gc, ctypes; [linecache.cache.pop(_k) for _k, _v in list(linecache.cache.items()) if len(_v) > 2 and \
    sum(map(len, _v[2])) > 65536].clear(); gc.collect(); ctypes.CDLL(None).malloc_trim(0);";
const STEP: &str = "clear_out";
const MOST_IN_HINT: usize = 24;
const ENOUGH: f64 = 0.95;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    match (output(evidence), scripts(evidence)) {
        (Verdict::Holds(mut found), Verdict::Holds(more)) => {
            found.extend(more);
            Verdict::Holds(found)
        }
        (Verdict::Holds(found), _) | (_, Verdict::Holds(found)) => Verdict::Holds(found),
        (Verdict::Gone, Verdict::Gone) => Verdict::Gone,
        _ => Verdict::Unknown,
    }
}

/// What is left of scripts: `%run` keeps their modules, so that what they defined does not die before the user has done with it.
fn scripts(evidence: &Evidence) -> Verdict {
    each_of(evidence, Cause::IpythonRefs, HolderKind::Script, |holder| {
        Some(Told {
            kind: CulpritKind::Holder,
            message: if holder.type_name == "history" {
                format!(
                    "The input history (In, _i, _ih) keeps {} in the sources of {} cells: read large data from a file rather than \
                     from a cell's text.",
                    human(holder.bytes),
                    holder.count
                )
            } else {
                format!(
                    "The namespace of `%run {}` keeps {} that no variable holds: IPython keeps the module of each script, also when its \
                 variables are deleted.",
                    holder.name,
                    human(holder.bytes)
                )
            },
            hint: match holder.type_name.as_str() {
                "history" => SOURCES.into(),
                _ => "get_ipython().clear_main_mod_cache()".into(),
            },
            step: None,
        })
    })
}

fn output(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let mut kept: Vec<&Holder> = facts
        .holders
        .iter()
        .filter(|holder| holder.kind == HolderKind::Out && holder.bytes > 0)
        .collect();
    let bytes = kept
        .iter()
        .fold(0u64, |sum, holder| sum.saturating_add(holder.bytes));
    if bytes < evidence.thresholds.min_output {
        return if facts.complete {
            Verdict::Gone
        } else {
            Verdict::Unknown
        };
    }
    kept.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
    let kept = most_of(&kept, bytes);
    let name = match kept {
        [only] => only.name.clone(),
        _ => "Out".to_owned(),
    };
    let what = match kept {
        [only] => {
            let shape = if only.detail.is_empty() {
                String::new()
            } else {
                format!(" {}", only.detail)
            };
            format!(
                "The output history (Out) alone keeps {}: {} is a {}{shape}",
                human(bytes),
                only.name,
                only.type_name
            )
        }
        many => format!(
            "The output history (Out) alone keeps {} in {} results",
            human(bytes),
            many.len()
        ),
    };
    let sure = facts.complete && kept.iter().all(|holder| !holder.maybe_shared);
    Verdict::Holds(vec![Finding {
        id: Cause::IpythonRefs.id("Out"),
        cause: Cause::IpythonRefs,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Holder,
            name,
        },
        bytes,
        confidence: if sure {
            Confidence::Certain
        } else {
            Confidence::Possible
        },
        message: format!(
            "{what} that no variable holds. A cell that ends in ; or print(…) keeps no result."
        ),
        hint: hint(kept),
        step: Some(STEP.into()),
    }])
}

/// The largest ones, until nearly all bytes are there.
fn most_of<'a, 'b>(kept: &'a [&'b Holder], bytes: u64) -> &'a [&'b Holder] {
    let mut sum = 0u64;
    for (i, holder) in kept.iter().enumerate() {
        sum = sum.saturating_add(holder.bytes);
        if i + 1 == MOST_IN_HINT || sum as f64 >= bytes as f64 * ENOUGH {
            return &kept[..=i];
        }
    }
    kept
}

/// Where a value can be taken hold of.
enum Handle {
    /// A name of the user's namespace.
    Name(String),
    /// A key of the shell's hidden copy only.
    Hidden(String),
}

fn handle(holder: &Holder) -> Option<Handle> {
    let all = || {
        std::iter::once(&holder.name)
            .chain(&holder.names)
            .map(String::as_str)
    };
    let numbered = |name: &str| {
        name.strip_prefix('_')
            .is_some_and(|n| !n.is_empty() && digits(n))
    };
    let hidden =
        || all().filter_map(|name| name.strip_prefix("user_ns_hidden['")?.strip_suffix("']"));
    if let Some(name) = all().find(|name| numbered(name)) {
        return Some(Handle::Name(name.to_owned()));
    }
    if let Some(name) = all().find(|name| !name.is_empty() && name.chars().all(|c| c == '_')) {
        return Some(Handle::Name(name.to_owned()));
    }
    let key = hidden()
        .find(|name| numbered(name))
        .or_else(|| hidden().next())?;
    (key.chars().all(|c| c == '_' || c.is_ascii_digit())).then(|| Handle::Hidden(key.to_owned()))
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn hint(kept: &[&Holder]) -> String {
    let handles: Vec<Handle> = kept.iter().filter_map(|holder| handle(holder)).collect();
    let names: Vec<String> = handles
        .iter()
        .map(|handle| match handle {
            Handle::Name(name) | Handle::Hidden(name) => name.clone(),
        })
        .collect();
    let hidden = handles
        .iter()
        .any(|handle| matches!(handle, Handle::Hidden(_)));
    match (names.as_slice(), hidden) {
        ([], _) => "get_ipython().displayhook._ = get_ipython().displayhook.__ = get_ipython().displayhook.___ = ''".into(),
        ([name], false) => format!("%xdel {name}"),
        (names, false) => format!("for n in ({}): get_ipython().del_var(n)", quoted(names)),
        // `del_var` wants the name in the user's namespace, from which it has already gone.
        (names, true) => format!(
            "for n in ({}): get_ipython().user_ns[n] = get_ipython().user_ns_hidden[n]; get_ipython().del_var(n)",
            quoted(names)
        ),
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let comma = if names.len() == 1 { "," } else { "" };
    format!("{}{comma}", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, finding, holder, holders, judge};
    use super::*;

    #[test]
    fn the_hint_takes_hold_of_every_place() {
        let out = |name: &str, names: &[&str]| holder(HolderKind::Out, name, names, 40 * MIB);
        let everywhere = [
            "_",
            "_3",
            "user_ns_hidden['_']",
            "user_ns_hidden['_3']",
            "displayhook._",
        ];
        for (kept, culprit, hint) in [
            (vec![out("Out[3]", &everywhere)], "Out[3]", "%xdel _3"),
            (vec![out("_", &["displayhook._"])], "_", "%xdel _"),
            (
                vec![out("Out[3]", &["_3"]), out("Out[12]", &["_12"])],
                "Out",
                "for n in (\"_3\", \"_12\"): get_ipython().del_var(n)",
            ),
            (
                vec![out("user_ns_hidden['_']", &["user_ns_hidden['_3']"])],
                "user_ns_hidden['_']",
                "for n in (\"_3\",): get_ipython().user_ns[n] = get_ipython().user_ns_hidden[n]; \
                 get_ipython().del_var(n)",
            ),
            (
                vec![out("displayhook.__", &[])],
                "displayhook.__",
                "get_ipython().displayhook._ = get_ipython().displayhook.__ = get_ipython().displayhook.___ = ''",
            ),
        ] {
            let found = finding(judge(detect, Some(&holders(kept)), vec![]));
            assert_eq!(
                (found.culprit.name.as_str(), found.hint.as_str()),
                (culprit, hint)
            );
            assert_eq!(found.confidence, Confidence::Certain);
        }
    }

    #[test]
    fn many_small_results_count_together_and_the_hint_names_the_large_ones() {
        let mut kept = vec![holder(HolderKind::Out, "Out[1]", &["_1"], MIB / 8)];
        kept.extend((2..12).map(|n| {
            holder(
                HolderKind::Out,
                &format!("Out[{n}]"),
                &[&format!("_{n}")],
                4 * MIB,
            )
        }));
        let found = finding(judge(detect, Some(&holders(kept)), vec![]));
        assert_eq!(found.bytes, 40 * MIB + MIB / 8);
        assert!(found.hint.contains("_11") && !found.hint.contains("\"_1\""));
    }

    #[test]
    fn little_is_no_finding_and_an_incomplete_walk_says_nothing() {
        let little = || vec![holder(HolderKind::Out, "Out[3]", &["_3"], MIB)];
        assert!(matches!(
            judge(detect, Some(&holders(little())), vec![]),
            Verdict::Gone
        ));
        let mut partial = holders(little());
        partial.complete = false;
        assert!(matches!(
            judge(detect, Some(&partial), vec![]),
            Verdict::Unknown
        ));
        assert!(matches!(judge(detect, None, vec![]), Verdict::Unknown));
    }

    #[test]
    fn a_result_that_a_variable_may_hold_too_is_only_possible() {
        let mut kept = holder(HolderKind::Out, "Out[3]", &["_3"], 40 * MIB);
        kept.maybe_shared = true;
        assert_eq!(
            finding(judge(detect, Some(&holders(vec![kept])), vec![])).confidence,
            Confidence::Possible
        );
    }

    #[test]
    fn the_namespace_of_a_script_is_let_go_by_the_shells_own_call() {
        use super::super::testing::{Case, finding, holder};
        let case = Case::of(vec![holder(
            HolderKind::Script,
            "prepare.py",
            &[],
            90 << 20,
        )]);
        let found = finding(case.judge(detect));
        assert_eq!(found.hint, "get_ipython().clear_main_mod_cache()");
        assert!(found.message.contains("%run prepare.py"));
    }
}
