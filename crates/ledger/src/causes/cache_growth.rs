//! `cache_growth`: a cache of a function or class that has no bound.
//!
//! **When it fires.** A `functools.lru_cache` without a bound, or far from it, whose entries are hardly ever asked for again; a container
//! in a default argument; a container in a closure, or in an attribute of a class or function, that grows from cell to cell or is called
//! a cache; a dictionary that is called a cache, into which a function of the notebook's looks before it stores; a `dict` with a
//! `__missing__` that stores, if it grows from cell to cell. 10 MiB or more, and nothing takes entries out again.
//!
//! **Why it matters.** What is keyed by a value that never comes again is kept for nothing. On a method, `lru_cache` keeps every
//! `self` as well.
//!
//! **How it is detected.** `cache_info()` of the caches within variables; containers on the notebook's own classes and functions.
//!
//! **Example.** `@functools.lru_cache(maxsize=None)` on a method; `class Features: _memo = {}`
//!
//! **Fix.** A `maxsize`, `functools.cached_property` for a method without arguments, or clear it between runs.
//!
//! **What it is confused with.** A table that is loaded once into a class; a cache with a bound, or one that is used.
//!
//! **Step.** None: what was computed would be computed again.

use super::kept::{Told, each_of};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

const ENTRIES: u64 = 3;
const MANY: u64 = 10;
const MODULE_GROWTHS: u32 = 3;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let caches = each_of(evidence, Cause::CacheGrowth, HolderKind::Cache, |holder| {
        (!is_of_callables(holder) && is_unbounded(evidence, holder)).then(|| told(holder))
    });
    let callbacks = each_of(
        evidence,
        Cause::RegistryCallback,
        HolderKind::Cache,
        |holder| {
            (is_of_callables(holder) && is_unbounded(evidence, holder)).then(|| callbacks(holder))
        },
    );
    match (caches, callbacks) {
        (Verdict::Holds(mut found), Verdict::Holds(more)) => {
            found.extend(more);
            Verdict::Holds(found)
        }
        (Verdict::Holds(found), _) | (_, Verdict::Holds(found)) => Verdict::Holds(found),
        (verdict, _) => verdict,
    }
}

/// Whether functions or methods are kept, to be called one day: then it is a registry and not a cache.
fn is_of_callables(holder: &Holder) -> bool {
    holder.type_name == "module" && holder.detail == "callables"
}

fn callbacks(holder: &Holder) -> Told {
    let module = holder
        .name
        .rsplit_once('.')
        .map_or("", |(module, _)| module);
    Told {
        kind: CulpritKind::Holder,
        message: format!(
            "The callbacks in `{}`, {} of them, hold {} with the objects that they belong to: unsubscribe or remove what is done, or \
             register a weakref.WeakMethod.",
            holder.name,
            holder.count,
            human(holder.bytes)
        ),
        hint: format!("import {module}; {}.clear()", holder.name),
        step: None,
    }
}

fn is_unbounded(evidence: &Evidence, holder: &Holder) -> bool {
    if holder.count < ENTRIES {
        return false;
    }
    match holder.type_name.as_str() {
        "lru_cache" => {
            let number = |after: &str| word_after(holder, after)?.parse::<u64>().ok();
            let (hits, misses) = (number("hits").unwrap_or(0), number("misses").unwrap_or(0));
            match number("bound") {
                None => hits <= misses.saturating_mul(4),
                Some(bound) => holder.count < bound && hits.saturating_mul(4) <= misses,
            }
        }
        "default" | "weak" => true,
        // A few data sets that are asked for by name are kept on purpose.
        "memo" => holder.count >= MANY || evidence.growth.of(holder) >= MODULE_GROWTHS,
        "missing" => evidence.growth.of(holder) >= 2, // such a dict may be the data themselves
        "module" => evidence.growth.of(holder) >= MODULE_GROWTHS, // it may be filled on purpose, and by its own rules
        _ => {
            !holder.is_appended_to()
                && (evidence.growth.of(holder) >= 2 || holder.is_called_a_cache())
        }
    }
}

/// The word that follows another in the detail of a holder.
fn word_after<'a>(holder: &'a Holder, word: &str) -> Option<&'a str> {
    let mut words = holder.detail.split(' ').skip_while(|one| *one != word);
    words.nth(1)
}

/// A WeakKeyDictionary whose values lead to their keys.
fn keeps_its_keys(holder: &Holder) -> Told {
    Told {
        kind: CulpritKind::Variable,
        message: format!(
            "The values of the WeakKeyDictionary `{}` refer to their own keys, so none of its {} entries ever goes, and they hold {}: \
             keep a weakref.ref of the key in the value, or what you need of it.",
            holder.name,
            holder.count,
            human(holder.bytes)
        ),
        hint: format!("{}.clear()", holder.name),
        step: None,
    }
}

fn told(holder: &Holder) -> Told {
    if holder.type_name == "weak" {
        return keeps_its_keys(holder);
    }
    let (what, hint) = match holder.type_name.as_str() {
        "lru_cache" => {
            let import = word_after(holder, "module")
                .map_or(String::new(), |module| format!("import {module}; "));
            (
                "The lru_cache of",
                format!("{import}{}.cache_clear()", holder.name),
            )
        }
        "closure" => (
            "The cache in the closure of a function,",
            format!("{}.clear()", holder.name),
        ),
        "default" => ("The default argument", format!("{}.clear()", holder.name)),
        "module" => {
            let module = holder
                .name
                .rsplit_once('.')
                .map_or("", |(module, _)| module);
            (
                "The cache",
                format!("import {module}; {}.clear()", holder.name),
            )
        }
        _ => ("The cache", format!("{}.clear()", holder.name)),
    };
    Told {
        kind: CulpritKind::Holder,
        message: format!(
            "{what} `{}` holds {} in {} entries and has no bound: give it a maxsize, or clear it. On a method a cache keeps each self \
             too.",
            holder.name,
            human(holder.bytes),
            holder.count
        ),
        hint,
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, is_gone};
    use super::*;

    fn cache(of: &str, name: &str, detail: &str, count: u64) -> Case {
        let mut held = holder(HolderKind::Cache, name, &[], 80 * MIB);
        (held.type_name, held.detail, held.count) = (of.into(), detail.into(), count);
        Case::of(vec![held])
    }

    #[test]
    fn a_cache_without_bound_is_cleared_by_its_own_name() {
        for (of, name, detail, hint) in [
            (
                "lru_cache",
                "Panel.mean",
                "bound none hits 0 misses 8",
                "Panel.mean.cache_clear()",
            ),
            (
                "lru_cache",
                "load",
                "bound 128 hits 1 misses 8",
                "load.cache_clear()",
            ),
            (
                "lru_cache",
                "loader.load",
                "bound none hits 0 misses 8 module loader",
                "import loader; loader.load.cache_clear()",
            ),
            (
                "default",
                "f.__defaults__[0]",
                "dict",
                "f.__defaults__[0].clear()",
            ),
            ("weak", "_index", "dict", "_index.clear()"),
            (
                "attribute",
                "Features._memo",
                "dict",
                "Features._memo.clear()",
            ),
        ] {
            assert_eq!(finding(cache(of, name, detail, 8).judge(detect)).hint, hint);
        }
    }

    #[test]
    fn a_bounded_used_or_intended_one_is_none() {
        for (of, name, detail, count) in [
            ("lru_cache", "load", "bound 8 hits 0 misses 30", 8),
            ("lru_cache", "load", "bound none hits 900 misses 8", 8),
            ("lru_cache", "load", "bound none hits 0 misses 1", 1),
            ("lru_cache", "load", "bound 128 hits 20 misses 8", 8),
            ("attribute", "Config.table", "dict", 8),
        ] {
            assert!(
                is_gone(cache(of, name, detail, count).judge(detect)),
                "{name} {detail}"
            );
        }
    }

    #[test]
    fn callables_in_a_module_are_a_registry() {
        let found = finding(
            cache("module", "bus.subscribers", "callables", 8)
                .grown(3)
                .judge(detect),
        );
        assert_eq!(
            (found.cause, found.hint.as_str()),
            (
                Cause::RegistryCallback,
                "import bus; bus.subscribers.clear()"
            )
        );
        assert!(is_gone(
            cache("module", "bus.subscribers", "callables", 8)
                .grown(1)
                .judge(detect)
        ));
    }

    #[test]
    fn a_memo_counts_with_many_entries_or_when_it_goes_on_growing() {
        let memo = |count| cache("memo", "quotes._cache", "dict", count);
        let found = finding(memo(30).judge(detect));
        assert_eq!(found.hint, "quotes._cache.clear()");
        finding(memo(6).grown(3).judge(detect));
        assert!(is_gone(memo(6).grown(2).judge(detect)));
    }

    #[test]
    fn a_dict_that_makes_its_items_counts_when_it_has_grown_twice() {
        let made = |cells| cache("missing", "tiles", "Tiles", 8).grown(cells);
        assert!(is_gone(made(1).judge(detect)));
        assert_eq!(finding(made(2).judge(detect)).hint, "tiles.clear()");
    }

    #[test]
    fn a_list_that_a_function_fills_is_no_cache() {
        for (element, called, cached) in [
            ("list", "rows", false),
            ("list", "seen", true),
            ("dict", "rows", true),
        ] {
            let mut case = cache("closure", "add.__closure__[0].cell_contents", called, 8).grown(4);
            case.facts.holders[0].element = element.into();
            assert_eq!(is_gone(case.judge(detect)), !cached, "{element} {called}");
        }
    }

    #[test]
    fn an_attribute_that_grows_in_two_cells_is_a_cache_whatever_it_is_called() {
        assert!(is_gone(
            cache("attribute", "Model.rows", "list", 8)
                .grown(1)
                .judge(detect)
        ));
        finding(
            cache("attribute", "Model.rows", "list", 8)
                .grown(2)
                .judge(detect),
        );
    }
}
