//! Clients of a router, and what is on its way to each of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes on their way to one client beyond which it counts as stopped.
const MAX_BYTES: usize = 512 << 20;
/// Pieces on their way to one client beyond which it counts as stopped. zeromq's own queue holds 100,000 and a full
/// one can dead-lock it, so this stays well below.
const MAX_PIECES: usize = 50_000;

/// One connected client.
#[derive(Default)]
pub(crate) struct Peer {
    bytes: AtomicUsize,
    pieces: AtomicUsize,
    /// Notified when the connection must be closed.
    pub(crate) evict: Notify,
}

impl Peer {
    /// Takes `bytes` on the way; false when so much waits already that the client must be evicted.
    #[must_use]
    pub(crate) fn send(&self, bytes: usize, pieces: usize) -> bool {
        let waiting = self.bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting + bytes > MAX_BYTES
            || self.pieces.load(Ordering::Relaxed) + pieces > MAX_PIECES
        {
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pieces.fetch_add(pieces, Ordering::Relaxed);
        true
    }

    /// A piece of `bytes` was handed to the client's socket.
    pub(crate) fn delivered(&self, bytes: usize) {
        let less = |by: usize| move |n: usize| Some(n.saturating_sub(by));
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less(bytes));
        let _ = self
            .pieces
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less(1));
    }
}

/// The clients of one router by identity.
#[derive(Default)]
pub(crate) struct Peers(Mutex<HashMap<Bytes, Arc<Peer>>>);

impl Peers {
    /// Registers a client; a newer one takes over an identity.
    pub(crate) fn register(self: &Arc<Self>, identity: Bytes) -> Registration {
        let peer = Arc::new(Peer::default());
        self.lock().insert(identity.clone(), Arc::clone(&peer));
        Registration {
            peers: Arc::clone(self),
            identity,
            peer,
        }
    }

    pub(crate) fn get(&self, identity: &Bytes) -> Option<Arc<Peer>> {
        self.lock().get(identity).cloned()
    }

    /// Whether nothing is on its way to any client.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock()
            .values()
            .all(|peer| peer.pieces.load(Ordering::Relaxed) == 0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Bytes, Arc<Peer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unregisters its client on drop.
pub(crate) struct Registration {
    peers: Arc<Peers>,
    identity: Bytes,
    pub(crate) peer: Arc<Peer>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut peers = self.peers.lock();
        if peers
            .get(&self.identity)
            .is_some_and(|peer| Arc::ptr_eq(peer, &self.peer))
        {
            peers.remove(&self.identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_connection_does_not_unregister_the_newer() {
        let peers = Arc::new(Peers::default());
        let old = peers.register(Bytes::from("id"));
        let new = peers.register(Bytes::from("id"));
        drop(old);
        assert!(peers.get(&Bytes::from("id")).is_some());
        drop(new);
        assert!(peers.get(&Bytes::from("id")).is_none());
    }

    #[test]
    fn a_client_with_nothing_waiting_may_get_any_size_and_a_stopped_one_no_more() {
        let peer = Peer::default();
        assert!(peer.send(MAX_BYTES * 2, 1));
        assert!(!peer.send(1, 1));
        peer.delivered(MAX_BYTES * 2);
        assert!(peer.send(1, MAX_PIECES));
        assert!(!peer.send(1, 1));
    }
}
