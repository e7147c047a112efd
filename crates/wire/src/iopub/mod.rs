//! IOPub: a ZMTP XPUB server of our own.
//!
//! zeromq's PUB and XPUB either let one stopped client fill the memory or let it block everybody. Here each
//! subscriber has a queue with a limit in bytes; messages are stored once and shared; the publisher never waits; a
//! subscriber that stops reading is disconnected, so that its client connects again instead of missing a message
//! in the middle.

mod publisher;
mod queue;
mod subscriber;

pub(crate) use publisher::{Publisher, serve};
