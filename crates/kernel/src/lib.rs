//! The kernel: one handler a request, the execution queue, the order of messages, busy and idle.
//!
//! One task owns everything and waits in one place ([`Kernel::run`]) for requests, for the interpreter, for readings
//! and for timers. Handlers never block, so control and heartbeat answer at any time. A request is either answered
//! here or forwarded to the agent; a forwarded request waits in `cell` or `forwarded` until the agent's reply comes. Every
//! request gets `busy` first, exactly one reply, and `idle` last.

mod agent;
mod answers;
mod autopsy;
mod cell;
mod chronicle;
mod cleanup;
mod content;
mod death;
mod debug;
mod fault;
mod guarding;
mod info;
mod interrupt;
mod last_words;
mod measure;
mod metadata;
mod orders;
mod peaks;
mod publish;
mod rebirth;
mod requests;
mod run;
mod setup;
mod stdin;
mod subshell_life;
mod subshells;
mod tell;
mod text_limit;

pub use run::Ended;
pub use run::Kernel;
pub use setup::Setup;
