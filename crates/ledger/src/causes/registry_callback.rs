//! `registry_callback`: a process-wide list of handlers, callbacks or widgets that only grows.
//!
//! **When it fires.** What one registry reaches and no name of the notebook's does holds 10 MiB or more, and it is not a
//! single thing that keeps to a bound, such as a handler with a `deque(maxlen=…)`.
//!
//! **Why it matters.** Each run of a cell that registers something adds one more, and the library keeps it until the kernel ends.
//!
//! **How it is detected.** Handlers and filters of loggers, open widgets and comms, `weakref.finalize`, IPython's events, `gc.callbacks`,
//! `sys.excepthook` and the handlers of signals are sized.
//!
//! **Example.** `log.addHandler(MemoryHandler(…))` in a cell that is run again
//!
//! **Fix.** Guard the registration (`if not log.hasHandlers()`), unregister, register a `weakref.WeakMethod`.
//!
//! **What it is confused with.** The name that reaches one entry. Log records with `exc_info`, whose frames are most of what a handler
//! keeps (`traceback_refs`).
//!
//! **Step.** None: a log, a widget or an exit function is the user's.

use super::kept::{Told, each_of};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let mut verdict = each_of(
        evidence,
        Cause::RegistryCallback,
        HolderKind::Registry,
        // What one thing keeps to a bound grows no further.
        |holder| (holder.shape != "bounded").then(|| told(holder)),
    );
    let of_exceptions = |name: &str| {
        let held = evidence.facts.iter().flat_map(|facts| &facts.holders);
        held.into_iter()
            .any(|holder| holder.name == name && is_of_exceptions(holder))
    };
    if let Verdict::Holds(found) = &mut verdict {
        // What the logger keeps is one thing, why it is so large is another.
        for finding in found {
            if of_exceptions(&finding.culprit.name) {
                finding.cause = Cause::TracebackRefs;
            }
        }
    }
    verdict
}

fn is_of_exceptions(holder: &Holder) -> bool {
    holder.type_name == "handlers" && holder.detail == "exceptions"
}

fn told(holder: &Holder) -> Told {
    let (held, name, count) = (human(holder.bytes), &holder.name, holder.count);
    let (message, hint) = match holder.type_name.as_str() {
        "widgets" => (
            format!(
                "{count} widgets hold {held}: ipywidgets keeps every widget until its close() is called."
            ),
            "import ipywidgets; ipywidgets.Widget.close_all()".to_owned(),
        ),
        "handlers" => {
            let behind = if is_of_exceptions(holder) {
                ", most of it in the frames of tracebacks of exceptions (exc_info)"
            } else {
                ""
            };
            let logger = logger(name);
            (
                format!(
                    "{count} handlers of the logging logger \"{name}\" hold {held}{behind}: each run of a cell that calls addHandler adds \
                     one. Guard it with hasHandlers()."
                ),
                format!(
                    "import logging; [({logger}.removeHandler(_h), _h.close(), [_v.clear() for _v in vars(_h).values() if type(_v) is list]) for _h in \
                     list({logger}.handlers)].clear()"
                ),
            )
        }
        "loggers" => (
            format!(
                "{count} loggers of logging have a handler of their own (`{}`) and hold {held}: logging keeps every logger that was \
                 ever asked for by a name. Use one logger, or remove its handler when the work is done.",
                holder.detail
            ),
            format!(
                "import logging; [(_l.removeHandler(_h), _h.close(), [_v.clear() for _v in vars(_h).values() if type(_v) is list]) \
                 for _l in list(logging.Logger.manager.loggerDict.values()) for _h in list(getattr(_l, \"handlers\", ())) if \
                 type(_h).__name__ == {:?}].clear()",
                holder.detail
            ),
        ),
        "filters" => {
            let logger = logger(&holder.detail);
            (
                format!(
                    "{count} filters of the logging logger \"{}\" hold {held}: each run of a cell that calls addFilter adds one. Add it once, \
                     or removeFilter() what is done.",
                    holder.detail
                ),
                format!(
                    "import logging; [{logger}.removeFilter(_f) for _f in list({logger}.filters)].clear()"
                ),
            )
        }
        "finalize" => (
            format!(
                "{count} calls of {}() registered with weakref.finalize hold {held} in their arguments: pass what they need, not \
                 the object, or detach() them.",
                holder.detail
            ),
            // Libraries have finalizers of their own there, which must stay.
            format!(
                "import weakref; [_f.detach() for _f in list(weakref.finalize._registry) if _f.alive and \
                 getattr(_f.peek()[1], \"__name__\", \"\") == {:?}].clear()",
                holder.detail
            ),
        ),
        "events" => (
            format!(
                "{count} functions registered with IPython's event {name} hold {held}: unregister them, or register only once."
            ),
            format!(
                "[get_ipython().events.unregister({name:?}, _f) for _f in list(get_ipython().events.callbacks[{name:?}]) if \
                 getattr(_f, \"__module__\", \"\") == \"__main__\"].clear()"
            ),
        ),
        "comms" => (
            format!(
                "{count} open comms of the target {0:?} hold {held} through the functions that they call for a message: close() a comm when \
                 what it is for is done, or open it once.",
                holder.detail
            ),
            format!(
                "import comm, gc; [_c.close() for _c in list(comm.get_comm_manager().comms.values()) if _c.target_name == {:?}].clear(); \
                 gc.collect()",
                holder.detail
            ),
        ),
        "readers" => (
            format!(
                "{count} readers of the event loop (loop.add_reader) hold {held} for {}(): remove_reader() what is done, before its \
                 socket is closed.",
                holder.detail
            ),
            format!(
                "import asyncio; [asyncio.get_event_loop().remove_reader(_k.fileobj) for _k in \
                 list(asyncio.get_event_loop()._selector.get_map().values()) if any(getattr(_h, \"_callback\", None) and \
                 getattr(_h._callback, \"__name__\", \"\") == {:?} for _h in _k.data)].clear()",
                holder.detail
            ),
        ),
        "formatters" => (
            format!(
                "{count} formatters are registered (for_type) for classes that were defined anew, in {name}, and hold {held} with every \
                 version of the class. Define the class once, in a cell of its own, or register it by name (for_type_by_name)."
            ),
            formatters(&holder.detail),
        ),
        "hooks" => (
            format!(
                "{count} callbacks in {name} hold {held}: each run of a cell that registers one adds to them. Remove what is done."
            ),
            hooks(name),
        ),
        _ => (
            format!("{count} entries of {name} hold {held}: remove what is no longer needed."),
            "%hygiene leaks".to_owned(),
        ),
    };
    Told {
        kind: CulpritKind::Library,
        message,
        hint,
        step: None,
    }
}

/// The line that forgets the notebook's own classes.
fn formatters(mime: &str) -> String {
    let printers = format!("get_ipython().display_formatter.formatters[{mime:?}].type_printers");
    format!(
        "import gc; [{printers}.pop(_t) for _t in list({printers}) if getattr(_t, \"__module__\", \"\") == \"__main__\"].clear(); \
         gc.collect()"
    )
}

fn logger(name: &str) -> String {
    match name {
        "root" => "logging.getLogger()".to_owned(),
        name => format!("logging.getLogger({name:?})"),
    }
}

/// The line that takes the notebook's own callables away from where the interpreter calls them.
fn hooks(name: &str) -> String {
    let (module, attribute) = name.split_once('.').unwrap_or((name, ""));
    if module == "signal" {
        return format!("import signal; [signal.signal({name}, signal.SIG_DFL)].clear()");
    }
    if attribute.ends_with("hook") {
        return format!("import {module}; {name} = {module}.__{attribute}__");
    }
    let import = match module {
        "get_ipython()" => String::new(),
        module => format!("import {module}; "),
    };
    format!(
        "{import}{name}[:] = [_f for _f in {name} if getattr(getattr(_f, \"func\", _f), \"__module__\", \"\") != \
         \"__main__\"]"
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, is_gone};
    use super::*;

    #[test]
    fn handlers_whose_records_keep_frames_are_a_matter_of_tracebacks() {
        for (detail, cause) in [
            ("exceptions", Cause::TracebackRefs),
            ("", Cause::RegistryCallback),
        ] {
            let mut held = holder(HolderKind::Registry, "root", &[], 40 * MIB);
            (held.type_name, held.detail) = ("handlers".into(), detail.into());
            let found = finding(Case::of(vec![held]).judge(detect));
            assert_eq!(found.cause, cause);
            assert!(found.hint.contains("removeHandler"));
        }
    }

    #[test]
    fn what_keeps_to_a_bound_is_none() {
        let mut held = holder(HolderKind::Registry, "root", &[], 40 * MIB);
        (held.type_name, held.shape) = ("handlers".into(), "bounded".into());
        assert!(is_gone(Case::of(vec![held]).judge(detect)));
    }

    #[test]
    fn each_registry_has_its_own_way_out() {
        for (of, name, part) in [
            (
                "filters",
                "logging filters of my.log",
                "logging.getLogger(\"my.log\").removeFilter",
            ),
            ("widgets", "ipywidgets", "close_all"),
            ("comms", "comm", "_c.close()"),
            ("handlers", "root", "list(logging.getLogger().handlers)"),
            (
                "handlers",
                "my.log",
                "logging.getLogger(\"my.log\").removeHandler",
            ),
            ("loggers", "logging", "if type(_h).__name__ == \"logging\""),
            ("finalize", "weakref.finalize", "detach"),
            ("events", "post_run_cell", "unregister(\"post_run_cell\""),
            ("hooks", "gc.callbacks", "gc.callbacks[:] = [_f"),
            (
                "hooks",
                "signal.SIGUSR1",
                "[signal.signal(signal.SIGUSR1, signal.SIG_DFL)].clear()",
            ),
            (
                "hooks",
                "sys.excepthook",
                "sys.excepthook = sys.__excepthook__",
            ),
        ] {
            let mut held = holder(HolderKind::Registry, name, &["Client"], 40 * MIB);
            (held.type_name, held.count) = (of.into(), 6);
            held.detail = name.rsplit(' ').next().unwrap().into();
            let found = finding(Case::of(vec![held]).judge(detect));
            assert!(found.hint.contains(part), "{}", found.hint);
            assert!(found.message.contains("40.0 MiB"), "{}", found.message);
        }
    }
}
