//! One file a cause of kept memory. Each says what it is, how it is detected, what it is confused with, the hint and the
//! cleanup step, and has the table of its tests.
//!
//! A new cause is a new file with a `detect` function and a line in `ALL`.

mod allocator_retention;
mod autograd_graph;
mod cache_growth;
mod child_process;
mod exit_functions;
mod figures;
mod framework_state;
mod ipython_refs;
mod kept;
mod lodged;
mod native_leak;
mod open_resource;
mod pool_cache;
mod read_once;
mod ref_cycle;
mod registry_callback;
mod stored_exceptions;
mod suspended_execution;
mod traceback_refs;
mod user_growth;
mod view_retention;

pub(crate) use child_process::is_at_work;

use crate::code::Code;
use crate::facts::Facts;
use crate::growths::Growths;
use crate::history::Source;
use crate::record::{CellInfo, Finding};
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
    /// What was measured from outside.
    pub host: &'a meter::Host,
    /// Bytes of the delta that no variable and no holder accounts for.
    pub unnamed: i64,
    /// Memory is known to grow that nothing explains.
    pub grows: bool,
    /// In how many cells a holder has grown.
    pub growth: &'a Growths,
    /// The code of the cell.
    pub code: &'a Code<'a>,
}

/// What a detector says.
pub(crate) enum Verdict {
    /// The cause holds; these are all cases of it.
    Holds(Vec<Finding>),
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
    /// How far it sees.
    pub scope: Scope,
    /// It judges what is learnt in idle time, not the cell.
    pub late: bool,
    /// How it judges.
    pub detect: fn(&Evidence) -> Verdict,
}

/// All detectors.
pub(crate) const ALL: &[Detector] = &[
    Detector {
        scope: Scope::Session,
        late: false,
        detect: ipython_refs::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: traceback_refs::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: stored_exceptions::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: figures::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: autograd_graph::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: view_retention::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: cache_growth::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: open_resource::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: child_process::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: suspended_execution::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: registry_callback::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: framework_state::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: pool_cache::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: allocator_retention::detect,
    },
    Detector {
        scope: Scope::Source,
        late: false,
        detect: native_leak::detect,
    },
    Detector {
        scope: Scope::Source,
        late: false,
        detect: user_growth::detect,
    },
    Detector {
        scope: Scope::Source,
        late: false,
        detect: read_once::detect,
    },
    Detector {
        scope: Scope::Session,
        late: false,
        detect: ref_cycle::put_aside,
    },
    Detector {
        scope: Scope::Session,
        late: true,
        detect: ref_cycle::detect,
    },
    Detector {
        scope: Scope::Session,
        late: true,
        detect: exit_functions::detect,
    },
    Detector {
        scope: Scope::Session,
        late: true,
        detect: lodged::detect,
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
        let cell = cell();
        detect(&Evidence {
            cell: &cell,
            facts,
            source: &source,
            thresholds: &Thresholds::default(),
            host: &meter::Host::default(),
            unnamed: 0,
            grows: false,
            growth: &Growths::default(),
            code: &Code::default(),
        })
    }

    /// What variables were met with, as `path`, class of the container, class of the thing, whether it can be typed.
    pub fn inside(
        kind: HolderKind,
        name: &str,
        bytes: u64,
        at: (&str, &str, &str, bool),
    ) -> Holder {
        Holder {
            inside: name.into(),
            count: 1,
            path: at.0.into(),
            shape: at.1.into(),
            element: at.2.into(),
            direct: at.3,
            ..holder(kind, name, &[], bytes)
        }
    }

    /// Evidence of one cell.
    pub struct Case {
        pub facts: Facts,
        host: meter::Host,
        unnamed: i64,
        pub grows: bool,
        growths: Growths,
        source: String,
        runs: Source,
    }

    impl Case {
        pub fn of(held: Vec<Holder>) -> Self {
            Self {
                facts: holders(held),
                host: meter::Host::default(),
                unnamed: 0,
                grows: false,
                growths: Growths::default(),
                source: String::new(),
                runs: Source::default(),
            }
        }

        /// Runs of the cell.
        pub fn runs(mut self, runs: impl Iterator<Item = Run>) -> Self {
            let mut history = History::default();
            for run in runs {
                self.runs = history.add("x", Some(run)).clone();
            }
            self
        }

        /// The cell's code.
        pub fn source(mut self, source: &str) -> Self {
            self.source = source.to_owned();
            self
        }

        pub fn partial(mut self) -> Self {
            self.facts.complete = false;
            self
        }

        pub fn unnamed(mut self, bytes: i64) -> Self {
            self.unnamed = bytes;
            self
        }

        /// The holders have grown in so many cells.
        pub fn grown(mut self, cells: u32) -> Self {
            (0..cells).for_each(|_| self.growths.add(&self.facts, self.unnamed));
            self
        }

        /// So many bytes more had no name after a cell in which the collector ran.
        pub fn collected(mut self, collections: u64, unnamed: i64) -> Self {
            let facts = Facts {
                collections,
                ..Facts::default()
            };
            self.growths.add_collections(&facts, unnamed);
            self
        }

        pub fn children(mut self, count: u64, pss: u64, delta: i64) -> Self {
            self.host.children = Some(meter::Children {
                count,
                pss: Some(pss),
                own: None,
                delta: Some(delta),
                ..meter::Children::default()
            });
            self
        }

        /// Processes that were not there before the cell.
        pub fn left(mut self, left: Vec<meter::Left>) -> Self {
            if let Some(children) = &mut self.host.children {
                children.left = left;
            }
            self
        }

        pub fn judge(self, detect: fn(&Evidence) -> Verdict) -> Verdict {
            let cell = cell();
            detect(&Evidence {
                cell: &cell,
                facts: Some(&self.facts),
                source: &self.runs,
                thresholds: &Thresholds::default(),
                host: &self.host,
                unnamed: self.unnamed,
                grows: self.grows,
                growth: &self.growths,
                code: &Code::new(&self.source),
            })
        }
    }

    fn cell() -> CellInfo {
        CellInfo {
            execution_count: Some(7),
            source_hash: "abc".into(),
            run: 1,
            status: Status::Ok,
        }
    }

    pub fn is_gone(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Gone)
    }

    pub fn is_unknown(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Unknown)
    }

    pub fn finding(verdict: Verdict) -> Finding {
        match verdict {
            Verdict::Holds(mut findings) => findings.swap_remove(0),
            Verdict::Gone => panic!("the cause was not found"),
            Verdict::Unknown => panic!("there was nothing to judge by"),
        }
    }
}
