//! In how many cells each holder has grown.

use std::collections::BTreeMap;

use crate::facts::{Facts, Holder, HolderKind};

const LEAST: i64 = 64 * 1024;
const REMEMBERED: usize = 2_000;

/// Counts of cells by holder.
#[derive(Debug, Default)]
pub(crate) struct Growths(BTreeMap<(HolderKind, String), u32>);

impl Growths {
    /// Takes note of a cell.
    pub fn add(&mut self, facts: &Facts) {
        for holder in facts.holders.iter().filter(|one| one.delta() >= LEAST) {
            if self.0.len() < REMEMBERED || self.of(holder) > 0 {
                *self
                    .0
                    .entry((holder.kind, holder.name.clone()))
                    .or_default() += 1;
            }
        }
    }

    /// The number of cells in which `holder` grew.
    pub fn of(&self, holder: &Holder) -> u32 {
        self.0
            .get(&(holder.kind, holder.name.clone()))
            .copied()
            .unwrap_or(0)
    }
}
