//! `traceback_refs`, stored: exceptions that a variable keeps, and through `__traceback__` the frames.
//!
//! **When it fires.** The frames behind the exceptions of a variable, or frames that it holds by themselves, hold 10 MiB or more.
//!
//! **Why it matters.** An exception refers to its traceback, this to the frames, and these to every local variable where it failed.
//!
//! **How it is detected.** The walk through a variable meets tracebacks and sizes the frames behind them.
//!
//! **Example.** `except OSError as error: failures[name] = error`
//!
//! **Fix.** Keep `str(error)`, or `error.with_traceback(None)`. The exceptions that it comes from (`__cause__`, `__context__`) and the
//! members of an `ExceptionGroup` have tracebacks of their own.
//!
//! **What it is confused with.** The last exception of the shell, which no variable holds.
//!
//! **Step.** None: the tracebacks may be wanted.

use super::kept::{Told, dropped, each, each_of, place};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

/// Lets go of the frames of an exception, of those that it comes from, and of the members of a group.
/// Each is visited once: a cause is mostly the context, too.
const CLEAR: &str = "_clear = lambda e, seen: isinstance(e, BaseException) and id(e) not in seen and (seen.add(id(e)), \
                     e.with_traceback(None), _clear(e.__cause__, seen), _clear(e.__context__, seen), \
                     [_clear(x, seen) for x in getattr(e, \"exceptions\", None) or ()])";

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    each_of(
        evidence,
        Cause::TracebackRefs,
        HolderKind::Exceptions,
        |holder| {
            if holder.type_name == "frame" {
                return Some(of_frames(holder));
            }
            Some(Told {
                kind: CulpritKind::Variable,
                message: format!(
                    "The exceptions in `{}` keep their traceback (__traceback__), and its frames keep {} of local variables (raised \
                     in {}()).",
                    place(holder),
                    human(holder.bytes),
                    holder.detail
                ),
                // A traceback that is kept by itself, as sys.exc_info() gives it, cannot be emptied.
                hint: match holder.element.as_str() {
                    "traceback" => dropped(holder),
                    _ if holder.type_name == "chained" && holder.direct => {
                        format!("{CLEAR}; {}", each(holder, "_clear({}, set())"))
                    }
                    _ => each(holder, "{}.with_traceback(None)"),
                },
                step: None,
            })
        },
    )
}

/// Frames that are kept without an exception.
fn of_frames(holder: &Holder) -> Told {
    Told {
        kind: CulpritKind::Variable,
        message: format!(
            "The frames in `{}` (sys._getframe(), inspect.stack()) keep {} of local variables of {}(): keep its name and line instead.",
            place(holder),
            human(holder.bytes),
            holder.detail
        ),
        hint: each(holder, "{}.clear()"),
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, inside};
    use super::*;

    #[test]
    fn frames_are_cleared_where_they_are_and_what_else_has_them_is_dropped() {
        for (at, hint) in [
            (
                ("frames", "list", "frame", true),
                "[_x.clear() for _x in frames if type(_x).__name__ == \"frame\"].clear()",
            ),
            (("stacks", "list", "FrameInfo", false), "del v"),
        ] {
            let mut held = inside(HolderKind::Exceptions, "v", 90 * MIB, at);
            held.type_name = "frame".into();
            let found = finding(Case::of(vec![held]).judge(detect));
            assert_eq!(found.hint, hint);
            assert!(!found.message.contains("exception"), "{}", found.message);
        }
    }

    #[test]
    fn the_hint_keeps_the_exceptions_and_drops_their_frames() {
        for (at, hint) in [
            (
                ("bad", "dict", "OSError", true),
                "[_x.with_traceback(None) for _x in bad.values() if isinstance(_x, BaseException)].clear()",
            ),
            (("error", "", "OSError", true), "error.with_traceback(None)"),
            (("job", "", "Future", false), "del job"),
        ] {
            let held = inside(HolderKind::Exceptions, "job", 80 * MIB, at);
            assert_eq!(finding(Case::of(vec![held]).judge(detect)).hint, hint);
        }
        let mut chained = inside(
            HolderKind::Exceptions,
            "bad",
            80 * MIB,
            ("bad", "list", "OSError", true),
        );
        chained.type_name = "chained".into();
        let hint = finding(Case::of(vec![chained]).judge(detect)).hint;
        assert!(hint.ends_with(
            "; [_clear(_x, set()) for _x in bad if isinstance(_x, BaseException)].clear()"
        ));
        let mut many = inside(
            HolderKind::Exceptions,
            "jobs",
            80 * MIB,
            ("jobs[11]._exception", "", "OSError", true),
        );
        many.count = 8;
        let hint = finding(Case::of(vec![many]).judge(detect)).hint;
        assert!(hint.starts_with("[_x._exception.with_traceback(None) for _x in (jobs.values()"));
    }
}
