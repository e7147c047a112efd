//! The publisher: hands each message to every subscriber that asked for its topic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::queue::{Message, Verdict};
use super::subscriber::Subscriber;
use crate::allocator;
use crate::budget::Budget;
use crate::envelope::{Sealer, Sections};
use crate::escape::escape_into;
use crate::listener::{Admission, Reader, Writer};
use crate::throttle::Throttle;
use crate::zmtp::{self, FrameError, FrameReader, HandshakeError};

/// Bytes waiting for one moving subscriber from which the publisher should pause.
const CONGESTED: usize = 8 << 20;
/// Bytes below which it may go on.
const RELIEVED: usize = 4 << 20;
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Largest frame that a subscriber may send, in bytes.
const INBOUND_LIMIT: u64 = 4096;

pub(crate) struct Publisher {
    subscribers: Mutex<HashMap<u64, Arc<Subscriber>>>,
    numbers: AtomicU64,
    /// Some subscriber took bytes, stopped taking them, or left.
    progress: Notify,
    limit: usize,
    handshake: Duration,
    sealer: Arc<Sealer>,
    budget: Arc<Budget>,
    warnings: Arc<Throttle>,
}

impl Publisher {
    /// A publisher whose subscribers may each let `limit` bytes wait.
    pub(crate) fn new(
        limit: usize,
        handshake: Duration,
        sealer: Arc<Sealer>,
        budget: Arc<Budget>,
        warnings: Arc<Throttle>,
    ) -> Arc<Self> {
        Arc::new(Self {
            subscribers: Mutex::default(),
            numbers: AtomicU64::new(0),
            progress: Notify::new(),
            limit,
            handshake,
            sealer,
            budget,
            warnings,
        })
    }

    /// Queues a message, of which the first frame is the topic. Never waits.
    pub(crate) fn publish(&self, frames: &[Bytes]) {
        let topic = frames.first().map(|topic| &topic[..]).unwrap_or_default();
        let takers: Vec<_> = self
            .lock()
            .values()
            .filter(|s| s.wants(topic))
            .cloned()
            .collect();
        if takers.is_empty() {
            return;
        }
        let message = Message::new(frames);
        for subscriber in takers {
            self.push(&subscriber, Arc::clone(&message));
        }
    }

    /// Tells a client that its subscription is in force (JEP 65).
    pub(super) fn welcome(&self, subscriber: &Subscriber, topic: &[u8]) {
        let mut content = b"{\"subscription\":\"".to_vec();
        escape_into(&mut content, topic);
        content.extend_from_slice(b"\"}");
        let sections = Sections {
            msg_type: "iopub_welcome",
            parent: None,
            metadata: Bytes::from_static(b"{}"),
            content: Bytes::from(content),
            buffers: Vec::new(),
        };
        let frames = self
            .sealer
            .seal(vec![Bytes::copy_from_slice(topic)], sections);
        self.push(subscriber, Message::new(&frames));
    }

    pub(super) fn pong(&self, subscriber: &Subscriber, context: &[u8]) {
        self.push(subscriber, Message::of_pieces(vec![zmtp::pong(context)]));
    }

    pub(super) fn progressed(&self) {
        self.progress.notify_waiters();
    }

    fn push(&self, subscriber: &Subscriber, message: Arc<Message>) {
        match subscriber.queue().push(message) {
            Verdict::Keep => subscriber.wake.notify_one(),
            Verdict::Gone => {}
            Verdict::Evict => {
                subscriber.evicted.notify_one();
                allocator::give_back();
            }
        }
    }

    /// Bytes that wait for the subscriber with most of them among those that move.
    fn backlog(&self) -> usize {
        self.lock()
            .values()
            .map(|s| s.queue().moving())
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn congested(&self) -> bool {
        self.backlog() > CONGESTED
    }

    /// Waits until no moving subscriber has much waiting; at most two seconds.
    pub(crate) async fn relieved(&self) {
        let wait = async {
            loop {
                let progress = self.progress.notified();
                if self.backlog() <= RELIEVED {
                    return;
                }
                progress.await;
            }
        };
        let _ = tokio::time::timeout(LONGEST_PAUSE, wait).await;
    }

    /// Whether everything queued was handed to the sockets.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().values().all(|s| s.queue().is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Subscriber>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one subscriber.
pub(crate) async fn serve(
    publisher: Arc<Publisher>,
    reader: Reader,
    writer: Writer,
    admission: Admission,
) {
    if let Err(error) = connection(&publisher, reader, writer, admission).await
        && !matches!(
            error,
            HandshakeError::Frame(FrameError::Io(_) | FrameError::Truncated)
        )
    {
        publisher.warnings.warn("iopub", &error);
    }
}

async fn connection(
    publisher: &Arc<Publisher>,
    reader: Reader,
    mut writer: Writer,
    mut admission: Admission,
) -> Result<(), HandshakeError> {
    let mut reader = FrameReader::new(reader, 0, Arc::clone(&publisher.budget));
    let shake = zmtp::accept(&mut reader, &mut writer, "XPUB", &["SUB", "XSUB"], || {
        admission.grant(0)
    });
    tokio::time::timeout(publisher.handshake, shake)
        .await
        .map_err(|_| HandshakeError::Slow)??;
    reader.set_limit(INBOUND_LIMIT);
    let subscriber = Arc::new(Subscriber::new(publisher.limit));
    let _membership = Membership::new(publisher, &subscriber);
    Ok(subscriber.run(publisher, reader, writer).await?)
}

/// A subscriber's place in the publisher's list, left on drop.
struct Membership<'a> {
    publisher: &'a Publisher,
    number: u64,
}

impl<'a> Membership<'a> {
    fn new(publisher: &'a Publisher, subscriber: &Arc<Subscriber>) -> Self {
        let number = publisher.numbers.fetch_add(1, Ordering::Relaxed);
        publisher.lock().insert(number, Arc::clone(subscriber));
        Self { publisher, number }
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.publisher.lock().remove(&self.number);
        self.publisher.progressed();
    }
}
