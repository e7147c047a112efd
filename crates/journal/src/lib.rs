//! What happened in a kernel, line by line in a file that outlives it.
//!
//! A [`Journal`] appends one line of JSON a happening: a kernel began, a cell is over with its record, the interpreter died.
//! The file is in Jupyter's runtime folder, readable by its owner alone, bounded in size, and written by a thread of its own, so
//! that a slow or full disk delays nobody. What was handed over before everything was killed is in the file: the system writes
//! it to the disk, whoever lives.
//!
//! [`Story`] reads such a file and tells it to a person.
//!
//! | `event` | fields | |
//! |---|---|---|
//! | `start` | `kernel`, `pid`, `version`, `python`, `folder`, `notebook` | the kernel began |
//! | `begin` | `cell`, `source_hash` | a cell has been running for a while |
//! | `reading` | `rss` | its memory has grown notably |
//! | `cell` | `reply`: the metadata of the reply, with the record; `source` if configured | a cell is over |
//! | `death` | `death` | the interpreter died |
//! | `fresh` | `pid` | another took its place |
//! | `note` | `text` | something that the person was told |
//! | `end` | `how` | the kernel ended |

mod entry;
mod files;
mod story;
mod writer;

pub use entry::Entry;
pub use files::{newest, parts};
pub use story::Story;
pub use writer::{Journal, Options};
