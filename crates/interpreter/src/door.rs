//! The door: how the agent is reached while its main thread runs a cell.
//!
//! A small thread of the agent reads messages here, one at a time: give out text, take a line for a subshell or an answer
//! for a thread, interrupt.

use crate::line::Ear;
use crate::line::Line;
use crate::remains::memory_file;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::sendmsg;
use nix::sys::socket::socketpair;
use std::io;
use std::io::IoSlice;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// Gives out text that was printed without a line end.
const FLUSH: &[u8] = b"f";
/// Before the number of a request and the id of the subshell that has it: interrupts it.
const INTERRUPT: char = 'i';
/// Says where the main thread is.
const WHERE: &[u8] = b"w";
/// Ends the cleanup step in hand.
const STOP_CLEANING: &[u8] = b"c";
/// Before the number of a thread's question; the answer is in the file that comes with the message.
const ANSWER: char = 'a';
/// Before the id of a subshell whose line comes with the message.
const SUBSHELL: u8 = b's';

/// Our side of the door.
#[derive(Debug)]
pub(crate) struct Door(Arc<AsyncFd<OwnedFd>>);

impl Door {
    /// The door, and the end for the child. Call it on the runtime.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        // Each message keeps its bounds and its descriptor: unix(7), SOCK_SEQPACKET.
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(io::Error::from)?;
        // SAFETY: an `OwnedFd` stays open, and the same, until it is dropped.
        let ours = unsafe { AsyncFd::register_with_interest(ours, Interest::READABLE) }?;
        Ok((Self(Arc::new(ours)), theirs))
    }

    /// What forked children hand in comes here.
    pub(crate) fn socket(&self) -> Arc<AsyncFd<OwnedFd>> {
        Arc::clone(&self.0)
    }

    pub(crate) fn ask_for_text(&self) {
        if self.unread() == 0 {
            self.say(FLUSH); // else it was asked already, and cannot answer while a cell holds the GIL
        }
    }

    pub(crate) fn interrupt_subshell(&self, id: &str, number: u64) {
        self.say(format!("{INTERRUPT}{number} {id}").as_bytes());
    }

    /// Answers a question of a thread that reads no channel.
    pub(crate) fn answer(&self, number: u64, content: &[u8]) -> io::Result<()> {
        let mut file = memory_file(c"answer")?;
        file.write_all(content)?;
        self.send(format!("{ANSWER}{number}").as_bytes(), &[file.as_raw_fd()])
    }

    pub(crate) fn ask_where(&self) {
        self.say(WHERE);
    }

    pub(crate) fn stop_cleaning(&self) {
        self.say(STOP_CLEANING);
    }

    fn say(&self, what: &[u8]) {
        if let Err(error) = self.send(what, &[]) {
            tracing::debug!(%error, "the agent was not reached");
        }
    }

    fn send(&self, message: &[u8], descriptors: &[i32]) -> io::Result<()> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control: &[_] = if descriptors.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &[IoSlice::new(message)],
            control,
            flags,
            None,
        )?;
        Ok(())
    }

    /// How much the agent has not read yet; a measure, not bytes.
    fn unread(&self) -> i32 {
        let mut count: libc::c_int = 0;
        // SAFETY: TIOCOUTQ writes one int (unix(7), SIOCOUTQ).
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if result == 0 { count } else { 0 }
    }

    /// Opens a line for the subshell `id`; what becomes of it is told to the ear.
    pub(crate) fn open_line(&self, id: &str, ear: Ear) -> io::Result<Line> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let message = [&[SUBSHELL], id.as_bytes()].concat();
        self.send(&message, &[theirs.as_raw_fd()])?;
        Ok(Line::new(id.to_owned(), socket, ear))
    }
}
