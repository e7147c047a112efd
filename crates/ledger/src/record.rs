//! The record of one cell, version 1: the contract with front ends and scripts. Its JSON Schema is
//! `docs/schema/cell-record.v1.json`.
//!
//! Sizes are bytes, times seconds, signs "after − before"; what could not be measured is `null`, never 0.

use serde::{Deserialize, Serialize};

/// What one cell did to memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// Version of the record: 1.
    pub v: u32,
    /// Which cell.
    pub cell: CellInfo,
    /// Seconds of the cell alone.
    pub wall_s: Option<f64>,
    /// Processor seconds of the cell alone.
    pub cpu_s: Option<f64>,
    /// Seconds of our own work for this cell.
    pub overhead_s: Option<f64>,
    /// Memory of the interpreter.
    pub host: meter::Host,
    /// Memory of the GPUs.
    pub gpu: Vec<meter::Gpu>,
    /// Names that changed in size, largest change first.
    pub variables: Vec<VariableChange>,
    /// Where the delta went.
    pub ledger: Ledger,
    /// What is kept by accident or worth knowing, worst first.
    pub findings: Vec<Finding>,
    /// Cleanup steps since the last record.
    pub steps: Vec<StepDone>,
    /// Short texts for the person.
    pub notices: Vec<String>,
    /// How many names appeared, went away or changed.
    pub counts: Counts,
    /// Share of the limit in use after the cell, 0 to 1 or more.
    pub limit_share: Option<f64>,
    /// How the interpreter died in this cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<crate::Death>,
    /// Resident bytes during the cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<meter::Sample>,
}

/// Which cell a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellInfo {
    /// The number in the prompt.
    pub execution_count: Option<u64>,
    /// Identity of the source, see [`crate::source_hash`].
    pub source_hash: String,
    /// How often this source has been executed in this session, this time included.
    pub run: u64,
    /// How it ended.
    pub status: Status,
}

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Without an exception.
    Ok,
    /// With an exception.
    Error,
    /// It was not executed, since an earlier one failed.
    Aborted,
}

/// A name of the notebook that changed in size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableChange {
    /// The name.
    pub name: String,
    /// Its value's class.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Shape or length, may be empty.
    pub detail: String,
    /// What it holds now and no earlier name does.
    pub bytes: u64,
    /// Change by this cell.
    pub delta: i64,
    /// How it changed.
    pub change: crate::Change,
    /// The size is a lower bound or an estimate.
    pub at_least: bool,
}

/// The delta split by owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// What is accounted for.
    pub rows: Vec<Row>,
    /// Host delta that no row explains, signed; null if the delta is unknown.
    pub residue: Option<i64>,
    /// Share of the host delta that the rows explain; null if there was nothing notable to explain.
    pub explained: Option<f64>,
}

/// A part of the delta.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `host`, `gpu0`, …
    pub space: String,
    /// Why the memory moved.
    pub cause: RowCause,
    /// Who holds it, as a person would type it.
    pub owner: String,
    /// Signed bytes.
    pub bytes: i64,
    /// How this is known.
    pub evidence: String,
}

/// Why memory moved: a cause of kept memory, or something ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowCause {
    /// The user's own variables.
    Variables,
    /// Pages of libraries and mapped files: the operating system's cache, not a leak.
    MappedFiles,
    /// Packages that were loaded: code, classes and tables.
    Imports,
    /// In use of the allocators, and no name of Python's leads there.
    Native,
    /// Tensors of a framework on a GPU.
    FrameworkLive,
    /// What a GPU's driver, context and libraries use beside a framework's allocator.
    GpuContext,
    /// Other programs on the same GPU.
    OtherProcesses,
    /// One of the causes of the closed list.
    #[serde(untagged)]
    Kept(Cause),
}

/// The closed list of causes of kept memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A name of the notebook grows with each run.
    UserGrowth,
    /// The shell's own references to results.
    IpythonRefs,
    /// Frames of a kept exception.
    TracebackRefs,
    /// Garbage in cycles, not collected yet or not collectable.
    RefCycle,
    /// Figures in pyplot's registry.
    Figures,
    /// Tensors that keep the graph of their computation.
    AutogradGraph,
    /// Free memory that an allocator keeps.
    AllocatorRetention,
    /// The cache of a library's allocator.
    PoolCache,
    /// Live child processes.
    ChildProcess,
    /// An open handle or kernel object.
    OpenResource,
    /// Compiled or traced state of a framework.
    FrameworkState,
    /// Memoisation without a bound.
    CacheGrowth,
    /// A process-wide registry or list of callbacks.
    RegistryCallback,
    /// A waiting thread, task or generator.
    SuspendedExecution,
    /// A small view of a large buffer.
    ViewRetention,
    /// Native memory that nothing frees.
    NativeLeak,
}

impl Cause {
    /// The id of a finding of this cause about `whom`.
    pub(crate) fn id(self, whom: &str) -> String {
        format!("{}:{whom}", self.name())
    }

    /// The word for it in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserGrowth => "user_growth",
            Self::IpythonRefs => "ipython_refs",
            Self::TracebackRefs => "traceback_refs",
            Self::RefCycle => "ref_cycle",
            Self::Figures => "figures",
            Self::AutogradGraph => "autograd_graph",
            Self::AllocatorRetention => "allocator_retention",
            Self::PoolCache => "pool_cache",
            Self::ChildProcess => "child_process",
            Self::OpenResource => "open_resource",
            Self::FrameworkState => "framework_state",
            Self::CacheGrowth => "cache_growth",
            Self::RegistryCallback => "registry_callback",
            Self::SuspendedExecution => "suspended_execution",
            Self::ViewRetention => "view_retention",
            Self::NativeLeak => "native_leak",
        }
    }
}

/// A cause above its threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The same for the same matter as long as it holds.
    pub id: String,
    /// Why memory is kept.
    pub cause: Cause,
    /// Kept by accident (act) rather than only worth knowing.
    pub leak: bool,
    /// Who is to blame.
    pub culprit: Culprit,
    /// What the cause holds.
    pub bytes: u64,
    /// How sure this is.
    pub confidence: Confidence,
    /// One sentence or two for the person.
    pub message: String,
    /// The line to run.
    pub hint: String,
    /// The cleanup step that would do it.
    pub step: Option<String>,
}

/// Who is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// What it is.
    pub kind: CulpritKind,
    /// What the person would type or recognise.
    pub name: String,
}

/// Kinds of culprits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CulpritKind {
    /// A name of the notebook.
    Variable,
    /// A library.
    Library,
    /// Something of the shell or of Python that keeps references.
    Holder,
    /// A process.
    Process,
    /// A file.
    File,
}

/// How sure a finding is. `Possible` never makes a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// An indication.
    Possible,
    /// More than an indication.
    Likely,
    /// Seen.
    Certain,
}

/// A cleanup step that was carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDone {
    /// Its name.
    pub step: String,
    /// What made it run.
    pub trigger: String,
    /// What it gave back, measured.
    pub released: Released,
    /// Seconds.
    pub took_s: f64,
}

/// Bytes that a step gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Host memory.
    pub host: Option<i64>,
    /// GPU memory, all devices.
    pub gpu: Option<i64>,
}

/// How many names of the notebook appeared, went away or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// New names.
    pub new: u64,
    /// Names that are gone.
    pub dropped: u64,
    /// Names that were rebound or grew.
    pub changed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_causes_are_plain_words() {
        for (cause, word) in [
            (RowCause::Variables, "\"variables\""),
            (RowCause::MappedFiles, "\"mapped_files\""),
            (RowCause::Kept(Cause::IpythonRefs), "\"ipython_refs\""),
        ] {
            assert_eq!(serde_json::to_string(&cause).unwrap(), word);
            assert_eq!(serde_json::from_str::<RowCause>(word).unwrap(), cause);
        }
    }
}
