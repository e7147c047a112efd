//! `registry_callback`, of `atexit`: objects that only functions for the end of the kernel keep.
//!
//! **When it fires.** Callables of the notebook's that only C code holds, and objects of its classes that no name leads to, hold 10 MiB
//! or more, and at least as many functions were registered with `atexit` in this session.
//!
//! **Why it matters.** `atexit.register(self.close)` keeps `self` until the kernel ends.
//!
//! **How it is detected.** In idle time: reference counts against the references that can be seen; `atexit` tells how many it holds.
//!
//! **Example.** `def __init__(self): atexit.register(self.close)`
//!
//! **Fix.** Register a `weakref.WeakMethod`, or unregister what is done.
//!
//! **What it is confused with.** Garbage in cycles (`ref_cycle`), which nothing refers to at all.
//!
//! **Step.** None: an exit function may have to write something.

use super::kept::{Told, each_of};
use super::{Evidence, Verdict};
use crate::facts::HolderKind;
use crate::record::{Cause, CulpritKind};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    each_of(
        evidence,
        Cause::RegistryCallback,
        HolderKind::Registry,
        |holder| {
            let name = holder.names.first()?;
            let (what, found) = match holder.detail.as_str() {
                "partial" => (
                    format!("calls of {name}() as functools.partial"),
                    format!(
                        "[atexit.unregister(_o) for _o in gc.get_objects() if type(_o).__name__ == \"partial\" and \
                         getattr(_o.func, \"__name__\", \"\") == {name:?}].clear()"
                    ),
                ),
                "function" | "method" => (
                    format!("functions `{name}`"),
                    format!(
                        "[atexit.unregister(_o) for _o in gc.get_objects() if type(_o).__name__ == {:?} and _o.__module__ == \
                         \"__main__\" and _o.__name__ == {name:?}].clear()",
                        holder.detail
                    ),
                ),
                _ => (
                    format!("objects of `{name}`"),
                    format!(
                        "[atexit.unregister(getattr(_o, _n)) for _o in gc.get_objects() if type(_o).__name__ == {name:?} for _n in \
                         vars(type(_o)) if not _n.startswith(\"__\")].clear()"
                    ),
                ),
            };
            Some(Told {
                kind: CulpritKind::Library,
                message: format!(
                    "{} {what} hold {}; nothing refers to them but what is registered with atexit. Register a \
                     weakref.WeakMethod, or unregister what is done.",
                    holder.count,
                    human(holder.bytes)
                ),
                hint: format!("import atexit, gc; {found}"),
                step: None,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, is_gone};
    use super::*;

    #[test]
    fn what_was_registered_is_found_again_by_its_kind() {
        for (detail, part) in [
            ("partial", "_o.func"),
            ("function", "_o.__name__ == \"save\""),
            ("class", "getattr(_o, _n)"),
        ] {
            let mut held = holder(HolderKind::Registry, "atexit", &["save"], 40 * MIB);
            (held.type_name, held.detail, held.count) = ("atexit".into(), detail.into(), 3);
            let found = finding(Case::of(vec![held]).judge(detect));
            assert!(found.hint.contains(part), "{}", found.hint);
        }
    }

    #[test]
    fn what_only_exit_functions_keep_is_unregistered_by_class() {
        let mut held = holder(HolderKind::Registry, "atexit", &["Client"], 80 * MIB);
        held.count = 5;
        let found = finding(Case::of(vec![held]).judge(detect));
        assert_eq!(found.culprit.name, "atexit");
        assert!(found.hint.contains("atexit.unregister") && found.hint.contains("\"Client\""));
        assert!(is_gone(Case::of(vec![]).judge(detect)));
    }
}
