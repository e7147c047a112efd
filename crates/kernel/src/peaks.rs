//! How far the peak of each cell rose the last time: for those that may not fit when they are run again.

use crate::cell::peak_rise;
use ledger::CellRecord;
use ledger::Status;
use std::collections::BTreeMap;

/// A peak that rises less is no matter of fitting, bytes.
const NOTABLE: u64 = 64 << 20;
/// Sources that are remembered.
const SOURCES: usize = 1000;

/// By the hash of a cell's source. It outlives the interpreter: the cell that it died of is the one to be told of.
#[derive(Debug, Default)]
pub(crate) struct Peaks(BTreeMap<String, u64>);

impl Peaks {
    /// Notes what a cell took. One that failed may have taken less than it wants.
    pub(crate) fn note(&mut self, record: &CellRecord) {
        let rise = peak_rise(record);
        let source = &record.cell.source_hash;
        let before = self.0.get(source).copied();
        if rise < NOTABLE || (before.is_none() && self.0.len() >= SOURCES) {
            return;
        }
        let at_least = before.filter(|_| record.cell.status != Status::Ok);
        self.0
            .insert(source.clone(), rise.max(at_least.unwrap_or(0)));
    }

    /// What the last run of this source took at its peak, if that is notable.
    pub(crate) fn of(&self, source: &str) -> Option<u64> {
        if self.0.is_empty() {
            return None; // not worth a hash
        }
        self.0.get(&ledger::source_hash(source)).copied()
    }
}
