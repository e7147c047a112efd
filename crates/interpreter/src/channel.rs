//! The channel: frames in both directions over the socketpair.

use crate::frame::Frame;
use crate::frame::Parser;
use bytes::Buf;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// An interpreter that closed the channel is given this long to end by itself.
const PARTING: Duration = Duration::from_secs(1);

/// Our end of the channel.
pub(crate) struct Channel {
    pub(crate) socket: UnixStream,
    pub(crate) parser: Parser,
    pub(crate) out: VecDeque<Bytes>,
    pub(crate) open: bool,
    /// When to end an interpreter that can no longer be heard.
    pub(crate) end_at: Option<Instant>,
    pub(crate) scratch: Box<[u8]>,
}

/// Reads what is there at this moment. tokio alone may answer "would block" from memory, without a look, until its event loop has
/// run again; the order of frames and text rests on an answer that is true now.
fn receive(socket: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    match socket.try_read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Ok(nix::unistd::read(socket, buffer)?)
        }
        result => result,
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("open", &self.open)
            .field("waiting", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl Channel {
    pub(crate) fn new(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket)?,
            parser: Parser::default(),
            out: VecDeque::new(),
            open: true,
            end_at: None,
            scratch: vec![0; 64 << 10].into(),
        })
    }

    /// Queues a frame and writes what the socket takes.
    pub(crate) fn send(&mut self, sections: &[Bytes]) {
        if !self.open {
            return;
        }
        self.out.push_back(Frame::head(sections));
        self.out.extend(
            sections
                .iter()
                .filter(|section| !section.is_empty())
                .cloned(),
        );
        self.write();
    }

    /// Returns when there is something to read, or room for what waits to be written. Never if it is closed.
    pub(crate) async fn is_ready(&self) {
        if !self.open {
            return std::future::pending().await;
        }
        let result = if self.out.is_empty() {
            self.socket.readable().await
        } else {
            self.socket
                .ready(tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE)
                .await
                .map(drop)
        };
        if let Err(error) = result {
            tracing::debug!(%error, "channel");
        }
    }

    /// The next whole frame, reading as long as there are bytes. Sets `any` if there were.
    pub(crate) fn read(&mut self, any: &mut bool) -> Option<Frame> {
        loop {
            match self.parser.next() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(error) => {
                    if self.open {
                        tracing::error!(%error, "the channel is given up");
                    }
                    self.close(Duration::ZERO);
                    return None;
                }
            }
            if !self.open {
                return None;
            }
            let own = !self.parser.room().is_empty();
            let buffer = if own {
                self.parser.room()
            } else {
                &mut self.scratch[..]
            };
            match receive(&self.socket, buffer) {
                Ok(0) => self.close(PARTING),
                Ok(count) if own => self.parser.filled(count),
                Ok(count) => self.parser.push(&self.scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::debug!(%error, "channel");
                    self.close(PARTING);
                    return None;
                }
            }
            *any = true;
        }
    }

    /// Nothing more can come: an interpreter that lives on after `patience` could never answer.
    pub(crate) fn close(&mut self, patience: Duration) {
        if self.open {
            self.open = false;
            self.end_at = Some(Instant::now() + patience);
        }
    }

    pub(crate) fn write(&mut self) {
        while !self.out.is_empty() {
            let slices: Vec<IoSlice<'_>> = self
                .out
                .iter()
                .take(64)
                .map(|part| IoSlice::new(part))
                .collect();
            match self.socket.try_write_vectored(&slices) {
                Ok(mut written) => {
                    while let Some(front) = self.out.front_mut() {
                        if front.len() > written {
                            front.advance(written);
                            break;
                        }
                        written -= front.len();
                        self.out.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "channel");
                    self.close(PARTING);
                    self.out.clear();
                }
            }
        }
    }
}
