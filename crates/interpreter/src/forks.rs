//! Forked children of the interpreter. They have no channel: each message comes over a line of its own, which the child hands in through
//! the door (`forks.py`). One byte answers it when it is in order with what else the interpreter says.

use crate::channel::Channel;
use crate::frame::Frame;
use crate::order::SYNC;
use nix::sys::socket::ControlMessageOwned;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::recvmsg;
use std::io;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// So many lines are open at a time, each a file descriptor; further children wait.
const MOST: usize = 32;
/// A child that says nothing for so long on an open line is not waited for: it was stopped in the midst, or means harm.
const PATIENCE: Duration = Duration::from_secs(10);
/// No message carries more descriptors (unix(7), `SCM_MAX_FD`). Room for fewer would lose some of what came, and leave it open.
const MOST_IN_A_MESSAGE: usize = 253;
/// What the child hears when its message is taken.
const TAKEN: &[u8] = b"\x01";

/// What a forked child says.
#[derive(Debug)]
pub(crate) enum Said {
    /// Read the pipes now: it waits for that.
    Sync,
    /// A message, and whom to tell that it is in order.
    Frame(Frame, oneshot::Sender<()>),
}

/// What forked children say, in the order in which it comes.
#[derive(Debug)]
pub(crate) struct Forks {
    heard: mpsc::Receiver<Said>,
    accepting: JoinHandle<()>,
}

impl Forks {
    /// Takes lines out of the door. Call it on the runtime.
    pub(crate) fn new(door: Arc<AsyncFd<OwnedFd>>) -> Self {
        let (ear, heard) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(door, ear));
        Self { heard, accepting }
    }

    /// The next that one of them says. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Said {
        match self.heard.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Forks {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(door: Arc<AsyncFd<OwnedFd>>, ear: mpsc::Sender<Said>) {
    let room = Arc::new(Semaphore::new(MOST));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let line = match handed_in(&door).await {
            Ok(Handed::Line(line)) => line,
            Ok(Handed::Nothing) => continue,
            Ok(Handed::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "forked children cannot be heard any more");
                return;
            }
        };
        let ear = ear.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(line, &ear).await {
                tracing::debug!(%error, "a forked child");
            }
            drop(place);
        });
    }
}

enum Handed {
    Line(UnixStream),
    /// A message without a descriptor: this process may open no more of them, or it was not the agent's. The child sees its line cut.
    Nothing,
    /// The interpreter and its children have ended.
    Closed,
}

async fn handed_in(door: &AsyncFd<OwnedFd>) -> io::Result<Handed> {
    loop {
        let mut ready = door.readable().await?;
        if let Ok(handed) = ready.try_io(|door| take(door.get_ref())) {
            return handed;
        }
    }
}

fn take(door: &OwnedFd) -> io::Result<Handed> {
    let mut byte = [0; 1];
    let mut control = nix::cmsg_space!([i32; MOST_IN_A_MESSAGE]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(door.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(rights) = part {
            // SAFETY: the kernel has just made them for us, and nobody else knows them.
            descriptors.extend(
                rights
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok(match descriptors.pop() {
        Some(line) => Handed::Line(UnixStream::from(line)),
        None if message.bytes == 0 => Handed::Closed,
        None => Handed::Nothing,
    })
}

/// Passes on what comes on a line until the child closes it.
async fn serve(line: UnixStream, ear: &mpsc::Sender<Said>) -> io::Result<()> {
    let mut line = Channel::new(line)?;
    while line.open {
        tokio::time::timeout(PATIENCE, line.is_ready()).await?;
        while let Some(frame) = line.read(&mut false) {
            if frame.0.len() == 1 && frame.0[0] == SYNC {
                if ear.send(Said::Sync).await.is_err() {
                    return Ok(()); // the interpreter is given up
                }
                continue;
            }
            let (tell, is_in_order) = oneshot::channel();
            if ear.send(Said::Frame(frame, tell)).await.is_err() || is_in_order.await.is_err() {
                return Ok(());
            }
            line.socket.writable().await?;
            line.socket.try_write(TAKEN)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use nix::sys::socket::ControlMessage;
    use nix::sys::socket::sendmsg;
    use std::io::IoSlice;
    use std::io::Read;
    use std::io::Write;

    fn hand_in(door: &OwnedFd, fd: i32) {
        let rights = [ControlMessage::ScmRights(&[fd])];
        let flags = MsgFlags::empty();
        sendmsg::<()>(
            door.as_raw_fd(),
            &[IoSlice::new(b"l")],
            &rights,
            flags,
            None,
        )
        .unwrap();
    }

    fn forks() -> (Forks, OwnedFd) {
        let (door, theirs) = crate::door::Door::new().unwrap();
        (Forks::new(door.socket()), theirs)
    }

    fn say(sections: &[Bytes]) -> Vec<u8> {
        let head = Frame::head(sections);
        std::iter::once(&head)
            .chain(sections)
            .flatten()
            .copied()
            .collect()
    }

    #[tokio::test]
    async fn a_message_is_answered_once_it_is_in_order() {
        let (mut forks, door) = forks();
        let (mut child, line) = UnixStream::pair().unwrap();
        hand_in(&door, line.as_raw_fd());
        drop(line);
        let sections = [Bytes::from_static(b"{}"), Bytes::from(vec![7; 300_000])];
        let text = say(&sections);
        let child = tokio::task::spawn_blocking(move || {
            child.write_all(&say(&[Bytes::from_static(SYNC)])).unwrap();
            child.write_all(&text).unwrap();
            child.read_exact(&mut [0]).unwrap();
        });
        assert!(matches!(forks.next().await, Said::Sync));
        let Said::Frame(frame, tell) = forks.next().await else {
            panic!("no frame");
        };
        assert_eq!(frame.0, sections);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!child.is_finished());
        tell.send(()).unwrap();
        child.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_message_ends_its_line_alone() {
        let (mut forks, door) = forks();
        let (mut bad, line) = UnixStream::pair().unwrap();
        hand_in(&door, line.as_raw_fd());
        drop(line);
        bad.write_all(b"no frame").unwrap();
        hand_in(&door, std::io::stderr().as_raw_fd()); // no socket
        sendmsg::<()>(
            door.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &[],
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        let (mut good, line) = UnixStream::pair().unwrap();
        hand_in(&door, line.as_raw_fd());
        good.write_all(&say(&[Bytes::from_static(b"{}")])).unwrap();
        let Said::Frame(frame, _) = forks.next().await else {
            panic!("no frame");
        };
        assert_eq!(frame.0, [&b"{}"[..]]);
        let ended = tokio::task::spawn_blocking(move || bad.read(&mut [0]).unwrap());
        assert_eq!(ended.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn further_children_wait_for_a_place() {
        let (mut forks, door) = forks();
        let mut children = Vec::new();
        for _ in 0..2 * MOST {
            let (mut child, line) = UnixStream::pair().unwrap();
            hand_in(&door, line.as_raw_fd());
            child.write_all(&say(&[Bytes::from_static(b"{}")])).unwrap();
            children.push(child);
        }
        for _ in 0..2 * MOST {
            assert!(matches!(forks.next().await, Said::Frame(..)));
        }
    }
}
