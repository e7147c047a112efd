//! `suspended_execution`: a thread, task, queued job or generator that waits keeps its local variables.
//!
//! **When it fires.** What such a thing reaches and nothing else does holds 10 MiB or more. Not a generator that later cells ask for
//! more.
//!
//! **Why it matters.** Local variables live until the function ends, and one that waits for ever never does.
//!
//! **How it is detected.** The frames of the threads that the notebook started, asyncio's pending tasks, the queues of executors, and
//! generators, coroutines, `itertools.tee` and the `imap` of pools within variables.
//!
//! **Example.** A worker that waits for an event that nobody sets; `next(batches(data))` and never another one
//!
//! **Fix.** Tell it to stop: an Event and `join()`, `task.cancel()`, `shutdown(cancel_futures=True)`, `generator.close()`.
//!
//! **What is often said.** A function's locals are freed when it is left: those of a generator that waits are not.
//!
//! **What it is confused with.** The variable that holds the generator or task.
//!
//! **Step.** None: the work may still be wanted.

use super::kept::{Told, dropped, each, each_of, place};
use super::{Evidence, Verdict, is_identifier};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    each_of(
        evidence,
        Cause::SuspendedExecution,
        HolderKind::Suspended,
        |holder| (holder.shape != "in use").then(|| told(holder)),
    )
}

fn told(holder: &Holder) -> Told {
    let held = human(holder.bytes);
    let (kind, message, hint) = match holder.type_name.as_str() {
        "generator" | "coroutine" | "async_generator" => (
            CulpritKind::Variable,
            format!(
                "Suspended {}s ({}) in `{}` keep {held} in their local variables until they are exhausted or closed.",
                holder.type_name.replace('_', " "),
                holder.detail,
                place(holder)
            ),
            match holder.type_name.as_str() {
                "async_generator" => each(holder, "await {}.aclose()"),
                _ => each(holder, "{}.close()"),
            },
        ),
        "tee" => (
            CulpritKind::Variable,
            format!(
                "An itertools.tee in `{}` lags behind its twin and keeps {held} of items that the other one has consumed: exhaust it or \
                 drop it (del).",
                place(holder)
            ),
            dropped(holder),
        ),
        "imap" => (
            CulpritKind::Variable,
            format!(
                "The imap() of a pool in `{}` has computed results ahead and keeps {held} of them until they are asked for (next): exhaust it. \
                 The pool keeps the last one, also if its name is dropped.",
                place(holder)
            ),
            exhausted(holder),
        ),
        "executor" => (
            CulpritKind::Holder,
            format!(
                "Threads of {} ThreadPoolExecutors keep {held} in running and queued jobs: use an executor in a with block, or call \
                 shutdown(cancel_futures=True).",
                holder.count
            ),
            "# executor.shutdown(cancel_futures=True), and let the running jobs finish: give them a timeout or a stop Event"
                .into(),
        ),
        "task" => (
            CulpritKind::Holder,
            format!(
                "{} pending asyncio tasks that run {}() wait and keep {held} in their local variables: await or cancel() them.",
                holder.count, holder.name
            ),
            cancelled(holder),
        ),
        "handle" => (
            CulpritKind::Holder,
            format!(
                "{} timers of the event loop (call_later, call_at) keep {held} in the arguments of {}() until they are due: cancel() \
                 what is no longer wanted, or stop() what calls it again and again.",
                holder.count, holder.name
            ),
            format!(
                "import asyncio; [_h.cancel() for _h in list(asyncio.get_event_loop()._scheduled) if getattr(_h._callback, \
                 \"__name__\", \"\") == {:?}].clear()",
                // A library's object may stand between the timer and what it calls in the end.
                if holder.detail.is_empty() { &holder.name } else { &holder.detail }
            ),
        ),
        "timer" => (
            CulpritKind::Holder,
            format!(
                "{} threading.Timers keep {held} in the arguments of their functions until they run: cancel() what is no longer \
                 wanted.",
                holder.count
            ),
            "import threading; [(_t.cancel(), _t.join()) for _t in threading.enumerate() if type(_t) is threading.Timer].clear()"
                .into(),
        ),
        _ if holder.name == "serve_forever" => (
            CulpritKind::Holder,
            format!(
                "{} threads run serve_forever(), and keep {held} with their servers: such a thread ends when its server is shut down.",
                holder.count
            ),
            "# for each server: server.shutdown(); server.server_close()".into(),
        ),
        _ => (
            CulpritKind::Holder,
            format!(
                "{} threads that run {}() are waiting and keep {held} in their local variables. A thread ends only by itself: give it a \
                 stop Event and join() it.",
                holder.count, holder.name
            ),
            format!("# in {}(): wait for a stop Event too and return; then set it and join() the threads", holder.name),
        ),
    };
    Told {
        kind,
        message,
        hint,
        step: None,
    }
}

fn exhausted(holder: &Holder) -> String {
    if holder.direct {
        format!(
            "import collections; {};",
            each(holder, "collections.deque({}, 0)")
        )
    } else {
        dropped(holder)
    }
}

/// A task that was cancelled keeps its error, whose traceback keeps the variables: so whoever holds the task must let go of it.
fn cancelled(holder: &Holder) -> String {
    let mut line = format!(
        "import asyncio; [_t.cancel() for _t in asyncio.all_tasks() if _t.get_coro().__name__ == {:?}].clear()",
        holder.name
    );
    for name in holder.names.iter().filter(|name| is_identifier(name)) {
        line.push_str(&format!("; del {name}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, inside};
    use super::*;

    #[test]
    fn generators_are_closed_where_they_are_and_tees_dropped() {
        for (of, at, hint) in [
            (
                "generator",
                ("gens", "dict", "generator", true),
                "[_x.close() for _x in gens.values() if type(_x).__name__ == \"generator\"].clear()",
            ),
            ("generator", ("loader", "", "Loader", false), "del v"),
            (
                "async_generator",
                ("pages", "list", "async_generator", true),
                "[await _x.aclose() for _x in pages if type(_x).__name__ == \"async_generator\"].clear()",
            ),
            ("tee", ("v", "", "tee", true), "del v"),
            (
                "imap",
                ("v", "", "IMapIterator", true),
                "import collections; collections.deque(v, 0);",
            ),
        ] {
            let mut held = inside(HolderKind::Suspended, "v", 40 * MIB, at);
            held.type_name = of.into();
            assert_eq!(finding(Case::of(vec![held]).judge(detect)).hint, hint);
        }
    }

    #[test]
    fn who_holds_a_cancelled_task_lets_go_of_it_too() {
        let mut held = holder(
            HolderKind::Suspended,
            "fetch",
            &["waiting", "not a name"],
            40 * MIB,
        );
        held.type_name = "task".into();
        let found = finding(Case::of(vec![held]).judge(detect));
        assert!(
            found.hint.ends_with(".clear(); del waiting"),
            "{}",
            found.hint
        );
    }

    #[test]
    fn what_only_its_own_code_can_end_has_a_remark_and_not_a_line_that_pretends() {
        for (of, starts) in [
            ("thread", "# "),
            ("executor", "# "),
            ("task", "import asyncio"),
            ("handle", "import asyncio"),
        ] {
            let mut held = holder(HolderKind::Suspended, "fetch", &[], 40 * MIB);
            (held.type_name, held.count) = (of.into(), 2);
            let found = finding(Case::of(vec![held]).judge(detect));
            assert!(found.hint.starts_with(starts), "{}", found.hint);
            assert_eq!(found.culprit.name, "fetch");
        }
    }
}
