//! What the agent saw inside the interpreter.
//!
//! The user's code runs in the same process as the agent, so these bytes are judged like input from a stranger: whatever
//! is missing or of a wrong kind falls back to its default, lists and texts are cut, and no cell fails for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod allocator;
mod fields;
mod holder;

pub use allocator::Allocator;
use fields::Fields;
pub use holder::{Holder, HolderKind};

const LARGEST: usize = 1 << 20;

/// Facts of one cell. Tier 0 fills the names and counts, tier 1 the variables and holders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How many names the user has.
    pub names: u64,
    /// Names that appeared, at most 50.
    pub new: Vec<String>,
    /// Names that went away, at most 50.
    pub dropped: Vec<String>,
    /// Names that were rebound or grew, at most 50.
    pub changed: Vec<String>,
    /// How many appeared in all.
    pub new_count: u64,
    /// How many went away in all.
    pub dropped_count: u64,
    /// How many changed in all.
    pub changed_count: u64,
    /// Bytes last seen under names that are gone or rebound, which should be free now.
    pub let_go: u64,
    /// A new exception is kept as the last one.
    pub raised: bool,
    /// Seconds of the walk.
    pub took_s: f64,
    /// The walk saw everything.
    pub complete: bool,
    /// Names whose size changed.
    pub variables: Vec<Variable>,
    /// What is kept by others than the user's names.
    pub holders: Vec<Holder>,
    /// Bytes of segments of shared memory that the cell made and forgot.
    pub segments: u64,
    /// Packages that were loaded during the cell.
    pub imported: Vec<String>,
    /// The bytes that they can have taken at most; 0 if there is no saying.
    pub imports_at_most: u64,
    /// Collections of all garbage that the interpreter began by itself since the last walk.
    pub collections: u64,
    /// What the allocators say.
    pub allocators: Vec<Allocator>,
    /// Counters of GPU frameworks by framework and its number of the device.
    pub frameworks: BTreeMap<String, BTreeMap<u32, meter::FrameworkMemory>>,
    /// The same before the cell.
    pub frameworks_before: BTreeMap<String, BTreeMap<u32, meter::FrameworkMemory>>,
}

/// A name whose size changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// Its value's class.
    pub type_name: String,
    /// Shape or length.
    pub detail: String,
    /// What it holds now.
    pub bytes: u64,
    /// What it held when last seen.
    pub before: u64,
    /// The container in an attribute of it that grew, as an expression; empty if there is none.
    pub part: String,
    /// That container's class.
    pub part_type: String,
    /// Functions or methods are what it keeps.
    pub callables: bool,
    /// What grew keeps to a bound: of its own, or since the notebook's code takes items out of it.
    pub bounded: bool,
    /// Nothing else refers to its value, so that deleting the name frees what it holds.
    pub alone: bool,
    /// How it changed.
    pub change: Change,
    /// `bytes` is a lower bound or an estimate.
    pub at_least: bool,
    /// Bytes on GPUs, by a framework's number of the device.
    pub gpu: BTreeMap<u32, u64>,
    /// The same when last seen.
    pub gpu_before: BTreeMap<u32, u64>,
}

impl Variable {
    /// Change by this cell of what it holds in the interpreter's own memory.
    pub fn delta(&self) -> i64 {
        difference(self.bytes, self.before)
    }

    /// Bytes that it holds, on GPUs too.
    pub fn everywhere(&self) -> u64 {
        self.gpu
            .values()
            .copied()
            .fold(self.bytes, u64::saturating_add)
    }

    /// Change of `everywhere` by this cell.
    pub fn moved(&self) -> i64 {
        let before = self.gpu_before.values().copied();
        difference(
            self.everywhere(),
            before.fold(self.before, u64::saturating_add),
        )
    }
}

/// How a name changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there before.
    New,
    /// It holds more.
    #[default]
    Grown,
    /// It holds less.
    Shrunk,
    /// It is gone.
    Dropped,
}

impl Facts {
    /// Reads the agent's JSON. What cannot be used is left at its default and named in the notice.
    pub fn parse(bytes: &[u8]) -> (Self, Option<String>) {
        if bytes.is_empty() {
            return (Self::default(), None);
        }
        if bytes.len() > LARGEST {
            return (
                Self::default(),
                Some(format!(
                    "The facts about this cell were dropped: {} bytes.",
                    bytes.len()
                )),
            );
        }
        let object = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(object)) => object,
            Ok(_) => {
                return (
                    Self::default(),
                    Some("The facts about this cell were not an object.".into()),
                );
            }
            Err(error) => {
                return (
                    Self::default(),
                    Some(format!(
                        "The facts about this cell were not readable: {error}."
                    )),
                );
            }
        };
        let mut fields = Fields {
            object: &object,
            refused: Vec::new(),
        };
        let facts = Self {
            names: fields.bytes("names"),
            new: fields.texts("new"),
            dropped: fields.texts("dropped"),
            changed: fields.texts("changed"),
            new_count: fields.bytes("new_count"),
            dropped_count: fields.bytes("dropped_count"),
            changed_count: fields.bytes("changed_count"),
            let_go: fields.bytes("let_go"),
            raised: fields.get("raised"),
            took_s: fields.get("took_s"),
            complete: fields.get("complete"),
            variables: fields.rows("variables", Variable::read),
            holders: fields.rows("holders", Holder::read),
            segments: fields.bytes("segments"),
            imported: fields.texts("imported"),
            imports_at_most: fields.bytes("imports_at_most"),
            collections: fields.bytes("collections"),
            allocators: fields.rows("allocators", Allocator::read),
            frameworks: fields.frameworks("frameworks"),
            frameworks_before: fields.frameworks("frameworks_before"),
        };
        let notice = (!fields.refused.is_empty()).then(|| {
            format!(
                "Some facts about this cell were not usable: {}.",
                fields.refused.join(", ")
            )
        });
        (facts, notice)
    }
}

impl Facts {
    /// Whether what the cell loaded may be the reason for so many bytes that nothing else explains.
    pub fn imports_explain(&self, bytes: i64) -> bool {
        let most = i64::try_from(self.imports_at_most).unwrap_or(i64::MAX);
        !self.imported.is_empty() && (most == 0 || bytes <= most)
    }
}

impl Variable {
    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.text("name"),
            type_name: fields.text("type"),
            detail: fields.text("detail"),
            bytes: fields.bytes("bytes"),
            before: fields.bytes("before"),
            part: fields.text("part"),
            part_type: fields.text("part_type"),
            callables: fields.get("callables"),
            bounded: fields.get("bounded"),
            alone: fields.get("alone"),
            change: fields.get("change"),
            at_least: fields.get("at_least"),
            gpu: fields.on_devices("gpu"),
            gpu_before: fields.on_devices("gpu_before"),
        }
    }
}

/// `now − before` without overflow.
pub(crate) fn difference(now: u64, before: u64) -> i64 {
    let (now, before) = (
        i64::try_from(now).unwrap_or(i64::MAX),
        i64::try_from(before).unwrap_or(i64::MAX),
    );
    now.saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fields::TEXT;
    use super::*;

    const NAMES: usize = 50;

    #[test]
    fn facts_of_both_tiers_are_read() {
        let (facts, notice) = Facts::parse(
            br#"{"names": 7, "new": ["x"], "new_count": 1, "let_go": 5, "raised": true, "complete": true, "took_s": 0.01,
            "variables": [{"name": "x", "type": "ndarray", "bytes": 80, "before": 100, "change": "shrunk"}],
            "holders": [{"kind": "out", "name": "Out[3]", "names": ["_3"], "bytes": 9},
                        {"kind": "of the future", "name": "y"}], "frameworks": {}}"#,
        );
        assert_eq!(notice, None);
        assert_eq!(
            (facts.names, facts.new_count, facts.let_go, facts.raised),
            (7, 1, 5, true)
        );
        assert_eq!(facts.variables[0].delta(), -20);
        assert_eq!(facts.variables[0].change, Change::Shrunk);
        assert_eq!(facts.holders[0].kind, HolderKind::Out);
        assert_eq!(facts.holders[1].kind, HolderKind::Other);
    }

    #[test]
    fn no_facts_are_no_complaint() {
        assert_eq!(Facts::parse(b""), (Facts::default(), None));
        assert_eq!(Facts::parse(b"{}"), (Facts::default(), None));
    }

    #[test]
    fn a_field_of_a_wrong_kind_costs_only_itself() {
        let (facts, notice) = Facts::parse(
            br#"{"names": -3, "new": "x", "dropped": [1, "d"], "variables": [5, {"name": "v", "bytes": 1e300}]}"#,
        );
        assert_eq!(facts.names, 0);
        assert_eq!(facts.dropped, ["d"]);
        assert_eq!(facts.variables.len(), 1);
        assert_eq!(facts.variables[0].name, "v");
        assert_eq!(
            notice.unwrap(),
            "Some facts about this cell were not usable: names, new, variables."
        );
    }

    #[test]
    fn counters_of_frameworks_are_read() {
        let (facts, notice) =
            Facts::parse(br#"{"frameworks": {"torch": {"0": {"live": 5, "cached": 7}}}}"#);
        assert_eq!(notice, None);
        assert_eq!(
            facts.frameworks["torch"][&0],
            meter::FrameworkMemory {
                live: Some(5),
                cached: Some(7)
            }
        );
        let (facts, notice) =
            Facts::parse(br#"{"frameworks": {"torch": {"zero": {}}}, "names": 1}"#);
        assert!(facts.frameworks.is_empty() && notice.is_some());
        assert_eq!(facts.names, 1);
    }

    #[test]
    fn rubbish_becomes_a_notice() {
        let deep = "[".repeat(100_000);
        let big = vec![b' '; LARGEST + 1];
        for rubbish in [
            b"\xff\xfe".as_slice(),
            b"[1, 2]",
            b"{\"names\":",
            b"null",
            deep.as_bytes(),
            &big,
        ] {
            let (facts, notice) = Facts::parse(rubbish);
            assert_eq!(facts, Facts::default());
            assert!(notice.is_some());
        }
    }

    #[test]
    fn long_texts_and_lists_are_cut() {
        let names: Vec<String> = (0..1000)
            .map(|i| format!("{i}{}", "ä".repeat(300)))
            .collect();
        let (facts, _) = Facts::parse(serde_json::json!({ "new": names }).to_string().as_bytes());
        assert_eq!(facts.new.len(), NAMES);
        assert!(facts.new.iter().all(|name| name.len() <= TEXT + "…".len()));
    }

    #[test]
    fn sizes_that_do_not_fit_do_not_overflow() {
        let variable = Variable {
            bytes: 0,
            before: u64::MAX,
            ..Variable::default()
        };
        assert_eq!(variable.delta(), -i64::MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Facts::parse(&bytes);
        }
    }
}
