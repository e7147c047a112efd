//! Readings of host and GPU memory of a process tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the peak was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeakQuality {
    /// The kernel's own high-water mark.
    Exact,
    /// The highest of some samples.
    Sampled,
}

/// Where the limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The user's configuration.
    Policy,
    /// A version 2 control group.
    Cgroup2,
    /// A version 1 control group.
    Cgroup1,
    /// The memory of the machine.
    Machine,
}

/// How far a GPU figure can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuQuality {
    /// The driver's figure of our process.
    Process,
    /// The device's figure, ours being the only process.
    SoleProcess,
    /// The change of the device's figure.
    DeviceDelta,
    /// The counters of a framework.
    Framework,
    /// Nothing could be measured.
    #[default]
    Unavailable,
}

/// The processes below the interpreter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Children {
    /// How many.
    pub count: u64,
    /// Proportional resident bytes.
    pub pss: Option<u64>,
    /// Change of `pss` in bytes.
    pub delta: Option<i64>,
}

/// Host memory of one cell, bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Resident before the cell.
    pub before: Option<u64>,
    /// Resident after the cell.
    pub after: Option<u64>,
    /// After − before.
    pub delta: Option<i64>,
    /// The highest during the cell.
    pub peak: Option<u64>,
    /// How the peak was obtained.
    pub peak_quality: Option<PeakQuality>,
    /// Change of anonymous memory.
    pub anon: Option<i64>,
    /// Change of file-backed memory.
    pub file: Option<i64>,
    /// Change of shared memory.
    pub shmem: Option<i64>,
    /// Change of swapped memory.
    pub swap: Option<i64>,
    /// The processes below the interpreter.
    pub children: Option<Children>,
    /// The limit that applies.
    pub limit: Option<u64>,
    /// Where that limit comes from.
    pub limit_source: Option<LimitSource>,
}

/// The counters of a framework on one device, bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Framework {
    /// Held by live tensors.
    pub live: Option<u64>,
    /// Kept by the caching allocator.
    pub cached: Option<u64>,
}

/// Memory of one GPU in one cell, bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Number of the device.
    pub index: u32,
    /// Name of the device.
    pub name: String,
    /// Used after the cell.
    pub used: Option<u64>,
    /// Change of `used`.
    pub delta: Option<i64>,
    /// The highest during the cell.
    pub peak: Option<u64>,
    /// How far the figures can be trusted.
    pub quality: GpuQuality,
    /// Counters by framework.
    pub frameworks: BTreeMap<String, Framework>,
}

/// One point of the timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the cell began.
    pub t_s: f64,
    /// Resident bytes.
    pub rss: u64,
}

/// What was measured around one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Host memory.
    pub host: Host,
    /// GPU memory.
    pub gpu: Vec<Gpu>,
    /// Resident bytes over time.
    pub timeline: Vec<Sample>,
    /// Texts for the person.
    pub notices: Vec<String>,
}
