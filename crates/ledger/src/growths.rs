//! In how many cells each holder has grown, and what came with the traces of frameworks.

use std::collections::BTreeMap;

use crate::facts::{Facts, Holder, HolderKind};

const LEAST: i64 = 64 * 1024;
const REMEMBERED: usize = 2_000;

/// What is remembered by holder.
#[derive(Debug, Default)]
pub(crate) struct Growths {
    cells: BTreeMap<(HolderKind, String), u32>,
    traces: BTreeMap<String, Traces>,
    collected: u64,
    came: u64,
}

/// Traces of one function, or models of one framework.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traces {
    /// How many there are.
    count: u64,
    /// How many came after they were first seen.
    pub later: u64,
    /// Bytes that no name explains of the cells in which some came.
    pub bytes: u64,
}

impl Growths {
    /// Takes note of a cell of which `unnamed` bytes have no name.
    pub fn add(&mut self, facts: &Facts, unnamed: i64) {
        for holder in facts.holders.iter().filter(|one| one.delta() >= LEAST) {
            if self.cells.len() < REMEMBERED || self.of(holder) > 0 {
                *self
                    .cells
                    .entry((holder.kind, holder.name.clone()))
                    .or_default() += 1;
            }
        }
        let traced = facts
            .holders
            .iter()
            .filter(|one| one.kind == HolderKind::Traces);
        for holder in traced {
            let known = self.traces.len() < REMEMBERED || self.traces.contains_key(&holder.name);
            if !known {
                continue;
            }
            let is_new = !self.traces.contains_key(&holder.name);
            let traces = self.traces.entry(holder.name.clone()).or_default();
            let came = holder.count.saturating_sub(traces.count);
            traces.count = holder.count;
            // The first trace, and the first model, are the normal cost.
            let more = if is_new { came.saturating_sub(1) } else { came };
            traces.later = traces.later.saturating_add(more);
            // What the first use of a package loads has other reasons.
            if more > 0 && (!is_new || !facts.imports_explain(unnamed)) {
                let bytes = u64::try_from(unnamed).unwrap_or(0);
                traces.bytes = traces.bytes.saturating_add(bytes);
            }
        }
    }

    /// Takes note of a cell that collects nothing itself and after which `unnamed` bytes more, or less, have no name.
    pub fn add_collections(&mut self, facts: &Facts, unnamed: i64) {
        let Ok(came) = u64::try_from(unnamed) else {
            if facts.collections > 0 {
                // The cell made new garbage as well, about as much as the one before.
                let went = unnamed.unsigned_abs().saturating_add(self.came);
                self.collected = self.collected.max(went);
            }
            return;
        };
        self.came = came;
    }

    /// The most that went at a time when the collector had run by itself.
    pub fn collected(&self) -> u64 {
        self.collected
    }

    /// The number of cells in which `holder` grew.
    pub fn of(&self, holder: &Holder) -> u32 {
        self.cells
            .get(&(holder.kind, holder.name.clone()))
            .copied()
            .unwrap_or(0)
    }

    /// What came with the traces of `holder`.
    pub fn traces_of(&self, holder: &Holder) -> Traces {
        self.traces.get(&holder.name).copied().unwrap_or_default()
    }
}
