//! `view_retention`: a small view keeps the whole of a large buffer.
//!
//! **When it fires.** Views of less than an eighth of a buffer are all that refers to it, and such buffers hold 10 MiB or more.
//!
//! **Why it matters.** `a[:10]` shares the memory of `a`. As long as it lives, all of `a` stays, although no name leads there.
//!
//! **How it is detected.** NumPy arrays by the references to their base, tensors by all tensors on the same storage, `memoryview`s of
//! bytes, Arrow arrays by the buffers below them, matches of regular expressions by the text that
//! was searched, elements of lxml by their document.
//!
//! **Example.** `peaks = [load(name)[:10] for name in names]`
//!
//! **Fix.** `.copy()` of the part (`.clone()` of a tensor): it is small, and the base is freed.
//!
//! **What it is confused with.** A view of data that a name still holds: then a copy would only cost memory.
//!
//! **Step.** None: a copy is no longer an alias of the data.

use super::kept::{Told, dropped, each_of, place, replaced};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    each_of(evidence, Cause::ViewRetention, HolderKind::View, |holder| {
        Some(Told {
            kind: CulpritKind::Variable,
            message: message(holder),
            hint: hint(holder),
            step: None,
        })
    })
}

fn message(holder: &Holder) -> String {
    let (place, bytes) = (place(holder), human(holder.bytes));
    match holder.type_name.as_str() {
        "match" => format!(
            "`{place}` holds matches of a regular expression (re.Match): each is a view of all of the text that was searched, {bytes} in \
             all, which nothing else uses. Keep its .group(), and not the match."
        ),
        "xml" => format!(
            "`{place}` holds elements of large XML documents (lxml): each keeps the tree of its whole document, {bytes} in all, of which \
             nothing else is used. Keep its .text, or a copy.deepcopy() of it."
        ),
        _ => format!(
            "`{place}` holds small views (slices) of large buffers: the base data, {bytes} in all, are used by nothing else. A .copy() keeps \
             the slice alone."
        ),
    }
}

fn hint(holder: &Holder) -> String {
    if holder.type_name == "arrow" {
        // A copy would share the buffers too.
        return replaced(holder, "{}.take(list(range(len({}))))");
    }
    if holder.type_name == "xml" && holder.direct {
        return format!("import copy; {}", replaced(holder, "copy.deepcopy({})"));
    }
    match holder.element.as_str() {
        "Tensor" => replaced(holder, "{}.clone()"),
        "Match" => replaced(holder, "{}.group()"),
        "memoryview" => replaced(holder, "memoryview(bytes({}))"),
        "ndarray" | "Series" | "DataFrame" | "Index" => replaced(holder, "{}.copy()"),
        _ => dropped(holder),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, inside};
    use super::*;

    #[test]
    fn other_names_of_a_view_are_copied_too_and_arrow_takes_what_it_keeps() {
        let mut held = inside(
            HolderKind::View,
            "v",
            40 * MIB,
            ("v", "list", "ndarray", true),
        );
        held.names = vec!["last".into()];
        let found = finding(Case::of(vec![held.clone()]).judge(detect));
        assert!(
            found.hint.ends_with("; last = last.copy()"),
            "{}",
            found.hint
        );
        (held.names, held.type_name) = (vec![], "xml".into());
        let found = finding(Case::of(vec![held.clone()]).judge(detect));
        assert!(
            found
                .hint
                .starts_with("import copy; v[:] = [copy.deepcopy(_x) if")
        );
        held.type_name = "arrow".into();
        (held.path, held.shape) = ("v".into(), String::new());
        let found = finding(Case::of(vec![held]).judge(detect));
        assert_eq!(found.hint, "v = v.take(list(range(len(v))))");
    }

    #[test]
    fn the_hint_copies_the_parts_where_they_are() {
        for (path, shape, element, direct, hint) in [
            (
                "peaks",
                "list",
                "ndarray",
                true,
                "peaks[:] = [_x.copy() if type(_x).__name__ == \"ndarray\" else _x for _x in peaks]",
            ),
            (
                "run.best",
                "dict",
                "Tensor",
                true,
                "run.best.update({_k: _x.clone() if type(_x).__name__ == \"Tensor\" else _x for _k, _x in run.best.items()})",
            ),
            ("latest", "", "Series", true, "latest = latest.copy()"),
            ("found", "", "Match", true, "found = found.group()"),
            ("run", "", "Odd", false, "del v"),
        ] {
            let held = inside(
                HolderKind::View,
                "v",
                40 * MIB,
                (path, shape, element, direct),
            );
            let found = finding(Case::of(vec![held]).judge(detect));
            assert_eq!(found.hint, hint);
            assert_eq!(found.culprit.name, "v");
        }
    }
}
