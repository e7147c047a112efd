//! How an interpreter died, as plain data: the field `death` of the record of the cell that it died in.

use serde::{Deserialize, Serialize};

use crate::holdings::Held;
use crate::record::Confidence;

/// The end of an interpreter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Death {
    /// Why.
    pub cause: DeathCause,
    /// How sure the cause is.
    pub confidence: Confidence,
    /// The sentence for the person.
    pub message: String,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The code that it ended with.
    pub code: Option<i32>,
    /// Where it was, innermost first; empty where nobody knows.
    pub stack: Vec<String>,
    /// How many names of the user's are lost.
    pub lost_count: u64,
    /// The largest of them.
    pub lost: Vec<Held>,
}

/// Why an interpreter died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// The system's out-of-memory killer.
    OutOfMemory,
    /// A library aborted since it was refused memory.
    AllocationRefused,
    /// The guard ended it before the machine ran out of memory.
    Guard,
    /// Memory that it had no right to was touched.
    Segfault,
    /// Calls nested deeper than the stack is long.
    StackOverflow,
    /// It gave up by itself: `abort()`, an assertion, corrupted memory.
    Abort,
    /// It ended by itself with a code.
    Exit,
    /// A signal of someone else.
    Killed,
    /// It could no longer be heard.
    Unheard,
    /// Nobody knows.
    Unknown,
}
