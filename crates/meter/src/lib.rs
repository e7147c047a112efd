//! Readings of host and GPU memory of a process and its tree, taken from outside.
//!
//! A [`Meter`] follows one process, the Python interpreter. Around each cell the caller takes a reading:
//!
//! ```no_run
//! # async fn cell(pid: u32) {
//! use meter::{Meter, Options};
//!
//! let mut meter = Meter::new(pid, Options::default());
//! let before = meter.begin().await;
//! // The cell runs. A timer of the caller's calls `meter.sample()` every 10 to 50 ms.
//! meter.sample();
//! let reading = meter.end(before).await;
//! println!("{:?} bytes more, {:?} at the peak", reading.host.delta, reading.host.peak);
//! # }
//! ```
//!
//! # Theory of operation
//!
//! The kernel keeps the highest resident size of a process (`VmHWM`) and lets its owner set that mark back
//! (`clear_refs`), so the peak of a cell is exact and costs a write and a read, however large the process is. Where the
//! mark cannot be set back, the samples give a lower bound, and the reading says so. What must be read between cells of
//! a large process is therefore a handful of short files that stay open.
//!
//! Reading the memory of child processes, or asking a GPU driver, may take long or hang. Those go through one plain
//! thread that the meter owns; it is started only where there is a child or a GPU, and a caller waits for it for at
//! most two seconds. [`Meter::begin`], [`Meter::end`] and [`Meter::usage`] need a tokio runtime with its timer enabled.
//!
//! Nothing here fails: what could not be measured is `None` (`null` in the cell record), with a notice where the
//! person can do something about it. Nothing here knows why memory moved.
//!
//! | module | is about |
//! |---|---|
//! | `reading` | the plain data that a reading is |
//! | `meter` | one cell: before, samples, after |
//! | `change` | what was read before and after becomes a delta and a peak |
//! | `timeline` | many samples become few without losing a peak |
//! | `gpu` | what a device tells becomes a figure with a quality |
//! | `limit` | which memory limit binds first, and how much is left |
//! | `usage` | the answer to a `usage_request` |
//! | `worker` | the thread for what may be slow |
//! | `linux` | everything that is Linux's own |

mod change;
mod gpu;
mod limit;
#[cfg(target_os = "linux")]
mod linux;
mod meter;
mod notice;
mod post_mortem;
mod reading;
mod timeline;
mod usage;
mod watch;
mod worker;

/// The platform that readings come from: another one needs the same plain functions and types.
#[cfg(target_os = "linux")]
use linux as platform;

pub use change::Before;
pub use meter::{Meter, Options};
pub use platform::Kills;
pub use reading::{
    Bond, Children, FrameworkMemory, Gpu, GpuQuality, Host, Left, LimitSource, PeakQuality,
    Reading, Sample,
};
pub use usage::{Usage, VirtualMemory};
pub use watch::{Footing, Room, Watch, shared_memory_in_use};

/// Notes that this process has started `pid`, an interpreter or a helper: what else becomes a child of its main thread is an orphan that
/// an interpreter has left, and counts as a child of the interpreter.
pub fn note_started(pid: u32) {
    platform::note_started(pid);
}
