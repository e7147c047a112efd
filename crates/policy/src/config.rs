//! What can be configured, with its defaults.

use std::path::PathBuf;

use crate::cleanup::Policy;

/// When a badge is shown under a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BadgeMode {
    /// Decided by where the kernel runs, see [`crate::resolve`].
    #[default]
    Auto,
    /// After every cell that moved memory.
    Output,
    /// Only with a warning.
    Warn,
    /// Never as an output; the record in the reply's metadata is drawn by an extension.
    Metadata,
    /// Never.
    Off,
}

impl BadgeMode {
    /// Every mode and the word for it.
    pub const WORDS: [(&str, Self); 5] = [
        ("auto", Self::Auto),
        ("output", Self::Output),
        ("warn", Self::Warn),
        ("metadata", Self::Metadata),
        ("off", Self::Off),
    ];
}

/// How much text of a cell is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StreamLimit {
    /// [`StreamLimit::OF_A_PERSON`] where a person looks at the outputs, none elsewhere.
    #[default]
    Auto,
    /// All of it.
    None,
    /// This many bytes of each cell, whoever asked for it.
    Bytes(u64),
}

impl StreamLimit {
    /// More than anyone reads, and less than what a page in a browser dies of, bytes.
    pub const OF_A_PERSON: u64 = 32 << 20;
    /// Less would leave no room for words, bytes.
    pub const SMALLEST: u64 = 1 << 10;

    /// The limit of a cell in bytes; `for_a_person` says that one looks at its outputs.
    #[must_use]
    pub fn of_cell(self, for_a_person: bool) -> Option<u64> {
        match self {
            Self::Auto => for_a_person.then_some(Self::OF_A_PERSON),
            Self::None => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what was survived.
    #[default]
    Warn,
    /// And what happened.
    Info,
    /// And how.
    Debug,
    /// And every message.
    Trace,
}

impl LogLevel {
    /// Every level and the word for it.
    pub const WORDS: [(&str, Self); 6] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// From which size on something is a finding, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Held by the output history (`Out`, `_`, `__`, `___`).
    pub out_bytes: u64,
    /// Held by the frames of a traceback.
    pub traceback_bytes: u64,
    /// Grown by each run of the same cell.
    pub growth_bytes: u64,
}

/// How far the guard goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GuardLevel {
    /// Nothing is watched.
    Off,
    /// The person is warned while the cell runs.
    Warn,
    /// And memory is refused to the cell before the limit is reached.
    #[default]
    Protect,
}

impl GuardLevel {
    /// Every level and the word for it.
    pub const WORDS: [(&str, Self); 3] = [
        ("off", Self::Off),
        ("warn", Self::Warn),
        ("protect", Self::Protect),
    ];
}

/// The guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// How far it goes.
    pub level: GuardLevel,
    /// What the session may hold, bytes; `None` is what the machine has.
    pub cap: Option<u64>,
}

/// What is kept in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// How long it gets, bytes; 0 keeps none.
    pub size: u64,
    /// Whether the cells' code is kept too.
    pub source: bool,
}

/// Where the log goes and how much of it there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// Where to; `None` is standard error.
    pub file: Option<PathBuf>,
}

/// The configuration in force. Each field is a key; see [`crate::KEYS`] and `docs/configuration.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// When a badge is shown.
    pub badge: BadgeMode,
    /// A smaller change, in bytes, gets no badge unless there is a warning.
    pub min_delta: u64,
    /// A change of at least this many bytes gets the details panel.
    pub details_delta: u64,
    /// How much text of a cell is shown.
    pub stream_limit: StreamLimit,
    /// Whether cells are measured at all.
    pub measure: bool,
    /// Whether the high-water mark may be reset before a cell.
    pub reset_peak: bool,
    /// Whether GPUs are read.
    pub gpu: bool,
    /// Milliseconds between two samples of the timeline, 10 to 1000.
    pub timeline_ms: u64,
    /// The limit that shares are shown of, in bytes; `None` takes the one that the system sets.
    pub memory_limit: Option<u64>,
    /// Milliseconds that explaining a notable cell may take, 0 to 10 000.
    pub explain_budget_ms: u64,
    /// Sizes of findings.
    pub finding: Finding,
    /// What is cleaned up, and when.
    pub policy: Policy,
    /// The interpreter to run; `None` searches for one.
    pub python: Option<PathBuf>,
    /// Whether the interpreter lends ipykernel's names to libraries that look for them.
    pub ipykernel_names: bool,
    /// Whether a fresh interpreter takes the place of one that died; else the kernel ends with it.
    pub restart_after_death: bool,
    /// The guard.
    pub guard: Guard,
    /// The journal.
    pub journal: Journal,
    /// The log.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            badge: BadgeMode::default(),
            min_delta: MIB,
            details_delta: MIB,
            stream_limit: StreamLimit::default(),
            measure: true,
            reset_peak: true,
            gpu: true,
            timeline_ms: 50,
            memory_limit: None,
            explain_budget_ms: 100,
            finding: Finding {
                out_bytes: 10 * MIB,
                traceback_bytes: 10 * MIB,
                growth_bytes: MIB,
            },
            policy: Policy::default(),
            python: None,
            ipykernel_names: true,
            restart_after_death: true,
            guard: Guard::default(),
            journal: Journal {
                size: 4 * MIB,
                source: false,
            },
            log: Log::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_limited_for_a_person_or_as_asked() {
        const LIMIT: u64 = StreamLimit::OF_A_PERSON;
        for (limit, for_a_person, of_others) in [
            (StreamLimit::Auto, Some(LIMIT), None),
            (StreamLimit::None, None, None),
            (StreamLimit::Bytes(5), Some(5), Some(5)),
        ] {
            assert_eq!(limit.of_cell(true), for_a_person, "{limit:?}");
            assert_eq!(limit.of_cell(false), of_others, "{limit:?}");
        }
    }
}
