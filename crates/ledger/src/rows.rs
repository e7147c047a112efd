//! The ledger: the delta of a cell, split into rows.

use meter::Host;

use crate::facts::{Facts, Holder, HolderKind, Variable};
use crate::record::{Cause, Ledger, Row, RowCause};
use crate::size::human;

const LISTED: usize = 8;
const SMALLEST: u64 = 64 * 1024;

/// The ledger of a cell, and what the detectors want to know of it.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// The rows.
    pub ledger: Ledger,
    /// Bytes of the delta that no variable, holder or slack accounts for.
    pub unnamed: i64,
    /// The part of them that the allocators have given out.
    pub native: i64,
}

/// Splits the host delta. Without facts of tier 1 there are no rows and the whole delta is residue.
pub(crate) fn split(host: &Host, facts: Option<&Facts>, notable: u64) -> Split {
    let mut rows = facts.map_or_else(Vec::new, |facts| named_rows(host, facts));
    let in_files = |row: &&Row| row.cause == RowCause::MappedFiles;
    let named = sum(&rows).saturating_sub(rows.iter().filter(in_files).map(|row| row.bytes).sum());
    let Some(delta) = host.delta else {
        sort(&mut rows);
        return Split {
            ledger: Ledger {
                rows,
                ..Ledger::default()
            },
            ..Split::default()
        };
    };
    if let Some(facts) = facts {
        rows.extend(slack_rows(facts));
        let left = delta.saturating_sub(sum(&rows));
        let shared = host.shmem.unwrap_or(0).min(left);
        if shared >= SMALLEST as i64 {
            let owner = "shared memory".to_owned();
            rows.push(host_row(
                RowCause::MappedFiles,
                owner,
                shared,
                "shared pages counted by the system".into(),
            ));
        }
    }
    let unnamed = delta.saturating_sub(sum(&rows));
    let native = facts.map_or(0, |facts| native(facts, unnamed, named));
    if let Some(facts) = facts
        && native.unsigned_abs() >= SMALLEST
    {
        rows.push(native_row(facts, native));
    }
    sort(&mut rows);
    let residue = delta.saturating_sub(sum(&rows));
    let explained = (facts.is_some() && delta.unsigned_abs() >= notable.max(1)).then(|| {
        rounded((1.0 - residue.unsigned_abs() as f64 / delta.unsigned_abs() as f64).clamp(0.0, 1.0))
    });
    Split {
        ledger: Ledger {
            rows,
            residue: Some(residue),
            explained,
        },
        unnamed: if facts.is_some() { unnamed } else { 0 },
        // A name that was not reached may hold it.
        native: if facts.is_some_and(|facts| facts.complete) {
            native
        } else {
            0
        },
    }
}

fn sort(rows: &mut [Row]) {
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes.unsigned_abs()));
}

fn sum(rows: &[Row]) -> i64 {
    rows.iter()
        .fold(0i64, |sum, row| sum.saturating_add(row.bytes))
}

/// How much of `unnamed` is in use of the allocators that everything uses, given what is known to be under names.
fn native(facts: &Facts, unnamed: i64, named: i64) -> i64 {
    let mut asked = facts
        .allocators
        .iter()
        .filter(|one| one.is_common() && one.live_before.is_some())
        .peekable();
    if asked.peek().is_none() {
        return 0;
    }
    let grown = asked.fold(0i64, |sum, one| sum.saturating_add(one.grown()));
    let unknown = grown.saturating_sub(named);
    if unnamed >= 0 {
        unnamed.min(unknown).max(0)
    } else {
        unnamed.max(unknown).min(0)
    }
}

fn native_row(facts: &Facts, bytes: i64) -> Row {
    if !facts.imports_explain(bytes) || bytes < 0 {
        let owner = if facts.complete {
            "no Python name"
        } else {
            "no name that was reached in time"
        };
        return host_row(
            RowCause::Native,
            owner.into(),
            bytes,
            "in use of malloc and of Python's allocator, or mapped by C code".into(),
        );
    }
    let shown = facts.imported.len().min(LISTED);
    let mut owner = facts.imported[..shown].join(", ");
    if shown < facts.imported.len() {
        owner.push_str(", …");
    }
    host_row(
        RowCause::Imports,
        owner,
        bytes,
        "loaded by this cell".into(),
    )
}

fn slack_rows(facts: &Facts) -> impl Iterator<Item = Row> {
    let moved = facts
        .allocators
        .iter()
        .filter(|one| one.slackened().unsigned_abs() >= SMALLEST);
    moved.map(|one| {
        let cause = if one.is_common() {
            Cause::AllocatorRetention
        } else {
            Cause::PoolCache
        };
        host_row(
            RowCause::Kept(cause),
            one.name.clone(),
            one.slackened(),
            format!("{} free in it", human(one.slack)),
        )
    })
}

/// Four digits: more would be noise, and short numbers survive JSON unchanged.
pub(crate) fn rounded(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}

fn named_rows(host: &Host, facts: &Facts) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let (large, small): (Vec<&Variable>, Vec<&Variable>) = {
        let mut variables: Vec<&Variable> = facts
            .variables
            .iter()
            .filter(|variable| variable.delta() != 0)
            .collect();
        variables.sort_by_key(|variable| std::cmp::Reverse(variable.delta().unsigned_abs()));
        let listed = variables
            .iter()
            .take(LISTED)
            .take_while(|variable| variable.delta().unsigned_abs() >= SMALLEST)
            .count();
        let small = variables.split_off(listed);
        (variables, small)
    };
    rows.extend(large.into_iter().map(variable_row));
    let rest = small
        .iter()
        .fold(0i64, |sum, variable| sum.saturating_add(variable.delta()));
    if rest != 0 {
        let owner = match small.as_slice() {
            [only] => only.name.clone(),
            many => format!("{} other names", many.len()),
        };
        rows.push(host_row(
            RowCause::Variables,
            owner,
            rest,
            "sizes of the names".into(),
        ));
    }
    rows.extend(
        facts
            .holders
            .iter()
            .filter(|holder| holder.delta() != 0)
            .filter_map(holder_row),
    );
    if let Some(mapped) = host.file {
        // A memory-mapped array is already there as a variable.
        let named = facts
            .variables
            .iter()
            .filter(|variable| variable.type_name == "memmap")
            .fold(0i64, |sum, variable| sum.saturating_add(variable.delta()));
        let mapped = mapped.saturating_sub(named);
        if mapped.unsigned_abs() >= SMALLEST {
            let owner = "libraries and mapped files".to_owned();
            rows.push(host_row(
                RowCause::MappedFiles,
                owner,
                mapped,
                "file pages counted by the system".into(),
            ));
        }
    }
    rows
}

fn variable_row(variable: &Variable) -> Row {
    let mut evidence = match variable.change {
        crate::Change::New => "new".to_owned(),
        crate::Change::Grown => format!("grown from {}", human(variable.before)),
        crate::Change::Shrunk => format!("shrunk from {}", human(variable.before)),
        crate::Change::Dropped => "dropped".to_owned(),
    };
    for text in [&variable.type_name, &variable.detail] {
        if !text.is_empty() {
            evidence.push(' ');
            evidence.push_str(text);
        }
    }
    if variable.at_least {
        evidence.push_str(", estimated");
    }
    host_row(
        RowCause::Variables,
        variable.name.clone(),
        variable.delta(),
        evidence,
    )
}

fn holder_row(holder: &Holder) -> Option<Row> {
    let (cause, evidence) = kept(holder)?;
    Some(host_row(
        RowCause::Kept(cause),
        holder.name.clone(),
        holder.delta(),
        evidence,
    ))
}

/// Why a holder that no variable leads to keeps memory, and how this is known.
pub(crate) fn kept(holder: &Holder) -> Option<(Cause, String)> {
    let (cause, evidence) = match holder.kind {
        HolderKind::Out => (
            Cause::IpythonRefs,
            format!("{} {}", holder.type_name, holder.detail),
        ),
        HolderKind::Traceback => (
            Cause::TracebackRefs,
            format!("locals of {} {}", holder.type_name, holder.detail),
        ),
        kind => {
            let cause = cause_of(kind).filter(|_| holder.inside.is_empty())?;
            (cause, format!("{} {}", holder.type_name, holder.detail))
        }
    };
    Some((cause, evidence.trim_end().to_owned()))
}

/// The cause that a kind of holder stands for; none where it only counts, or where its bytes are not in the interpreter.
fn cause_of(kind: HolderKind) -> Option<Cause> {
    Some(match kind {
        HolderKind::Out | HolderKind::Script => Cause::IpythonRefs,
        HolderKind::Traceback | HolderKind::Exceptions => Cause::TracebackRefs,
        HolderKind::Figures => Cause::Figures,
        HolderKind::View => Cause::ViewRetention,
        HolderKind::Cache => Cause::CacheGrowth,
        HolderKind::Resource => Cause::OpenResource,
        HolderKind::Autograd => Cause::AutogradGraph,
        HolderKind::Suspended => Cause::SuspendedExecution,
        HolderKind::Registry => Cause::RegistryCallback,
        HolderKind::Cycle => Cause::RefCycle,
        HolderKind::Segments
        | HolderKind::Children
        | HolderKind::Traces
        | HolderKind::Models
        | HolderKind::Other => {
            return None;
        }
    })
}

fn host_row(cause: RowCause, owner: String, bytes: i64, evidence: String) -> Row {
    Row {
        space: "host".into(),
        cause,
        owner,
        bytes,
        evidence,
    }
}

#[cfg(test)]
mod tests;
