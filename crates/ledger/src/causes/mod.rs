//! One file a cause of kept memory. Each says what it is, how it is detected, what it is confused with, the hint and the
//! cleanup step, and has the table of its tests.
//!
//! A new cause is a new file with a `detect` function and a line in `ALL`.

mod ipython_refs;
mod traceback_refs;
mod user_growth;

use crate::facts::Facts;
use crate::history::Source;
use crate::record::{Cause, CellInfo, Finding};
use crate::thresholds::Thresholds;

/// What a detector may look at.
pub(crate) struct Evidence<'a> {
    /// The cell that has just ended.
    pub cell: &'a CellInfo,
    /// Facts of tier 1, if they were gathered.
    pub facts: Option<&'a Facts>,
    /// Runs of the same source, this one included.
    pub source: &'a Source,
    /// The limits.
    pub thresholds: &'a Thresholds,
}

/// What a detector says.
pub(crate) enum Verdict {
    /// The cause holds.
    Holds(Finding),
    /// The cause was looked for and is not there (any more).
    Gone,
    /// There was nothing to judge by; an earlier finding stands.
    Unknown,
}

/// How far a detector sees: its `Gone` ends its earlier findings there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole interpreter.
    Session,
    /// The source of the cell that has just ended.
    Source,
}

/// A detector.
pub(crate) struct Detector {
    /// What it looks for.
    pub cause: Cause,
    /// How far it sees.
    pub scope: Scope,
    /// How it judges.
    pub detect: fn(&Evidence) -> Verdict,
}

/// All detectors.
pub(crate) const ALL: &[Detector] = &[
    Detector {
        cause: Cause::IpythonRefs,
        scope: Scope::Session,
        detect: ipython_refs::detect,
    },
    Detector {
        cause: Cause::TracebackRefs,
        scope: Scope::Session,
        detect: traceback_refs::detect,
    },
    Detector {
        cause: Cause::UserGrowth,
        scope: Scope::Source,
        detect: user_growth::detect,
    },
];

/// Whether a name can be typed as it is.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
pub(crate) mod testing {
    //! Short ways to write evidence.

    use super::*;
    use crate::facts::{Holder, HolderKind};
    use crate::history::{History, Run};
    use crate::record::Status;

    pub const MIB: u64 = 1 << 20;

    pub fn holder(kind: HolderKind, name: &str, names: &[&str], bytes: u64) -> Holder {
        Holder {
            kind,
            name: name.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            type_name: "ndarray".into(),
            bytes,
            ..Holder::default()
        }
    }

    pub fn holders(holders: Vec<Holder>) -> Facts {
        Facts {
            complete: true,
            holders,
            ..Facts::default()
        }
    }

    pub fn judge(
        detect: fn(&Evidence) -> Verdict,
        facts: Option<&Facts>,
        runs: Vec<Run>,
    ) -> Verdict {
        let mut history = History::default();
        let mut source = Source::default();
        for run in runs {
            source = history.add("x", Some(run)).clone();
        }
        let cell = CellInfo {
            execution_count: Some(7),
            source_hash: "abc".into(),
            run: 1,
            status: Status::Ok,
        };
        detect(&Evidence {
            cell: &cell,
            facts,
            source: &source,
            thresholds: &Thresholds::default(),
        })
    }

    pub fn finding(verdict: Verdict) -> Finding {
        match verdict {
            Verdict::Holds(finding) => finding,
            Verdict::Gone => panic!("the cause was not found"),
            Verdict::Unknown => panic!("there was nothing to judge by"),
        }
    }
}
