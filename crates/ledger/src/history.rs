//! What each source did in its earlier runs. Bounded: the least recently run sources are forgotten.

use std::collections::{HashMap, VecDeque};

use crate::facts::{Change, Facts, HolderKind};

const SOURCES: usize = 2_000;
const RUNS: usize = 32;
const NAMES: usize = 8;

/// One execution of a source that ended well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Change of resident bytes and of what frameworks use on GPUs; `None` if it was not measured.
    pub delta: Option<i64>,
    /// Names that hold more than before, largest growth first.
    pub grown: Vec<Growth>,
    /// Growth of what has a cause of its own, or a bound.
    pub holders: i64,
    /// Growth of what the allocators have given out and no name leads to.
    pub native: i64,
    /// Growth of what they keep free.
    pub slack: i64,
}

/// A name that holds more than before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Growth {
    /// The name.
    pub name: String,
    /// Its value's class.
    pub type_name: String,
    /// By how much.
    pub delta: i64,
    /// The container within it that grew, whose class `type_name` is then; empty if it is the value itself.
    pub part: String,
    /// Functions or methods are what that container keeps.
    pub callables: bool,
    /// What it holds now.
    pub bytes: u64,
    /// The name itself is new.
    pub new: bool,
    /// Nothing else refers to its value.
    pub alone: bool,
}

impl Run {
    /// What is remembered of a cell.
    pub fn new(delta: Option<i64>, facts: Option<&Facts>, native: i64) -> Self {
        let Some(facts) = facts else {
            return Self {
                delta,
                native,
                ..Self::default()
            };
        };
        let mut grown: Vec<Growth> = facts
            .variables
            .iter()
            .filter(|variable| variable.moved() > 0 && !variable.bounded)
            .map(|variable| Growth {
                name: variable.name.clone(),
                type_name: if variable.part.is_empty() {
                    variable.type_name.clone()
                } else {
                    variable.part_type.clone()
                },
                part: variable.part.clone(),
                callables: variable.callables,
                delta: variable.moved(),
                bytes: variable.everywhere(),
                new: variable.change == Change::New,
                alone: variable.alone,
            })
            .collect();
        grown.sort_by_key(|growth| std::cmp::Reverse(growth.delta));
        grown.truncate(NAMES);
        let holders = facts
            .holders
            .iter()
            .filter(|holder| holder.kind != HolderKind::Other && !holder.is_appended_to())
            .fold(0i64, |sum, holder| sum.saturating_add(holder.delta()));
        let bounded = facts
            .variables
            .iter()
            .filter(|variable| variable.bounded)
            .fold(0i64, |sum, variable| sum.saturating_add(variable.moved()));
        Self {
            delta,
            grown,
            holders: holders.saturating_add(bounded),
            native,
            slack: facts
                .allocators
                .iter()
                .fold(0i64, |sum, one| sum.saturating_add(one.slackened())),
        }
    }
}

/// All that is known of one source.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Executions in this session, also those no longer remembered.
    pub executions: u64,
    /// The first run is among `runs`; it may be a warm-up.
    first_kept: bool,
    runs: VecDeque<Run>,
    last_used: u64,
}

impl Source {
    /// The runs that count, oldest first: without the very first one, which imports, compiles and fills caches.
    pub fn measured(&self) -> impl ExactSizeIterator<Item = &Run> + DoubleEndedIterator + Clone {
        self.runs
            .range(usize::from(self.first_kept && !self.runs.is_empty())..)
    }

    /// The very first run, while it is remembered.
    pub fn warm_up(&self) -> Option<&Run> {
        self.runs.front().filter(|_| self.first_kept)
    }
}

/// The sources of a session.
#[derive(Debug, Default)]
pub struct History {
    sources: HashMap<String, Source>,
    clock: u64,
}

impl History {
    /// Counts an execution of a source and remembers the run if it ended well; answers with what is known now.
    pub fn add(&mut self, hash: &str, run: Option<Run>) -> &Source {
        self.clock += 1;
        if !self.sources.contains_key(hash) && self.sources.len() >= SOURCES {
            let oldest = self
                .sources
                .iter()
                .min_by_key(|(_, source)| source.last_used)
                .map(|(hash, _)| hash.clone());
            if let Some(oldest) = oldest {
                self.sources.remove(&oldest);
            }
        }
        let source = self.sources.entry(hash.to_owned()).or_default();
        source.executions += 1;
        source.last_used = self.clock;
        if let Some(run) = run {
            if source.runs.is_empty() {
                source.first_kept = true;
            }
            if source.runs.len() >= RUNS {
                source.runs.pop_front();
                source.first_kept = false;
            }
            source.runs.push_back(run);
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(delta: i64) -> Option<Run> {
        Some(Run::new(Some(delta), None, 0))
    }

    #[test]
    fn the_first_run_is_a_warm_up_and_failed_ones_do_not_count() {
        let mut history = History::default();
        history.add("a", None);
        history.add("a", run(1));
        history.add("a", None);
        let source = history.add("a", run(2)).clone();
        assert_eq!(source.executions, 4);
        assert_eq!(
            source
                .measured()
                .filter_map(|run| run.delta)
                .collect::<Vec<_>>(),
            [2]
        );
        assert_eq!(source.warm_up().and_then(|run| run.delta), Some(1));
    }

    #[test]
    fn memory_of_runs_and_sources_is_bounded() {
        let mut history = History::default();
        for i in 0..100 {
            history.add("many", run(i));
        }
        assert_eq!(history.sources["many"].measured().len(), RUNS);
        assert_eq!(history.sources["many"].executions, 100);
        assert_eq!(history.sources["many"].warm_up(), None);
        for i in 0..SOURCES {
            history.add(&i.to_string(), run(0));
        }
        assert_eq!(history.sources.len(), SOURCES);
        assert!(!history.sources.contains_key("many"));
    }
}
