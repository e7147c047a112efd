//! The child Python interpreter: how it is started, fed, interrupted and buried.
//!
//! # Theory of operation
//!
//! [`Interpreter::spawn`] starts `python -c <boot>` in its own process group, hands it one end of a socketpair (the
//! *channel*) and the agent's sources through a pipe, and keeps the read ends of pipes on its file descriptors 1 and 2.
//! [`Interpreter::next`] is the one place where the world waits for the child: it yields frames of the channel, text
//! of the two pipes, and at last the exit status, in the order in which they happened. Nothing is read unless `next`
//! is polled, so a slow client slows the child down and memory stays bounded.
//!
//! Exact order between the channel and the pipes: the agent writes a frame only when both pipes are empty; here a pipe
//! is read only when the channel is empty, and only as many bytes as lay in the pipe *before* the channel was seen
//! empty ([`order`]).
//!
//! Death is learnt from `wait` alone, never from end of file: forked workers inherit the descriptors.

mod agent;
mod channel;
mod door;
mod estate;
mod exit;
mod forks;
mod frame;
mod line;
mod order;
mod pipe;
mod remains;
mod spawn;
mod text;
pub mod warden;

pub use exit::End;
pub use exit::Exit;
pub use frame::Frame;
pub use frame::MAX_SECTIONS;
pub use line::Ear;
pub use line::Line;
pub use line::LineEvent;
pub use order::Event;
pub use order::Interpreter;
pub use order::Stream;
pub use spawn::SpawnError;
pub use spawn::Spec;
