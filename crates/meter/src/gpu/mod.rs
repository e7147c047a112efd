//! What a device tells becomes a figure with a quality.
//!
//! A driver may name our processes, or hide them behind numbers of another PID namespace, or tell only what the whole
//! device uses. The best figure that holds for the start and the end of a cell alike is taken, so that a delta never
//! mixes two kinds.

mod nvml;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

pub(crate) use nvml::{Library, OpenError};

use crate::reading::{Gpu, GpuQuality, delta};

/// What a device told at one moment. `None` is what it did not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observation {
    pub(crate) index: u32,
    pub(crate) name: Option<String>,
    /// Bytes in use on the whole device.
    pub(crate) used: Option<u64>,
    /// Bytes that the device has.
    pub(crate) total: Option<u64>,
    /// The processes on the device, each once.
    pub(crate) processes: Option<Vec<Listed>>,
}

/// A process on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) pid: u32,
    /// Bytes that it uses there; never 0, since a process without memory is not on the device.
    pub(crate) used: Option<u64>,
    pub(crate) whose: Whose,
}

/// Whose a listed process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// In our process tree.
    Ours,
    /// In our PID namespace and not in our tree.
    Foreign,
    /// Not in our PID namespace: from inside a container, ours may look like this.
    Unknown,
}

/// The bytes of an observation, counted in three ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Of our processes; 0 where none is listed.
    own: Option<u64>,
    /// Of the one process on the device; 0 where there is none.
    alone: Option<u64>,
    /// Of the whole device.
    device: Option<u64>,
}

impl Figures {
    fn of(observation: &Observation) -> Self {
        let processes = observation.processes.as_deref();
        Self {
            own: processes.and_then(|processes| {
                processes
                    .iter()
                    .filter(|process| process.whose == Whose::Ours)
                    .try_fold(0_u64, |sum, process| {
                        Some(sum.saturating_add(process.used?))
                    })
            }),
            alone: processes.and_then(|processes| match processes {
                [] => Some(0),
                [one] if one.whose != Whose::Foreign => one.used,
                _ => None,
            }),
            device: observation.used,
        }
    }

    /// Keeps the higher of each.
    fn raise(&mut self, other: Self) {
        self.own = self.own.max(other.own);
        self.alone = self.alone.max(other.alone);
        self.device = self.device.max(other.device);
    }
}

/// The highest figures between the start and the end of a cell, by device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peaks(BTreeMap<u32, Figures>);

impl Peaks {
    /// Takes in what the devices tell now.
    pub(crate) fn raise(&mut self, observations: &[Observation]) {
        for observation in observations {
            self.0
                .entry(observation.index)
                .or_default()
                .raise(Figures::of(observation));
        }
    }
}

/// Compares the devices at the start and the end of a cell.
pub(crate) fn judge(before: &[Observation], after: &[Observation], peaks: &Peaks) -> Vec<Gpu> {
    let find = |observations: &[Observation], index| {
        observations
            .iter()
            .find(|observation| observation.index == index)
            .cloned()
    };
    let indices: BTreeSet<u32> = before
        .iter()
        .chain(after)
        .map(|observation| observation.index)
        .collect();
    indices
        .into_iter()
        .map(|index| {
            let polled = peaks.0.get(&index).copied().unwrap_or_default();
            judge_device(index, find(before, index), find(after, index), polled)
        })
        .collect()
}

fn judge_device(
    index: u32,
    before: Option<Observation>,
    after: Option<Observation>,
    polled: Figures,
) -> Gpu {
    let mut gpu = Gpu {
        index,
        name: iter::chain(&after, &before).find_map(|seen| seen.name.clone()),
        ..Gpu::default()
    };
    let Some(after) = after else {
        return gpu;
    };
    let start = before.as_ref().map(Figures::of);
    let end = Figures::of(&after);
    let Some((quality, pick)) = best(before.as_ref(), &after, polled) else {
        return gpu;
    };
    let start = start.as_ref().and_then(pick);
    gpu.quality = quality;
    gpu.share = after
        .used
        .zip(after.total.filter(|&total| total > 0))
        .map(|(used, total)| used as f64 / total as f64);
    gpu.used = pick(&end);
    gpu.delta = delta(gpu.used, start);
    gpu.peak = gpu.used.max(start).max(pick(&polled));
    gpu
}

type Pick = fn(&Figures) -> Option<u64>;

/// The best quality that start and end allow, and which figure it is about.
fn best(
    before: Option<&Observation>,
    after: &Observation,
    polled: Figures,
) -> Option<(GpuQuality, Pick)> {
    let start = before.map(Figures::of);
    let end = Figures::of(after);

    // Zero alone is no match: where the driver hides our processes they are never listed.
    let matched = start
        .and_then(|start| start.own)
        .max(end.own)
        .max(polled.own)
        > Some(0);
    if end.own.is_some() && matched {
        return Some((GpuQuality::Process, |figures| figures.own));
    }
    if is_alone(before, after) {
        if end.alone.is_some() && start.is_none_or(|start| start.alone.is_some()) {
            return Some((GpuQuality::SoleProcess, |figures| figures.alone));
        }
        if end.device.is_some() {
            return Some((GpuQuality::SoleProcess, |figures| figures.device));
        }
    }
    end.device
        .map(|_| (GpuQuality::DeviceDelta, (|figures| figures.device) as Pick))
}

/// Whether the device had one process and no other, at the start and at the end, and it can be ours.
fn is_alone(before: Option<&Observation>, after: &Observation) -> bool {
    let mut pids = BTreeSet::new();
    for observation in iter::chain(before, [after]) {
        let Some(processes) = &observation.processes else {
            return false;
        };
        if processes
            .iter()
            .any(|process| process.whose == Whose::Foreign)
        {
            return false;
        }
        pids.extend(processes.iter().map(|process| process.pid));
    }
    pids.len() == 1
}

#[cfg(test)]
mod tests {
    use super::{Whose::*, *};

    fn process(pid: u32, used: Option<u64>, whose: Whose) -> Listed {
        Listed { pid, used, whose }
    }

    fn seen(used: Option<u64>, processes: Option<&[Listed]>) -> Option<Observation> {
        Some(Observation {
            index: 0,
            name: Some("A GPU".into()),
            used,
            total: None,
            processes: processes.map(<[Listed]>::to_vec),
        })
    }

    /// Quality, used, delta, peak.
    type Expected = (GpuQuality, Option<u64>, Option<i64>, Option<u64>);

    fn check(
        name: &str,
        before: Option<Observation>,
        after: Option<Observation>,
        polled: Figures,
        expected: Expected,
    ) {
        let gpu = judge_device(0, before, after, polled);
        assert_eq!(
            (gpu.quality, gpu.used, gpu.delta, gpu.peak),
            expected,
            "{name}"
        );
    }

    #[test]
    fn the_best_figure_that_start_and_end_allow_is_taken() {
        use GpuQuality::{DeviceDelta, Process, SoleProcess, Unavailable};
        let none: &[Listed] = &[];
        let ours = |used| [process(1, used, Ours)];
        let hidden = |used| [process(900, used, Unknown)];
        let other = process(2, Some(70), Foreign);
        let cases: &[(&str, Option<Observation>, Option<Observation>, Expected)] = &[
            (
                "ours is listed at both ends",
                seen(Some(100), Some(&[ours(Some(10))[0], other])),
                seen(Some(150), Some(&[ours(Some(40))[0], other])),
                (Process, Some(40), Some(30), Some(40)),
            ),
            (
                "ours began to use the device",
                seen(Some(70), Some(&[other])),
                seen(Some(100), Some(&[ours(Some(30))[0], other])),
                (Process, Some(30), Some(30), Some(30)),
            ),
            (
                "ours left the device",
                seen(Some(100), Some(&ours(Some(30)))),
                seen(Some(70), Some(none)),
                (Process, Some(0), Some(-30), Some(30)),
            ),
            (
                "two processes of ours",
                seen(None, Some(&ours(Some(5)))),
                seen(None, Some(&[ours(Some(5))[0], process(3, Some(6), Ours)])),
                (Process, Some(11), Some(6), Some(11)),
            ),
            (
                "ours without a figure is alone: the device's figure is its figure",
                seen(Some(100), Some(&ours(None))),
                seen(Some(160), Some(&ours(None))),
                (SoleProcess, Some(160), Some(60), Some(160)),
            ),
            (
                "ours without a figure is not alone",
                seen(Some(100), Some(&[ours(None)[0], other])),
                seen(Some(160), Some(&[ours(None)[0], other])),
                (DeviceDelta, Some(160), Some(60), Some(160)),
            ),
            (
                "one process of another namespace",
                seen(Some(0), Some(none)),
                seen(Some(90), Some(&hidden(Some(80)))),
                (SoleProcess, Some(80), Some(80), Some(80)),
            ),
            (
                "one process of another namespace, then another one",
                seen(Some(50), Some(&hidden(Some(40)))),
                seen(Some(90), Some(&[process(901, Some(80), Unknown)])),
                (DeviceDelta, Some(90), Some(40), Some(90)),
            ),
            (
                "one process that is certainly not ours",
                seen(Some(70), Some(&[other])),
                seen(Some(90), Some(&[other])),
                (DeviceDelta, Some(90), Some(20), Some(90)),
            ),
            (
                "an idle device",
                seen(Some(3), Some(none)),
                seen(Some(3), Some(none)),
                (DeviceDelta, Some(3), Some(0), Some(3)),
            ),
            (
                "processes are not shown",
                seen(Some(9), None),
                seen(Some(4), None),
                (DeviceDelta, Some(4), Some(-5), Some(9)),
            ),
            (
                "memory is not shown, nor a figure of ours",
                seen(None, Some(&ours(None))),
                seen(None, Some(&ours(None))),
                (Unavailable, None, None, None),
            ),
            (
                "no baseline",
                None,
                seen(Some(9), Some(&ours(Some(4)))),
                (Process, Some(4), None, Some(4)),
            ),
            (
                "lost during the cell",
                seen(Some(9), Some(&ours(Some(4)))),
                seen(None, None),
                (Unavailable, None, None, None),
            ),
            (
                "no answer at the end",
                seen(Some(9), Some(&ours(Some(4)))),
                None,
                (Unavailable, None, None, None),
            ),
            (
                "found again",
                seen(None, None),
                seen(Some(9), None),
                (DeviceDelta, Some(9), None, Some(9)),
            ),
        ];
        for (name, before, after, expected) in cases {
            check(
                name,
                before.clone(),
                after.clone(),
                Figures::default(),
                *expected,
            );
        }
    }

    #[test]
    fn a_peak_between_start_and_end_is_of_the_same_kind_as_the_rest() {
        let polled = Figures {
            own: Some(50),
            alone: None,
            device: Some(500),
        };
        let ours = [process(1, Some(10), Ours)];
        check(
            "by process",
            seen(Some(100), Some(&ours)),
            seen(Some(100), Some(&ours)),
            polled,
            (GpuQuality::Process, Some(10), Some(0), Some(50)),
        );
        check(
            "ours was there only in between",
            seen(Some(100), Some(&[])),
            seen(Some(100), Some(&[])),
            polled,
            (GpuQuality::Process, Some(0), Some(0), Some(50)),
        );
        check(
            "by device",
            seen(Some(100), None),
            seen(Some(100), None),
            polled,
            (GpuQuality::DeviceDelta, Some(100), Some(0), Some(500)),
        );
    }

    #[test]
    fn a_device_keeps_its_name_after_it_is_lost() {
        let before = seen(Some(1), None);
        let after = Observation::default();
        let gpus = judge(before.as_slice(), &[after], &Peaks::default());
        assert_eq!(gpus[0].name.as_deref(), Some("A GPU"));
        assert_eq!(gpus[0].quality, GpuQuality::Unavailable);
    }

    #[test]
    fn peaks_keep_the_higher_of_each_kind() {
        let mut peaks = Peaks::default();
        for (used, own) in [(10, 5), (30, 2), (20, 9)] {
            peaks.raise(seen(Some(used), Some(&[process(1, Some(own), Ours)])).as_slice());
        }
        let expected = Figures {
            own: Some(9),
            alone: Some(9),
            device: Some(30),
        };
        assert_eq!(peaks.0[&0], expected);
    }
}
