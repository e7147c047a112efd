//! Every key: what it is for, what it allows, how it is read and written.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::allowed::Allowed;
use crate::cleanup::{CAUSES, PolicyName, Step, Steps};
use crate::config::{BadgeMode, Config, GuardLevel, LogLevel, StreamLimit};
use crate::load::ENV_PREFIX;
use crate::size::print_size;
use crate::value::{self, Raw};

type Set = fn(&mut Config, &Raw<'_>, Option<&Path>) -> Result<(), String>;

/// One key of the configuration.
pub struct Key {
    /// As it is written in a file and on the command line; a dot stands for a table.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// What may be written.
    pub allowed: Allowed,
    /// Whether a project's file may set it. What names a program to run or a file to write to may come from the user only:
    /// a kernel starts as soon as a notebook is opened, before anyone has looked at the folder.
    pub in_project: bool,
    pub(crate) set: Set,
    print: fn(&Config) -> String,
}

impl Key {
    /// The environment variable for it.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.to_uppercase().replace('.', "_"))
    }

    /// Its value in `config`, as TOML.
    #[must_use]
    pub fn print(&self, config: &Config) -> String {
        (self.print)(config)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

const SIZE: Allowed = Allowed::Size;
const SWITCH: Allowed = Allowed::Switch;

/// Every key, in the order of the documentation; those of a table stand together at the end.
pub const KEYS: &[Key] = &[
    Key {
        name: "badge",
        doc: "When a badge is shown under a cell. \"auto\" decides by where the kernel runs.",
        allowed: Allowed::Words(&["auto", "output", "warn", "metadata", "off"]),
        in_project: true,
        set: |c, raw, _| value::word(raw, &BadgeMode::WORDS).map(|v| c.badge = v),
        print: |c| word(&BadgeMode::WORDS, c.badge),
    },
    Key {
        name: "min_delta",
        doc: "A cell that changed memory by less gets no badge, unless there is a warning. 0 shows every cell.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.min_delta = v),
        print: |c| size(c.min_delta),
    },
    Key {
        name: "details_delta",
        doc: "From this change on the badge has a panel with the curve and the table of who holds what.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.details_delta = v),
        print: |c| size(c.details_delta),
    },
    Key {
        name: "stream_limit",
        doc: "How much of what a cell prints is shown: its begin and its end. \"auto\" limits it where a person looks at it.",
        allowed: Allowed::SizeFromKib,
        in_project: true,
        set: |c, raw, _| value::stream_limit(raw).map(|v| c.stream_limit = v),
        print: |c| match c.stream_limit {
            StreamLimit::Auto => text("auto"),
            StreamLimit::None => text("none"),
            StreamLimit::Bytes(bytes) => size(bytes),
        },
    },
    Key {
        name: "measure",
        doc: "Whether cells are measured. Without it there are no records, badges or findings.",
        allowed: SWITCH,
        in_project: true,
        set: |c, raw, _| value::switch(raw).map(|v| c.measure = v),
        print: |c| c.measure.to_string(),
    },
    Key {
        name: "reset_peak",
        doc: "Whether the process's high-water mark is reset before each cell. This makes peaks exact; its side effect is that \
              ru_maxrss and VmHWM, read by the program itself, then start anew with each cell. Without it peaks are sampled.",
        allowed: SWITCH,
        in_project: true,
        set: |c, raw, _| value::switch(raw).map(|v| c.reset_peak = v),
        print: |c| c.reset_peak.to_string(),
    },
    Key {
        name: "gpu",
        doc: "Whether GPU memory is read.",
        allowed: SWITCH,
        in_project: true,
        set: |c, raw, _| value::switch(raw).map(|v| c.gpu = v),
        print: |c| c.gpu.to_string(),
    },
    Key {
        name: "timeline_ms",
        doc: "Milliseconds between two samples of the curve.",
        allowed: Allowed::Number(10, 1000),
        in_project: true,
        set: |c, raw, _| value::number(raw, 10, 1000).map(|v| c.timeline_ms = v),
        print: |c| c.timeline_ms.to_string(),
    },
    Key {
        name: "memory_limit",
        doc: "The limit that the badge shows a share of. \"none\" takes the one that the control group or the machine sets. \
              It is shown, not enforced.",
        allowed: Allowed::SizeOrNone,
        in_project: true,
        set: |c, raw, _| value::optional_size(raw).map(|v| c.memory_limit = v),
        print: |c| c.memory_limit.map_or_else(|| text("none"), size),
    },
    Key {
        name: "explain_budget_ms",
        doc: "Milliseconds that explaining a notable cell may take. 0 turns explanations off.",
        allowed: Allowed::Number(0, 10000),
        in_project: true,
        set: |c, raw, _| value::number(raw, 0, 10_000).map(|v| c.explain_budget_ms = v),
        print: |c| c.explain_budget_ms.to_string(),
    },
    Key {
        name: "python",
        doc: "The interpreter to run: a path, or a name on PATH. \"auto\" takes that of the active environment. Not in a \
              project's file.",
        allowed: Allowed::Path("auto"),
        in_project: false,
        set: |c, raw, base| value::path(raw, "auto", base).map(|v| c.python = v),
        print: |c| path(c.python.as_ref(), "auto"),
    },
    Key {
        name: "ipykernel_names",
        doc: "Whether libraries find the names of ipykernel's by which they recognise a notebook.",
        allowed: SWITCH,
        in_project: true,
        set: |c, raw, _| value::switch(raw).map(|v| c.ipykernel_names = v),
        print: |c| c.ipykernel_names.to_string(),
    },
    Key {
        name: "restart_after_death",
        doc: "Whether a fresh interpreter takes the place of one that died, under the same kernel. Without it the kernel ends \
              too, and the program that started it decides what to do.",
        allowed: Allowed::Switch,
        in_project: true,
        set: |c, raw, _| value::switch(raw).map(|v| c.restart_after_death = v),
        print: |c| c.restart_after_death.to_string(),
    },
    Key {
        name: "finding.out_bytes",
        doc: "From this size on, what only the output history holds (Out, _, __, ___) is a finding.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.finding.out_bytes = v),
        print: |c| size(c.finding.out_bytes),
    },
    Key {
        name: "finding.traceback_bytes",
        doc: "From this size on, what only the frames of a traceback hold is a finding.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.finding.traceback_bytes = v),
        print: |c| size(c.finding.traceback_bytes),
    },
    Key {
        name: "finding.growth_bytes",
        doc: "From this size on, what each run of the same cell adds is a finding.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.finding.growth_bytes = v),
        print: |c| size(c.finding.growth_bytes),
    },
    Key {
        name: "policy.name",
        doc: "Which cleanup steps run by themselves: none, none but told, those that no program can notice, also caches and history, \
              or those that the lists below name.",
        allowed: Allowed::Words(&["observe", "suggest", "tidy", "strict", "custom"]),
        in_project: true,
        set: |c, raw, _| value::word(raw, &PolicyName::WORDS).map(|v| c.policy.name = v),
        print: |c| word(&PolicyName::WORDS, c.policy.name),
    },
    Key {
        name: "policy.after_cell",
        doc: "The steps of the policy \"custom\" once a cell has been answered and nothing waits.",
        allowed: Allowed::ListOf(&STEPS),
        in_project: true,
        set: |c, raw, _| steps(raw).map(|v| c.policy.lists[0] = v),
        print: |c| listed(c.policy.lists[0].iter().map(Step::word)),
    },
    Key {
        name: "policy.on_idle",
        doc: "The steps of the policy \"custom\" when nothing has come for policy.idle_s.",
        allowed: Allowed::ListOf(&STEPS),
        in_project: true,
        set: |c, raw, _| steps(raw).map(|v| c.policy.lists[1] = v),
        print: |c| listed(c.policy.lists[1].iter().map(Step::word)),
    },
    Key {
        name: "policy.on_exception",
        doc: "The steps of the policy \"custom\" after a cell that failed.",
        allowed: Allowed::ListOf(&STEPS),
        in_project: true,
        set: |c, raw, _| steps(raw).map(|v| c.policy.lists[2] = v),
        print: |c| listed(c.policy.lists[2].iter().map(Step::word)),
    },
    Key {
        name: "policy.on_pressure",
        doc: "The steps of the policy \"custom\" when memory is short.",
        allowed: Allowed::ListOf(&STEPS),
        in_project: true,
        set: |c, raw, _| steps(raw).map(|v| c.policy.lists[3] = v),
        print: |c| listed(c.policy.lists[3].iter().map(Step::word)),
    },
    Key {
        name: "policy.on_finding",
        doc: "The steps of the policy \"custom\" when a finding names them.",
        allowed: Allowed::ListOf(&STEPS),
        in_project: true,
        set: |c, raw, _| steps(raw).map(|v| c.policy.lists[4] = v),
        print: |c| listed(c.policy.lists[4].iter().map(Step::word)),
    },
    Key {
        name: "policy.before_cell",
        doc: "The steps of the policy \"custom\" before a cell whose last peak does not fit.",
        allowed: Allowed::ListOf(&STEPS),
        in_project: true,
        set: |c, raw, _| steps(raw).map(|v| c.policy.lists[5] = v),
        print: |c| listed(c.policy.lists[5].iter().map(Step::word)),
    },
    Key {
        name: "policy.idle_s",
        doc: "Seconds without a request after which the kernel counts as idle.",
        allowed: Allowed::Number(1, 86400),
        in_project: true,
        set: |c, raw, _| value::number(raw, 1, 86400).map(|v| c.policy.idle_s = v),
        print: |c| c.policy.idle_s.to_string(),
    },
    Key {
        name: "policy.pressure",
        doc: "Per cent of the memory limit from which on memory is short.",
        allowed: Allowed::Number(1, 100),
        in_project: true,
        set: |c, raw, _| value::number(raw, 1, 100).map(|v| c.policy.pressure = v),
        print: |c| c.policy.pressure.to_string(),
    },
    Key {
        name: "policy.gpu_pressure",
        doc: "Per cent of a GPU's memory from which on it is short.",
        allowed: Allowed::Number(1, 100),
        in_project: true,
        set: |c, raw, _| value::number(raw, 1, 100).map(|v| c.policy.gpu_pressure = v),
        print: |c| c.policy.gpu_pressure.to_string(),
    },
    Key {
        name: "policy.causes",
        doc: "The causes whose findings make steps run. An empty list means all.",
        allowed: Allowed::ListOf(&CAUSES),
        in_project: true,
        set: |c, raw, _| causes(raw).map(|v| c.policy.causes = v),
        print: |c| listed(c.policy.causes.iter().map(String::as_str)),
    },
    Key {
        name: "policy.min_bytes",
        doc: "A step that would give back less is not run.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.policy.min_bytes = v),
        print: |c| size(c.policy.min_bytes),
    },
    Key {
        name: "policy.time_box_ms",
        doc: "A step that would take longer, in milliseconds, is not run unless memory is short.",
        allowed: Allowed::Number(1, 60000),
        in_project: true,
        set: |c, raw, _| value::number(raw, 1, 60000).map(|v| c.policy.time_box_ms = v),
        print: |c| c.policy.time_box_ms.to_string(),
    },
    Key {
        name: "policy.backoff",
        doc: "The most occasions that a step is passed over after it gave back nothing.",
        allowed: Allowed::Number(0, 1000),
        in_project: true,
        set: |c, raw, _| value::number(raw, 0, 1000).map(|v| c.policy.backoff = v),
        print: |c| c.policy.backoff.to_string(),
    },
    Key {
        name: "policy.out_bytes",
        doc: "From this size on, clear_out forgets an entry of the output history.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.policy.out_bytes = v),
        print: |c| size(c.policy.out_bytes),
    },
    Key {
        name: "policy.traceback_bytes",
        doc: "From this size on, clear_traceback forgets what the last exception holds.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.policy.traceback_bytes = v),
        print: |c| size(c.policy.traceback_bytes),
    },
    Key {
        name: "policy.keep_names",
        doc: "Names that steps leave alone; * stands for any characters.",
        allowed: Allowed::Texts,
        in_project: true,
        set: |c, raw, _| value::texts(raw).map(|v| c.policy.keep_names = v),
        print: |c| listed(c.policy.keep_names.iter().map(String::as_str)),
    },
    Key {
        name: "policy.keep_types",
        doc: "Classes whose instances steps leave alone; * stands for any characters.",
        allowed: Allowed::Texts,
        in_project: true,
        set: |c, raw, _| value::texts(raw).map(|v| c.policy.keep_types = v),
        print: |c| listed(c.policy.keep_types.iter().map(String::as_str)),
    },
    Key {
        name: "policy.keep_tags",
        doc: "Tags of cells whose results steps leave alone.",
        allowed: Allowed::Texts,
        in_project: true,
        set: |c, raw, _| value::texts(raw).map(|v| c.policy.keep_tags = v),
        print: |c| listed(c.policy.keep_tags.iter().map(String::as_str)),
    },
    Key {
        name: "guard.level",
        doc: "How far the guard goes that keeps a cell from using up the memory. \"warn\" tells while the cell runs, \"protect\" \
              refuses memory to the cell, which then fails with MemoryError, and keeps the session.",
        allowed: Allowed::Words(&["off", "warn", "protect"]),
        in_project: true,
        set: |c, raw, _| value::word(raw, &GuardLevel::WORDS).map(|v| c.guard.level = v),
        print: |c| word(&GuardLevel::WORDS, c.guard.level),
    },
    Key {
        name: "guard.cap",
        doc: "What the session may hold, with its child processes and shared memory. \"none\" is what the control group or the \
              machine has, less a reserve.",
        allowed: Allowed::SizeOrNone,
        in_project: true,
        set: |c, raw, _| value::optional_size(raw).map(|v| c.guard.cap = v),
        print: |c| c.guard.cap.map_or_else(|| text("none"), size),
    },
    Key {
        name: "journal.size",
        doc: "How long the journal of a kernel gets, in Jupyter's runtime folder. 0 keeps none.",
        allowed: SIZE,
        in_project: true,
        set: |c, raw, _| value::size(raw).map(|v| c.journal.size = v),
        print: |c| size(c.journal.size),
    },
    Key {
        name: "journal.source",
        doc: "Whether the journal keeps the code of the cells too, beside a hash of it. Not in a project's file.",
        allowed: Allowed::Switch,
        in_project: false,
        set: |c, raw, _| value::switch(raw).map(|v| c.journal.source = v),
        print: |c| c.journal.source.to_string(),
    },
    Key {
        name: "log.level",
        doc: "How much is logged.",
        allowed: Allowed::Words(&["off", "error", "warn", "info", "debug", "trace"]),
        in_project: true,
        set: |c, raw, _| value::word(raw, &LogLevel::WORDS).map(|v| c.log.level = v),
        print: |c| word(&LogLevel::WORDS, c.log.level),
    },
    Key {
        name: "log.file",
        doc: "The file that the log is appended to. \"none\" is standard error. Not in a project's file.",
        allowed: Allowed::Path("none"),
        in_project: false,
        set: |c, raw, base| value::path(raw, "none", base).map(|v| c.log.file = v),
        print: |c| path(c.log.file.as_ref(), "none"),
    },
];

const STEPS: [&str; Step::ALL.len()] = {
    let mut words = [""; Step::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Step::ALL[at].word();
        at += 1;
    }
    words
};

fn steps(raw: &Raw<'_>) -> Result<Steps, String> {
    let words = value::words(raw, &STEPS)?;
    Ok(words.into_iter().filter_map(Step::named).collect())
}

fn causes(raw: &Raw<'_>) -> Result<Vec<String>, String> {
    let words = value::words(raw, &CAUSES)?;
    Ok(words.into_iter().map(str::to_owned).collect())
}

fn listed<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.map(text).collect();
    format!("[{}]", items.join(", "))
}

fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn size(bytes: u64) -> String {
    text(&print_size(bytes))
}

fn word<T: Copy + PartialEq>(words: &[(&str, T)], value: T) -> String {
    text(
        words
            .iter()
            .find(|(_, v)| *v == value)
            .map_or("", |(word, _)| word),
    )
}

fn path(path: Option<&PathBuf>, none: &str) -> String {
    path.map_or_else(|| text(none), |path| text(&path.to_string_lossy()))
}
