//! The account of a session: what the ledgers of its cells add up to.
//!
//! The resident memory now is what it was before the first cell, plus the rows of all cells, plus what no row explained, plus
//! what moved between the cells. Nothing is left out, so the sums can be checked.

use std::collections::{HashMap, VecDeque};

use crate::record::{Cause, CellRecord, RowCause};

/// Owners that are told apart; the smallest are added up beyond that.
const OWNERS: usize = 1_000;
/// Cells that keep a line of their own.
const LINES: usize = 20;
/// The owner of what is added up.
const OTHERS: &str = "other names";
const HOST: &str = "host";

/// What kind of memory a row of a ledger is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// In use: by the user's variables or by whatever else holds it.
    Live,
    /// Free, and kept by an allocator.
    Slack,
    /// Pages of files, which the system takes back when it needs them.
    Files,
}

impl Kind {
    /// The kind of a row with this cause.
    pub fn of(cause: RowCause) -> Self {
        match cause {
            RowCause::MappedFiles => Self::Files,
            RowCause::Kept(Cause::AllocatorRetention | Cause::PoolCache) => Self::Slack,
            _ => Self::Live,
        }
    }
}

/// One cell in the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The number in the prompt.
    pub execution_count: Option<u64>,
    /// Change of resident bytes.
    pub delta: Option<i64>,
    /// The parts of the delta: live, slack, files.
    pub live: i64,
    /// Free memory that allocators keep.
    pub slack: i64,
    /// Pages of files.
    pub files: i64,
    /// What no row explains.
    pub residue: Option<i64>,
    /// Facts were gathered about what holds memory.
    pub looked_into: bool,
}

/// An owner's share of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// `host`, `gpu0`, …
    pub space: String,
    /// Why it is there.
    pub cause: RowCause,
    /// Who holds it.
    pub owner: String,
    /// Sum over all cells.
    pub bytes: i64,
}

/// The sums of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Cells that were measured.
    pub cells: u64,
    /// Resident bytes before the first cell.
    pub begin: Option<u64>,
    /// Resident bytes after the last cell.
    pub now: Option<u64>,
    /// The highest peak of all cells.
    pub peak: Option<u64>,
    /// Sum of the residues of cells that were looked into.
    pub residue: i64,
    /// Sum of the deltas of cells that moved too little to be looked into.
    pub small: i64,
    /// How many cells these are.
    pub small_cells: u64,
    /// What moved between cells: threads, collections, cleanups.
    pub between: i64,
    /// The last cells, oldest first.
    pub lines: VecDeque<Line>,
    owners: HashMap<(String, RowCause, String), i64>,
}

impl Account {
    /// Enters a cell's record.
    pub(crate) fn enter(&mut self, record: &CellRecord, looked_into: bool) {
        let host = &record.host;
        if let (Some(before), Some(now)) = (host.before, self.now) {
            self.between = self.between.saturating_add(difference(before, now));
        }
        self.begin = self.begin.or(host.before);
        self.now = host.after.or(self.now);
        self.peak = self.peak.max(host.peak).max(host.after);
        self.cells += 1;
        let mut line = Line {
            execution_count: record.cell.execution_count,
            delta: host.delta,
            looked_into,
            ..Line::default()
        };
        let mut sum = 0i64;
        for row in &record.ledger.rows {
            let owner = plain(&row.owner).to_owned();
            let share = self
                .owners
                .entry((row.space.clone(), row.cause, owner))
                .or_default();
            *share = share.saturating_add(row.bytes);
            if row.space == HOST {
                let part = match Kind::of(row.cause) {
                    Kind::Live => &mut line.live,
                    Kind::Slack => &mut line.slack,
                    Kind::Files => &mut line.files,
                };
                *part = part.saturating_add(row.bytes);
                sum = sum.saturating_add(row.bytes);
            }
        }
        let rest = host.delta.map(|delta| delta.saturating_sub(sum));
        line.residue = rest.filter(|_| looked_into);
        if looked_into {
            self.residue = self.residue.saturating_add(rest.unwrap_or(0));
        } else {
            self.small = self.small.saturating_add(rest.unwrap_or(0));
            self.small_cells += 1;
        }
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        if self.owners.len() > OWNERS {
            self.add_up();
        }
    }

    /// Adds the smaller half of the owners up.
    fn add_up(&mut self) {
        let mut sizes: Vec<u64> = self
            .owners
            .values()
            .map(|bytes| bytes.unsigned_abs())
            .collect();
        sizes.sort_unstable();
        let limit = sizes[sizes.len() / 2];
        let mut kept = HashMap::new();
        for ((space, cause, owner), bytes) in self.owners.drain() {
            let owner = if bytes.unsigned_abs() <= limit {
                OTHERS.to_owned()
            } else {
                owner
            };
            let share: &mut i64 = kept.entry((space, cause, owner)).or_default();
            *share = share.saturating_add(bytes);
        }
        self.owners = kept;
    }

    /// The shares of all owners, largest first.
    pub fn shares(&self) -> Vec<Share> {
        let mut shares: Vec<Share> = self
            .owners
            .iter()
            .filter(|&(_, &bytes)| bytes != 0)
            .map(|((space, cause, owner), &bytes)| Share {
                space: space.clone(),
                cause: *cause,
                owner: owner.clone(),
                bytes,
            })
            .collect();
        shares.sort_by(|a, b| {
            let size = |share: &Share| share.bytes.unsigned_abs();
            size(b)
                .cmp(&size(a))
                .then_with(|| (&a.space, &a.owner).cmp(&(&b.space, &b.owner)))
        });
        shares
    }

    /// Whether the parts add up to the change since the first cell; false only if a reading was missing.
    pub fn is_balanced(&self) -> bool {
        let (Some(begin), Some(now)) = (self.begin, self.now) else {
            return false;
        };
        let shares: i64 = self
            .owners
            .iter()
            .filter(|((space, ..), _)| space == HOST)
            .fold(0, |sum: i64, (_, &bytes)| sum.saturating_add(bytes));
        let parts = [self.residue, self.small, self.between];
        let sum = parts
            .iter()
            .fold(shares, |sum, &part| sum.saturating_add(part));
        sum == difference(now, begin)
    }
}

/// `12 other names` of one cell and `3 other names` of the next are the same owner here.
fn plain(owner: &str) -> &str {
    let rest = owner.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() < owner.len() && rest.trim_start() == OTHERS {
        OTHERS
    } else {
        owner
    }
}

fn difference(now: u64, before: u64) -> i64 {
    let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(now).saturating_sub(signed(before))
}

#[cfg(test)]
mod tests;
