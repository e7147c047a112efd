//! Readings and facts to records, verdicts, findings and hints.
//!
//! A [`Session`] lives as long as the notebook's interpreter. After each cell it is given what was measured from outside
//! (a [`meter::Reading`]) and what the agent saw inside ([`Facts`]), and answers with the cell's [`CellRecord`]. It does
//! no I/O and knows no clock, so every judgement is tested with tables.
//!
//! Each cause of kept memory has one file in [`causes`]: what it is, how it is detected, what it is confused with, the
//! hint, the cleanup step and its tests.

mod account;
mod book;
pub mod causes;
mod code;
mod death;
mod facts;
mod gpu;
mod growths;
mod hash;
mod history;
mod holdings;
mod inventory;
mod pages;
mod record;
mod residue;
mod rows;
mod session;
mod size;
mod thresholds;
mod trend;

pub use account::{Account, Kind, Line, Share};
pub use book::Past;
pub use death::{Death, DeathCause};
pub use facts::{Allocator, Change, Facts, Holder, HolderKind, Variable};
pub use hash::source_hash;
pub use holdings::{Held, Holdings};
pub use inventory::{Holding, Inventory};
pub use pages::{causes as causes_with_pages, page};
pub use record::{
    Cause, CellInfo, CellRecord, Confidence, Counts, Culprit, CulpritKind, Finding, Ledger,
    Released, Row, RowCause, Status, StepDone, VariableChange,
};
pub use session::{CellEnd, Session, Which};
pub use size::human;
pub use thresholds::Thresholds;
