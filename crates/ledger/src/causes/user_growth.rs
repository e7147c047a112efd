//! `user_growth`: a variable of the notebook holds more after each run of the same cell.
//!
//! **What it is.** A list that a cell appends to, or a numbered copy that every run leaves in the namespace. Nothing is
//! wrong with one run; the tenth run of an unchanged cell has ten times the data.
//!
//! **How it is detected.** Of the runs of the same source the first is left out as a warm-up. If each of the last three
//! retained at least 1 MiB, the Theil–Sen slope over all runs agrees, and Laplace's rule gives 70 % for the next run to
//! grow as well, the cell grows. The culprit is the name, or the family of numbered names, that grew in most of these
//! runs and accounts for half of the growth.
//!
//! **What it is confused with.** A large result that each run replaces: it counts once. Imports, compilers and pools: the
//! first run. Results in the output history or a traceback: growth that these holders account for is left to their
//! causes. Growth that no name explains may be a cache, a registry or native memory; it is reported as such.
//!
//! **Hint.** `name.clear()` for containers, `del` for the rest.
//!
//! **Step.** None: it is the user's data.

use std::collections::BTreeMap;

use super::{Evidence, Verdict, is_identifier};
use crate::history::{Growth, Run};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;
use crate::trend::{laplace, theil_sen};

const CHANCE: f64 = 0.7;
const UNEXPLAINED_RUNS: usize = 5;
const CLEARED: [&str; 7] = [
    "list",
    "dict",
    "set",
    "deque",
    "defaultdict",
    "OrderedDict",
    "bytearray",
];
const MOST_IN_HINT: usize = 8;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
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
    let slope = theil_sen(&levels).unwrap_or(0.0);
    if streak < limits.growth_runs
        || laplace(runs.len(), frees) < CHANCE
        || slope < limits.growth_per_run as f64
    {
        return Verdict::Gone;
    }
    let recent = &runs[runs.len() - streak..];
    let growth = recent
        .iter()
        .fold(0i64, |sum, run| sum.saturating_add(run.delta.unwrap_or(0)));
    let in_holders = recent
        .iter()
        .fold(0i64, |sum, run| sum.saturating_add(run.holders));
    if in_holders >= growth / 2 {
        return Verdict::Gone; // theirs to report
    }
    let certain = runs.len() >= limits.certain_runs && frees == 0;
    match culprit(recent, growth) {
        Some(grown) => Verdict::Holds(explained(evidence, recent, &grown, slope, certain)),
        None => Verdict::Holds(unexplained(evidence, recent, growth, slope)),
    }
}

/// What grew: one name, or a family that differs in its numbers.
struct Grown<'a> {
    /// The name, or the name with `*` in place of the number.
    name: String,
    /// Each time it grew, oldest first.
    times: Vec<&'a Growth>,
}

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
        .filter(|(_, times)| times.len() * 3 >= recent.len() * 2 && sum(times) >= growth / 2)
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
    slope: f64,
    certain: bool,
) -> Finding {
    let runs = recent.len();
    let each = human(slope as u64);
    let last = grown.times.last();
    let copies = last.is_some_and(|growth| growth.new);
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
            "Each of the last {runs} runs of this cell left another copy in the namespace, {each} a run: {}.",
            names.join(", ")
        );
        let from = names.len().saturating_sub(MOST_IN_HINT);
        (bytes, message, format!("del {}", names[from..].join(", ")))
    } else {
        let bytes = last.map_or(0, |growth| growth.bytes);
        let message = format!(
            "`{}` grew by {each} in each of the last {runs} runs of this cell and holds {} now: re-running the cell \
             appends to it.",
            grown.name,
            human(bytes)
        );
        (
            bytes,
            message,
            release(&grown.name, last.map_or("", |growth| &growth.type_name)),
        )
    };
    Finding {
        id: Cause::UserGrowth.id(&grown.name),
        cause: Cause::UserGrowth,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Variable,
            name: grown.name.clone(),
        },
        bytes,
        confidence: if certain {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
        message: with_cell(message, evidence),
        hint,
        step: None,
    }
}

fn unexplained(evidence: &Evidence, recent: &[&Run], growth: i64, slope: f64) -> Finding {
    let runs = recent.len();
    let message = format!(
        "Each of the last {runs} runs of this cell kept about {} more and no variable explains it: a cache, a registry \
         or native memory may hold it.",
        human(slope as u64)
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
        hint: "%hygiene leaks".into(),
        step: None,
    }
}

fn with_cell(message: String, evidence: &Evidence) -> String {
    match evidence.cell.execution_count {
        Some(number) => message.replacen("this cell", &format!("this cell (now [{number}])"), 1),
        None => message,
    }
}

fn release(name: &str, type_name: &str) -> String {
    if !is_identifier(name) {
        return format!("globals().pop({name:?});");
    }
    if CLEARED.contains(&type_name) {
        format!("{name}.clear()")
    } else {
        format!("del {name}")
    }
}

fn to_signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, finding, judge};
    use super::*;

    const M: i64 = MIB as i64;

    fn run(delta: i64, grown: &[(&str, &str, i64, bool)]) -> Run {
        let grown = grown
            .iter()
            .enumerate()
            .map(|(i, (name, type_name, delta, new))| Growth {
                name: (*name).into(),
                type_name: (*type_name).into(),
                delta: *delta,
                bytes: (*delta as u64) * (i as u64 + 1),
                new: *new,
            })
            .collect();
        Run {
            delta: Some(delta),
            grown,
            holders: 0,
        }
    }

    fn append(delta: i64) -> Run {
        run(
            delta,
            &[
                ("preds", "list", delta, false),
                ("out", "ndarray", 1024, false),
            ],
        )
    }

    #[test]
    fn a_list_that_every_run_appends_to_is_named_with_a_line_that_clears_it() {
        let found = finding(judge(
            detect,
            None,
            vec![
                append(20 * M),
                append(10 * M),
                append(10 * M),
                append(10 * M),
            ],
        ));
        assert_eq!(
            found.culprit,
            Culprit {
                kind: CulpritKind::Variable,
                name: "preds".into()
            }
        );
        assert_eq!(found.hint, "preds.clear()");
        assert_eq!(found.confidence, Confidence::Likely);
        assert!(
            found
                .message
                .contains("`preds` grew by 10.0 MiB in each of the last 3 runs")
        );
    }

    #[test]
    fn numbered_copies_are_one_culprit() {
        let copy = |n: i64| run(20 * M, &[(&format!("df_{n}"), "DataFrame", 20 * M, true)]);
        let found = finding(judge(detect, None, (1..=5).map(copy).collect()));
        assert_eq!(found.culprit.name, "df_*");
        assert_eq!(found.hint, "del df_2, df_3, df_4, df_5");
    }

    #[test]
    fn growth_becomes_certain_only_after_eight_runs() {
        for (runs, confidence) in [
            (4, Confidence::Likely),
            (8, Confidence::Likely),
            (9, Confidence::Certain),
        ] {
            let found = finding(judge(
                detect,
                None,
                (0..runs).map(|_| append(10 * M)).collect(),
            ));
            assert_eq!(found.confidence, confidence, "{runs} runs");
        }
    }

    #[test]
    fn ordinary_cells_do_not_alarm() {
        let plain = |deltas: &[i64]| {
            deltas
                .iter()
                .map(|delta| run(*delta, &[]))
                .collect::<Vec<_>>()
        };
        for (what, runs) in [
            ("one run of an import", plain(&[80 * M])),
            ("an import that is repeated", plain(&[80 * M, 0, 0, 0, 0])),
            (
                "a result that each run replaces",
                plain(&[80 * M, 49 * M, 0, 0, 0]),
            ),
            ("two runs that grow", plain(&[0, 10 * M, 10 * M])),
            ("growth that ends", plain(&[0, 10 * M, 10 * M, 10 * M, 0])),
            (
                "up and down",
                plain(&[0, 10 * M, -10 * M, 10 * M, -10 * M, 10 * M, 10 * M, 10 * M]),
            ),
            (
                "kilobytes a run",
                plain(&[0, 900 << 10, 900 << 10, 900 << 10, 900 << 10]),
            ),
        ] {
            assert!(
                matches!(judge(detect, None, runs), Verdict::Gone | Verdict::Unknown),
                "{what}"
            );
        }
    }

    #[test]
    fn growth_of_the_output_history_is_not_ours() {
        let shown = || Run {
            delta: Some(16 * M),
            grown: vec![],
            holders: 16 * M,
        };
        assert!(matches!(
            judge(detect, None, (0..6).map(|_| shown()).collect()),
            Verdict::Gone
        ));
    }

    #[test]
    fn growth_without_a_variable_says_so_and_waits_for_more_runs() {
        let runs = |n: usize| (0..n).map(|_| run(10 * M, &[])).collect::<Vec<_>>();
        let early = finding(judge(detect, None, runs(4)));
        assert_eq!(early.confidence, Confidence::Possible);
        assert!(early.message.contains("no variable explains it"));
        assert_eq!(
            finding(judge(detect, None, runs(6))).confidence,
            Confidence::Likely
        );
    }

    #[test]
    fn a_name_is_released_in_the_way_that_fits_it() {
        for (name, type_name, line) in [
            ("xs", "list", "xs.clear()"),
            ("arr", "ndarray", "del arr"),
            ("two words", "list", "globals().pop(\"two words\");"),
        ] {
            assert_eq!(release(name, type_name), line);
        }
    }

    #[test]
    fn families_differ_only_in_the_last_number() {
        for (name, expected) in [
            ("df_12", "df_*"),
            ("x", "x"),
            ("a1b22", "a1b*"),
            ("7", "*"),
            ("ä1", "ä*"),
            ("run3_out", "run*_out"),
        ] {
            assert_eq!(family(name), expected);
        }
    }
}
