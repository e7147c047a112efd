use super::*;
use crate::record::{CellInfo, Counts, Ledger, Row, Status};

const MIB: i64 = 1 << 20;

fn row(space: &str, cause: RowCause, owner: &str, mib: i64) -> Row {
    Row {
        space: space.into(),
        cause,
        owner: owner.into(),
        bytes: mib * MIB,
        evidence: String::new(),
    }
}

fn record(number: u64, before: i64, after: i64, rows: Vec<Row>) -> CellRecord {
    CellRecord {
        death: None,
        v: 1,
        cell: CellInfo {
            execution_count: Some(number),
            source_hash: String::new(),
            run: 1,
            status: Status::Ok,
        },
        wall_s: None,
        cpu_s: None,
        overhead_s: None,
        host: meter::Host {
            before: Some((before * MIB) as u64),
            after: Some((after * MIB) as u64),
            delta: Some((after - before) * MIB),
            ..meter::Host::default()
        },
        gpu: Vec::new(),
        variables: Vec::new(),
        ledger: Ledger {
            rows,
            residue: None,
            explained: None,
        },
        findings: Vec::new(),
        steps: Vec::new(),
        notices: Vec::new(),
        counts: Counts::default(),
        limit_share: None,
        timeline: Vec::new(),
    }
}

#[test]
fn the_parts_add_up_to_what_the_process_grew_by() {
    let mut account = Account::default();
    let kept = RowCause::Kept;
    account.enter(
        &record(
            1,
            100,
            210,
            vec![
                row("host", RowCause::Variables, "x", 60),
                row("host", kept(Cause::AllocatorRetention), "glibc", 30),
                row("host", RowCause::MappedFiles, "libraries", 15),
                row("gpu0", RowCause::Variables, "t", 500),
            ],
        ),
        true,
    );
    account.enter(&record(2, 205, 205, vec![]), false);
    account.enter(
        &record(
            3,
            205,
            146,
            vec![row("host", RowCause::Variables, "x", -60)],
        ),
        true,
    );
    assert_eq!(
        (account.begin, account.now),
        (Some(100 << 20), Some(146 << 20))
    );
    assert_eq!(account.residue, (5 + 1) * MIB);
    assert_eq!((account.small_cells, account.small), (1, 0));
    assert_eq!(account.between, -5 * MIB);
    assert!(account.is_balanced());
    let shares: Vec<(String, i64)> = account
        .shares()
        .into_iter()
        .map(|share| (share.owner, share.bytes / MIB))
        .collect();
    let expected = [("t", 500), ("glibc", 30), ("libraries", 15)];
    assert_eq!(shares, expected.map(|(owner, mib)| (owner.to_owned(), mib)));
    let first = &account.lines[0];
    assert_eq!(
        (first.live / MIB, first.slack / MIB, first.files / MIB),
        (60, 30, 15)
    );
    assert_eq!(first.residue, Some(5 * MIB));
    assert_eq!(account.lines[1].residue, None);
}

#[test]
fn small_names_of_all_cells_are_one_owner() {
    let mut account = Account::default();
    for (number, owner) in [(1, "12 other names"), (2, "3 other names")] {
        let rows = vec![row("host", RowCause::Variables, owner, 1)];
        account.enter(&record(number, 1, 2, rows), true);
    }
    let shares = account.shares();
    assert_eq!(shares.len(), 1);
    assert_eq!(
        (shares[0].owner.as_str(), shares[0].bytes),
        (OTHERS, 2 * MIB)
    );
}

#[test]
fn memory_of_owners_and_cells_is_bounded_and_nothing_is_lost() {
    let mut account = Account::default();
    for number in 0..3 * OWNERS as u64 {
        let before = i64::try_from(number).unwrap() * 2;
        let rows = vec![row("host", RowCause::Variables, &format!("v{number}"), 2)];
        account.enter(&record(number, before, before + 2, rows), true);
    }
    assert!(account.owners.len() <= OWNERS);
    assert_eq!(account.lines.len(), LINES);
    assert!(account.is_balanced());
}

#[test]
fn without_readings_nothing_is_claimed() {
    let mut account = Account::default();
    assert!(!account.is_balanced());
    let mut blind = record(1, 0, 0, vec![]);
    blind.host = meter::Host::default();
    account.enter(&blind, false);
    assert_eq!(
        (account.begin, account.now, account.peak),
        (None, None, None)
    );
    assert!(!account.is_balanced());
}
