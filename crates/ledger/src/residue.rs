//! What the residue of a cell may be: the part of its delta that no row explains.

use crate::book::Past;
use crate::size::human;

/// A residue below both of these is not worth a sentence.
const SMALLEST: u64 = 1 << 20;
const SHARE: f64 = 0.02;
/// A part of the readings that is worth a sentence.
const NOTABLE: i64 = 1 << 20;

impl Past {
    /// Sentences about what the residue may be, the likeliest first; none if there is nothing to tell.
    pub fn residue_may_be(&self) -> Vec<String> {
        let host = &self.record.host;
        let (Some(delta), Some(residue)) = (host.delta, self.record.ledger.residue) else {
            return vec!["The change of memory could not be measured.".to_owned()];
        };
        let size = residue.unsigned_abs();
        if size < SMALLEST || (size as f64) < delta.unsigned_abs() as f64 * SHARE {
            return Vec::new();
        }
        if !self.looked_into {
            return vec![
                "The cell moved too little for a search of what holds memory. %%hygiene why above a cell always searches."
                    .to_owned(),
            ];
        }
        let mut guesses = Vec::new();
        let swapped = host.swap.unwrap_or(0);
        let amount = |bytes: i64| human(bytes.unsigned_abs());
        if !self.complete {
            guesses.push(
                "The search ran out of its time before it had seen everything: `explain_budget_ms` gives it more.".to_owned(),
            );
        }
        let sampled: Vec<&str> = self
            .record
            .variables
            .iter()
            .filter(|variable| variable.at_least)
            .map(|variable| variable.name.as_str())
            .take(3)
            .collect();
        if !sampled.is_empty() {
            guesses.push(format!(
                "Estimated from samples, so their rows may be off: {}.",
                sampled.join(", ")
            ));
        }
        if residue > 0 {
            if swapped <= -NOTABLE {
                guesses.push(format!("{} came back from swap.", amount(swapped)));
            }
            guesses.push(
                "Memory that no Python name owns: buffers and caches inside native libraries, stacks of threads, and free memory \
                 that an allocator keeps."
                    .to_owned(),
            );
        } else {
            if swapped >= NOTABLE {
                guesses.push(format!("{} were moved to swap.", amount(swapped)));
            }
            guesses.push(
                "The rows hold more than the process grew by: memory that an allocator had kept free was used again, or something \
                 that has no row was given back."
                    .to_owned(),
            );
        }
        guesses
    }
}

#[cfg(test)]
mod tests {
    use crate::book::Book;
    use crate::facts::Facts;
    use crate::record::CellRecord;

    const MIB: i64 = 1 << 20;

    fn guesses(
        delta: Option<i64>,
        residue: Option<i64>,
        swap: i64,
        tier1: Option<&Facts>,
    ) -> String {
        let record: CellRecord = serde_json::from_value(serde_json::json!({
            "v": 1, "cell": {"execution_count": 1, "source_hash": "", "run": 1, "status": "ok"},
            "wall_s": null, "cpu_s": null, "overhead_s": null,
            "host": {"before": 1, "after": 1, "delta": delta, "peak": null, "peak_quality": null, "anon": null, "file": null,
                     "shmem": null, "swap": swap, "children": null, "limit": null, "limit_source": null},
            "gpu": [], "variables": [], "ledger": {"rows": [], "residue": residue, "explained": null}, "findings": [],
            "steps": [], "notices": [], "counts": {"new": 0, "dropped": 0, "changed": 0}, "limit_share": null
        }))
        .unwrap();
        let mut book = Book::default();
        book.enter(&record, "x = 1", &Facts::default(), tier1);
        book.last().unwrap().residue_may_be().join("\n")
    }

    #[test]
    fn a_residue_is_told_with_what_it_may_be() {
        let searched = Facts {
            complete: true,
            ..Facts::default()
        };
        let cut = Facts::default();
        for (delta, residue, swap, facts, says, says_not) in [
            (100, 50, 0, Some(&searched), "no Python name", "ran out"),
            (
                100,
                50,
                -20,
                Some(&searched),
                "came back from swap",
                "ran out",
            ),
            (
                -100,
                -50,
                0,
                Some(&searched),
                "used again",
                "no Python name",
            ),
            (
                -100,
                -50,
                20,
                Some(&searched),
                "20.0 MiB were moved to swap",
                "no Python name",
            ),
            (100, 50, 0, Some(&cut), "ran out of its time", "used again"),
            (10, 10, 0, None, "moved too little", "no Python name"),
        ] {
            let told = guesses(Some(delta * MIB), Some(residue * MIB), swap * MIB, facts);
            assert!(told.contains(says), "{says}: {told}");
            assert!(!told.contains(says_not), "{says_not}: {told}");
        }
    }

    #[test]
    fn a_small_residue_needs_no_words() {
        let searched = Facts::default();
        assert_eq!(guesses(Some(MIB), Some(MIB / 2), 0, Some(&searched)), "");
        assert_eq!(
            guesses(Some(900 * MIB), Some(9 * MIB), 0, Some(&searched)),
            ""
        );
        assert!(guesses(None, None, 0, None).contains("could not be measured"));
    }
}
