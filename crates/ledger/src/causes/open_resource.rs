//! `open_resource`: open handles keep memory that is not Python's: in-memory HDF5 files and databases, mappings, shared memory.
//!
//! **When it fires.** Segments of shared memory that this notebook made, closed and did not unlink; or a variable that keeps several
//! open handles, or one that grew over several cells. 10 MiB or more.
//!
//! **Why it matters.** Leaving a scope, or `with connect(…)` of sqlite3, does not close them. A segment in /dev/shm stays even after
//! the kernel has ended.
//!
//! **How it is detected.** HDF5 and SQLite tell their sizes; private pages of mappings are counted; segments are noted when they are made.
//! Temporary files and archives (`SpooledTemporaryFile`, `ZipFile`, `TarFile`, `GzipFile`) are sized with what they have in memory.
//!
//! **Example.** `files.append(h5py.File(name, "w", driver="core"))`; `shm.close()` without `shm.unlink()`
//!
//! **Fix.** `close()`, or a `with` block that does it; `unlink()` for shared memory.
//!
//! **What it is confused with.** One database or mapping that is in use: that is a load. Segments of other programs: only those that
//! were made here are known.
//!
//! **Step.** None: what they hold is lost with them.

use super::kept::{Told, each, each_of, place, settled};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

const CELLS: u32 = 3;
const NAMED: usize = 12;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let handles = each_of(
        evidence,
        Cause::OpenResource,
        HolderKind::Resource,
        |holder| (holder.count > 1 || evidence.growth.of(holder) >= CELLS).then(|| handle(holder)),
    );
    let segments = each_of(
        evidence,
        Cause::OpenResource,
        HolderKind::Segments,
        |holder| Some(segments(holder)),
    );
    let all = [handles, segments]
        .into_iter()
        .filter_map(|verdict| match verdict {
            Verdict::Holds(found) => Some(found),
            _ => None,
        });
    settled(facts.complete, all.flatten().collect())
}

fn handle(holder: &Holder) -> Told {
    let what = &holder.element;
    Told {
        kind: CulpritKind::Variable,
        message: format!(
            "`{}` keeps {} open handles ({}) with {} in memory: close() them, or open them in a with block that does it.",
            place(holder),
            holder.count,
            if what.is_empty() {
                "files"
            } else {
                &holder.detail
            },
            human(holder.bytes)
        ),
        hint: each(holder, "{}.close()"),
        step: None,
    }
}

fn segments(holder: &Holder) -> Told {
    let names: Vec<String> = holder
        .names
        .iter()
        .take(NAMED)
        .map(|name| format!("{name:?}"))
        .collect();
    Told {
        kind: CulpritKind::File,
        message: format!(
            "{} segments of shared memory made here keep {} in /dev/shm: SharedMemory.close() leaves them, only unlink() removes them.",
            holder.count,
            human(holder.bytes)
        ),
        hint: format!(
            "from multiprocessing.shared_memory import SharedMemory as _S; [(_s := _S(_n), _s.close(), _s.unlink()) for _n in ({},)].clear()",
            names.join(", ")
        ),
        step: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, inside, is_gone};
    use super::*;

    fn handles(count: u64) -> Holder {
        let mut held = inside(
            HolderKind::Resource,
            "files",
            40 * MIB,
            ("files", "list", "File", true),
        );
        held.count = count;
        held
    }

    #[test]
    fn several_open_handles_are_closed_where_they_are() {
        let found = finding(Case::of(vec![handles(5)]).judge(detect));
        assert_eq!(
            found.hint,
            "[_x.close() for _x in files if type(_x).__name__ == \"File\"].clear()"
        );
        assert!(is_gone(Case::of(vec![handles(1)]).judge(detect)));
        finding(Case::of(vec![handles(1)]).grown(3).judge(detect));
    }

    #[test]
    fn forgotten_segments_are_unlinked_by_name() {
        let mut held = holder(
            HolderKind::Segments,
            "/dev/shm",
            &["psm_1", "psm_2"],
            20 * MIB,
        );
        held.count = 2;
        let found = finding(Case::of(vec![held]).judge(detect));
        assert!(
            found
                .hint
                .ends_with("for _n in (\"psm_1\", \"psm_2\",)].clear()")
        );
    }
}
