//! The process that started us.

use std::os::fd::{FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// A descriptor that becomes readable when our parent ends (pidfd_open(2), Linux 5.3); nothing has to be polled.
pub fn watch_parent() -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: pidfd_open takes two numbers and returns a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getppid(), 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor is new and ours.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor stays open and the same as long as the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) }.ok()
}
