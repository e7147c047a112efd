//! `native_leak`: C code allocates and does not free.
//!
//! **When it fires.** Runs of the same cell grow, no variable and no other cause explains it, and the memory in use of the C allocator,
//! or mapped beside it, grew by as much.
//!
//! **Why it matters.** No Python object refers to it, so nothing of Python's can free it.
//!
//! **How it is detected.** What `mallinfo2` says is in use, and anonymous memory beside the allocators, less what is known to be under names.
//!
//! **Example.** A `ctypes` wrapper that returns a `malloc`ed buffer
//!
//! **Fix.** `free()` in the wrapper, or the library's own function for it.
//!
//! **What it is confused with.** Caches of C libraries, which stop growing: the runs must all have grown.
//!
//! **Step.** None.

use super::{Evidence, Verdict, user_growth};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(growth) = user_growth::native_growth(evidence) else {
        return Verdict::Gone;
    };
    Verdict::Holds(vec![Finding {
        id: Cause::NativeLeak.id(&evidence.cell.source_hash),
        cause: Cause::NativeLeak,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Library,
            name: "native code".into(),
        },
        bytes: growth,
        confidence: Confidence::Likely,
        message: format!(
            "The runs of this cell left {} that no Python object accounts for in the C allocator (malloc) or in mappings (mmap): native \
             code, an extension or ctypes, takes memory and does not free it.",
            human(growth)
        ),
        hint: "# call the library's function that frees what it returned, or free() or munmap() in the ctypes wrapper".into(),
        step: None,
    }])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, finding, is_gone, judge};
    use super::*;
    use crate::history::Run;

    fn runs(native: i64) -> Vec<Run> {
        let run = || Run {
            delta: Some(16 * MIB as i64),
            native,
            ..Run::default()
        };
        (0..6).map(|_| run()).collect()
    }

    #[test]
    fn growth_that_only_the_c_allocator_knows_is_native() {
        let found = finding(judge(detect, None, runs(16 * MIB as i64)));
        assert_eq!(found.bytes, 6 * 16 * MIB);
        assert!(is_gone(judge(detect, None, runs(0))));
        assert!(is_gone(judge(
            detect,
            None,
            runs(16 * MIB as i64)[..2].to_vec()
        )));
    }
}
