//! Policies: which steps run on which occasion, and their limits.

use std::fmt;

use super::{Step, Steps, Trigger};

const MIB: u64 = 1 << 20;

/// The causes that a finding may have; those of the ledger.
pub const CAUSES: [&str; 16] = [
    "user_growth",
    "ipython_refs",
    "traceback_refs",
    "ref_cycle",
    "figures",
    "autograd_graph",
    "allocator_retention",
    "pool_cache",
    "child_process",
    "open_resource",
    "framework_state",
    "cache_growth",
    "registry_callback",
    "suspended_execution",
    "view_retention",
    "native_leak",
];

/// What no program can notice: only memory that nothing of the program can reach goes.
const TIDY: Steps = Steps::of(&[
    Step::Gc,
    Step::ArrowPool,
    Step::AllocatorPurge,
    Step::MallocTrim,
]);
/// Caches that their library fills again by itself.
const CACHES: Steps = Steps::of(&[
    Step::TorchCache,
    Step::PinnedCache,
    Step::CupyPool,
    Step::IdleWorkers,
]);
/// What a person could still look at.
const HISTORY: Steps = Steps::of(&[Step::ClearTraceback, Step::ClearOut, Step::Figures]);
const STRICT: Steps = TIDY.and(CACHES).and(HISTORY);
/// Under `tidy` these go only where a finding says that they are kept and of no use.
const TIDY_ON_FINDING: Steps = TIDY.and(Steps::of(&[Step::TorchCache, Step::IdleWorkers]));

/// A named set of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyName {
    /// Nothing is run and nothing is suggested.
    Observe,
    /// Nothing is run; what would give much back is told.
    Suggest,
    /// What no program can notice.
    #[default]
    Tidy,
    /// Also caches, and history above a size.
    Strict,
    /// What the keys `policy.after_cell`, `policy.on_idle`, … list.
    Custom,
}

impl PolicyName {
    /// Every policy and the word for it.
    pub const WORDS: [(&str, Self); 5] = [
        ("observe", Self::Observe),
        ("suggest", Self::Suggest),
        ("tidy", Self::Tidy),
        ("strict", Self::Strict),
        ("custom", Self::Custom),
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, name)| *name == self)
            .map_or("", |(word, _)| word)
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The policy in force. Each field is a key of the table `[policy]`; see `docs/policy.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which rules hold.
    pub name: PolicyName,
    /// Seconds without a request until [`Trigger::Idle`].
    pub idle_s: u64,
    /// Per cent of the memory limit from which on [`Trigger::Pressure`] holds.
    pub pressure: u64,
    /// Per cent of a GPU's memory from which on [`Trigger::Pressure`] holds.
    pub gpu_pressure: u64,
    /// The causes on which [`Trigger::Finding`] acts; empty means all.
    pub causes: Vec<String>,
    /// A step that would give back less than this many bytes is not run.
    pub min_bytes: u64,
    /// A step that would take longer than this many milliseconds is not run, unless memory is short.
    pub time_box_ms: u64,
    /// The most occasions that a step is passed over after it gave back nothing.
    pub backoff: u64,
    /// `clear_out` forgets entries from this size on, bytes.
    pub out_bytes: u64,
    /// `clear_traceback` forgets an exception whose frames hold this much, bytes.
    pub traceback_bytes: u64,
    /// Names that steps leave alone, with `*`.
    pub keep_names: Vec<String>,
    /// Classes whose instances steps leave alone, with `*`.
    pub keep_types: Vec<String>,
    /// Tags of cells whose results steps leave alone.
    pub keep_tags: Vec<String>,
    /// The lists of [`PolicyName::Custom`], in the order of [`Trigger::OF_POLICIES`].
    pub lists: [Steps; 6],
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: PolicyName::default(),
            idle_s: 5,
            pressure: 80,
            gpu_pressure: 90,
            causes: Vec::new(),
            min_bytes: 8 * MIB,
            time_box_ms: 500,
            backoff: 16,
            out_bytes: 10 * MIB,
            traceback_bytes: 10 * MIB,
            keep_names: Vec::new(),
            keep_types: Vec::new(),
            keep_tags: vec!["hygiene-keep".to_owned()],
            lists: [Steps::NONE; 6],
        }
    }
}

impl Policy {
    /// The steps that the policy lists for a trigger. What it lists is not all run: see [`super::decide`].
    #[must_use]
    pub fn steps_on(&self, trigger: Trigger) -> Steps {
        let index = Trigger::OF_POLICIES.iter().position(|&t| t == trigger);
        let Some(index) = index else {
            return STRICT; // asked for by name
        };
        match self.name {
            PolicyName::Observe => Steps::NONE,
            PolicyName::Custom => self.lists[index],
            PolicyName::Suggest => STRICT,
            PolicyName::Tidy if trigger == Trigger::Finding => TIDY_ON_FINDING,
            PolicyName::Tidy => TIDY,
            // Between two cells of a person at work caches are about to be used again, and results to be looked at.
            PolicyName::Strict if trigger == Trigger::AfterCell => TIDY,
            // The exception that was just raised is what `%debug` is for; the frameworks' caches are what made it, if memory did.
            PolicyName::Strict if trigger == Trigger::Exception => TIDY.and(CACHES),
            PolicyName::Strict => STRICT,
        }
    }

    /// True if nothing can ever be run or suggested, so that no occasion need be looked at.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        Trigger::OF_POLICIES
            .iter()
            .all(|&trigger| self.steps_on(trigger).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidy_lists_nothing_that_a_person_could_look_at_and_no_cache_without_a_finding() {
        let tidy = Policy::default();
        for trigger in Trigger::OF_POLICIES {
            let steps = tidy.steps_on(trigger);
            assert!(HISTORY.iter().all(|step| !steps.has(step)), "{trigger}");
            if trigger != Trigger::Finding {
                assert_eq!(steps, TIDY, "{trigger}");
            }
        }
    }

    #[test]
    fn observe_and_an_empty_custom_need_no_occasion() {
        for (name, idle) in [
            (PolicyName::Observe, true),
            (PolicyName::Custom, true),
            (PolicyName::Suggest, false),
            (PolicyName::Tidy, false),
            (PolicyName::Strict, false),
        ] {
            let policy = Policy {
                name,
                ..Policy::default()
            };
            assert_eq!(policy.is_idle(), idle, "{name}");
        }
    }
}
