//! `pool_cache`: a library's own allocator keeps what was freed.
//!
//! **When it fires.** 48 MiB or more are free in it, and no less than what is in use.
//!
//! **Why it matters.** The memory is there for the library's next use and for nobody else.
//!
//! **How it is detected.** The library's counters: reserved less allocated of a GPU framework; resident pages of Arrow's pool beyond what
//! it says is allocated.
//!
//! **Example.** `del tensor`, and `nvidia-smi` shows the same; `del table` after `pq.read_table(…)`
//!
//! **Fix.** The library's own call. `gc.collect()` and `malloc_trim` do nothing here.
//!
//! **What is often said.** `empty_cache()` mends "out of memory": it gives free segments back to the driver, which
//! the framework would have used again anyway, and cannot free a tensor that is alive.
//!
//! **What it is confused with.** A leak: nothing is alive. Slack of the C allocator (`allocator_retention`).
//!
//! **Step.** `release_pools`.

use super::kept::settled;
use super::{Evidence, Verdict};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let least = evidence.thresholds.min_slack;
    let mut found = Vec::new();
    for pool in facts.allocators.iter().filter(|one| !one.is_common()) {
        if pool.slack >= least && pool.slack >= pool.live {
            found.push(kept(&pool.name, pool.slack, "memory"));
        }
    }
    for (framework, devices) in &facts.frameworks {
        let sum = |part: fn(&meter::FrameworkMemory) -> Option<u64>| {
            devices
                .values()
                .filter_map(part)
                .fold(0u64, u64::saturating_add)
        };
        let (live, cached) = (sum(|one| one.live), sum(|one| one.cached));
        if cached >= least && cached >= live {
            found.push(kept(framework, cached, "GPU memory"));
        }
    }
    settled(facts.complete, found)
}

fn kept(library: &str, bytes: u64, what: &str) -> Finding {
    let (name, hint, step) = match library {
        "torch" => (
            "torch.cuda",
            "import torch; torch.cuda.empty_cache()",
            Some("torch_cache"),
        ),
        "torch pinned memory" => (
            "torch",
            "import torch; torch._C._host_emptyCache()",
            Some("pinned_cache"),
        ),
        "cupy" => (
            "cupy",
            "import cupy; cupy.get_default_memory_pool().free_all_blocks()",
            Some("cupy_pool"),
        ),
        "pyarrow" => (
            "pyarrow",
            "import pyarrow; pyarrow.default_memory_pool().release_unused()",
            Some("arrow_pool"),
        ),
        "jax" => (
            "jax",
            "# jax keeps its pool until the kernel ends; start it with XLA_PYTHON_CLIENT_PREALLOCATE=false",
            None,
        ),
        other => (
            other,
            "# this library keeps its pool until the kernel ends",
            None,
        ),
    };
    Finding {
        id: Cause::PoolCache.id(library),
        cause: Cause::PoolCache,
        leak: true,
        culprit: Culprit {
            kind: CulpritKind::Library,
            name: name.into(),
        },
        bytes,
        confidence: Confidence::Likely,
        message: format!(
            "The memory pool of {name} keeps {} of {what} reserved (cached by its caching allocator) that nothing uses any more.",
            human(bytes)
        ),
        hint: hint.into(),
        step: step.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::{Case, MIB, finding, is_gone};
    use super::*;
    use crate::facts::Allocator;

    fn arrow(live: u64, slack: u64) -> Case {
        let mut case = Case::of(vec![]);
        case.facts.allocators = vec![Allocator {
            name: "pyarrow".into(),
            live,
            slack,
            ..Allocator::default()
        }];
        case
    }

    #[test]
    fn a_pool_that_is_mostly_empty_is_released_by_the_librarys_call() {
        assert!(
            finding(arrow(0, 140 * MIB).judge(detect))
                .hint
                .contains("release_unused")
        );
        assert!(is_gone(arrow(200 * MIB, 140 * MIB).judge(detect)));
        assert!(is_gone(arrow(0, 10 * MIB).judge(detect)));
    }

    #[test]
    fn reserved_less_allocated_of_a_gpu_is_a_cache() {
        let device = |live, cached| {
            let memory = meter::FrameworkMemory {
                live: Some(live),
                cached: Some(cached),
            };
            let mut case = Case::of(vec![]);
            case.facts
                .frameworks
                .insert("torch".into(), BTreeMap::from([(0, memory)]));
            case
        };
        let found = finding(device(0, 96 * MIB).judge(detect));
        assert_eq!(
            (found.culprit.name.as_str(), found.bytes),
            ("torch.cuda", 96 * MIB)
        );
        assert!(is_gone(device(900 * MIB, 96 * MIB).judge(detect)));
    }
}
