//! Which cleanup step is due, and why.
//!
//! [`decide`] is a pure function: the policy in force, the occasion, what the interpreter says of each step, and what steps gave back
//! before, to a decision with its reason for each step. Nothing here does anything.

mod backoff;
mod decide;
mod keep;
mod rules;
mod step;
mod table;
mod trigger;

pub use backoff::Backoff;
pub use decide::{Decision, Occasion, Offer, Offers, Reason, Verdict, decide};
pub use keep::keeps;
pub use rules::{CAUSES, Policy, PolicyName};
pub use step::{Step, Steps};
pub use table::table;
pub use trigger::Trigger;
