//! `registry_callback`, of any library: things of the notebook's that no name leads to, and a library's module does.
//!
//! **When it fires.** Two or more functions of the notebook's, or instances of its classes, hold 10 MiB or more that nothing else
//! explains, and only a module of a library leads to them.
//!
//! **Why it matters.** A hook, a filter, a patch or a listener that every run of a cell registers stays where it was registered, with all
//! that it refers to.
//!
//! **How it is detected.** In idle time: what names, results and known registries lead to is compared with what anything leads to; the
//! way up from one of the things to a module names the place. Containers of libraries that have grown in several looks are sized, and
//! functions that only C code refers to are counted.
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
/// What is known of things in a library: they are the notebook's; they are in a container that grows, or is large; only C code refers
/// to them.
const KINDS: [&str; 4] = ["lodged", "swollen", "large", "hidden"];
const FRAMEWORKS: [&str; 4] = ["keras", "tensorflow", "jax", "numba"];

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let unnamed = u64::try_from(evidence.unnamed).unwrap_or(0);
    let found = facts
        .holders
        .iter()
        .filter(|holder| {
            holder.kind == HolderKind::Registry && KINDS.contains(&holder.type_name.as_str())
        })
        .filter(|holder| holder.count >= MANY && holder.bytes >= evidence.thresholds.min_held)
        .filter(|holder| holder.bytes / 2 <= unnamed) // else somebody else accounts for them
        .filter(|holder| {
            holder.type_name != "large" || (evidence.grows && holder.bytes >= unnamed / 2)
        })
        .map(told)
        .collect();
    settled(facts.complete, found)
}

fn told(holder: &Holder) -> Finding {
    match holder.type_name.as_str() {
        "swollen" | "large" => swollen(holder),
        "hidden" => hidden(holder),
        _ => lodged(holder),
    }
}

/// A container of a library's that grows from cell to cell.
fn swollen(holder: &Holder) -> Finding {
    let (place, count, held) = (&holder.name, holder.count, human(holder.bytes));
    let module = module_of(place);
    let (cause, message) = if holder.detail == "callables" {
        let message = format!(
            "`{place}` grows from cell to cell and keeps {held} in {count} entries (`{}`) that no variable leads to: what is registered there stays. \
             Remove what is done, or register only once.",
            holder.element
        );
        (Cause::RegistryCallback, message)
    } else {
        let message = format!(
            "`{place}` grows from cell to cell and keeps {held} in {count} entries that no variable leads to: a cache without a bound. Clear it."
        );
        (Cause::CacheGrowth, message)
    };
    let hint = match (cause, holder.shape.as_str()) {
        (Cause::CacheGrowth, _) => format!("import {module}; {place}.clear()"),
        (_, "dict") => format!("import {module}; {place}.clear()  # or pop() what is yours"),
        _ => format!("import {module}; {place}.clear()  # or remove() what is yours"),
    };
    let told = Told {
        kind: CulpritKind::Library,
        message,
        hint,
        step: None,
    };
    finding(cause, holder, holder.bytes, told)
}

/// Callables of the notebook's that only C code refers to; which, cannot be seen.
fn hidden(holder: &Holder) -> Finding {
    let told = Told {
        kind: CulpritKind::Holder,
        message: format!(
            "{} functions `{}` hold {}, and only C code refers to them, as it does to audit hooks (sys.addaudithook), which cannot be \
             removed, or to callbacks of SQLite and ctypes. Register such a callback only once.",
            holder.count,
            holder.detail,
            human(holder.bytes)
        ),
        hint: format!(
            "# register `{}` only once, in a cell of its own; an audit hook stays until the kernel is restarted",
            holder.detail
        ),
        step: None,
    };
    finding(Cause::RegistryCallback, holder, holder.bytes, told)
}

/// The module of an expression such as `linecache.cache`, or `package.module.Class.table`.
fn module_of(place: &str) -> String {
    let parts: Vec<&str> = place.split('.').collect();
    let is_class = |part: &&str| part.starts_with(|c: char| c.is_ascii_uppercase());
    let until = parts
        .iter()
        .position(is_class)
        .unwrap_or(parts.len().saturating_sub(1));
    parts[..until.min(parts.len().saturating_sub(1))].join(".")
}

fn lodged(holder: &Holder) -> Finding {
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

    #[test]
    fn what_a_librarys_container_holds_is_told_if_memory_is_known_to_grow() {
        for (kind, detail, grows, unnamed, cause) in [
            ("swollen", "", false, 60, Some(Cause::CacheGrowth)),
            (
                "swollen",
                "callables",
                false,
                60,
                Some(Cause::RegistryCallback),
            ),
            ("swollen", "", false, 20, None), // names account for most of it
            ("large", "", false, 60, None),   // it may be the library's own table
            ("large", "", true, 60, Some(Cause::CacheGrowth)),
            ("large", "", true, 200, None), // most of what grows is elsewhere
        ] {
            let mut held = holder(HolderKind::Registry, "lib.parts.Table._all", &[], 60 * MIB);
            (held.type_name, held.detail, held.count) = (kind.into(), detail.into(), 9);
            (held.path, held.shape) = (held.name.clone(), "dict".into());
            let mut case = Case::of(vec![held]).unnamed(unnamed * MIB as i64);
            case.grows = grows;
            let found = case.judge(detect);
            let Some(cause) = cause else {
                assert!(is_gone(found), "{kind} {grows} {unnamed}");
                continue;
            };
            let found = finding(found);
            assert_eq!(found.cause, cause);
            let line = "import lib.parts; lib.parts.Table._all.clear()";
            assert!(found.hint.starts_with(line), "{}", found.hint);
        }
    }

    #[test]
    fn callables_that_only_c_code_has_are_told_by_their_name() {
        let mut held = holder(HolderKind::Registry, "watch", &[], 60 * MIB);
        (held.type_name, held.detail, held.count) = ("hidden".into(), "watch".into(), 5);
        let found = finding(Case::of(vec![held]).unnamed(60 * MIB as i64).judge(detect));
        assert_eq!(found.cause, Cause::RegistryCallback);
        assert_eq!(found.culprit.name, "watch");
        assert!(found.message.contains("5 functions `watch`"));
    }
}
