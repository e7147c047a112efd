//! The sending side: replies to one client, publications to all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::envelope::{Sealer, Sections};
use crate::escape::stream_content;
use crate::iopub::Publisher;
use crate::listener::SocketFile;
use crate::message::{Channel, Origin};
use crate::router::{Replies, Reply};

/// How often `drain` looks.
const DRAIN_STEP: Duration = Duration::from_millis(1);

/// Everything that ends when the last [`Outbox`] and the [`crate::Inbox`] are gone: tasks and socket files.
pub(crate) struct Sockets {
    pub(crate) _tasks: JoinSet<()>,
    pub(crate) _files: Vec<SocketFile>,
}

/// Sends messages. Clones share everything, and may be used from anywhere on the runtime.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

/// The sending sides of the three routers.
pub(crate) struct Channels {
    pub(crate) shell: Replies,
    pub(crate) control: Replies,
    pub(crate) stdin: Replies,
}

impl Channels {
    fn of(&self, channel: Channel) -> &Replies {
        match channel {
            Channel::Shell => &self.shell,
            Channel::Control => &self.control,
            Channel::Stdin => &self.stdin,
        }
    }

    fn are_idle(&self) -> bool {
        [&self.shell, &self.control, &self.stdin]
            .iter()
            .all(|replies| replies.is_idle())
    }
}

struct Inner {
    sealer: Arc<Sealer>,
    publisher: Arc<Publisher>,
    replies: Channels,
    _sockets: Arc<Sockets>,
}

impl Outbox {
    pub(crate) fn new(
        sealer: Arc<Sealer>,
        publisher: Arc<Publisher>,
        replies: Channels,
        sockets: Arc<Sockets>,
    ) -> Self {
        Self(Arc::new(Inner {
            sealer,
            publisher,
            replies,
            _sockets: sockets,
        }))
    }

    /// The session id of this kernel.
    pub fn session(&self) -> &str {
        self.0.sealer.session()
    }

    /// Queues a reply to `origin`; never blocks, and keeps the order within a channel.
    ///
    /// A client that has left gets nothing, which is no error. One that lets 512 MiB of replies wait is disconnected.
    pub fn reply(
        &self,
        channel: Channel,
        origin: &Origin,
        msg_type: &str,
        metadata: Bytes,
        content: Bytes,
        buffers: Vec<Bytes>,
    ) {
        let Some((route, further)) = origin.identities.split_first() else {
            return;
        };
        let sections = Sections {
            msg_type,
            parent: Some(&origin.header),
            metadata,
            content,
            buffers,
        };
        let frames = self.0.sealer.seal(further.to_vec(), sections);
        self.0.replies.of(channel).push(Reply {
            route: route.clone(),
            frames,
        });
    }

    /// Queues a message for every subscriber; never blocks. `parent` is the header of the request, verbatim.
    pub fn publish(
        &self,
        msg_type: &str,
        parent: Option<&Bytes>,
        metadata: Bytes,
        content: Bytes,
        buffers: Vec<Bytes>,
    ) {
        let topic = Bytes::from(format!("kernel.{}.{msg_type}", self.session()));
        let frames = self.0.sealer.seal(
            vec![topic],
            Sections {
                msg_type,
                parent,
                metadata,
                content,
                buffers,
            },
        );
        self.0.publisher.publish(&frames);
    }

    /// Publishes raw text of a stream. Bytes that are not UTF-8 become U+FFFD.
    pub fn publish_stream(&self, name: &str, text: &[u8], parent: Option<&Bytes>) {
        let content = Bytes::from(stream_content(name, text));
        self.publish(
            "stream",
            parent,
            Bytes::from_static(b"{}"),
            content,
            Vec::new(),
        );
    }

    /// Whether a subscriber that keeps reading has more than 8 MiB waiting: time to produce less.
    pub fn congested(&self) -> bool {
        self.0.publisher.congested()
    }

    /// Waits until no subscriber that keeps reading has more than 4 MiB waiting; at most two seconds. A subscriber
    /// that took nothing for a second is not waited for.
    pub async fn relieved(&self) {
        self.0.publisher.relieved().await;
    }

    /// Waits until every publication and reply was handed to the operating system; false when `limit` passed first.
    pub async fn drain(&self, limit: Duration) -> bool {
        let wait = async {
            while !self.is_idle() {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }

    fn is_idle(&self) -> bool {
        self.0.publisher.is_idle() && self.0.replies.are_idle()
    }
}
