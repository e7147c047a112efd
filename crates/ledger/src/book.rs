//! What a session remembers of its cells, for those who ask later: the last records, and the account of the session.

use std::collections::VecDeque;

use crate::account::Account;
use crate::facts::Facts;
use crate::record::CellRecord;

/// Records that are remembered; older ones are forgotten.
const REMEMBERED: usize = 100;
/// Names of each kind that are remembered of a cell.
const NAMES: usize = 12;
/// A line that only asks the kernel something.
const QUESTION: &str = "%hygiene";

/// A cell as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Its record.
    pub record: CellRecord,
    /// Some of the names that appeared.
    pub new: Vec<String>,
    /// Some of the names that went away.
    pub dropped: Vec<String>,
    /// Some of the names that were bound anew or grew.
    pub changed: Vec<String>,
    /// Facts were gathered about what holds memory.
    pub looked_into: bool,
    /// The search for what holds memory saw everything.
    pub complete: bool,
    /// It does nothing but ask, so nobody means it by "the last cell".
    asks: bool,
}

/// The cells of a session.
#[derive(Debug, Default)]
pub(crate) struct Book {
    past: VecDeque<Past>,
    pub(crate) account: Account,
}

impl Book {
    /// Enters a cell.
    pub fn enter(
        &mut self,
        record: &CellRecord,
        source: &str,
        tier0: &Facts,
        tier1: Option<&Facts>,
    ) {
        self.account.enter(record, tier1.is_some());
        let some = |names: &[String]| names.iter().take(NAMES).cloned().collect();
        if self.past.len() >= REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(Past {
            record: record.clone(),
            new: some(&tier0.new),
            dropped: some(&tier0.dropped),
            changed: some(&tier0.changed),
            looked_into: tier1.is_some(),
            complete: tier1.is_some_and(|facts| facts.complete),
            asks: only_asks(source),
        });
    }

    /// The last cell that did something, rather one that has a number.
    pub fn last(&self) -> Option<&Past> {
        let mut cells = self.past.iter().rev().filter(|past| !past.asks);
        cells
            .clone()
            .find(|past| past.record.cell.execution_count.is_some())
            .or_else(|| cells.next())
    }

    /// The cell that was entered last, whatever it did.
    pub fn newest(&self) -> Option<&Past> {
        self.past.back()
    }

    /// The cell with this number in its prompt, the latest of several.
    pub fn numbered(&self, number: u64) -> Option<&Past> {
        let mut cells = self.past.iter().rev();
        cells.find(|past| past.record.cell.execution_count == Some(number))
    }

    /// The first and the last number that are remembered.
    pub fn numbers(&self) -> Option<(u64, u64)> {
        let mut numbers = self
            .past
            .iter()
            .filter_map(|past| past.record.cell.execution_count);
        let first = numbers.next()?;
        Some((first, numbers.next_back().unwrap_or(first)))
    }
}

/// Whether a source is empty but for questions and comments.
fn only_asks(source: &str) -> bool {
    let mut lines = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.all(|line| line.split_whitespace().next() == Some(QUESTION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CellInfo, Counts, Ledger, Status};

    fn record(number: Option<u64>) -> CellRecord {
        CellRecord {
            death: None,
            v: 1,
            cell: CellInfo {
                execution_count: number,
                source_hash: String::new(),
                run: 1,
                status: Status::Ok,
            },
            wall_s: None,
            cpu_s: None,
            overhead_s: None,
            host: meter::Host::default(),
            gpu: Vec::new(),
            variables: Vec::new(),
            ledger: Ledger::default(),
            findings: Vec::new(),
            steps: Vec::new(),
            notices: Vec::new(),
            counts: Counts::default(),
            limit_share: None,
            timeline: Vec::new(),
        }
    }

    fn book(cells: &[(Option<u64>, &str)]) -> Book {
        let mut book = Book::default();
        for &(number, source) in cells {
            book.enter(&record(number), source, &Facts::default(), None);
        }
        book
    }

    fn number_of(past: Option<&Past>) -> Option<u64> {
        past?.record.cell.execution_count
    }

    #[test]
    fn the_last_cell_is_the_last_that_did_something() {
        for (cells, last) in [
            (vec![(Some(1), "x = 1")], Some(1)),
            (vec![(Some(1), "x = 1"), (Some(2), "%hygiene why")], Some(1)),
            (
                vec![(Some(1), "x"), (Some(2), "# now\n  %hygiene vars\n\n")],
                Some(1),
            ),
            (vec![(Some(1), "x"), (Some(2), "%hygiene why\ny")], Some(2)),
            (vec![(Some(1), "x"), (Some(2), "%%hygiene why\ny")], Some(2)),
            (vec![(Some(1), "x"), (None, "probe()")], Some(1)),
            (vec![(None, "probe()")], None),
            (vec![(Some(1), "")], None),
        ] {
            assert_eq!(number_of(book(&cells).last()), last, "{cells:?}");
        }
        assert!(book(&[(None, "probe()")]).last().is_some());
    }

    #[test]
    fn a_cell_is_found_by_its_number_while_it_is_remembered() {
        let cells: Vec<_> = (1..=REMEMBERED as u64 + 5)
            .map(|number| (Some(number), "x"))
            .collect();
        let book = book(&cells);
        assert_eq!(number_of(book.numbered(6)), Some(6));
        assert_eq!(book.numbered(5), None);
        assert_eq!(book.numbers(), Some((6, REMEMBERED as u64 + 5)));
        assert_eq!(Book::default().numbers(), None);
    }
}
