//! The examples of the schema are records as this crate writes them. Python's `jsonschema` checks them against the schema
//! in `tests/agent/test_schema.py`; here they are made, so that neither can drift.
//!
//! After an intended change: `REWRITE_EXAMPLES=1 cargo test -p ledger --test schema`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ledger::{CellEnd, CellRecord, Facts, Released, Session, Status, StepDone, Thresholds};
use meter::{
    Bond, Children, Gpu, GpuQuality, Host, Left, LimitSource, PeakQuality, Reading, Sample,
};

const MIB: u64 = 1 << 20;

fn cell(source: &str) -> CellEnd<'_> {
    CellEnd {
        execution_count: Some(3),
        source,
        status: Status::Ok,
        wall_s: Some(0.25),
        cpu_s: Some(0.5),
        overhead_s: Some(0.002),
        reading: Reading::default(),
        tier0: Facts::default(),
        tier1: None,
        notices: vec![],
    }
}

fn facts(json: &str) -> Facts {
    let (facts, notice) = Facts::parse(json.as_bytes());
    assert_eq!(notice, None);
    facts
}

/// A cell of which everything is known.
fn full() -> CellRecord {
    let mut end = cell("x = load()\nx");
    end.status = Status::Error;
    end.tier0 = facts(
        r#"{"new_count": 1, "dropped_count": 2, "changed_count": 3,
        "frameworks": {"torch": {"0": {"live": 268435456, "cached": 134217728}}},
        "frameworks_before": {"torch": {"0": {"live": 0, "cached": 33554432}}}}"#,
    );
    end.tier1 = Some(facts(
        r#"{"complete": true,
        "variables": [{"name": "x", "type": "ndarray", "detail": "float64 (1000, 1000)", "bytes": 8000128, "change": "new"},
                      {"name": "old", "before": 1000000, "change": "dropped"}],
        "holders": [{"kind": "out", "name": "Out[2]", "names": ["_2"], "type": "DataFrame", "detail": "(1000000, 5)",
                     "bytes": 40000000, "before": 0},
                    {"kind": "traceback", "name": "sys.last_traceback", "names": ["sys.last_value"],
                     "type": "ValueError", "detail": "in fit", "bytes": 96000000}]}"#,
    ));
    end.notices = vec!["The limit of the configuration is not a size; it was ignored.".into()];
    end.reading = Reading {
        host: Host {
            before: Some(100 * MIB),
            after: Some(240 * MIB),
            delta: Some(140 * MIB as i64),
            peak: Some(300 * MIB),
            peak_quality: Some(PeakQuality::Exact),
            anon: Some(139 * MIB as i64),
            file: Some(MIB as i64),
            shmem: Some(0),
            swap: Some(0),
            children: Some(Children {
                count: 1,
                pss: Some(MIB),
                own: Some(MIB / 2),
                delta: Some(-4096),
                left: vec![Left {
                    pid: 1234,
                    name: "sleep".into(),
                    bond: Bond::Orphan,
                    pss: Some(MIB),
                }],
            }),
            limit: Some(1024 * MIB),
            limit_source: Some(LimitSource::Cgroup2),
        },
        gpu: vec![Gpu {
            index: 0,
            name: Some("A device".into()),
            used: Some(2048 * MIB),
            delta: Some(512 * MIB as i64),
            peak: None,
            quality: GpuQuality::Process,
            share: Some(0.5),
            frameworks: BTreeMap::new(),
        }],
        timeline: vec![
            Sample {
                t_s: 0.0,
                rss: 100 * MIB,
            },
            Sample {
                t_s: 0.1,
                rss: 300 * MIB,
            },
        ],
        notices: vec![],
    };
    let mut record = Session::new(Thresholds::default()).close_cell(end);
    record.steps = vec![StepDone {
        step: "malloc_trim".into(),
        trigger: "idle".into(),
        released: Released {
            host: Some(-(MIB as i64)),
            gpu: None,
        },
        took_s: 0.01,
    }];
    record
}

/// A cell of which nothing could be measured.
fn unmeasured() -> CellRecord {
    let mut end = cell("1 + 1");
    end.execution_count = None;
    (end.wall_s, end.cpu_s, end.overhead_s) = (None, None, None);
    Session::new(Thresholds::default()).close_cell(end)
}

#[test]
fn the_examples_are_what_the_ledger_writes_and_can_be_read_back() {
    for (name, record) in [("full", full()), ("unmeasured", unmeasured())] {
        let path: PathBuf = [
            env!("CARGO_MANIFEST_DIR"),
            "../../docs/schema/examples",
            &format!("{name}.json"),
        ]
        .iter()
        .collect();
        let written = serde_json::to_string_pretty(&record).unwrap() + "\n";
        if std::env::var_os("REWRITE_EXAMPLES").is_some() {
            std::fs::write(&path, &written).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written, "{name}");
        assert_eq!(
            serde_json::from_str::<CellRecord>(&written).unwrap(),
            record,
            "{name}"
        );
    }
}
