//! `registry_callback`, of any library: things of the notebook's that no name leads to, and a library's module does.
//!
//! **When it fires.** Two or more functions of the notebook's, or instances of its classes, hold 10 MiB or more that nothing else
//! explains, and only a module of a library leads to them.
//!
//! **Why it matters.** A hook, a filter, a patch or a listener that every run of a cell registers stays where it was registered, with all
//! that it refers to.
//!
//! **How it is detected.** In idle time: what names, results and known registries lead to is compared with what anything leads to; the
//! way up from one of the things to a module names the place.
//!
//! **Example.** `register_module_forward_hook(Recorder())` in a cell that is run again
//!
//! **Fix.** Remove what is registered (`handle.remove()`), or register once.
//!
//! **What it is confused with.** Models that a framework keeps track of (`framework_state`); registries that are known by themselves.
//!
//! **Step.** None: the library calls what is registered.

use super::kept::{Told, finding, settled};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind, Finding};
use crate::size::human;

const MANY: u64 = 2;
const FRAMEWORKS: [&str; 4] = ["keras", "tensorflow", "jax", "numba"];

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let unnamed = u64::try_from(evidence.unnamed).unwrap_or(0);
    let found = facts
        .holders
        .iter()
        .filter(|holder| holder.kind == HolderKind::Registry && holder.type_name == "lodged")
        .filter(|holder| holder.count >= MANY && holder.bytes >= evidence.thresholds.min_held)
        .filter(|holder| holder.bytes / 2 <= unnamed) // else somebody else accounts for them
        .map(told)
        .collect();
    settled(facts.complete, found)
}

fn told(holder: &Holder) -> Finding {
    let (place, count, held) = (&holder.name, holder.count, human(holder.bytes));
    let library = place.split('.').next().unwrap_or_default();
    let (cause, message) = if FRAMEWORKS.contains(&library) {
        let message = format!(
            "{library} keeps {count} objects of `{}` that no variable holds, and {held} with them: each that is built leaves state with \
             the framework. Build the model once and reuse it, or run each trial in a subprocess.",
            holder.detail
        );
        (Cause::FrameworkState, message)
    } else {
        let message = format!(
            "{count} callbacks or objects of the notebook's (`{}`) are registered in `{place}` of {library} and hold {held}: no variable \
             leads to them. Remove what is done, or register only once.",
            holder.detail
        );
        (Cause::RegistryCallback, message)
    };
    let told = Told {
        kind: CulpritKind::Library,
        message,
        hint: hint(holder, cause),
        step: None,
    };
    finding(cause, holder, holder.bytes, told)
}

fn hint(holder: &Holder, cause: Cause) -> String {
    let (place, path) = (&holder.name, &holder.path);
    if cause == Cause::FrameworkState {
        return format!(
            "# build one `{}` and reuse it, or run each trial in a subprocess",
            holder.detail
        );
    }
    let module = path.rsplit_once('.').map_or("", |(module, _)| module);
    let own = "getattr(_f, \"__module__\", \"\") == \"__main__\"";
    match holder.shape.as_str() {
        "list" => format!("import {module}; {path}[:] = [_f for _f in {path} if not {own}]"),
        "dict" => format!(
            "import {module}; [{path}.pop(_k) for _k, _f in list({path}.items()) if {own}].clear()"
        ),
        _ => format!(
            "# remove from {place} what was registered there, or keep what registering returned and remove() it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, is_gone};
    use super::*;

    fn lodged(name: &str, shape: &str, count: u64) -> Case {
        let mut held = holder(HolderKind::Registry, name, &[], 60 * MIB);
        (held.type_name, held.detail, held.count) = ("lodged".into(), "Recorder".into(), count);
        (held.path, held.shape) = (name.into(), shape.into());
        Case::of(vec![held]).unnamed(60 * MIB as i64)
    }

    #[test]
    fn what_a_library_keeps_is_taken_away_where_that_can_be_typed() {
        for (name, shape, cause, part) in [
            (
                "lib.hooks._all",
                "dict",
                Cause::RegistryCallback,
                "import lib.hooks; [lib.hooks._all.pop(_k)",
            ),
            (
                "lib._all",
                "list",
                Cause::RegistryCallback,
                "import lib; lib._all[:] = [_f for _f in",
            ),
            (
                "lib.Hub",
                "",
                Cause::RegistryCallback,
                "# remove from lib.Hub",
            ),
            (
                "keras.src.state",
                "",
                Cause::FrameworkState,
                "# build one `Recorder`",
            ),
        ] {
            let found = finding(lodged(name, shape, 4).judge(detect));
            assert_eq!(found.cause, cause, "{name}");
            assert!(found.hint.starts_with(part), "{}", found.hint);
        }
    }

    #[test]
    fn one_object_and_what_is_explained_otherwise_are_none() {
        assert!(is_gone(lodged("lib._all", "list", 1).judge(detect)));
        assert!(is_gone(
            lodged("lib._all", "list", 4)
                .unnamed(MIB as i64)
                .judge(detect)
        ));
    }
}
