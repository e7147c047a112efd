//! Shell, control and stdin: a zeromq ROUTER behind the guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use zeromq::{
    RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage,
};

use crate::Options;
use crate::budget::Budget;
use crate::guard::{FIRST, Guard, INLINE, LAST, PARKED, PIECE};
use crate::inbox::Slot;
use crate::listener::{BindError, Listener};
use crate::message::{Channel, decode};
use crate::parking::Parking;
use crate::peers::Peers;
use crate::private::Private;
use crate::signature::Signer;
use crate::throttle::Throttle;
use crate::zmtp;

/// Times that a piece is offered to zeromq, a millisecond apart, while it has not registered a new client yet.
const OFFERS: usize = 20;

/// A reply on its way: identities, then the frames from the delimiter on.
pub(crate) struct Reply {
    pub route: Bytes,
    pub frames: Vec<Bytes>,
}

/// The sending side of one router.
pub(crate) struct Replies {
    queue: UnboundedSender<Reply>,
    waiting: Arc<AtomicUsize>,
    peers: Arc<Peers>,
}

impl Replies {
    pub(crate) fn push(&self, reply: Reply) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The receiver lives as long as the sockets; after them nobody is there to answer.
        let _ = self.queue.send(reply);
    }

    /// Whether every reply was handed to its client's socket, or has lost its client.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.peers.is_idle()
    }
}

/// What the three routers share.
pub(crate) struct Common {
    pub options: Options,
    pub signer: Arc<Signer>,
    pub budget: Arc<Budget>,
    pub seats: Arc<Budget>,
    pub warnings: Arc<Throttle>,
}

/// Starts the tasks of one channel.
pub(crate) async fn start(
    channel: Channel,
    listener: Listener,
    slot: Slot,
    common: &Common,
    tasks: &mut JoinSet<()>,
) -> Result<Replies, BindError> {
    let name = match channel {
        Channel::Shell => "shell",
        Channel::Control => "control",
        Channel::Stdin => "stdin",
    };
    let (socket, private) = Private::bind()?;
    let mut router = RouterSocket::new();
    let adopted = router.bind_listener(socket).await;
    adopted.map_err(|e| BindError::Private {
        directory: name.to_owned(),
        source: std::io::Error::other(e),
    })?;
    let (sender, receiver) = router.split();
    let (peers, parking) = (Arc::new(Peers::default()), Arc::new(Parking::default()));
    let guard = Arc::new(Guard {
        name,
        private,
        peers: Arc::clone(&peers),
        parking: Arc::clone(&parking),
        budget: Arc::clone(&common.budget),
        limit: common.options.max_frame,
        handshake: common.options.handshake,
        warnings: Arc::clone(&common.warnings),
        connections: AtomicU64::new(0),
    });
    let inward = Inward {
        name,
        channel,
        parking,
        slot,
        signer: Arc::clone(&common.signer),
        warnings: Arc::clone(&common.warnings),
    };
    let (queue, replies) = unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    tasks.spawn(listener.run(
        Arc::clone(&common.seats),
        move |reader, writer, admission| Arc::clone(&guard).serve(reader, writer, admission),
    ));
    tasks.spawn(inward.run(receiver));
    tasks.spawn(send(
        replies,
        sender,
        Arc::clone(&peers),
        Arc::clone(&waiting),
    ));
    Ok(Replies {
        queue,
        waiting,
        peers,
    })
}

struct Inward {
    name: &'static str,
    channel: Channel,
    parking: Arc<Parking>,
    slot: Slot,
    signer: Arc<Signer>,
    warnings: Arc<Throttle>,
}

impl Inward {
    async fn run(self, mut router: RouterRecvHalf) {
        loop {
            self.slot.room().await;
            match router.recv().await {
                Ok(message) => self.take(message),
                Err(error) => {
                    self.warnings.warn(self.name, &error);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    fn take(&self, message: ZmqMessage) {
        let mut frames = message.into_vec();
        let Some(parts) = self.unwrap(&mut frames) else {
            return;
        };
        match decode(self.channel, parts, &self.signer) {
            Ok(incoming) => self.slot.push(incoming),
            Err(malformed) => self.warnings.warn(self.name, &malformed),
        }
    }

    /// Undoes the guard's wrapping: identity, then the frames that the client sent.
    fn unwrap(&self, frames: &mut Vec<Bytes>) -> Option<Vec<Bytes>> {
        let mark = frames.get(1)?.clone();
        if mark == INLINE {
            frames.remove(1);
            return Some(std::mem::take(frames));
        }
        if mark != PARKED {
            return None;
        }
        let parked = self.parking.claim(frames.get(2)?)?;
        frames.truncate(1);
        frames.extend(parked);
        Some(std::mem::take(frames))
    }
}

async fn send(
    mut replies: UnboundedReceiver<Reply>,
    mut router: RouterSendHalf,
    peers: Arc<Peers>,
    waiting: Arc<AtomicUsize>,
) {
    while let Some(reply) = replies.recv().await {
        send_one(reply, &mut router, &peers).await;
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a reply in pieces; gives up silently when its client is gone.
async fn send_one(reply: Reply, router: &mut RouterSendHalf, peers: &Peers) {
    let Some(peer) = peers.get(&reply.route) else {
        return;
    };
    let mut pieces = Vec::new();
    for mut part in zmtp::encode(&reply.frames) {
        while part.len() > PIECE {
            pieces.push(part.split_to(PIECE));
        }
        pieces.push(part);
    }
    drop(reply.frames);
    if !peer.send(pieces.iter().map(Bytes::len).sum(), pieces.len()) {
        peer.evict.notify_one();
        return;
    }
    let last = pieces.len() - 1;
    for (index, piece) in pieces.into_iter().enumerate() {
        let mark = if index == 0 { FIRST } else { 0 } | if index == last { LAST } else { 0 };
        let frames = vec![reply.route.clone(), Bytes::copy_from_slice(&[mark]), piece];
        if !offer(frames, router).await {
            return;
        }
        // Let the guard carry away what was sent, so that a large reply does not sit in three buffers at once.
        if index % 16 == 15 {
            tokio::task::yield_now().await;
        }
    }
}

async fn offer(frames: Vec<Bytes>, router: &mut RouterSendHalf) -> bool {
    for _ in 0..OFFERS {
        let Ok(message) = ZmqMessage::try_from(frames.clone()) else {
            return false;
        };
        match router.send(message).await {
            Ok(()) => return true,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    false
}
