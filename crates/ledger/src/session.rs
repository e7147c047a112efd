//! The memory of a session: from the end of a cell to its record.

use std::collections::BTreeMap;

use meter::Reading;

use crate::account::Account;
use crate::book::{Book, Past};
use crate::causes::{ALL, Evidence, is_at_work};
use crate::code::{Code, remark};
use crate::facts::{Allocator, Facts};
use crate::gpu;
use crate::growths::Growths;
use crate::hash::source_hash;
use crate::history::{History, Run, Source};
use crate::record::{Cause, CellInfo, CellRecord, Counts, Finding, Status, VariableChange};
use crate::rows::{Split, rounded, split};
use crate::thresholds::Thresholds;

mod open;

use open::{Open, close_released, is_unexplained, sort, take};

const RECORD_VERSION: u32 = 1;
const REPORTED: usize = 40;
const RAISED_NOTABLE: u64 = 256 * 1024;

/// What is known at the end of a cell.
#[derive(Clone, Debug)]
pub struct CellEnd<'a> {
    /// The number in the prompt.
    pub execution_count: Option<u64>,
    /// The cell's code as sent.
    pub source: &'a str,
    /// How it ended.
    pub status: Status,
    /// Seconds of the cell alone.
    pub wall_s: Option<f64>,
    /// Processor seconds of the cell alone.
    pub cpu_s: Option<f64>,
    /// Seconds of our own work.
    pub overhead_s: Option<f64>,
    /// What was measured from outside.
    pub reading: Reading,
    /// Names.
    pub tier0: Facts,
    /// Sizes, if the cell was notable.
    pub tier1: Option<Facts>,
    /// Texts for the person.
    pub notices: Vec<String>,
}

/// Which cell somebody asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The last one that did something.
    Last,
    /// The one that has just ended.
    Newest,
    /// The one with this number in its prompt.
    Numbered(u64),
}

/// Judges cell after cell of one interpreter.
#[derive(Debug, Default)]
pub struct Session {
    thresholds: Thresholds,
    history: History,
    open: BTreeMap<String, Open>,
    growths: Growths,
    on_gpus: gpu::Held,
    /// Bytes that no name explained, over the cells that loaded no package.
    unnamed: i64,
    /// What is learnt in idle time would say something new.
    look_wanted: bool,
    /// It has not been learnt yet.
    look_awaited: bool,
    /// What the allocators last said.
    allocators: Vec<Allocator>,
    /// Findings of idle time that the next record tells.
    learnt: Vec<Finding>,
    book: Book,
}

impl Session {
    /// A session without a past.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            ..Self::default()
        }
    }

    /// Whether the agent should be asked for facts of tier 1.
    pub fn is_notable(&self, reading: &Reading, tier0: &Facts) -> bool {
        let limit = self.thresholds.notable;
        let moved = |delta: Option<i64>, limit: u64| {
            delta.is_some_and(|delta| delta.unsigned_abs() >= limit)
        };
        let host = &reading.host;
        let rose = match (host.peak, host.before) {
            (Some(peak), Some(before)) => peak.saturating_sub(before),
            _ => 0,
        };
        // A large name went away and the memory is still there: somebody else holds it.
        let kept = tier0.let_go >= limit
            && host.delta.is_none_or(|delta| {
                delta.saturating_neg() < i64::try_from(tier0.let_go / 2).unwrap_or(i64::MAX)
            });
        let mut open = self.open.values().map(|one| one.finding.cause);
        // A new exception takes the place of the last one, of which something may have been told.
        let raised = tier0.raised
            && (host.delta.is_none()
                || moved(host.delta, RAISED_NOTABLE)
                || rose >= limit
                || open.any(|cause| cause == Cause::TracebackRefs));
        moved(host.delta, limit)
            || moved(host.swap, limit)
            || host
                .children
                .as_ref()
                .is_some_and(|children| moved(children.delta, limit))
            || reading.gpu.iter().any(|gpu| moved(gpu.delta, limit))
            || gpu::moved(tier0) >= limit
            || rose >= self.thresholds.notable_peak
            || kept
            || raised
            || tier0.segments >= limit
    }

    /// Judges a cell and remembers it.
    pub fn close_cell(&mut self, end: CellEnd) -> CellRecord {
        let CellEnd {
            tier0,
            mut tier1,
            reading,
            mut notices,
            ..
        } = end;
        if let Some(facts) = &mut tier1 {
            facts.frameworks.clone_from(&tier0.frameworks);
        }
        let gpus = gpu::with_frameworks(reading.gpu, &tier0);
        let mut split = split(&reading.host, tier1.as_ref(), self.thresholds.notable);
        let on_gpus = gpu::rows(&gpus, &tier0, tier1.as_ref(), &self.on_gpus);
        split.ledger.rows.extend(on_gpus);
        if let Some(facts) = &tier1 {
            self.on_gpus.remember(facts);
            self.growths.add(facts, split.unnamed);
            // What the cell collects itself says nothing about what goes without it.
            if !end.source.contains("collect") {
                self.growths.add_collections(facts, split.unnamed);
            }
        }
        self.remember(&reading.host, &split, tier1.as_ref());
        let hash = source_hash(end.source);
        let ended_well = end.status == Status::Ok;
        let in_all = reading
            .host
            .delta
            .map(|delta| delta.saturating_add(gpu::live(&tier0)));
        let source = self.history.add(
            &hash,
            ended_well.then(|| Run {
                ..Run::new(in_all, tier1.as_ref(), split.native)
            }),
        );
        let cell = CellInfo {
            execution_count: end.execution_count,
            source_hash: hash,
            run: source.executions,
            status: end.status,
        };
        let code = Code::new(end.source);
        let evidence = Evidence {
            cell: &cell,
            facts: tier1.as_ref(),
            source,
            thresholds: &self.thresholds,
            host: &reading.host,
            unnamed: split.unnamed,
            grows: self.open.values().any(Open::is_unexplained),
            growth: &self.growths,
            code: &code,
        };
        self.open
            .retain(|_, one| !is_at_work(&one.finding, &evidence));
        let mut findings = std::mem::take(&mut self.learnt);
        if end.status != Status::Aborted {
            for (number, detector) in ALL.iter().enumerate().filter(|(_, one)| !one.late) {
                let verdict = (detector.detect)(&evidence);
                let told = take(
                    &mut self.open,
                    (number, detector),
                    &cell.source_hash,
                    verdict,
                    |finding| remark(code.facts(), finding, cell.run),
                );
                findings.extend(told);
            }
        }
        close_released(&mut self.open, &tier0, tier1.as_ref());
        self.yield_to_learnt(&mut findings);
        sort(&mut findings);

        let mut reported = Vec::new();
        for notice in reading.notices.into_iter().chain(notices.drain(..)) {
            if !reported.contains(&notice) {
                reported.push(notice);
            }
        }
        let limit_share = match (reading.host.after, reading.host.limit) {
            (Some(after), Some(limit)) if limit > 0 => Some(rounded(after as f64 / limit as f64)),
            _ => None,
        };
        let record = CellRecord {
            v: RECORD_VERSION,
            cell,
            wall_s: end.wall_s,
            cpu_s: end.cpu_s,
            overhead_s: end.overhead_s,
            variables: tier1.as_ref().map_or_else(Vec::new, variables),
            ledger: split.ledger,
            findings,
            steps: Vec::new(),
            notices: reported,
            counts: Counts {
                new: tier0.new_count,
                dropped: tier0.dropped_count,
                changed: tier0.changed_count,
            },
            limit_share,
            death: None,
            timeline: reading.timeline,
            host: reading.host,
            gpu: gpus,
        };
        self.book.enter(&record, end.source, &tier0, tier1.as_ref());
        record
    }

    /// What is remembered of the last cell that did more than ask, of the cell that has just ended, or of the one with a number.
    ///
    /// # Errors
    /// The sentence that says which cells are remembered.
    pub fn past(&self, which: Which) -> Result<&Past, String> {
        let found = match which {
            Which::Last => self.book.last(),
            Which::Newest => self.book.newest(),
            Which::Numbered(number) => self.book.numbered(number),
        };
        found.ok_or_else(|| match (which, self.book.numbers()) {
            (Which::Numbered(number), Some((first, last))) => {
                format!("Nothing is known of cell [{number}]: the kernel remembers [{first}] to [{last}].")
            }
            _ => "No cell has been measured yet.".to_owned(),
        })
    }

    /// The findings of a cell that still hold, worst first: those that it was told of, and those that its code made at any time.
    pub fn findings_of(&self, past: &Past) -> Vec<Finding> {
        let of_cell = |open: &&Open| {
            let told = &past.record.findings;
            open.source == past.record.cell.source_hash
                || told.iter().any(|finding| finding.id == open.finding.id)
        };
        let open = self.open.values().filter(of_cell);
        let mut findings: Vec<Finding> = open.map(|one| one.finding.clone()).collect();
        sort(&mut findings);
        findings
    }

    /// What the ledgers of all cells add up to.
    pub fn account(&self) -> &Account {
        &self.book.account
    }

    /// Takes note of what a cell left unexplained, and ends findings of idle time whose memory has gone.
    fn remember(&mut self, host: &meter::Host, split: &Split, tier1: Option<&Facts>) {
        let delta = host.delta.unwrap_or(0);
        let mut had_some = false;
        self.open.retain(|_, one| {
            let late = ALL.get(one.detector).is_some_and(|detector| detector.late);
            had_some |= late;
            !late
                || delta.saturating_neg() < i64::try_from(one.finding.bytes / 2).unwrap_or(i64::MAX)
        });
        let Some(facts) = tier1 else { return };
        if !facts.imports_explain(split.unnamed) {
            self.unnamed = self.unnamed.saturating_add(split.unnamed).max(0);
        }
        self.allocators.clone_from(&facts.allocators);
        let least = i64::try_from(self.thresholds.min_held).unwrap_or(i64::MAX);
        let wanted = had_some || (split.unnamed > 0 && self.unnamed >= least);
        self.look_wanted |= wanted;
        self.look_awaited |= wanted;
    }

    /// Growth without an explanation is not told while the explanation may still come, and ends when it has come.
    fn yield_to_learnt(&mut self, told: &mut Vec<Finding>) {
        let learnt = self
            .open
            .values()
            .filter(|one| {
                ALL.get(one.detector).is_some_and(|detector| detector.late)
                    || one.finding.cause == Cause::FrameworkState
            })
            .fold(0u64, |sum, one| sum.saturating_add(one.finding.bytes));
        self.open
            .retain(|_, one| !(one.is_unexplained() && learnt >= one.finding.bytes / 2));
        if self.look_awaited || learnt > 0 {
            for one in self.open.values_mut() {
                if one.is_unexplained() {
                    one.told = 0;
                }
            }
            told.retain(|finding| !is_unexplained(finding));
        }
    }

    /// Whether the agent should look, in idle time, for what nothing leads to. True once for each reason.
    pub fn takes_a_look(&mut self) -> bool {
        std::mem::take(&mut self.look_wanted)
    }

    /// Judges what was learnt in idle time; the next record tells it.
    pub fn learn(&mut self, mut facts: Facts) {
        facts.allocators.clone_from(&self.allocators);
        let cell = CellInfo {
            execution_count: None,
            source_hash: String::new(),
            run: 0,
            status: Status::Ok,
        };
        let source = Source::default();
        let evidence = Evidence {
            cell: &cell,
            facts: Some(&facts),
            source: &source,
            thresholds: &self.thresholds,
            host: &meter::Host::default(),
            unnamed: self.unnamed,
            grows: self.open.values().any(Open::is_unexplained),
            growth: &self.growths,
            code: &Code::default(),
        };
        for (number, detector) in ALL.iter().enumerate().filter(|(_, one)| one.late) {
            let verdict = (detector.detect)(&evidence);
            let told = take(&mut self.open, (number, detector), "", verdict, |_| None);
            self.learnt.extend(told);
        }
        self.look_awaited = false;
        self.yield_to_learnt(&mut Vec::new());
    }

    /// A cleanup step has given back so many bytes: what it is the answer to holds no longer, unless it was about much more. If it
    /// does all the same, the next look finds it again.
    pub fn step_released(&mut self, step: &str, bytes: u64) {
        self.open.retain(|_, one| {
            one.finding.step.as_deref() != Some(step) || bytes < one.finding.bytes / 2
        });
    }

    /// Every finding that still holds, worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .open
            .values()
            .map(|open| open.finding.clone())
            .collect();
        sort(&mut findings);
        findings
    }
}

fn variables(facts: &Facts) -> Vec<VariableChange> {
    let mut variables: Vec<VariableChange> = facts
        .variables
        .iter()
        .map(|variable| VariableChange {
            name: variable.name.clone(),
            type_name: variable.type_name.clone(),
            detail: variable.detail.clone(),
            bytes: variable.bytes,
            delta: variable.delta(),
            change: variable.change,
            at_least: variable.at_least,
        })
        .collect();
    variables.sort_by_key(|variable| std::cmp::Reverse(variable.delta.unsigned_abs()));
    variables.truncate(REPORTED);
    variables
}

#[cfg(test)]
mod tests;
