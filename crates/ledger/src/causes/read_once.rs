//! `user_growth`, read once: a list that a cell fills, goes through once, and leaves behind.
//!
//! **When it fires.** A new or grown list, set or dict of the cell holds 10 MiB or more, and all that the cell's code does with it is to
//! fill it in a loop or a comprehension and to go through it once.
//!
//! **Why it matters.** All of it is in memory at once and stays there, where one item at a time would do.
//!
//! **How it is detected.** By the cell's code, and only when the variable really holds that much. It is never an alarm: a later cell may
//! need the list, which nobody can know now.
//!
//! **Example.** `rows = [parse(line) for line in file]` and then `total = sum(rows)`
//!
//! **Fix.** A generator expression: `sum(parse(line) for line in file)`.
//!
//! **What it is confused with.** A list that is used again.
//!
//! **Step.** None: it is the user's data.

use super::{Evidence, Verdict};
use crate::code::once_read;
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;

const CONTAINERS: [&str; 3] = ["list", "set", "dict"];

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let large = facts.variables.iter().filter(|variable| {
        CONTAINERS.contains(&variable.type_name.as_str())
            && variable.moved() > 0
            && variable.everywhere() >= evidence.thresholds.min_held
    });
    let found: Vec<Finding> = large
        .filter_map(|variable| {
            let (filled, read) = once_read(evidence.code.facts(), &variable.name)?;
            let (name, bytes) = (&variable.name, variable.everywhere());
            let lines = if filled.line == read.line {
                format!("line {} fills it and goes through it once", read.line)
            } else {
                format!("line {} fills it and line {} goes through it once", filled.line, read.line)
            };
            Some(Finding {
                id: Cause::UserGrowth.id(&format!("once:{name}")),
                cause: Cause::UserGrowth,
                leak: false,
                culprit: Culprit {
                    kind: CulpritKind::Variable,
                    name: name.clone(),
                },
                bytes,
                confidence: Confidence::Possible,
                message: format!(
                    "`{name}` holds {}; {lines}. If no later cell needs it, a generator expression in its place keeps nothing.",
                    human(bytes)
                ),
                hint: format!("del {name}"),
                step: None,
            })
        })
        .collect();
    if found.is_empty() {
        Verdict::Gone
    } else {
        Verdict::Holds(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, is_gone};
    use super::*;
    use crate::facts::Variable;

    fn case(source: &str, bytes: u64) -> Verdict {
        let mut case = Case::of(vec![]).source(source);
        case.facts.variables = vec![Variable {
            name: "rows".into(),
            type_name: "list".into(),
            bytes,
            ..Variable::default()
        }];
        case.judge(detect)
    }

    #[test]
    fn it_is_told_only_where_code_and_memory_agree_and_is_no_alarm() {
        let once = "rows = [f(x) for x in y]\ntotal = sum(rows)";
        let found = finding(case(once, 40 * MIB));
        assert_eq!(
            (found.leak, found.confidence),
            (false, Confidence::Possible)
        );
        assert!(
            found
                .message
                .contains("line 1 fills it and line 2 goes through it once")
        );
        assert!(is_gone(case(once, MIB)));
        assert!(is_gone(case("rows = [f(x) for x in y]\ng(rows)", 40 * MIB)));
    }
}
