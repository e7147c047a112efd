//! Keeps an interpreter below a memory limit without losing the session.
//!
//! # Theory of operation
//!
//! The soft `RLIMIT_DATA` of the interpreter is set from outside (prlimit(2)) to what it has mapped now plus what may still be
//! taken, so an allocation that is too large fails before a page of it is touched, and Python raises `MemoryError`. While a
//! cell runs a thread looks every 100 ms, more often near the limit, sets the limit anew and counts what the limit cannot see:
//! shared memory and child processes. If all of it together is too much, the cell gets a `MemoryError` by a signal; where no
//! signal reaches, the interpreter is stopped and the person asked, or ended as the last resort, with the true reason.
//!
//! [`plan`] decides and touches nothing; [`watch`] is the thread; [`guard`] is what the kernel has in hand of it. Between cells the thread waits and nothing is read.

mod guard;
mod plan;
mod process;
mod watch;

pub use guard::{Answer, Cell, Event, Guard};
pub use plan::{Bound, Why};
pub use watch::MEMORY_SIGNAL;
