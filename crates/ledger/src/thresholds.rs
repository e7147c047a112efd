//! From where on something is worth a word.

const MIB: u64 = 1 << 20;

/// Limits of the judgement, in bytes and runs. The configuration sets them; here are the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A smaller change of memory is not explained: the allocators' own movement is of this order.
    pub notable: u64,
    /// A peak this far above the beginning makes a cell notable even if nothing is retained.
    pub notable_peak: u64,
    /// The output history is reported from this size on.
    pub min_output: u64,
    /// The last traceback is reported from this size on.
    pub min_traceback: u64,
    /// What any other cause keeps is reported from this size on.
    pub min_held: u64,
    /// Free memory that an allocator keeps is reported from this size on.
    pub min_slack: u64,
    /// A run that retains less than this has not grown.
    pub growth_per_run: u64,
    /// So many runs in a row must have grown, the first run being left out as a warm-up; it counts where one variable grew
    /// evenly in all runs.
    pub growth_runs: usize,
    /// From so many runs on, growth without exception is certain rather than likely.
    pub certain_runs: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            notable: MIB,
            notable_peak: 64 * MIB,
            min_output: 32 * MIB,
            min_traceback: 32 * MIB,
            min_held: 10 * MIB,
            min_slack: 48 * MIB,
            growth_per_run: MIB,
            growth_runs: 3,
            certain_runs: 8,
        }
    }
}
