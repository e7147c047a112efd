//! The guarded process: its signals and its limit.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use ledger::human;

/// A process that may end at any time, and whose number may be another's then.
pub(crate) struct Process {
    pub pid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// `None` if there is no such process.
    pub fn open(pid: u32) -> Option<Self> {
        // SAFETY: pidfd_open takes two numbers and returns a new descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the descriptor is new and ours.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        Some(Self { pid, descriptor })
    }

    /// Sets the soft `RLIMIT_DATA`, bytes.
    pub fn limit(&self, bytes: u64) {
        let mut old = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let pid = self.pid.cast_signed();
        // SAFETY: a null pointer leaves the limit as it is, the other points to a structure of ours (prlimit(2)).
        let known =
            unsafe { libc::prlimit(pid, libc::RLIMIT_DATA, std::ptr::null(), &raw mut old) };
        let new = libc::rlimit {
            rlim_cur: bytes.min(old.rlim_max),
            rlim_max: old.rlim_max,
        };
        // SAFETY: as above, the other way round.
        let set = known == 0
            && unsafe {
                libc::prlimit(pid, libc::RLIMIT_DATA, &raw const new, std::ptr::null_mut())
            } == 0;
        if !set {
            tracing::debug!(error = %io::Error::last_os_error(), limit = %human(bytes), "the limit is not set");
        }
    }

    /// To the interpreter; its number may be another's once it has ended, its descriptor never.
    pub fn signal(&self, number: i32) {
        // SAFETY: pidfd_send_signal takes a descriptor of ours and numbers; no information is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.descriptor.as_raw_fd(),
                number,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), number, "a signal was not sent");
        }
    }
}

/// Sends a signal to whatever process has this number.
pub(crate) fn kill(pid: u32, number: i32) {
    // SAFETY: two numbers.
    if unsafe { libc::kill(pid.cast_signed(), number) } != 0 {
        tracing::debug!(pid, number, "a signal was not sent");
    }
}
