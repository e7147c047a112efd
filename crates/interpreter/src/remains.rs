//! What a dead interpreter leaves: the most that it ever held, and what `faulthandler` wrote of its end.

use nix::unistd::Pid;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// More than this of what `faulthandler` wrote is not read, bytes: it writes a hundred frames a thread.
const MOST: u64 = 64 << 10;

/// The file that `faulthandler` writes to in the child: memory that outlives it.
#[derive(Debug)]
pub(crate) struct Faults {
    file: std::fs::File,
    read: u64,
}

/// A file in memory that the child inherits.
pub(crate) fn memory_file(name: &std::ffi::CStr) -> io::Result<std::fs::File> {
    // SAFETY: the name ends with a zero; the result is checked.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

impl Faults {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            file: memory_file(c"faults")?,
            read: 0,
        })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What was written since the last call; mostly nothing.
    pub(crate) fn take(&mut self) -> String {
        let end = self.file.metadata().map_or(0, |file| file.len());
        if end <= self.read {
            return String::new();
        }
        let from = self.read.max(end.saturating_sub(MOST));
        self.read = end;
        let mut text = vec![0; usize::try_from(end - from).unwrap_or(0)];
        let got = self.file.read_at(&mut text, from).unwrap_or(0);
        String::from_utf8_lossy(&text[..got]).into_owned()
    }
}

/// Tells of the end of a child before anyone has taken its status (pidfd_open(2), Linux 5.3).
#[derive(Debug)]
pub(crate) struct Vigil {
    fd: AsyncFd<OwnedFd>,
    pid: Pid,
}

impl Vigil {
    /// `None` where the system has no such descriptors.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        // SAFETY: pidfd_open takes two numbers and returns a new descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the descriptor is new and ours.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor stays open and the same as long as the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok()?;
        Some(Self { fd, pid })
    }

    /// Returns when the child has ended. Cancel-safe.
    pub(crate) async fn ended(&self) {
        match self.fd.readable().await {
            Ok(mut guard) => guard.retain_ready(),
            Err(error) => tracing::warn!(%error, "the interpreter's end is not watched"),
        }
    }

    /// The most bytes that the ended child held at a time, which the system still knows as long as nobody has taken its status.
    pub(crate) fn peak(&self) -> Option<u64> {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: both structures are large enough and live until the call returns. The system call takes a fifth argument that
        // the C library's function does not (waitid(2)).
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PID,
                self.pid.as_raw(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT | libc::WNOHANG,
                usage.as_mut_ptr(),
            )
        };
        // SAFETY: all zeroes is a valid value, and the system has written over it.
        let usage = unsafe { usage.assume_init() };
        (result == 0)
            .then(|| u64::try_from(usage.ru_maxrss).ok())?
            .filter(|&kilobytes| kilobytes > 0)?
            .checked_mul(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_written_is_taken_once() {
        let mut faults = Faults::new().unwrap();
        assert_eq!(faults.take(), "");
        let mut theirs = std::fs::File::from(faults.as_fd().try_clone_to_owned().unwrap());
        theirs.write_all(b"Fatal Python error").unwrap();
        assert_eq!(faults.take(), "Fatal Python error");
        assert_eq!(faults.take(), "");
        theirs.write_all(&vec![b'x'; 100 << 10]).unwrap();
        assert_eq!(faults.take().len() as u64, MOST);
    }

    #[tokio::test]
    async fn the_peak_of_an_ended_child_is_known_until_its_status_is_taken() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let vigil = Vigil::of(Pid::from_raw(child.id() as i32)).unwrap();
        vigil.ended().await;
        assert!(vigil.peak() > Some(64 << 10), "{:?}", vigil.peak());
        assert!(child.wait().unwrap().success());
        assert_eq!(vigil.peak(), None);
    }
}
