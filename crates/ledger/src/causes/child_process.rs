//! `child_process`: workers of a pool live on after the work is done.
//!
//! **When it fires.** Child processes hold 10 MiB or more that they share with nobody, they grew in this cell, and a pool or at least two
//! processes of this notebook's are known to own them.
//!
//! **Why it matters.** Each worker has its imports and data. A `Pool` that is not closed lives as long as the kernel.
//!
//! **How it is detected.** The process tree is measured from outside; pools are found within variables and in the libraries' own lists.
//!
//! **Example.** `pool = Pool(8)` in a cell that is run again; `joblib.Parallel(n_jobs=8)`, whose workers wait for more
//!
//! **Fix.** `with Pool() as pool:`, `terminate()` and `join()`; joblib's workers by `get_reusable_executor().shutdown()`.
//!
//! **What it is confused with.** One process that is started to be kept, such as a server; a pool that later cells work with.
//!
//! **Step.** None: work may be queued.

use super::kept::{Told, dropped, each, finding};
use super::{Evidence, Verdict};
use crate::code::{Fact, What};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind, Finding, Status};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    let (Some(facts), Some(children)) = (evidence.facts, &evidence.host.children) else {
        return Verdict::Unknown;
    };
    // Pages that they share with one another or with the interpreter stay when they end.
    let bytes = children.own.or(children.pss).unwrap_or(0);
    if children.count == 0 || bytes < evidence.thresholds.min_held {
        return Verdict::Gone;
    }
    let grew = u64::try_from(children.delta.unwrap_or(0)).unwrap_or(0);
    if grew < evidence.thresholds.notable {
        return Verdict::Unknown; // a few pages more or less say nothing
    }
    let owners = facts.holders.iter().filter(|holder| {
        holder.kind == HolderKind::Children
            && (holder.count > 1
                || !["Process", "Popen", "asyncio", "multiprocessing"].contains(&sort(holder)))
            // A manager's process is there to keep things: what it costs to start it is not what was put into it.
            && (sort(holder) != "Manager" || children.left.is_empty())
    });
    // A variable that holds the pool before the library that made it; of several the one with most pools.
    let Some(owner) = owners.max_by_key(|holder| (!holder.inside.is_empty(), holder.count)) else {
        return Verdict::Unknown;
    };
    let (advice, hint) = advice(owner);
    let told = Told {
        kind: if owner.inside.is_empty() {
            CulpritKind::Library
        } else {
            CulpritKind::Variable
        },
        message: format!(
            "{} child processes hold {}: {advice}",
            children.count,
            human(bytes)
        ),
        hint,
        step: (sort(owner) == "joblib").then_some("idle_workers"),
    };
    Verdict::Holds(vec![finding(Cause::ChildProcess, owner, bytes, told)])
}

/// Whether a cell works with the pool that an earlier cell made: then its workers are not left over. If they grow, it is said again.
pub(crate) fn is_at_work(finding: &Finding, evidence: &Evidence) -> bool {
    let name = &finding.culprit.name;
    let facts = evidence.code.facts();
    let uses = |fact: &Fact| matches!(&fact.what, What::Uses { name: used } if used == name);
    let binds = |fact: &Fact| matches!(&fact.what, What::Binds { name: bound, .. } | What::Keeps { to: bound, .. } if bound == name);
    finding.cause == Cause::ChildProcess
        && finding.culprit.kind == CulpritKind::Variable
        && evidence.cell.status == Status::Ok
        && facts.iter().any(uses)
        && !facts.iter().any(binds)
}

/// What the owner is: a class, or the library.
fn sort(holder: &Holder) -> &str {
    if holder.inside.is_empty() {
        &holder.name
    } else {
        &holder.detail
    }
}

fn advice(owner: &Holder) -> (&'static str, String) {
    match sort(owner) {
        "Pool" => (
            "a Pool ends by terminate() and join(), or by a with block.",
            each(owner, "({}.terminate(), {}.join())"),
        ),
        "ProcessPoolExecutor" => (
            "an executor ends by shutdown(), or by a with block.",
            each(owner, "{}.shutdown(cancel_futures=True)"),
        ),
        "Process" => (
            "a Process ends by itself, or by terminate() and join().",
            each(owner, "({}.terminate(), {}.join())"),
        ),
        "Popen" => (
            "a process that was started by Popen ends by itself, or by terminate() and wait().",
            each(owner, "({}.terminate(), {}.wait())"),
        ),
        "asyncio" => (
            "a process that asyncio started ends by itself, or by terminate() and await wait().",
            each(owner, "({}.terminate(), await {}.wait())"),
        ),
        "Manager" => (
            "a Manager's process keeps what was put into its dicts and lists until it is taken out there (clear(), pop()), or shutdown().",
            each(owner, "{}.shutdown()"),
        ),
        "DataLoader" => (
            "the workers of a DataLoader with persistent_workers=True live as long as it does.",
            dropped(owner),
        ),
        "joblib" => (
            "idle loky workers wait for more work, with all that they have imported.",
            "from joblib.externals.loky import get_reusable_executor; get_reusable_executor().shutdown()"
                .to_owned(),
        ),
        _ => (
            "close the pool, or terminate() and join() them.",
            "import multiprocessing; [(_p.terminate(), _p.join()) for _p in multiprocessing.active_children()].clear()"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, holder, inside, is_gone, is_unknown};
    use super::*;

    fn owner(detail: &str, count: u64) -> Holder {
        let mut held = inside(HolderKind::Children, "p", 0, ("p", "", detail, true));
        (held.detail, held.count) = (detail.into(), count);
        held
    }

    fn library(name: &str, count: u64) -> Holder {
        let mut held = holder(HolderKind::Children, name, &[], 0);
        held.count = count;
        held
    }

    #[test]
    fn a_variable_with_a_pool_is_the_culprit_before_the_library() {
        let case = Case::of(vec![library("multiprocessing", 4), owner("Pool", 1)]);
        let found = finding(case.children(4, 60 * MIB, 60 * MIB as i64).judge(detect));
        assert_eq!(found.hint, "(p.terminate(), p.join())");
        let case = Case::of(vec![library("joblib", 1)]).children(2, 90 * MIB, 90 * MIB as i64);
        assert!(
            finding(case.judge(detect))
                .hint
                .contains("get_reusable_executor().shutdown()")
        );
    }

    #[test]
    fn what_is_put_into_a_managers_process_counts_and_its_start_does_not() {
        let grown = |left: Vec<meter::Left>| {
            let mut case = Case::of(vec![owner("Manager", 1), library("multiprocessing", 1)]);
            case = case.children(1, 90 * MIB, 20 * MIB as i64);
            case.left(left).judge(detect)
        };
        let found = finding(grown(vec![]));
        assert_eq!(
            (found.culprit.name.as_str(), found.hint.as_str()),
            ("p", "p.shutdown()")
        );
        let new = meter::Left {
            pid: 7,
            name: "python".into(),
            bond: meter::Bond::Worker,
            pss: None,
        };
        assert!(is_unknown(grown(vec![new])));
    }

    #[test]
    fn one_process_that_is_kept_and_children_that_are_not_ours_are_none() {
        for held in [
            vec![owner("Popen", 1)],
            vec![library("multiprocessing", 1)],
            vec![],
        ] {
            assert!(is_unknown(
                Case::of(held)
                    .children(1, 60 * MIB, 60 * MIB as i64)
                    .judge(detect)
            ));
        }
        let case = Case::of(vec![owner("Pool", 1)]);
        assert!(is_gone(
            case.children(0, 0, -(60 * MIB as i64)).judge(detect)
        ));
    }
}
