//! Cleanup steps.

use std::fmt;

/// One cleanup action. The order is the order of execution: what lets objects go comes before what collects them, and what gives
/// free pages to the system comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Forget the last exception, if its frames hold much.
    ClearTraceback,
    /// Forget large entries of the output history that no other name reaches.
    ClearOut,
    /// Close figures that no variable refers to.
    Figures,
    /// Collect dead cycles.
    Gc,
    /// Empty PyTorch's cache of GPU memory.
    TorchCache,
    /// Empty PyTorch's cache of page-locked host memory.
    PinnedCache,
    /// Free unused blocks of CuPy's pools.
    CupyPool,
    /// Let idle joblib workers end.
    IdleWorkers,
    /// Have Arrow's pool give back free pages.
    ArrowPool,
    /// Have jemalloc, mimalloc or tcmalloc give back free pages.
    AllocatorPurge,
    /// Have glibc give back free pages.
    MallocTrim,
}

impl Step {
    /// Every step in the order of execution.
    pub const ALL: [Self; 11] = [
        Self::ClearTraceback,
        Self::ClearOut,
        Self::Figures,
        Self::Gc,
        Self::TorchCache,
        Self::PinnedCache,
        Self::CupyPool,
        Self::IdleWorkers,
        Self::ArrowPool,
        Self::AllocatorPurge,
        Self::MallocTrim,
    ];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClearTraceback => "clear_traceback",
            Self::ClearOut => "clear_out",
            Self::Figures => "figures",
            Self::Gc => "gc",
            Self::TorchCache => "torch_cache",
            Self::PinnedCache => "pinned_cache",
            Self::CupyPool => "cupy_pool",
            Self::IdleWorkers => "idle_workers",
            Self::ArrowPool => "arrow_pool",
            Self::AllocatorPurge => "allocator_purge",
            Self::MallocTrim => "malloc_trim",
        }
    }

    /// The step with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|step| step.word().eq_ignore_ascii_case(word))
    }

    /// What it does, as a sentence without its subject.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Self::ClearTraceback => {
                "forgets the last exception if its frames hold much; %debug and %tb then have nothing to show"
            }
            Self::ClearOut => {
                "forgets large entries of Out, _, __ and ___ that no other name reaches"
            }
            Self::Figures => "closes figures that no variable refers to",
            Self::Gc => "collects dead cycles",
            Self::TorchCache => "empties PyTorch's cache of GPU memory",
            Self::PinnedCache => "empties PyTorch's cache of page-locked host memory",
            Self::CupyPool => "frees unused blocks of CuPy's pools",
            Self::IdleWorkers => {
                "lets joblib's workers end while they have nothing to do; joblib starts them again"
            }
            Self::ArrowPool => "has Arrow's memory pool give back free pages",
            Self::AllocatorPurge => "has jemalloc, mimalloc or tcmalloc give back free pages",
            Self::MallocTrim => "has glibc give back free pages",
        }
    }

    /// Whether it may leave garbage and free memory behind, so that `gc` and `malloc_trim` are due after it.
    #[must_use]
    pub fn lets_objects_go(self) -> bool {
        matches!(
            self,
            Self::ClearTraceback | Self::ClearOut | Self::Figures | Self::Gc
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A set of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(u16);

impl Steps {
    /// None.
    pub const NONE: Self = Self(0);

    /// These.
    #[must_use]
    pub const fn of(steps: &[Step]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < steps.len() {
            bits |= 1 << steps[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether the step is among them.
    #[must_use]
    pub const fn has(self, step: Step) -> bool {
        self.0 & (1 << step as u16) != 0
    }

    /// True if there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// They in the order of execution.
    pub fn iter(self) -> impl Iterator<Item = Step> {
        Step::ALL.into_iter().filter(move |&step| self.has(step))
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<T: IntoIterator<Item = Step>>(steps: T) -> Self {
        steps
            .into_iter()
            .fold(Self::NONE, |all, step| all.and(Self::of(&[step])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it_in_the_order_of_execution() {
        let set: Steps = [Step::MallocTrim, Step::Gc, Step::Gc].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Step::Gc, Step::MallocTrim]);
        assert!(set.has(Step::Gc) && !set.has(Step::Figures) && !set.is_empty());
        assert!(Steps::NONE.is_empty() && Steps::NONE.iter().next().is_none());
        assert_eq!(Steps::of(&Step::ALL).iter().count(), Step::ALL.len());
    }

    #[test]
    fn a_word_names_one_step() {
        for step in Step::ALL {
            assert_eq!(Step::named(step.word()), Some(step));
            assert_eq!(Step::named(&step.word().to_uppercase()), Some(step));
        }
        assert_eq!(Step::named("del"), None);
    }
}
