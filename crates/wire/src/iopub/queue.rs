//! What waits for one subscriber, and the verdict on it. Pure: the caller says how long it could not write.
//!
//! A subscriber stalls only while its socket refuses bytes and the runtime was free to offer them: a kernel that
//! signs a large message for a second must not take that for the silence of its clients.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::allocator::BURST;
use crate::zmtp;

/// A subscriber that took nothing for this long has stopped: it is not waited for, and evicted once over its limit.
/// Until then the publisher waits for it, so that a client that was only busy loses nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Times the limit at which even a subscriber that still reads is evicted.
const HARD: usize = 2;
/// Slices of one vectored write.
const SLICES: usize = 64;
/// Capacity that an empty queue may keep, in messages.
const KEEP: usize = 256;

/// A message as it goes over the wire, shared by its subscribers.
pub(super) struct Message {
    pieces: Vec<Bytes>,
    size: usize,
}

impl Message {
    pub(super) fn new(frames: &[Bytes]) -> Arc<Self> {
        Self::of_pieces(zmtp::encode(frames))
    }

    pub(super) fn of_pieces(pieces: Vec<Bytes>) -> Arc<Self> {
        let size = pieces.iter().map(Bytes::len).sum();
        Arc::new(Self { pieces, size })
    }
}

/// Whether a subscriber may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    Keep,
    /// It goes now.
    Evict,
    /// It was told to go before.
    Gone,
}

pub(super) struct Queue {
    messages: VecDeque<Arc<Message>>,
    /// Where the writer stands in the front message: piece, and byte in it.
    piece: usize,
    offset: usize,
    /// Bytes not written yet.
    bytes: usize,
    /// Most bytes that waited since the queue was last empty.
    peak: usize,
    /// Size of the largest waiting message; not lowered until the queue is empty.
    largest: usize,
    limit: usize,
    /// Time since the socket last took a byte that was offered.
    stalled: Duration,
    evicted: bool,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        let messages = VecDeque::new();
        Self {
            messages,
            piece: 0,
            offset: 0,
            bytes: 0,
            peak: 0,
            largest: 0,
            limit,
            stalled: Duration::ZERO,
            evicted: false,
        }
    }

    /// Adds a message. From the first [`Verdict::Evict`] on the queue stays empty: nothing may follow a gap.
    ///
    /// The largest message is not held against the subscriber: one that exceeds the limit by itself must reach
    /// those who read, together with the small ones around it.
    pub(super) fn push(&mut self, message: Arc<Message>) -> Verdict {
        if self.evicted {
            return Verdict::Gone;
        }
        if self.messages.is_empty() {
            self.stalled = Duration::ZERO;
            self.largest = 0;
        }
        self.bytes += message.size;
        self.peak = self.peak.max(self.bytes);
        self.largest = self.largest.max(message.size);
        self.messages.push_back(message);
        let backlog = self.bytes.saturating_sub(self.largest);
        let stalled = self.stalled >= PATIENCE;
        if backlog > self.limit && (stalled || backlog > self.limit.saturating_mul(HARD)) {
            self.evicted = true;
            self.messages = VecDeque::new();
            (self.piece, self.offset, self.bytes) = (0, 0, 0);
            return Verdict::Evict;
        }
        Verdict::Keep
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes not written yet, as far as the subscriber took any lately.
    pub(super) fn moving(&self) -> usize {
        if self.stalled < PATIENCE {
            self.bytes
        } else {
            0
        }
    }

    /// What to write next.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut offset = self.offset;
        let pieces = self
            .messages
            .iter()
            .enumerate()
            .flat_map(|(index, message)| {
                let start = if index == 0 { self.piece } else { 0 };
                &message.pieces[start..]
            });
        let rests = pieces.map(|piece| {
            let rest = piece.get(offset..).unwrap_or_default();
            offset = 0;
            rest
        });
        rests
            .filter(|rest| !rest.is_empty())
            .take(SLICES)
            .map(IoSlice::new)
            .collect()
    }

    /// The socket took nothing for `time`.
    pub(super) fn stall(&mut self, time: Duration) {
        self.stalled += time;
    }

    /// `count` bytes of [`Queue::slices`] were written. True when that ended a burst.
    pub(super) fn advance(&mut self, mut count: usize) -> bool {
        self.stalled = Duration::ZERO;
        self.bytes -= count.min(self.bytes);
        while let Some(front) = self.messages.front() {
            let Some(piece) = front.pieces.get(self.piece) else {
                self.messages.pop_front();
                self.piece = 0;
                continue;
            };
            let rest = piece.len() - self.offset;
            if count < rest {
                self.offset += count;
                return false;
            }
            count -= rest;
            self.piece += 1;
            self.offset = 0;
        }
        // A burst must not leave its room behind.
        if self.messages.capacity() > KEEP {
            self.messages = VecDeque::new();
        }
        std::mem::take(&mut self.peak) > BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1000;

    fn message(size: usize) -> Arc<Message> {
        Message::of_pieces(vec![Bytes::from(vec![1; size])])
    }

    fn queue() -> Queue {
        Queue::new(LIMIT)
    }

    #[test]
    fn a_message_larger_than_the_limit_is_kept_with_the_small_ones_around_it() {
        let mut queue = queue();
        for size in [50, LIMIT * 20, 50, 50] {
            assert_eq!(queue.push(message(size)), Verdict::Keep);
            queue.stall(PATIENCE);
        }
    }

    #[test]
    fn a_stalled_subscriber_is_evicted_at_the_limit() {
        let mut queue = queue();
        queue.push(message(600));
        queue.stall(PATIENCE);
        assert_eq!(queue.push(message(600)), Verdict::Keep);
        assert_eq!(queue.push(message(600)), Verdict::Evict);
        assert_eq!(queue.push(message(1)), Verdict::Gone);
        assert!(queue.is_empty() && queue.slices().is_empty());
    }

    #[test]
    fn a_reading_subscriber_may_exceed_the_limit_but_not_twice() {
        let mut queue = queue();
        for _ in 0..4 {
            assert_eq!(queue.push(message(600)), Verdict::Keep);
        }
        assert_eq!(queue.push(message(600)), Verdict::Evict);
    }

    #[test]
    fn only_a_subscriber_that_moves_slows_the_publisher() {
        let mut queue = queue();
        queue.push(message(500));
        assert_eq!(queue.moving(), 500);
        queue.stall(PATIENCE);
        assert_eq!(queue.moving(), 0);
        queue.advance(100);
        assert_eq!(queue.moving(), 400);
    }

    #[test]
    fn an_emptied_queue_gives_its_room_back() {
        let mut queue = queue();
        for _ in 0..10_000 {
            queue.push(message(0));
        }
        queue.advance(0);
        assert!(queue.is_empty() && queue.messages.capacity() <= KEEP);
    }

    proptest! {
        #[test]
        fn writes_of_any_size_carry_every_byte_in_order(
            sizes in proptest::collection::vec(proptest::collection::vec(0usize..30, 1..5), 0..100),
            steps in proptest::collection::vec(1usize..50, 1..20),
        ) {
            let mut queue = Queue::new(usize::MAX);
            let mut expected = Vec::new();
            let mut fill = 0u8;
            for pieces in sizes {
                let pieces: Vec<Bytes> = pieces.into_iter().map(|n| {
                    fill = fill.wrapping_add(1);
                    Bytes::from(vec![fill; n])
                }).collect();
                expected.extend(pieces.concat());
                queue.push(Message::of_pieces(pieces));
            }
            let mut written: Vec<u8> = Vec::new();
            for step in steps.iter().cycle() {
                let ready: Vec<u8> = queue.slices().iter().flat_map(|s| s.to_vec()).take(*step).collect();
                if ready.is_empty() {
                    break;
                }
                written.extend(&ready);
                queue.advance(ready.len());
            }
            prop_assert_eq!(written, expected);
            queue.advance(0);
            prop_assert!(queue.is_empty() && queue.bytes == 0);
        }
    }
}
