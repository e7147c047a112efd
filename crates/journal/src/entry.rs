//! One line of a journal.

use ledger::{CellRecord, Death};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// The kernel began.
    Start {
        /// Its id.
        kernel: String,
        /// Its process.
        pid: u32,
        /// Version of this program.
        version: String,
        /// The interpreter.
        python: String,
        /// Where it was started.
        folder: String,
        /// The notebook, if Jupyter told.
        notebook: Option<String>,
    },
    /// A cell has been running for a while.
    Begin {
        /// The number in the prompt.
        cell: u64,
        /// Identity of the source.
        source_hash: String,
    },
    /// The memory of the running cell has grown notably.
    Reading {
        /// Resident bytes.
        rss: u64,
    },
    /// A cell is over.
    Cell {
        /// The metadata of its reply, with the record.
        reply: Box<RawValue>,
        /// Its code, if that is configured.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// The interpreter died, with or without a cell.
    Death {
        /// How.
        death: Death,
    },
    /// A fresh interpreter.
    Fresh {
        /// Its process.
        pid: u32,
    },
    /// Something that the person was told.
    Note {
        /// The text.
        text: String,
    },
    /// The kernel ended in order.
    End {
        /// How.
        how: String,
    },
}

/// An entry with its time.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) t: String,
    #[serde(flatten)]
    pub(crate) entry: Entry,
}

/// A line as it is read: what is missing, or of another version, stays at its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    pub(crate) t: String,
    pub(crate) event: String,
    pub(crate) kernel: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) python: String,
    pub(crate) folder: String,
    pub(crate) notebook: Option<String>,
    pub(crate) cell: u64,
    pub(crate) rss: u64,
    pub(crate) reply: Option<Reply>,
    pub(crate) source: Option<String>,
    pub(crate) death: Option<Death>,
    pub(crate) text: String,
    pub(crate) how: String,
}

/// The part of a reply's metadata that is told.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    pub(crate) rust_hygiene: Option<CellRecord>,
}
