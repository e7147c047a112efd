//! `user_growth`: a variable of the notebook holds more after each run of the same cell.
//!
//! **When it fires.** Each of the last three runs of the same code kept 1 MiB or more, and a name, or a family of numbered names, grew
//! with them.
//!
//! **Why it matters.** A list that a cell appends to, or a numbered copy that every run leaves in the namespace. Nothing is
//! wrong with one run; the tenth run of an unchanged cell has ten times the data.
//!
//! **How it is detected.** Of the runs of the same source the first is left out as a warm-up. If each of the last three
//! retained at least 1 MiB, the Theil–Sen slope over all runs agrees, and Laplace's rule gives 70 % for the next run to
//! grow as well, the cell grows; the interval of 95 % of the slope is told where it is wide. The culprit is the name, or the family of numbered names, that grew in most of these
//! runs and accounts for half of the growth.
//!
//! Three runs in all are enough, the first one included, if one name of a list, an array or the like grew in every run
//! there was, by amounts of which the largest is at most half as much again as the smallest: an import or a cache that
//! fills does not add to the user's own data, twice the same amount after the first run.
//! After four measured runs a name that grew so in all of them is found as well if the allocators' own ups and downs hid it in some, and
//! the runs together kept half of it at least.
//!
//! **Example.** `results.append(big)` in a cell that is run again and again, with `results = []` in another one.
//!
//! **What is often said.** `sys.getsizeof(results)` would show it: it counts the list's own pointers and not what they point at.
//!
//! **Fix.** Make the container in the cell that fills it. Now: `name.clear()` for containers, `del` for other data.
//!
//! **What it is confused with.** A large result that each run replaces: it counts once. Imports, compilers and pools: the
//! first run. Results in the output history or a traceback: growth that these holders account for is left to their
//! causes. Growth that no name explains may be a cache, a registry or native memory; it is reported as such, unless it is free
//! memory that the allocators keep.
//!
//! Growth that is only *reached* through a name (a logger's handlers, a cache on a class): deleting that name frees
//! nothing, so the finding says what it knows and waits for more runs. It is the name's own if nothing else refers to its
//! value. What has a bound is no growth, also while it fills up: a `deque` with `maxlen`, and a container from which the
//! notebook's functions, or the cell itself, take items away.
//!
//! **Step.** None: it is the user's data.

use std::collections::BTreeMap;

use super::{Evidence, Verdict, is_identifier};
use crate::code::trims;
use crate::history::{Growth, Run};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;
use crate::trend::{Slope, laplace, theil_sen};

const CHANCE: f64 = 0.7;
const UNEXPLAINED_RUNS: usize = 5;
/// A container of an object of a library's, which has a `clear()` for it.
const PRIVATE: &str = "private";
const CLEARED: [&str; 7] = [
    "list",
    "dict",
    "set",
    "deque",
    "defaultdict",
    "OrderedDict",
    "bytearray",
];
const DATA: [&str; 16] = [
    "ndarray",
    "DataFrame",
    "Series",
    "Table",
    "Tensor",
    "str",
    "bytes",
    "tuple",
    "frozenset",
    "array",
    "Counter",
    "MaskedArray",
    "Index",
    "Parameter",
    "StringIO",
    "BytesIO",
];
const REGISTRIES: [&str; 7] = [
    "hook",
    "callback",
    "handler",
    "listener",
    "observer",
    "subscriber",
    "notifier",
];
const LEAKS: &str = "%hygiene leaks";
const DISCONNECT: &str = "# remove() or disconnect what each run registers: keep what registering returned, or register once";
const MOST_IN_HINT: usize = 8;

/// Growth over all runs that the allocators know and no name leads to, if the runs of the cell grow without any other explanation.
pub(super) fn native_growth(evidence: &Evidence) -> Option<u64> {
    let Verdict::Holds(findings) = judge(evidence) else {
        return None;
    };
    if findings
        .iter()
        .any(|finding| finding.culprit.kind == CulpritKind::Variable)
    {
        return None;
    }
    let runs: Vec<&Run> = evidence.source.measured().collect();
    let sum = |part: fn(&Run) -> i64| {
        runs.iter()
            .fold(0i64, |sum, run| sum.saturating_add(part(run)))
    };
    let (native, grown) = (sum(|run| run.native), sum(|run| run.delta.unwrap_or(0)));
    // The first run counts too where it was like the others.
    let mean = grown / i64::try_from(runs.len().max(1)).unwrap_or(1);
    let first = evidence
        .source
        .warm_up()
        .and_then(|run| run.delta)
        .unwrap_or(0)
        .clamp(0, mean);
    (native >= grown / 2).then(|| grown.saturating_add(first).unsigned_abs())
}

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    if native_growth(evidence).is_some() {
        return Verdict::Gone; // native memory has a cause of its own
    }
    judge(evidence)
}

fn judge(evidence: &Evidence) -> Verdict {
    let limits = evidence.thresholds;
    let runs: Vec<&Run> = evidence
        .source
        .measured()
        .filter(|run| run.delta.is_some())
        .collect();
    let grew = |run: &&&Run| {
        run.delta
            .is_some_and(|delta| delta >= to_signed(limits.growth_per_run))
    };
    let streak = runs.iter().rev().take_while(grew).count();
    if runs.is_empty() {
        return Verdict::Unknown;
    }
    let frees = runs.len() - runs.iter().filter(grew).count();
    let mut level = 0.0;
    let levels: Vec<f64> = runs
        .iter()
        .map(|run| {
            level += run.delta.unwrap_or(0) as f64;
            level
        })
        .collect();
    let slope = theil_sen(&levels).unwrap_or(Slope {
        middle: 0.0,
        low: 0.0,
        high: 0.0,
    });
    let enough = streak >= limits.growth_runs
        && laplace(runs.len(), frees) >= CHANCE
        && slope.middle >= limits.growth_per_run as f64;
    if !enough && let Some(finding) = steady_beside_noise(evidence, &runs) {
        return Verdict::Holds(vec![finding]);
    }
    let recent = &runs[runs.len() - streak..];
    let growth = recent
        .iter()
        .fold(0i64, |sum, run| sum.saturating_add(run.delta.unwrap_or(0)));
    let in_holders = recent
        .iter()
        .fold(0i64, |sum, run| sum.saturating_add(run.holders));
    let in_slack = recent
        .iter()
        .fold(0i64, |sum, run| sum.saturating_add(run.slack));
    if in_holders >= growth / 2 {
        return Verdict::Gone; // theirs to report, or there is no growth
    }
    let grown = culprit(recent, growth.saturating_sub(in_slack.max(0)));
    if grown
        .as_ref()
        .is_some_and(|grown| trims(evidence.code.facts(), owner(grown)))
    {
        return Verdict::Gone; // it has a bound that is not reached yet
    }
    if !enough {
        let steady = grown.filter(|_| frees == 0).and_then(|grown| {
            steady(evidence, recent, &grown.name, |growth| {
                is_data(&growth.type_name)
            })
        });
        return steady.map_or(Verdict::Gone, |finding| Verdict::Holds(vec![finding]));
    }
    let certain = runs.len() >= limits.certain_runs
        && frees == 0
        && slope.low >= limits.growth_per_run as f64;
    match grown {
        Some(grown) => Verdict::Holds(vec![explained(evidence, recent, &grown, slope, certain)]),
        None if in_holders.saturating_add(in_slack) >= growth / 2 => Verdict::Gone,
        None => Verdict::Holds(vec![unexplained(evidence, recent, growth, slope)]),
    }
}

/// A variable that grew by about the same amount in every run, also where what the allocator took and gave back hides it in some.
fn steady_beside_noise(evidence: &Evidence, runs: &[&Run]) -> Option<Finding> {
    let sum = |part: fn(&Run) -> i64| {
        runs.iter()
            .fold(0i64, |sum, run| sum.saturating_add(part(run)))
    };
    let growth = sum(|run| run.delta.unwrap_or(0));
    let grown = culprit(runs, growth)?;
    let own = grown
        .times
        .iter()
        .fold(0i64, |sum, growth| sum.saturating_add(growth.delta));
    // In few runs noise may look like anything.
    let is_early = runs.len() <= evidence.thresholds.growth_runs;
    let is_elsewhere = growth < own / 2 || sum(|run| run.holders) >= growth / 2;
    if is_early || is_elsewhere || trims(evidence.code.facts(), owner(&grown)) {
        return None;
    }
    steady(evidence, runs, &grown.name, is_own)
}

/// A finding if `name` grew by about the same amount in the first run and in each of the `later` ones, which are all others.
fn steady(
    evidence: &Evidence,
    later: &[&Run],
    name: &str,
    is_theirs: fn(&Growth) -> bool,
) -> Option<Finding> {
    let limits = evidence.thresholds;
    let mut runs = vec![evidence.source.warm_up()?];
    runs.extend(later);
    let times = runs
        .iter()
        .map(|run| run.grown.iter().find(|growth| growth.name == name))
        .collect::<Option<Vec<&Growth>>>()?;
    let (first, others) = times.split_first()?;
    let amounts = || times.iter().map(|growth| growth.delta);
    let (least, most) = (amounts().min()?, amounts().max()?);
    // Its first appearance may be a growth from nothing; a name that is new each time is not one that grows.
    let second = others.first()?;
    let same = others.iter().all(|growth| {
        !growth.new && growth.type_name == second.type_name && growth.part == second.part
    });
    // Which part of an object grew is known from the second look at it on.
    let part_was_unknown = first.part.is_empty() && !second.part.is_empty();
    let same = same && (first.type_name == second.type_name || part_was_unknown);
    let even = least >= to_signed(limits.growth_per_run) && most <= least.saturating_add(least / 2);
    if runs.len() < limits.growth_runs || !same || !even || !is_theirs(second) {
        return None;
    }
    let each = Slope {
        middle: amounts().map(|amount| amount as f64).sum::<f64>() / times.len() as f64,
        low: least as f64,
        high: most as f64,
    };
    let grown = Grown {
        name: name.to_owned(),
        times,
    };
    Some(explained(evidence, &runs, &grown, each, false))
}

/// What grew: one name, or a family that differs in its numbers.
struct Grown<'a> {
    /// The name, or the name with `*` in place of the number.
    name: String,
    /// Each time it grew, oldest first.
    times: Vec<&'a Growth>,
}

/// The part that grew, or the name.
fn owner<'a>(grown: &'a Grown) -> &'a str {
    let last = grown.times.last().map(|growth| growth.part.as_str());
    last.filter(|part| !part.is_empty()).unwrap_or(&grown.name)
}

/// The name that grew most, if it is two fifths of all growth: two may share it, such as a model and its optimiser.
fn culprit<'a>(recent: &[&'a Run], growth: i64) -> Option<Grown<'a>> {
    let mut names: BTreeMap<String, Vec<&Growth>> = BTreeMap::new();
    for run in recent {
        for growth in &run.grown {
            let name = if growth.new {
                family(&growth.name)
            } else {
                growth.name.clone()
            };
            names.entry(name).or_default().push(growth);
        }
    }
    let sum = |times: &[&Growth]| {
        times
            .iter()
            .fold(0i64, |sum, growth| sum.saturating_add(growth.delta))
    };
    names
        .into_iter()
        .filter(|(_, times)| times.len() * 3 >= recent.len() * 2 && sum(times) >= growth / 5 * 2)
        .max_by_key(|(_, times)| sum(times))
        .map(|(name, times)| Grown { name, times })
}

/// `df_12` belongs to `df_*`; a name without a number is its own family.
fn family(name: &str) -> String {
    let Some(last) = name.rfind(|c: char| c.is_ascii_digit()) else {
        return name.to_owned();
    };
    let first = name[..last]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| {
            at + name[at..].chars().next().map_or(1, char::len_utf8)
        });
    format!("{}*{}", &name[..first], &name[last + 1..])
}

fn explained(
    evidence: &Evidence,
    recent: &[&Run],
    grown: &Grown,
    slope: Slope,
    certain: bool,
) -> Finding {
    let runs = recent.len();
    let each = slope.words();
    let last = grown.times.last();
    let mut sure = if certain {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let copies = last.is_some_and(|growth| growth.new);
    let owner = owner(grown);
    let (bytes, message, hint) = if copies {
        let names: Vec<&str> = grown
            .times
            .iter()
            .map(|growth| growth.name.as_str())
            .collect();
        let bytes = grown
            .times
            .iter()
            .fold(0u64, |sum, growth| sum.saturating_add(growth.bytes));
        let message = format!(
            "Each of the last {runs} runs of this cell left another copy in the namespace as `{}`, {each} a run: {}.",
            grown.name,
            names.join(", ")
        );
        let from = names.len().saturating_sub(MOST_IN_HINT);
        (bytes, message, format!("del {}", names[from..].join(", ")))
    } else if !last.is_some_and(|growth| is_own(growth)) {
        let bytes = last.map_or(0, |growth| growth.bytes);
        sure = if runs >= UNEXPLAINED_RUNS {
            Confidence::Likely
        } else {
            Confidence::Possible
        };
        let message = format!(
            "What `{}` reaches grew by {each} in each of the last {runs} runs of this cell and is {} now.",
            grown.name,
            human(bytes)
        );
        (bytes, message, LEAKS.to_owned())
    } else {
        let bytes = last.map_or(0, |growth| growth.bytes);
        let message = format!(
            "`{owner}` grew by {each} in each of the last {runs} runs of this cell and holds {} now: re-running the cell \
             appends to it.",
            human(bytes)
        );
        (
            bytes,
            message,
            release(owner, last.map_or("", |growth| &growth.type_name)),
        )
    };
    let of_callables = last.is_some_and(|growth| growth.callables);
    let (cause, message, hint) = if !copies && (is_registry(owner) || of_callables) {
        let message = format!(
            "The callbacks in `{owner}` grew by {each} in each of the last {runs} runs of this cell and hold {}: each run registers one \
             more hook. Register once, or remove() what was registered.",
            human(bytes)
        );
        // A registry has other lists of what is in this one.
        let is_whole = hint != LEAKS && last.is_none_or(|growth| growth.type_name != "registry");
        let hint = if is_whole {
            hint
        } else {
            DISCONNECT.to_owned()
        };
        (Cause::RegistryCallback, message, hint)
    } else {
        (Cause::UserGrowth, message, hint)
    };
    Finding {
        id: cause.id(&grown.name),
        cause,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Variable,
            name: if copies {
                grown.name.clone()
            } else {
                owner.to_owned()
            },
        },
        bytes,
        confidence: sure,
        message: with_cell(message, evidence),
        hint,
        step: None,
    }
}

fn unexplained(evidence: &Evidence, recent: &[&Run], growth: i64, slope: Slope) -> Finding {
    let runs = recent.len();
    let message = format!(
        "Each of the last {runs} runs of this cell kept about {} more and no variable explains it: a cache, a registry \
         or native memory may hold it.",
        slope.words()
    );
    Finding {
        id: Cause::UserGrowth.id(&evidence.cell.source_hash),
        cause: Cause::UserGrowth,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Holder,
            name: "no variable".into(),
        },
        bytes: growth.unsigned_abs(),
        confidence: if runs >= UNEXPLAINED_RUNS {
            Confidence::Likely
        } else {
            Confidence::Possible
        },
        message: with_cell(message, evidence),
        hint: LEAKS.into(),
        step: None,
    }
}

fn with_cell(message: String, evidence: &Evidence) -> String {
    match evidence.cell.execution_count {
        Some(number) => message.replacen("this cell", &format!("this cell (now [{number}])"), 1),
        None => message,
    }
}

/// Whether a part of an object is where callbacks are registered, by its name.
fn is_registry(part: &str) -> bool {
    let (_, last) = part.rsplit_once('.').unwrap_or(("", ""));
    REGISTRIES.iter().any(|word| last.contains(word))
}

fn release(name: &str, type_name: &str) -> String {
    let is_path = name.contains(['.', '[']);
    if !is_path && !is_identifier(name) {
        return format!("globals().pop({name:?});");
    }
    if type_name == PRIVATE {
        let (object, _) = name.rsplit_once('.').unwrap_or((name, ""));
        return format!("{object}.clear()");
    }
    if type_name == "set" {
        // Tuples and the like: the collector empties the lists of free ones, which pin their arenas.
        format!("{name}.clear(); import gc; gc.collect();")
    } else if CLEARED.contains(&type_name) {
        format!("{name}.clear()")
    } else {
        format!("del {name}")
    }
}

/// Whether values of this class hold their memory themselves, so that clearing or deleting the name frees it.
fn is_data(type_name: &str) -> bool {
    CLEARED.contains(&type_name) || DATA.contains(&type_name) || type_name == PRIVATE
}

/// Whether what grew is the variable's own, so that clearing or deleting it frees the memory.
fn is_own(growth: &Growth) -> bool {
    is_data(&growth.type_name) || growth.alone
}

fn to_signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
