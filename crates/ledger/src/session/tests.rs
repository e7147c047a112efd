use super::*;
use crate::causes::testing::{MIB, holder, holders, inside};
use crate::facts::{Change, HolderKind, Variable};
use crate::record::Cause;

const M: i64 = MIB as i64;

fn reading(delta: i64) -> Reading {
    let mut reading = Reading::default();
    reading.host.before = Some(200 * MIB);
    reading.host.after = Some((200 * M + delta) as u64);
    reading.host.delta = Some(delta);
    reading.host.peak = Some((200 * M + delta.max(0)) as u64);
    reading
}

fn cell(source: &str, delta: i64, tier1: Option<Facts>) -> CellEnd<'_> {
    CellEnd {
        execution_count: Some(3),
        source,
        status: Status::Ok,
        wall_s: Some(0.1),
        cpu_s: Some(0.1),
        overhead_s: Some(0.001),
        reading: reading(delta),
        tier0: Facts::default(),
        tier1,
        notices: vec![],
    }
}

fn grown(name: &str, before: u64, bytes: u64) -> Facts {
    let variable = Variable {
        name: name.into(),
        type_name: "list".into(),
        bytes,
        before,
        change: if bytes >= before {
            Change::Grown
        } else {
            Change::Shrunk
        },
        ..Variable::default()
    };
    Facts {
        complete: true,
        variables: vec![variable],
        ..Facts::default()
    }
}

#[test]
fn a_cell_is_notable_when_memory_moved_or_should_have() {
    let session = Session::new(Thresholds::default());
    let quiet = Facts::default();
    let with = |change: fn(&mut Reading)| {
        let mut reading = reading(1000);
        change(&mut reading);
        reading
    };
    for (what, reading, tier0, notable) in [
        ("nothing moved", reading(1000), quiet.clone(), false),
        ("grew", reading(M), quiet.clone(), true),
        ("shrank", reading(-M), quiet.clone(), true),
        ("not measured", Reading::default(), quiet.clone(), false),
        (
            "a low peak",
            with(|r| r.host.peak = Some(230 * MIB)),
            quiet.clone(),
            false,
        ),
        (
            "a high peak",
            with(|r| r.host.peak = Some(264 * MIB)),
            quiet.clone(),
            true,
        ),
        (
            "children grew",
            with(|r| {
                r.host.children = Some(meter::Children {
                    count: 1,
                    delta: Some(M),
                    ..meter::Children::default()
                })
            }),
            quiet.clone(),
            true,
        ),
        (
            "a GPU grew",
            with(|r| {
                r.gpu = vec![meter::Gpu {
                    delta: Some(-M),
                    ..meter::Gpu::default()
                }]
            }),
            quiet.clone(),
            true,
        ),
        (
            "dropped and still there",
            reading(0),
            Facts {
                let_go: 8 * MIB,
                ..quiet.clone()
            },
            true,
        ),
        (
            "a failure that held little",
            reading(1000),
            Facts {
                raised: true,
                ..quiet.clone()
            },
            false,
        ),
        (
            "a failure that held some",
            reading(M / 2),
            Facts {
                raised: true,
                ..quiet.clone()
            },
            true,
        ),
    ] {
        assert_eq!(session.is_notable(&reading, &tier0), notable, "{what}");
    }
}

#[test]
fn a_record_says_what_was_measured_and_counted() {
    let mut session = Session::new(Thresholds::default());
    let mut end = cell("x = big()", 80 * M, Some(grown("x", 0, 80 * MIB)));
    end.tier0 = Facts {
        new_count: 1,
        ..Facts::default()
    };
    end.reading.host.limit = Some(1120 * MIB);
    end.reading.notices = vec!["a".into(), "b".into()];
    end.notices = vec!["b".into()];
    let record = session.close_cell(end);
    assert_eq!((record.v, record.cell.run, record.counts.new), (1, 1, 1));
    assert_eq!(record.limit_share, Some(0.25));
    assert_eq!(record.notices, ["a", "b"]);
    assert_eq!(record.ledger.explained, Some(1.0));
    assert_eq!(record.variables[0].delta, 80 * M);
    assert!(record.findings.is_empty());
    assert_eq!(session.close_cell(cell("x = big()\n", 0, None)).cell.run, 2);
}

#[test]
fn a_finding_is_told_once_and_again_when_it_has_grown() {
    let mut session = Session::new(Thresholds::default());
    let kept = |bytes| {
        Some(holders(vec![holder(
            HolderKind::Out,
            "Out[3]",
            &["_3"],
            bytes,
        )]))
    };
    let told =
        |session: &mut Session, bytes| session.close_cell(cell("x", M, kept(bytes))).findings.len();
    assert_eq!(told(&mut session, 40 * MIB), 1);
    assert_eq!(told(&mut session, 41 * MIB), 0);
    assert_eq!(session.findings()[0].bytes, 41 * MIB);
    assert_eq!(told(&mut session, 60 * MIB), 1);
    session.close_cell(cell("quiet", 0, None));
    assert_eq!(session.findings().len(), 1);
    assert_eq!(told(&mut session, MIB), 0);
    assert_eq!(session.findings(), []);
    assert_eq!(told(&mut session, 40 * MIB), 1);

    let step = session.findings()[0].step.clone().unwrap();
    session.step_released(&step, 10 * MIB);
    session.step_released("another", 90 * MIB);
    assert_eq!(session.findings().len(), 1);
    session.step_released(&step, 39 * MIB);
    assert_eq!(session.findings(), []);
}

#[test]
fn growth_stays_open_until_its_variable_is_emptied() {
    let mut session = Session::new(Thresholds::default());
    for run in 1..=5u64 {
        session.close_cell(cell(
            "append()",
            10 * M,
            Some(grown("preds", (run - 1) * 10 * MIB, run * 10 * MIB)),
        ));
    }
    assert_eq!(session.findings()[0].culprit.name, "preds");
    session.close_cell(cell("other", 80 * M, Some(grown("y", 0, 80 * MIB))));
    assert_eq!(session.findings().len(), 1);
    session.close_cell(cell(
        "preds.clear()",
        -50 * M,
        Some(grown("preds", 50 * MIB, 56)),
    ));
    assert_eq!(session.findings(), []);
}

#[test]
fn the_third_run_of_a_cell_that_appends_is_told_once() {
    let mut session = Session::new(Thresholds::default());
    session.close_cell(cell("history = []", 0, None));
    let told: Vec<usize> = (1..=5u64)
        .map(|run| {
            let facts = grown("history", (run - 1) * 46 * MIB, run * 46 * MIB);
            let record = session.close_cell(cell("history.append(x)", 46 * M, Some(facts)));
            record.findings.len()
        })
        .collect();
    // The fifth has half as much again as the third.
    assert_eq!(told, [0, 0, 1, 0, 1]);
}

#[test]
fn deleting_the_copies_ends_the_finding() {
    let mut session = Session::new(Thresholds::default());
    for run in 1..=5 {
        let mut facts = grown(&format!("df_{run}"), 0, 20 * MIB);
        facts.variables[0].change = Change::New;
        session.close_cell(cell("copy()", 20 * M, Some(facts)));
    }
    assert_eq!(session.findings()[0].culprit.name, "df_*");
    let mut end = cell("del df_2, df_3", -40 * M, None);
    end.tier0.dropped = vec!["df_2".into(), "df_3".into()];
    session.close_cell(end);
    assert_eq!(session.findings(), []);
}

#[test]
fn failed_runs_are_no_evidence_of_growth() {
    let mut session = Session::new(Thresholds::default());
    for _ in 0..8 {
        let mut end = cell("fail()", 10 * M, Some(grown("x", 0, 10 * MIB)));
        end.status = Status::Error;
        assert_eq!(session.close_cell(end).findings, []);
    }
}

#[test]
fn the_worst_comes_first() {
    let mut session = Session::new(Thresholds::default());
    let facts = holders(vec![
        holder(HolderKind::Out, "Out[3]", &["_3"], 40 * MIB),
        holder(HolderKind::Traceback, "sys.last_traceback", &[], 90 * MIB),
    ]);
    let record = session.close_cell(cell("x", 90 * M, Some(facts)));
    let causes: Vec<Cause> = record
        .findings
        .iter()
        .map(|finding| finding.cause)
        .collect();
    assert_eq!(causes, [Cause::TracebackRefs, Cause::IpythonRefs]);
}

#[test]
fn an_aborted_cell_changes_nothing() {
    let mut session = Session::new(Thresholds::default());
    let mut end = cell("x", 0, None);
    end.status = Status::Aborted;
    let record = session.close_cell(end);
    assert_eq!(
        (record.cell.status, record.findings.len()),
        (Status::Aborted, 0)
    );
}

#[test]
fn the_line_that_makes_a_finding_is_told_and_remembered_by_later_cells() {
    let mut held = holder(HolderKind::Autograd, "total", &[], 200 * MIB);
    held.inside = "total".into();
    let mut session = Session::new(Thresholds::default());
    let facts = || Some(holders(vec![held.clone()]));
    let told = |record: &CellRecord| record.findings.first().map(|one| one.message.clone());
    let record = session.close_cell(cell("total = 0\ntotal += loss", 200 * M, facts()));
    let message = told(&record).unwrap();
    assert!(
        message.contains("Line 2 of the cell, `total += loss`,"),
        "{message}"
    );
    let record = session.close_cell(cell("other += loss", 20 * M, facts()));
    assert_eq!(told(&record), None);
    assert_eq!(session.findings()[0].message, message);
}

fn unexplained(delta: i64) -> Facts {
    let mut facts = holders(vec![]);
    facts.allocators = vec![crate::Allocator {
        name: "malloc".into(),
        live: (100 * M + delta) as u64,
        live_before: Some(100 * MIB),
        slack_before: Some(0),
        ..crate::Allocator::default()
    }];
    facts
}

fn garbage(bytes: u64) -> Facts {
    let mut held = holder(HolderKind::Cycle, "Node", &[], bytes);
    held.direct = true;
    holders(vec![held])
}

#[test]
fn what_no_name_explains_is_looked_into_in_idle_time_and_told_with_the_next_record() {
    let mut session = Session::new(Thresholds::default());
    session.close_cell(cell("quiet", 2 * M, Some(unexplained(2 * M))));
    assert!(!session.takes_a_look());
    session.close_cell(cell("loop", 16 * M, Some(unexplained(16 * M))));
    assert!(session.takes_a_look());
    assert!(!session.takes_a_look());
    session.learn(garbage(16 * MIB));
    assert_eq!(session.findings()[0].cause, Cause::RefCycle);
    let record = session.close_cell(cell("next", 0, None));
    assert_eq!(record.findings.len(), 1);
    assert!(
        session
            .close_cell(cell("next", 0, None))
            .findings
            .is_empty()
    );
    session.close_cell(cell("gc.collect()", -16 * M, None));
    assert!(session.findings().is_empty());
}

#[test]
fn growth_without_explanation_waits_for_the_look_and_yields_to_what_it_finds() {
    let runs = |session: &mut Session, count: usize| {
        let told: Vec<Finding> = (0..count)
            .flat_map(|_| {
                session
                    .close_cell(cell("loop", 16 * M, Some(unexplained(16 * M))))
                    .findings
            })
            .collect();
        told
    };
    let mut session = Session::new(Thresholds::default());
    assert!(runs(&mut session, 7).is_empty());
    assert_eq!(session.findings()[0].cause, Cause::NativeLeak);
    session.learn(holders(vec![]));
    assert_eq!(
        session
            .close_cell(cell("loop", 16 * M, Some(unexplained(16 * M))))
            .findings
            .len(),
        0
    );
    session.learn(garbage(120 * MIB));
    let causes: Vec<Cause> = session.findings().iter().map(|one| one.cause).collect();
    assert_eq!(causes, [Cause::RefCycle]);
}

#[test]
fn a_new_exception_after_one_of_which_something_was_told_is_looked_at() {
    let raised = Facts {
        raised: true,
        ..Facts::default()
    };
    let mut session = Session::new(Thresholds::default());
    assert!(!session.is_notable(&reading(0), &raised));
    let kept = holder(HolderKind::Traceback, "sys.last_traceback", &[], 32 * MIB);
    session.close_cell(cell("fit()", 32 * M, Some(holders(vec![kept]))));
    assert_eq!(session.findings()[0].cause, Cause::TracebackRefs);
    assert!(session.is_notable(&reading(0), &raised));
    assert!(!session.is_notable(&reading(0), &Facts::default()));
    session.close_cell(cell("typo", 0, Some(holders(vec![]))));
    assert!(session.findings().is_empty());
}

#[test]
fn a_pool_that_later_cells_work_with_is_no_leftover() {
    for (later, holds) in [
        ("scores += pool.map(score, range(20))", false),
        (
            "with lock:\n    for part in parts:\n        done.append(pool.apply(score, (part,)))",
            false,
        ),
        ("print(scores)", true),
        ("pool = Pool(2)\npool.map(score, range(20))", true),
        ("pools.append(pool)\npool = None", true),
    ] {
        let mut session = Session::default();
        let mut pool = inside(HolderKind::Children, "pool", 0, ("pool", "", "Pool", true));
        (pool.detail, pool.count) = ("Pool".into(), 1);
        let mut first = cell("pool = Pool(2)", 0, Some(holders(vec![pool])));
        first.reading.host.children = Some(meter::Children {
            count: 2,
            own: Some(80 * MIB),
            delta: Some(80 * M),
            ..meter::Children::default()
        });
        assert_eq!(session.close_cell(first).findings.len(), 1);
        session.close_cell(cell(later, 0, None));
        assert_eq!(session.findings().len(), usize::from(holds), "{later}");
    }
}
