//! The guard in front of zeromq's ROUTER.
//!
//! zeromq 0.7 believes any frame length and aborts the process when it cannot allocate it, drops a connection on a
//! ZMTP PING, has no handshake timeout, and keeps buffers of the size of the largest message. So every client talks
//! to the guard, which checks what arrives and passes it on over a private socket.
//!
//! Between guard and ROUTER a message has one more frame in front, the mark:
//!
//! | to ROUTER | `[INLINE, frames…]`, or `[PARKED, claim check]` for a message that waits in the [`Parking`] |
//! |---|---|
//! | from ROUTER | `[FIRST \| LAST, bytes]`: a piece of at most 64 KiB of the client's byte stream |
//!
//! The pieces of one message follow each other. A connection that joins in the middle of a message, because a
//! client took over an identity, skips to the next `FIRST`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use crate::allocator::{self, BURST};
use crate::budget::{Budget, Lease};
use crate::listener::{Admission, Reader, Writer};
use crate::message::MAX_FRAMES;
use crate::parking::Parking;
use crate::peers::{Peer, Peers};
use crate::private::Private;
use crate::throttle::Throttle;
use crate::zmtp::{self, Command, Frame, FrameError, FrameReader, HandshakeError};

/// Mark of a message that follows.
pub(crate) const INLINE: &[u8] = b"I";
/// Mark of a claim check.
pub(crate) const PARKED: &[u8] = b"P";
/// Bit of the mark of a piece that starts a message.
pub(crate) const FIRST: u8 = 1;
/// Bit of the mark of a piece that ends a message.
pub(crate) const LAST: u8 = 2;
/// Largest piece, and largest message that is not parked, in bytes.
pub(crate) const PIECE: usize = 64 << 10;

pub(crate) struct Guard {
    pub name: &'static str,
    pub private: Private,
    pub peers: Arc<Peers>,
    pub parking: Arc<Parking>,
    pub budget: Arc<Budget>,
    /// Largest message, in bytes.
    pub limit: u64,
    pub handshake: Duration,
    pub warnings: Arc<Throttle>,
    pub connections: AtomicU64,
}

impl Guard {
    /// Serves one client until it leaves or misbehaves.
    pub(crate) async fn serve(
        self: Arc<Self>,
        reader: Reader,
        writer: Writer,
        admission: Admission,
    ) {
        if let Err(error) = self.connection(reader, writer, admission).await
            && !matches!(
                error,
                HandshakeError::Frame(FrameError::Io(_) | FrameError::Truncated)
            )
        {
            self.warnings.warn(self.name, &error);
        }
    }

    async fn connection(
        &self,
        reader: Reader,
        mut writer: Writer,
        mut admission: Admission,
    ) -> Result<(), HandshakeError> {
        let mut reader = FrameReader::new(reader, 0, Arc::clone(&self.budget));
        let welcome = &["DEALER", "REQ", "ROUTER"];
        let shake = zmtp::accept(&mut reader, &mut writer, "ROUTER", welcome, || {
            admission.grant(2)
        });
        let mut identity = tokio::time::timeout(self.handshake, shake)
            .await
            .map_err(|_| HandshakeError::Slow)??;
        if identity.is_empty() {
            identity = Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        reader.set_limit(self.limit);
        let (inner_reader, mut inner_writer) = self.private.connect().await?.into_split();
        let mut inner = FrameReader::new(inner_reader, 2 * PIECE as u64, Arc::clone(&self.budget));
        zmtp::introduce(&mut inner, &mut inner_writer, "DEALER", &identity).await?;
        let registration = self.peers.register(identity);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let _parked = Forget {
            parking: &self.parking,
            number,
        };
        let pongs = Pongs::default();
        let mut inward = Inward {
            guard: self,
            number,
            messages: 0,
            pongs: &pongs,
            out: BytesMut::new(),
        };
        let result = tokio::select! {
            result = inward.run(&mut reader, &mut inner_writer) => result,
            result = outward(&mut inner, &mut writer, &registration.peer, &pongs) => result,
            () = registration.peer.evict.notified() => Err(FrameError::Crowded),
        };
        drop((registration, reader, writer));
        // The router may still be reading what this client sent before it left; parked messages stay until then.
        inner_writer.shutdown().await?;
        while inner.next().await?.is_some() {}
        Ok(result?)
    }
}

struct Forget<'a> {
    parking: &'a Parking,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.parking.forget(self.number);
    }
}

/// Answers to PINGs that wait for the gap between two messages. Only the last few are kept.
#[derive(Default)]
struct Pongs {
    waiting: Mutex<Vec<Bytes>>,
    some: Notify,
}

impl Pongs {
    fn push(&self, context: &[u8]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < 16 {
            waiting.push(zmtp::pong(context));
            self.some.notify_one();
        }
    }

    fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// From the client to the router.
struct Inward<'a> {
    guard: &'a Guard,
    number: u64,
    messages: u64,
    pongs: &'a Pongs,
    out: BytesMut,
}

impl Inward<'_> {
    async fn run(
        &mut self,
        reader: &mut FrameReader<Reader>,
        router: &mut OwnedWriteHalf,
    ) -> Result<(), FrameError> {
        let mut message = Assembly::new(&self.guard.budget);
        while let Some(frame) = reader.next().await? {
            self.take(frame, &mut message)?;
            // Whatever arrived together goes on together.
            while self.out.len() < PIECE
                && let Some(frame) = reader.buffered()?
            {
                self.take(frame, &mut message)?;
            }
            if !self.out.is_empty() {
                router.write_all(&self.out).await?;
                self.out.clear();
            }
        }
        if message.frames.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Truncated)
        }
    }

    fn take(&mut self, frame: Frame, message: &mut Assembly) -> Result<(), FrameError> {
        if frame.is_command() {
            if let Command::Ping(context) = Command::parse(&frame.body) {
                self.pongs.push(&context);
            }
            return Ok(());
        }
        let more = frame.more();
        message.add(frame.body, self.guard.limit)?;
        if !more {
            let whole = std::mem::replace(message, Assembly::new(&self.guard.budget));
            self.forward(whole);
        }
        Ok(())
    }

    fn forward(&mut self, message: Assembly) {
        if message.bytes <= PIECE as u64 {
            put_frame(&mut self.out, zmtp::MORE, INLINE);
            let last = message.frames.len() - 1;
            for (index, frame) in message.frames.iter().enumerate() {
                put_frame(
                    &mut self.out,
                    if index < last { zmtp::MORE } else { 0 },
                    frame,
                );
            }
        } else {
            self.messages += 1;
            let parking = &self.guard.parking;
            let check = parking.park(self.number, self.messages, message.frames, message.lease);
            put_frame(&mut self.out, zmtp::MORE, PARKED);
            put_frame(&mut self.out, 0, &check);
        }
    }
}

fn put_frame(out: &mut BytesMut, flags: u8, body: &[u8]) {
    out.reserve(body.len() + 9);
    zmtp::put_header(out, flags, body.len());
    out.extend_from_slice(body);
}

/// A multipart that is not complete yet.
pub(crate) struct Assembly {
    pub(crate) frames: Vec<Bytes>,
    pub(crate) bytes: u64,
    lease: Lease,
}

impl Assembly {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            frames: Vec::new(),
            bytes: 0,
            lease: budget.lease(),
        }
    }

    /// Adds a frame unless the message becomes larger than `limit` bytes or too many frames.
    pub(crate) fn add(&mut self, body: Bytes, limit: u64) -> Result<(), FrameError> {
        self.bytes += body.len() as u64;
        if self.bytes > limit {
            return Err(FrameError::TooLong {
                length: self.bytes,
                limit,
            });
        }
        if self.frames.len() >= MAX_FRAMES {
            return Err(FrameError::TooMany(MAX_FRAMES));
        }
        // Large frames hold a lease of their own.
        if body.len() <= PIECE && !self.lease.grow(body.len() as u64) {
            return Err(FrameError::Crowded);
        }
        self.frames.push(body);
        Ok(())
    }
}

/// From the router to the client.
async fn outward(
    router: &mut FrameReader<OwnedReadHalf>,
    client: &mut Writer,
    peer: &Peer,
    pongs: &Pongs,
) -> Result<(), FrameError> {
    let (mut inside_message, mut sent) = (false, 0);
    loop {
        let mark = tokio::select! {
            frame = router.next() => frame?,
            () = pongs.some.notified(), if !inside_message => {
                client.write_all(&pongs.take().concat()).await?;
                continue;
            }
        };
        let Some(mark) = mark else { return Ok(()) };
        let bits = mark.body.first().copied().unwrap_or_default();
        let Some(piece) = router.next().await? else {
            return Err(FrameError::Truncated);
        };
        if bits & FIRST != 0 && inside_message {
            // The rest of the message before was lost; the client could not tell where the next one starts.
            return Err(FrameError::Truncated);
        }
        if bits & FIRST != 0 || inside_message {
            client.write_all(&piece.body).await?;
            peer.delivered(piece.body.len());
            inside_message = bits & LAST == 0;
            sent += piece.body.len();
            if !inside_message && std::mem::take(&mut sent) > BURST {
                allocator::give_back();
            }
        }
    }
}
