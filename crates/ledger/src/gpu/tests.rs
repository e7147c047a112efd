//! Rows and figures of GPUs.

use super::*;
use crate::facts::Variable;

const MIB: u64 = 1 << 20;

fn memory(live: u64, cached: u64) -> FrameworkMemory {
    FrameworkMemory {
        live: Some(live * MIB),
        cached: Some(cached * MIB),
    }
}

fn of(framework: &str, devices: &[(u32, FrameworkMemory)]) -> Counters {
    Counters::from([(framework.to_owned(), devices.iter().copied().collect())])
}

fn measured(index: u32, delta: i64, quality: GpuQuality) -> Gpu {
    Gpu {
        index,
        used: Some(8 << 30),
        delta: Some(delta * MIB as i64),
        quality,
        ..Gpu::default()
    }
}

fn variable(name: &str, before: u64, now: u64) -> Variable {
    let on = |mib: u64| (mib > 0).then_some((0, mib * MIB)).into_iter().collect();
    Variable {
        name: name.into(),
        type_name: "Tensor".into(),
        gpu: on(now),
        gpu_before: on(before),
        ..Variable::default()
    }
}

/// Space, cause, owner, MiB.
fn told(
    gpus: &[Gpu],
    tier0: &Facts,
    variables: Vec<Variable>,
) -> Vec<(String, RowCause, String, i64)> {
    let tier1 = Facts {
        variables,
        ..Facts::default()
    };
    let rows = rows(gpus, tier0, Some(&tier1), &Held::default());
    for gpu in gpus {
        let space = format!("gpu{}", gpu.index);
        let here = rows.iter().filter(|row| row.space == space);
        assert_eq!(Some(here.map(|row| row.bytes).sum()), gpu.delta, "{space}");
    }
    rows.into_iter()
        .map(|row| (row.space, row.cause, row.owner, row.bytes / MIB as i64))
        .collect()
}

#[test]
fn the_first_tensor_pays_for_the_context_and_the_pool() {
    let tier0 = Facts {
        frameworks: of("torch", &[(0, memory(1024, 76))]),
        ..Facts::default()
    };
    let gpus = with_frameworks(vec![measured(2, 1600, GpuQuality::Process)], &tier0);
    assert_eq!(gpus[0].frameworks["torch"], memory(1024, 76));
    let row = |cause, owner: &str, mib| ("gpu2".to_owned(), cause, owner.to_owned(), mib);
    assert_eq!(
        told(
            &gpus,
            &tier0,
            vec![variable("x", 0, 900), variable("gone", 20, 0)]
        ),
        [
            row(RowCause::Variables, "x", 900),
            row(RowCause::GpuContext, "driver and libraries", 500),
            row(RowCause::FrameworkLive, "torch", 144),
            row(RowCause::Kept(Cause::PoolCache), "torch", 76),
            row(RowCause::Variables, "gone", -20),
        ]
    );
}

#[test]
fn what_a_pool_kept_before_the_cell_is_not_the_cells() {
    let tier0 = Facts {
        frameworks_before: of("torch", &[(0, memory(0, 1000))]),
        frameworks: of("torch", &[(0, memory(400, 600))]),
        ..Facts::default()
    };
    let gpus = with_frameworks(vec![measured(0, 0, GpuQuality::Process)], &tier0);
    let told = told(&gpus, &tier0, vec![]);
    let moved: Vec<i64> = told.iter().map(|(.., mib)| *mib).collect();
    assert_eq!(moved, [-400, 400]);
    assert_eq!(super::moved(&tier0), 400 * MIB);
}

#[test]
fn what_only_the_whole_device_tells_may_be_other_peoples() {
    let tier0 = Facts {
        frameworks: of("torch", &[(0, memory(100, 0))]),
        frameworks_before: of("torch", &[(0, memory(100, 0))]),
        ..Facts::default()
    };
    let gpus = with_frameworks(vec![measured(0, 70, GpuQuality::DeviceDelta)], &tier0);
    let told = told(&gpus, &tier0, vec![]);
    assert_eq!((told[0].1, told[0].3), (RowCause::OtherProcesses, 70));
}

#[test]
fn a_framework_that_hides_its_pool_is_named() {
    let silent = FrameworkMemory {
        live: Some(10 * MIB),
        cached: None,
    };
    let tier0 = Facts {
        frameworks: of("tensorflow", &[(0, silent)]),
        ..Facts::default()
    };
    let gpus = with_frameworks(vec![measured(0, 9000, GpuQuality::Process)], &tier0);
    let told = told(&gpus, &tier0, vec![]);
    assert_eq!(told[0].2, "driver, libraries and the pool of tensorflow");
}

#[test]
fn a_device_that_was_not_measured_has_the_figures_of_its_frameworks() {
    let tier0 = Facts {
        frameworks_before: of("torch", &[(0, memory(300, 100)), (1, memory(7, 0))]),
        frameworks: of("torch", &[(0, memory(500, 0))]),
        ..Facts::default()
    };
    let unknown = Gpu {
        index: 1,
        ..Gpu::default()
    };
    let gpus = with_frameworks(vec![unknown], &tier0);
    let figures: Vec<_> = gpus
        .iter()
        .map(|gpu| (gpu.index, gpu.used, gpu.delta, gpu.quality))
        .collect();
    assert_eq!(
        figures,
        [
            (1, Some(0), Some(-7 * MIB as i64), GpuQuality::Framework),
            (
                0,
                Some(500 * MIB),
                Some(100 * MIB as i64),
                GpuQuality::Framework
            ),
        ]
    );
    assert_eq!(told(&gpus, &tier0, vec![]).len(), 3);
}

#[test]
fn devices_are_matched_by_number_unless_there_is_but_one_on_each_side() {
    let tier0 = |devices: &[u32]| Facts {
        frameworks: of(
            "torch",
            &devices
                .iter()
                .map(|device| (*device, memory(5, 7)))
                .collect::<Vec<_>>(),
        ),
        ..Facts::default()
    };
    let gpu = |index| measured(index, 0, GpuQuality::Process);
    for (what, gpus, seen, expected) in [
        (
            "our only device is its only one",
            vec![gpu(3)],
            vec![0],
            vec![(3, true)],
        ),
        (
            "by number",
            vec![gpu(0), gpu(1)],
            vec![1],
            vec![(0, false), (1, true)],
        ),
    ] {
        let joined: Vec<(u32, bool)> = with_frameworks(gpus, &tier0(&seen))
            .into_iter()
            .map(|gpu| (gpu.index, gpu.frameworks.contains_key("torch")))
            .collect();
        assert_eq!(joined, expected, "{what}");
    }
}

#[test]
fn nothing_on_a_gpu_is_no_row() {
    assert!(rows(&[Gpu::default()], &Facts::default(), None, &Held::default()).is_empty());
    assert_eq!(moved(&Facts::default()), 0);
}

#[test]
fn what_only_the_output_history_keeps_has_a_row_once() {
    let tier0 = |before, now| Facts {
        frameworks_before: of("torch", &[(0, memory(before, 0))]),
        frameworks: of("torch", &[(0, memory(now, 0))]),
        ..Facts::default()
    };
    let held = Holder {
        kind: HolderKind::Out,
        name: "Out[3]".into(),
        bytes: 200 * MIB,
        gpu: BTreeMap::from([(0, 200 * MIB)]),
        ..Holder::default()
    };
    let tier1 = Facts {
        complete: true,
        holders: vec![held],
        ..Facts::default()
    };
    let mut known = Held::default();
    let gpu = |delta| vec![measured(0, delta, GpuQuality::Process)];
    let first = rows(&gpu(200), &tier0(0, 200), Some(&tier1), &known);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].cause, RowCause::Kept(Cause::IpythonRefs));
    known.remember(&tier1);
    let again = rows(&gpu(5), &tier0(200, 205), Some(&tier1), &known);
    assert_eq!((again.len(), again[0].cause), (1, RowCause::FrameworkLive));
}
