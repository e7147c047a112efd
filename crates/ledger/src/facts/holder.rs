//! What keeps memory beside the user's names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::difference;
use super::fields::Fields;

const CACHES: [&str; 6] = ["cache", "memo", "seen", "store", "history", "registry"];

/// Something other than a plain value under a name that keeps memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// What it is.
    pub kind: HolderKind,
    /// The name that a person knows: `Out[3]`, `sys.last_traceback`, a variable, a library.
    pub name: String,
    /// All other names under which it keeps the object.
    pub names: Vec<String>,
    /// Class or sort of what is kept.
    pub type_name: String,
    /// Shape, length or place.
    pub detail: String,
    /// What it holds and nothing before it did, on GPUs too.
    pub bytes: u64,
    /// The part of it on GPUs, by a framework's number of the device.
    pub gpu: BTreeMap<u32, u64>,
    /// What it held when last seen, without GPUs.
    pub before: u64,
    /// `bytes` is a lower bound or an estimate.
    pub at_least: bool,
    /// Variables were only sampled, so one of them might hold this too.
    pub maybe_shared: bool,
    /// How many things are kept.
    pub count: u64,
    /// The variable through which it is reached and in whose size it is counted; empty if there is none.
    pub inside: String,
    /// An expression for the container in that variable, or for the thing itself if it is in none; may be empty.
    pub path: String,
    /// Class of the container; empty if the thing is in none.
    pub shape: String,
    /// Class of what `path` leads to, or of the container's items.
    pub element: String,
    /// What is to be done about it can be done to that.
    pub direct: bool,
}

impl Holder {
    /// Change by this cell of what it holds in the interpreter's own memory.
    pub fn delta(&self) -> i64 {
        let on_gpus = self.gpu.values().copied().fold(0u64, u64::saturating_add);
        difference(self.bytes.saturating_sub(on_gpus), self.before)
    }

    /// Whether it is a list on a class or function, or in a closure: that is filled rather than asked, so it is growth and not a cache.
    pub(crate) fn is_appended_to(&self) -> bool {
        self.kind == HolderKind::Cache
            && ["attribute", "closure"].contains(&self.type_name.as_str())
            && ["list", "deque"].contains(&self.element.as_str())
            && !self.is_called_a_cache()
    }

    /// Whether its name says that it is a cache.
    pub(crate) fn is_called_a_cache(&self) -> bool {
        let called = match self.type_name.as_str() {
            "closure" => &self.detail,
            _ => &self.name,
        };
        let last = called.rsplit('.').next().unwrap_or("").to_lowercase();
        CACHES.iter().any(|word| last.contains(word))
    }

    pub(super) fn read(fields: &mut Fields) -> Self {
        let gpu = fields.on_devices("gpu");
        let bytes = fields.bytes("bytes");
        Self {
            kind: fields.get("kind"),
            name: fields.text("name"),
            names: fields.texts("names"),
            type_name: fields.text("type"),
            detail: fields.text("detail"),
            bytes: gpu.values().copied().fold(bytes, u64::saturating_add),
            gpu,
            before: fields.bytes("before"),
            at_least: fields.get("at_least"),
            maybe_shared: fields.get("maybe_shared"),
            count: fields.bytes("count"),
            inside: fields.text("inside"),
            path: fields.text("path"),
            shape: fields.text("shape"),
            element: fields.text("element"),
            direct: fields.get("direct"),
        }
    }
}

/// Kinds of holders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    /// The output history of the shell.
    Out,
    /// The last exception.
    Traceback,
    /// Exceptions that the user stored, and the frames that they keep.
    Exceptions,
    /// Figures of pyplot's registry.
    Figures,
    /// Buffers of which only small views are in use.
    View,
    /// Caches of functions and classes.
    Cache,
    /// Open files, databases and mappings.
    Resource,
    /// Segments of shared memory that were made here and are not mapped any more.
    Segments,
    /// Pools and workers.
    Children,
    /// Graphs of automatic differentiation.
    Autograd,
    /// Traces of compiled functions; only counted.
    Traces,
    /// Models of a framework that variables keep; only counted.
    Models,
    /// Threads, tasks and generators that wait.
    Suspended,
    /// Process-wide lists of handlers, callbacks and widgets.
    Registry,
    /// The namespace of a script that was run.
    Script,
    /// Garbage in cycles.
    Cycle,
    /// One that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}
