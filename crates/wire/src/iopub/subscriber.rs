//! One subscriber: what it asked for, and the two halves of its connection.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

use super::publisher::Publisher;
use super::queue::Queue;
use crate::allocator;
use crate::listener::{Reader, Writer};
use crate::zmtp::{Command, Frame, FrameError, FrameReader};

/// Subscriptions that one client may hold.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// How often a writer that cannot write notes it.
const TICK: Duration = Duration::from_millis(50);

pub(super) struct Subscriber {
    pub(super) queue: Mutex<Queue>,
    pub(super) topics: Mutex<Vec<Bytes>>,
    /// Something waits in the queue.
    pub(super) wake: Notify,
    /// The subscriber was evicted.
    pub(super) evicted: Notify,
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Subscribe(Bytes),
    Cancel(Bytes),
    Pong(Bytes),
    Nothing,
}

impl Subscriber {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            queue: Mutex::new(Queue::new(limit)),
            topics: Mutex::default(),
            wake: Notify::new(),
            evicted: Notify::new(),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wants(&self, topic: &[u8]) -> bool {
        self.topics().iter().any(|prefix| topic.starts_with(prefix))
    }

    /// Serves the connection until the client leaves, misbehaves or is evicted.
    pub(super) async fn run(
        &self,
        publisher: &Publisher,
        reader: FrameReader<Reader>,
        writer: Writer,
    ) -> Result<(), FrameError> {
        tokio::select! {
            result = self.listen(publisher, reader) => result,
            result = self.write(publisher, writer) => result,
            () = self.evicted.notified() => Err(FrameError::Crowded),
        }
    }

    async fn listen(
        &self,
        publisher: &Publisher,
        mut reader: FrameReader<Reader>,
    ) -> Result<(), FrameError> {
        while let Some(frame) = reader.next().await? {
            match wish(&frame) {
                Wish::Subscribe(topic) => {
                    let full = {
                        let mut topics = self.topics();
                        // A copy, so that the read buffer does not live as long as the subscription.
                        topics.push(Bytes::copy_from_slice(&topic));
                        topics.len() > MAX_SUBSCRIPTIONS
                    };
                    if full {
                        return Err(FrameError::TooMany(MAX_SUBSCRIPTIONS));
                    }
                    publisher.welcome(self, &topic);
                }
                Wish::Cancel(topic) => {
                    let mut topics = self.topics();
                    if let Some(at) = topics.iter().position(|t| *t == topic) {
                        topics.swap_remove(at);
                    }
                }
                Wish::Pong(context) => publisher.pong(self, &context),
                Wish::Nothing => {}
            }
        }
        Ok(())
    }

    async fn write(&self, publisher: &Publisher, mut writer: Writer) -> Result<(), FrameError> {
        loop {
            self.wake.notified().await;
            while !self.queue().is_empty() {
                let write = std::future::poll_fn(|cx| self.poll_write(cx, &mut writer));
                match tokio::time::timeout(TICK, write).await {
                    Ok(written) => written?,
                    Err(_) => self.queue().stall(TICK),
                }
                publisher.progressed();
            }
        }
    }

    /// Writes once, straight out of the queue.
    fn poll_write(&self, cx: &mut Context<'_>, writer: &mut Writer) -> Poll<io::Result<()>> {
        let mut queue = self.queue();
        let slices = queue.slices();
        if slices.is_empty() {
            drop(slices);
            queue.advance(0);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(writer).poll_write_vectored(cx, &slices) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => {
                drop(slices);
                if queue.advance(count) {
                    allocator::give_back();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

/// Subscriptions come as messages (`\x01topic`, ZMTP 3.0) or as commands (ZMTP 3.1).
fn wish(frame: &Frame) -> Wish {
    if frame.is_command() {
        return match Command::parse(&frame.body) {
            Command::Subscribe(topic) => Wish::Subscribe(topic),
            Command::Cancel(topic) => Wish::Cancel(topic),
            Command::Ping(context) => Wish::Pong(context),
            Command::Other => Wish::Nothing,
        };
    }
    let mut topic = frame.body.clone();
    match topic.try_get_u8() {
        Ok(1) => Wish::Subscribe(topic),
        Ok(0) => Wish::Cancel(topic),
        _ => Wish::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::COMMAND;

    #[test]
    fn both_ways_to_subscribe_are_understood() {
        let topic = Bytes::from("topic");
        let table: [(u8, &[u8], Wish); 7] = [
            (0, b"\x01topic", Wish::Subscribe(topic.clone())),
            (0, b"\x00topic", Wish::Cancel(topic.clone())),
            (0, b"\x01", Wish::Subscribe(Bytes::new())),
            (0, b"\x02topic", Wish::Nothing),
            (0, b"", Wish::Nothing),
            (
                COMMAND,
                b"\x09SUBSCRIBEtopic",
                Wish::Subscribe(topic.clone()),
            ),
            (COMMAND, b"\x06CANCELtopic", Wish::Cancel(topic)),
        ];
        for (flags, body, expected) in table {
            assert_eq!(
                wish(&Frame {
                    flags,
                    body: Bytes::from_static(body)
                }),
                expected,
                "{body:?}"
            );
        }
    }
}
