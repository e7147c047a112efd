//! A pipe on which text of the interpreter comes.

use crate::order::Stream;
use crate::text::Cut;
use bytes::Bytes;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A descriptor that someone else owns.
#[derive(Debug)]
pub(crate) struct Watched(RawFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) stream: Stream,
    /// Registered only while text is awaited: every write into a watched pipe would wake this process, also those that
    /// are to be read as one batch. Dropped before the descriptor is closed.
    pub(crate) watch: Option<AsyncFd<Watched>>,
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) cut: Cut,
    pub(crate) not_before: Instant,
}

impl Pipe {
    pub(crate) fn watch(&mut self) {
        if self.watch.is_none()
            && let Some(fd) = &self.fd
        {
            // SAFETY: `fd` outlives the registration: `watch` is dropped first, here and when the pipe is.
            let watch = unsafe {
                AsyncFd::register_with_interest(Watched(fd.as_raw_fd()), Interest::READABLE)
            };
            match watch {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    tracing::warn!(error = %error.into_parts().1, "output of the interpreter cannot be awaited");
                    self.fd = None;
                }
            }
        }
    }

    pub(crate) async fn readable(&self) {
        if let Some(watch) = &self.watch {
            match watch.readable().await {
                Ok(mut guard) => guard.retain_ready(),
                Err(error) => tracing::warn!(%error, "output of the interpreter cannot be awaited"),
            }
        }
    }

    /// How many bytes lie in the pipe.
    pub(crate) fn waiting(&self) -> usize {
        let Some(fd) = &self.fd else { return 0 };
        let mut count: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int (ioctl_tty(2)).
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
        if result == 0 {
            usize::try_from(count).unwrap_or(0)
        } else {
            0
        }
    }

    pub(crate) fn read(&mut self, count: usize) -> Bytes {
        let Some(fd) = &self.fd else {
            return Bytes::new();
        };
        let mut buffer = vec![0; count];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(read) => {
                buffer.truncate(read);
                self.cut.whole(Bytes::from(buffer))
            }
            Err(_) => Bytes::new(),
        }
    }

    /// Sleeps until more comes, or closes the pipe if no one can write to it any more.
    pub(crate) fn nothing_there(&mut self) {
        let (Some(fd), Some(watch)) = (&self.fd, &mut self.watch) else {
            return;
        };
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // The guard is taken before the look: bytes that come after it set the readiness anew, and it stays set.
        let std::task::Poll::Ready(Ok(mut guard)) = watch.poll_read_ready(&mut context) else {
            return;
        };
        let mut poll = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let seen = nix::poll::poll(&mut poll, PollTimeout::ZERO)
            .ok()
            .and_then(|_| poll[0].revents());
        match seen {
            Some(flags) if flags.contains(PollFlags::POLLIN) => {}
            Some(flags) if flags.contains(PollFlags::POLLHUP) => {
                self.watch = None;
                self.fd = None;
            }
            _ => guard.clear_ready(),
        }
    }
}
