use proptest::prelude::*;

use super::*;
use crate::Change;

const MIB: i64 = 1 << 20;

fn ledger(host: &Host, facts: Option<&Facts>, notable: u64) -> Ledger {
    split(host, facts, notable).ledger
}

fn host(delta: i64) -> Host {
    Host {
        delta: Some(delta),
        ..Host::default()
    }
}

fn variable(name: &str, before: i64, bytes: i64) -> Variable {
    let change = match (before, bytes) {
        (0, _) => Change::New,
        (_, 0) => Change::Dropped,
        _ if bytes > before => Change::Grown,
        _ => Change::Shrunk,
    };
    Variable {
        name: name.into(),
        bytes: bytes as u64,
        before: before as u64,
        change,
        ..Variable::default()
    }
}

#[test]
fn a_delta_is_split_by_owner_and_the_rest_is_shown() {
    let facts = Facts {
        variables: vec![
            variable("a", 0, 60 * MIB),
            variable("b", 20 * MIB, 0),
            variable("tiny", 0, 64),
        ],
        holders: vec![Holder {
            kind: HolderKind::Out,
            name: "Out[2]".into(),
            bytes: (40 * MIB) as u64,
            ..Holder::default()
        }],
        ..Facts::default()
    };
    let ledger = ledger(
        &Host {
            file: Some(10 * MIB),
            ..host(100 * MIB)
        },
        Some(&facts),
        MIB as u64,
    );
    let shown: Vec<(&str, i64)> = ledger
        .rows
        .iter()
        .map(|row| (row.owner.as_str(), row.bytes))
        .collect();
    assert_eq!(
        shown,
        [
            ("a", 60 * MIB),
            ("Out[2]", 40 * MIB),
            ("b", -20 * MIB),
            ("libraries and mapped files", 10 * MIB),
            ("tiny", 64)
        ]
    );
    assert_eq!(ledger.residue, Some(10 * MIB - 64));
    assert!((ledger.explained.unwrap() - 0.9).abs() < 0.001);
}

#[test]
fn what_was_not_measured_is_not_zero() {
    assert_eq!(
        ledger(&Host::default(), Some(&Facts::default()), 1),
        Ledger::default()
    );
    let unexplained = ledger(&host(5 * MIB), None, MIB as u64);
    assert_eq!(
        (unexplained.residue, unexplained.explained),
        (Some(5 * MIB), None)
    );
}

#[test]
fn a_small_delta_needs_no_explanation() {
    assert_eq!(
        ledger(&host(1000), Some(&Facts::default()), MIB as u64).explained,
        None
    );
}

fn allocator(name: &str, live: (i64, i64), slack: (i64, i64)) -> crate::Allocator {
    crate::Allocator {
        name: name.into(),
        live: live.1 as u64,
        slack: slack.1 as u64,
        live_before: Some(live.0 as u64),
        slack_before: Some(slack.0 as u64),
    }
}

#[test]
fn what_no_name_explains_is_native_an_import_or_slack_by_the_allocators_own_counters() {
    let of = |imported: &[&str]| Facts {
        variables: vec![variable("a", 0, 40 * MIB)],
        allocators: vec![
            allocator("malloc", (10 * MIB, 80 * MIB), (0, 20 * MIB)),
            allocator("pyarrow", (0, 0), (30 * MIB, 0)),
        ],
        imported: imported.iter().map(|name| (*name).to_owned()).collect(),
        complete: true,
        ..Facts::default()
    };
    let shown = |facts: Facts| {
        let split = split(&host(70 * MIB), Some(&facts), MIB as u64);
        let rows = split.ledger.rows.into_iter();
        let rows: Vec<_> = rows
            .map(|row| (row.cause, row.owner, row.bytes / MIB))
            .collect();
        (
            rows,
            split.unnamed / MIB,
            split.native / MIB,
            split.ledger.residue,
        )
    };
    let (rows, unnamed, native, residue) = shown(of(&[]));
    assert_eq!((unnamed, native, residue), (40, 30, Some(10 * MIB)));
    assert!(rows.contains(&(RowCause::Native, "no Python name".into(), 30)));
    assert!(rows.contains(&(
        RowCause::Kept(Cause::AllocatorRetention),
        "malloc".into(),
        20
    )));
    assert!(rows.contains(&(RowCause::Kept(Cause::PoolCache), "pyarrow".into(), -30)));
    let owner_of = |most: i64| {
        let (rows, ..) = shown(Facts {
            imports_at_most: most as u64,
            ..of(&["IPython"])
        });
        let row = rows.into_iter().find(|(.., bytes)| *bytes == 30);
        row.map(|(_, owner, _)| owner)
    };
    assert_eq!(
        owner_of(3 * MIB).as_deref(),
        Some("no Python name"),
        "so much is in none of them"
    );
    assert_eq!(owner_of(40 * MIB).as_deref(), Some("IPython"));
    let (rows, _, native, _) = shown(Facts {
        complete: false,
        ..of(&[])
    });
    assert_eq!(native, 0, "a name that was not reached may hold it");
    assert!(rows.contains(&(
        RowCause::Native,
        "no name that was reached in time".into(),
        30
    )));
    let (rows, ..) = shown(of(&["pandas", "numpy"]));
    assert!(rows.contains(&(RowCause::Imports, "pandas, numpy".into(), 30)));
}

#[test]
fn shared_pages_are_counted_once() {
    let facts = Facts {
        variables: vec![variable("a", 0, 60 * MIB)],
        ..Facts::default()
    };
    let host = Host {
        shmem: Some(100 * MIB),
        ..host(100 * MIB)
    };
    let ledger = ledger(&host, Some(&facts), 1);
    assert_eq!((ledger.rows[1].bytes, ledger.residue), (40 * MIB, Some(0)));
}

#[test]
fn a_mapped_array_counts_once() {
    let mut mapped = variable("m", 0, 100 * MIB);
    mapped.type_name = "memmap".into();
    let facts = Facts {
        variables: vec![mapped],
        ..Facts::default()
    };
    let ledger = ledger(
        &Host {
            file: Some(100 * MIB),
            ..host(100 * MIB)
        },
        Some(&facts),
        MIB as u64,
    );
    assert_eq!(ledger.explained, Some(1.0));
}

proptest! {
    #[test]
    fn rows_and_residue_add_up_to_the_delta(
        delta in -(1i64 << 40)..(1i64 << 40),
        sizes in proptest::collection::vec((0i64..1 << 36, 0i64..1 << 36), 0..60),
    ) {
        let variables = sizes.iter().map(|(before, after)| variable("x", *before, *after)).collect();
        let facts = Facts { variables, ..Facts::default() };
        let ledger = ledger(&host(delta), Some(&facts), 1);
        let sum: i64 = ledger.rows.iter().map(|row| row.bytes).sum();
        prop_assert_eq!(sum + ledger.residue.unwrap(), delta);
        prop_assert!(ledger.rows.len() <= LISTED + 1);
        if let Some(explained) = ledger.explained {
            prop_assert!((0.0..=1.0).contains(&explained));
        }
    }
}
