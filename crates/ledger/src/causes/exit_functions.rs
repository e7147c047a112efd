//! `registry_callback`, of `atexit`: objects that only functions for the end of the kernel keep.
//!
//! **When it fires.** Objects of the notebook's classes that no name leads to hold 10 MiB or more, what refers to them is a callable
//! that only C code holds, and at least as many functions were registered with `atexit` in this session.
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
            let class = holder.names.first()?;
            Some(Told {
                kind: CulpritKind::Library,
                message: format!(
                    "{} objects of `{class}` hold {}; nothing refers to them but functions registered with atexit. Register a \
                     weakref.WeakMethod, or unregister what is done.",
                    holder.count,
                    human(holder.bytes)
                ),
                hint: format!(
                    "import atexit, gc; [atexit.unregister(getattr(_o, _n)) for _o in gc.get_objects() if type(_o).__name__ == \
                     {class:?} for _n in vars(type(_o)) if not _n.startswith(\"__\")];"
                ),
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
    fn what_only_exit_functions_keep_is_unregistered_by_class() {
        let mut held = holder(HolderKind::Registry, "atexit", &["Client"], 80 * MIB);
        held.count = 5;
        let found = finding(Case::of(vec![held]).judge(detect));
        assert_eq!(found.culprit.name, "atexit");
        assert!(found.hint.contains("atexit.unregister") && found.hint.contains("\"Client\""));
        assert!(is_gone(Case::of(vec![]).judge(detect)));
    }
}
