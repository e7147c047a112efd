//! Verified messages that wait for the kernel: bounded, urgent channels first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::message::{Channel, Incoming};
use crate::outbox::Sockets;

/// Messages that may wait on one channel.
const MAX_MESSAGES: usize = 256;
/// Bytes that may wait on one channel; a single larger message passes when nothing else waits.
const MAX_BYTES: usize = 64 << 20;
/// The order in which waiting channels are served.
const ORDER: [Channel; 3] = [Channel::Control, Channel::Stdin, Channel::Shell];

/// The receiving end of shell, control and stdin.
pub struct Inbox {
    queues: Arc<Queues>,
    _sockets: Arc<Sockets>,
}

impl Inbox {
    pub(crate) fn new(queues: Arc<Queues>, sockets: Arc<Sockets>) -> Self {
        Self {
            queues,
            _sockets: sockets,
        }
    }

    /// The next message: control before stdin before shell when several wait. Cancel-safe.
    pub async fn recv(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.queues.pop() {
                return incoming;
            }
            self.queues.some.notified().await;
        }
    }
}

/// The three queues between the routers and the inbox.
#[derive(Default)]
pub(crate) struct Queues {
    waiting: Mutex<[Queue; 3]>,
    some: Notify,
    room: [Notify; 3],
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Incoming>,
    bytes: usize,
}

impl Queue {
    fn has_room(&self) -> bool {
        self.messages.len() < MAX_MESSAGES && self.bytes < MAX_BYTES
    }
}

impl Queues {
    fn pop(&self) -> Option<Incoming> {
        let mut waiting = self.lock();
        for (index, queue) in waiting.iter_mut().enumerate() {
            if let Some(incoming) = queue.messages.pop_front() {
                queue.bytes -= incoming.size();
                self.room[index].notify_one();
                return Some(incoming);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, [Queue; 3]> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entrance for one channel.
    pub(crate) fn slot(self: &Arc<Self>, channel: Channel) -> Slot {
        let index = ORDER.iter().position(|c| *c == channel).unwrap_or_default();
        Slot {
            queues: Arc::clone(self),
            index,
        }
    }
}

/// The entrance of one channel into the inbox.
pub(crate) struct Slot {
    queues: Arc<Queues>,
    index: usize,
}

impl Slot {
    /// Waits until one more message may enter.
    pub(crate) async fn room(&self) {
        while !self.queues.lock()[self.index].has_room() {
            self.queues.room[self.index].notified().await;
        }
    }

    pub(crate) fn push(&self, incoming: Incoming) {
        let mut waiting = self.queues.lock();
        let queue = &mut waiting[self.index];
        queue.bytes += incoming.size();
        queue.messages.push_back(incoming);
        self.queues.some.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::decode;
    use crate::signature::Signer;
    use bytes::Bytes;

    fn incoming(channel: Channel, content: usize) -> Incoming {
        let header = Bytes::from_static(br#"{"msg_id":"1","msg_type":"t"}"#);
        let empty = Bytes::from_static(b"{}");
        let content = Bytes::from(vec![b' '; content]);
        let frames = vec![
            Bytes::from("id"),
            Bytes::from("<IDS|MSG>"),
            Bytes::new(),
            header,
            empty.clone(),
            empty,
            content,
        ];
        decode(channel, frames, &Signer::new("")).unwrap()
    }

    #[test]
    fn control_comes_before_stdin_before_shell() {
        let queues = Arc::new(Queues::default());
        for channel in [
            Channel::Shell,
            Channel::Stdin,
            Channel::Control,
            Channel::Shell,
        ] {
            queues.slot(channel).push(incoming(channel, 0));
        }
        let order: Vec<_> = std::iter::from_fn(|| queues.pop())
            .map(|i| i.channel)
            .collect();
        assert_eq!(
            order,
            [
                Channel::Control,
                Channel::Stdin,
                Channel::Shell,
                Channel::Shell
            ]
        );
    }

    #[tokio::test]
    async fn a_full_shell_queue_waits_and_control_does_not() {
        let queues = Arc::new(Queues::default());
        let (shell, control) = (queues.slot(Channel::Shell), queues.slot(Channel::Control));
        for _ in 0..MAX_MESSAGES {
            shell.room().await;
            shell.push(incoming(Channel::Shell, 0));
        }
        assert!(!queues.lock()[shell.index].has_room());
        control.room().await;
        queues.pop();
        shell.room().await;
    }

    #[test]
    fn bytes_fill_a_queue_too_and_are_given_back() {
        let queues = Arc::new(Queues::default());
        let shell = queues.slot(Channel::Shell);
        shell.push(incoming(Channel::Shell, MAX_BYTES));
        assert!(!queues.lock()[shell.index].has_room());
        queues.pop();
        assert!(queues.lock()[shell.index].has_room());
        assert_eq!(queues.lock()[shell.index].bytes, 0);
    }
}
