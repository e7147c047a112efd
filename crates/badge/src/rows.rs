//! Which rows the table has: where the delta is, the largest parts first, and what nothing explains last.

use crate::size::NOISE;
use crate::text::Shown;
use crate::view::{RowView, Warning};

/// Rows of the table besides the residue; the smaller ones are added up in the last of them.
const ROWS: usize = 8;

/// The ledger as far as the table shows it.
pub(crate) struct LedgerView {
    /// Each row, and whether it is about a plain variable of the user.
    pub(crate) rows: Vec<(RowView, bool)>,
    /// Bytes that no row explains.
    pub(crate) residue: Option<i64>,
    /// 0 to 1.
    pub(crate) explained: Option<f64>,
}

/// The rows of the ledger, with what the variables know of them; without any, the variables.
pub(crate) fn of(
    variables: Vec<RowView>,
    ledger: LedgerView,
    warnings: &[Warning],
) -> Vec<RowView> {
    let parts = if ledger.rows.is_empty() {
        variables
    } else {
        merge(ledger.rows, &variables)
    };
    let mut rows = largest(parts);
    for row in &mut rows {
        row.flagged = warnings
            .iter()
            .any(|w| w.culprit == row.name && !row.name.is_empty());
    }
    rows.extend(ledger.residue.map(|bytes| residue(bytes, ledger.explained)));
    rows
}

/// A row that is about a variable is shown as the variable: its type says more than the name of the cause.
fn merge(rows: Vec<(RowView, bool)>, variables: &[RowView]) -> Vec<RowView> {
    let merged =
        |(row, is_variable): (RowView, bool)| match variables.iter().find(|v| v.name == row.name) {
            Some(v) => {
                let remark = if is_variable || row.remark.is_empty() {
                    v.remark.clone()
                } else {
                    row.remark
                };
                RowView {
                    kind: v.kind.clone(),
                    at_least: v.at_least,
                    remark,
                    ..row
                }
            }
            None => row,
        };
    rows.into_iter().map(merged).collect()
}

fn largest(mut rows: Vec<RowView>) -> Vec<RowView> {
    rows.retain(|row| row.delta.unsigned_abs() >= NOISE);
    rows.sort_by_key(|row| std::cmp::Reverse(row.delta.unsigned_abs()));
    if rows.len() > ROWS {
        let rest = rows.split_off(ROWS - 1);
        rows.push(RowView {
            name: Shown::own("…"),
            kind: Shown::own(format!("{} smaller ones", rest.len())),
            delta: rest
                .iter()
                .fold(0, |sum: i64, row| sum.saturating_add(row.delta)),
            at_least: false,
            remark: Shown::default(),
            flagged: false,
        });
    }
    rows
}

fn residue(bytes: i64, explained: Option<f64>) -> RowView {
    // Rounded down: "100 % explained" must not stand beside a residue.
    let remark = explained
        .map(|part| format!("{:.0} % explained", (part * 100.0).floor()))
        .unwrap_or_default();
    RowView {
        name: Shown::own("—"),
        kind: Shown::own("unattributed (allocator, caches)"),
        delta: bytes,
        at_least: false,
        remark: Shown::own(remark),
        flagged: false,
    }
}
