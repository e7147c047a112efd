//! What may make cleanup steps run.

use std::fmt;

/// An occasion for cleanup steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A cell has been answered and nothing waits.
    AfterCell,
    /// Nothing has come for `policy.idle_s`.
    Idle,
    /// A cell ended with an exception.
    Exception,
    /// Memory in use reached `policy.pressure` of the limit, or that of a GPU `policy.gpu_pressure`.
    Pressure,
    /// A cell's record names a cause whose memory a step gives back.
    Finding,
    /// A cell is about to start whose last peak does not fit into what is free.
    BeforeCell,
    /// The person asked: `%hygiene clean`.
    Asked,
}

impl Trigger {
    /// Every trigger that a policy decides about.
    pub const OF_POLICIES: [Self; 6] = [
        Self::AfterCell,
        Self::Idle,
        Self::Exception,
        Self::Pressure,
        Self::Finding,
        Self::BeforeCell,
    ];

    /// The word for it in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AfterCell => "after_cell",
            Self::Idle => "idle",
            Self::Exception => "exception",
            Self::Pressure => "pressure",
            Self::Finding => "finding",
            Self::BeforeCell => "before_cell",
            Self::Asked => "asked",
        }
    }

    /// The trigger with this word, among those that a policy decides about.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::OF_POLICIES
            .into_iter()
            .find(|trigger| trigger.word() == word)
    }

    /// The key with the steps of the policy `custom` for it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::AfterCell => "policy.after_cell",
            Self::Idle => "policy.on_idle",
            Self::Exception => "policy.on_exception",
            Self::Pressure => "policy.on_pressure",
            Self::Finding => "policy.on_finding",
            Self::BeforeCell => "policy.before_cell",
            Self::Asked => "",
        }
    }

    /// Whether memory is short, so that taking longer is better than not having it.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        matches!(self, Self::Pressure | Self::BeforeCell | Self::Asked)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
