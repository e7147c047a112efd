//! What an allocator says of itself.

use super::difference;
use super::fields::Fields;

/// One allocator at the end of a cell and when it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// `malloc`, `small objects`, `mappings` (anonymous memory beside these two), or the library that has one of its own.
    pub name: String,
    /// Bytes in use.
    pub live: u64,
    /// Resident bytes that are free.
    pub slack: u64,
    /// `live` at the look before; `None` at the first.
    pub live_before: Option<u64>,
    /// `slack` at the look before; `None` at the first.
    pub slack_before: Option<u64>,
}

impl Allocator {
    /// Whether it is one that everything in the process uses.
    pub fn is_common(&self) -> bool {
        ["malloc", "small objects", "mappings"].contains(&self.name.as_str())
    }

    /// Change of what is in use, 0 if unknown.
    pub fn grown(&self) -> i64 {
        self.live_before
            .map_or(0, |before| difference(self.live, before))
    }

    /// Change of what it keeps free, 0 if unknown.
    pub fn slackened(&self) -> i64 {
        self.slack_before
            .map_or(0, |before| difference(self.slack, before))
    }

    pub(super) fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.text("name"),
            live: fields.bytes("live"),
            slack: fields.bytes("slack"),
            live_before: fields.get("live_before"),
            slack_before: fields.get("slack_before"),
        }
    }
}
