//! The plain data that a reading is: the fields `host` and `gpu` of the cell record, version 1.
//!
//! Sizes are bytes. A field that could not be measured is `None`, never 0. Deltas are "after − before".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What happened to memory between [`Meter::begin`](crate::Meter::begin) and [`Meter::end`](crate::Meter::end).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Memory of the interpreter and its children.
    pub host: Host,
    /// One entry a device, in the driver's order; empty without a driver.
    pub gpu: Vec<Gpu>,
    /// Resident bytes over time: at most 24 points, with the first, the last and the extremes in between.
    pub timeline: Vec<Sample>,
    /// Short texts for the person: a measurement that was refused. Each is given once a session.
    pub notices: Vec<String>,
}

/// Resident memory of the interpreter, without its children unless a field says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Resident bytes at the start.
    pub before: Option<u64>,
    /// Resident bytes at the end.
    pub after: Option<u64>,
    /// `after − before`.
    pub delta: Option<i64>,
    /// Highest resident bytes in between.
    pub peak: Option<u64>,
    /// How `peak` is known.
    pub peak_quality: Option<PeakQuality>,
    /// Change of anonymous resident bytes: heaps, arrays, stacks.
    pub anon: Option<i64>,
    /// Change of resident bytes of mapped files.
    pub file: Option<i64>,
    /// Change of resident bytes of shared memory, `/dev/shm` included.
    pub shmem: Option<i64>,
    /// Change of bytes in swap.
    pub swap: Option<i64>,
    /// The other processes of the tree.
    pub children: Option<Children>,
    /// The memory limit that binds first.
    pub limit: Option<u64>,
    /// Where `limit` comes from.
    pub limit_source: Option<LimitSource>,
}

/// How the peak is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeakQuality {
    /// Kept by the operating system: nothing was missed.
    Exact,
    /// The highest of the samples: a lower bound.
    Sampled,
}

/// Which limit binds first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The person's own limit.
    Policy,
    /// A control group, version 2.
    Cgroup2,
    /// A control group, version 1.
    Cgroup1,
    /// The memory of the machine.
    Machine,
}

/// The descendants of the interpreter at the end of a cell, those whose parents have ended included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Children {
    /// How many are alive.
    pub count: u64,
    /// Their proportional set size (shared pages are divided among those that map them), or their resident size where
    /// the system does not tell.
    pub pss: Option<u64>,
    /// What they wrote and share with nobody: the part that goes when they end.
    pub own: Option<u64>,
    /// Change of `pss`, those that came and went included.
    pub delta: Option<i64>,
    /// Those that were not there before the cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
}

/// A process that a cell has left running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its number.
    pub pid: u32,
    /// The name of its program, cut by the system to 15 characters.
    pub name: String,
    /// How it belongs to the interpreter.
    pub bond: Bond,
    /// Its proportional set size.
    pub pss: Option<u64>,
}

/// How a process belongs to the interpreter that it descends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bond {
    /// Its parent lives, and it is in the interpreter's session: a worker, mostly.
    Worker,
    /// It began a session of its own, or is in such a one: signals to the interpreter's group do not reach it.
    Session,
    /// Its parent has ended.
    Orphan,
}

/// Memory of one GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    /// The driver's index of the device.
    pub index: u32,
    /// Its product name.
    pub name: Option<String>,
    /// Bytes in use at the end: of our processes or of the whole device, as `quality` says.
    pub used: Option<u64>,
    /// Change of `used`.
    pub delta: Option<i64>,
    /// Highest `used` that was seen.
    pub peak: Option<u64>,
    /// What the figures are about.
    pub quality: GpuQuality,
    /// Share of the whole device in use at the end, by whomever; 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// What frameworks inside the interpreter tell, by name. Left empty here: it is known only inside.
    pub frameworks: BTreeMap<String, FrameworkMemory>,
}

/// What the figures of a GPU are about, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuQuality {
    /// Memory of our own processes, which the driver listed.
    Process,
    /// Memory of the one process on the device, which may be ours under a name that a container hides.
    SoleProcess,
    /// Memory of the whole device, other people's processes included.
    DeviceDelta,
    /// Only what a framework inside the interpreter tells.
    Framework,
    /// Nothing is known.
    #[default]
    Unavailable,
}

/// A framework's own counters for one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrameworkMemory {
    /// Bytes of living tensors.
    pub live: Option<u64>,
    /// Bytes that its allocator keeps free beside them; none where it does not tell.
    pub cached: Option<u64>,
}

/// Resident bytes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the start of the cell.
    pub t_s: f64,
    /// Resident bytes of the interpreter.
    pub rss: u64,
}

/// `after − before` of two sizes. Sizes beyond 8 EiB do not exist, so nothing is lost by the sign.
pub(crate) fn difference(after: u64, before: u64) -> i64 {
    i64::try_from(i128::from(after) - i128::from(before)).unwrap_or(if after > before {
        i64::MAX
    } else {
        i64::MIN
    })
}

/// The difference of two sizes of which either may be unknown.
pub(crate) fn delta(after: Option<u64>, before: Option<u64>) -> Option<i64> {
    Some(difference(after?, before?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_null_and_names_are_those_of_the_record() {
        let host = Host {
            peak_quality: Some(PeakQuality::Sampled),
            limit_source: Some(LimitSource::Cgroup2),
            children: Some(Children {
                count: 2,
                pss: None,
                own: None,
                delta: None,
                left: Vec::new(),
            }),
            ..Host::default()
        };
        assert_eq!(
            serde_json::to_value(&host).unwrap(),
            serde_json::json!({
                "before": null, "after": null, "delta": null, "peak": null, "peak_quality": "sampled",
                "anon": null, "file": null, "shmem": null, "swap": null,
                "children": {"count": 2, "pss": null, "own": null, "delta": null},
                "limit": null, "limit_source": "cgroup2",
            })
        );
        let gpu = Gpu {
            index: 1,
            quality: GpuQuality::SoleProcess,
            ..Gpu::default()
        };
        assert_eq!(
            serde_json::to_value(&gpu).unwrap(),
            serde_json::json!({
                "index": 1, "name": null, "used": null, "delta": null, "peak": null,
                "quality": "sole_process", "frameworks": {},
            })
        );
    }

    #[test]
    fn a_reading_survives_json_and_an_older_one_without_a_field_is_read() {
        let reading = Reading {
            host: Host {
                before: Some(1),
                peak_quality: Some(PeakQuality::Exact),
                ..Host::default()
            },
            gpu: vec![Gpu::default()],
            timeline: vec![Sample { t_s: 0.5, rss: 7 }],
            notices: vec!["a notice".into()],
        };
        let text = serde_json::to_string(&reading).unwrap();
        assert_eq!(serde_json::from_str::<Reading>(&text).unwrap(), reading);
        assert_eq!(
            serde_json::from_str::<Reading>("{}").unwrap(),
            Reading::default()
        );
    }

    #[test]
    fn a_difference_has_a_sign_and_never_overflows() {
        for (after, before, expected) in [
            (3, 1, 2),
            (1, 3, -2),
            (0, 0, 0),
            (u64::MAX, 0, i64::MAX),
            (0, u64::MAX, i64::MIN),
        ] {
            assert_eq!(difference(after, before), expected);
        }
    }
}
