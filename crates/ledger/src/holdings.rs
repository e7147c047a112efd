//! What the user's names held when they were last looked at: the answer to what was lost if the interpreter dies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::{Change, Facts};

/// More names are counted, not remembered.
const NAMES: usize = 5_000;

/// A name and what it held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The name.
    pub name: String,
    /// Its value's class; empty if it was never sized.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Shape or length, may be empty.
    pub detail: String,
    /// What it held; `None` if it was never sized, which small ones are not.
    pub bytes: Option<u64>,
}

/// The user's names as of the last cell.
#[derive(Debug, Default)]
pub struct Holdings {
    names: BTreeMap<String, Held>,
    /// How many there are in all, as the agent counts.
    total: u64,
}

impl Holdings {
    /// Takes what a cell has changed.
    pub fn update(&mut self, tier0: &Facts, tier1: Option<&Facts>) {
        self.total = tier0.names;
        for name in &tier0.dropped {
            self.names.remove(name);
        }
        for name in &tier0.new {
            self.know(name);
        }
        for variable in tier1.into_iter().flat_map(|facts| &facts.variables) {
            if variable.change == Change::Dropped {
                self.names.remove(&variable.name);
            } else if let Some(held) = self.know(&variable.name) {
                held.type_name.clone_from(&variable.type_name);
                held.detail.clone_from(&variable.detail);
                held.bytes = Some(variable.bytes);
            }
        }
    }

    fn know(&mut self, name: &str) -> Option<&mut Held> {
        if self.names.len() >= NAMES && !self.names.contains_key(name) {
            return None;
        }
        let held = self.names.entry(name.to_owned()).or_default();
        name.clone_into(&mut held.name);
        Some(held)
    }

    /// How many names there are.
    pub fn count(&self) -> u64 {
        self.total.max(self.names.len() as u64)
    }

    /// The names with what they held, largest first.
    pub fn largest(&self, most: usize) -> Vec<Held> {
        let mut all: Vec<&Held> = self.names.values().collect();
        all.sort_by_key(|held| std::cmp::Reverse(held.bytes));
        all.into_iter().take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        Facts::parse(json.as_bytes()).0
    }

    #[test]
    fn names_come_and_go_and_the_largest_are_told_first() {
        let mut holdings = Holdings::default();
        let tier1 = facts(
            r#"{"variables": [{"name": "big", "type": "ndarray", "detail": "(9,)", "bytes": 900, "change": "new"},
                              {"name": "mid", "type": "list", "bytes": 50, "change": "new"}]}"#,
        );
        holdings.update(
            &facts(r#"{"names": 3, "new": ["big", "mid", "tiny"]}"#),
            Some(&tier1),
        );
        let names = |holdings: &Holdings| {
            let largest = holdings.largest(2);
            largest
                .into_iter()
                .map(|held| (held.name, held.bytes))
                .collect::<Vec<_>>()
        };
        assert_eq!(holdings.count(), 3);
        assert_eq!(
            names(&holdings),
            [("big".into(), Some(900)), ("mid".into(), Some(50))]
        );
        holdings.update(&facts(r#"{"names": 2, "dropped": ["big"]}"#), None);
        assert_eq!(holdings.count(), 2);
        assert_eq!(
            names(&holdings),
            [("mid".into(), Some(50)), ("tiny".into(), None)]
        );
    }

    #[test]
    fn more_names_than_are_remembered_are_counted() {
        let mut holdings = Holdings::default();
        for i in 0..NAMES {
            holdings.know(&format!("x{i}"));
        }
        assert!(holdings.know("one more").is_none());
        holdings.update(&facts(r#"{"names": 9999}"#), None);
        assert_eq!(holdings.count(), 9999);
    }
}
