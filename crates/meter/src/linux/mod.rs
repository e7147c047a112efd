//! Everything that is Linux's own: procfs, control groups, where NVIDIA's library is.
//!
//! Plain functions and types only, so that another platform can offer the same. Parsers take bytes or text and touch
//! nothing; the thin functions around them read files. A file that vanishes while it is read means that a process
//! ended, which is ordinary, so these return `Option`.

mod cgroup;
mod children;
mod cpu;
mod memory;
mod nvidia;
mod oom;
mod process;
mod read;

use std::{path::Path, sync::OnceLock};

pub(crate) use cgroup::{Bound, bounds, bytes_in_use};
pub(crate) use children::{descendants, note_started, orphans};
pub(crate) use cpu::{HostTimes, ProcessTimes, Stat, host_times, process_times, stat};
pub(crate) use memory::{MachineMemory, machine_memory, shared_out};
pub(crate) use nvidia::nvml_library;
pub(crate) use oom::KillCounters;
pub use oom::Kills;
pub(crate) use process::{Process, Status, fields};

/// Bytes a page.
pub(crate) fn page_size() -> u64 {
    static PAGE: OnceLock<u64> = OnceLock::new();
    *PAGE.get_or_init(|| system_value(libc::_SC_PAGESIZE).unwrap_or(4096))
}

/// Clock ticks a second, the unit of CPU times in procfs.
pub(crate) fn ticks_per_second() -> u64 {
    static TICKS: OnceLock<u64> = OnceLock::new();
    *TICKS.get_or_init(|| system_value(libc::_SC_CLK_TCK).unwrap_or(100))
}

/// Processors that are online.
pub(crate) fn cpu_count() -> Option<u64> {
    system_value(libc::_SC_NPROCESSORS_ONLN)
}

/// The machine's name.
pub(crate) fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned())
}

/// Whether a process of this number exists in our own PID namespace.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A positive value of sysconf(3).
fn system_value(name: libc::c_int) -> Option<u64> {
    // SAFETY: sysconf takes any number, touches no memory of ours and answers -1 to one that it does not know.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok().filter(|&value| value > 0)
}
