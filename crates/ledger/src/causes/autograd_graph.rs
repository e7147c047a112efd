//! `autograd_graph`: a kept tensor with a `grad_fn` keeps the graph of its computation and the activations in it.
//!
//! **When it fires.** Graphs behind the tensors of a variable hold 10 MiB or more of saved tensors.
//!
//! **Why it matters.** A loss of four bytes keeps every activation of its forward pass until `backward()` has run.
//!
//! **How it is detected.** `grad_fn` is followed to the tensors that its nodes saved. After `backward()` there are none.
//!
//! **Example.** `total = total + loss` in an evaluation loop; `outputs.append(model(x))`
//!
//! **Fix.** `loss.item()` for a number, `.detach()` for a tensor, `torch.no_grad()` around what is not trained.
//!
//! **What is often said.** `with torch.no_grad():` frees memory: it keeps graphs from being built, and frees none that is
//! there.
//!
//! **What it is confused with.** The tensors themselves, which are small; a training step, whose graph `backward()` frees.
//!
//! **Step.** None: after detaching, `backward()` no longer works.

use super::kept::{Told, each, each_of, place, replaced};
use super::{Evidence, Verdict};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, CulpritKind};
use crate::size::human;

const MOST: usize = 4;

pub(super) fn detect(evidence: &Evidence) -> Verdict {
    each_of(
        evidence,
        Cause::AutogradGraph,
        HolderKind::Autograd,
        |holder| {
            Some(Told {
                kind: CulpritKind::Variable,
                message: if is_gradient(holder) {
                    format!(
                        "The gradients of `{}` keep the autograd graph by which they were made ({}), with {} of activations, in a \
                         cycle: backward(create_graph=True) does that; torch.autograd.grad does not.",
                        place(holder),
                        holder.detail,
                        human(holder.bytes)
                    )
                } else {
                    format!(
                        "`{}` keeps tensors with a grad_fn: the autograd graph behind them ({}) holds {} of activations. Keep \
                     loss.item(), or .detach() what is kept, or compute it under torch.no_grad().",
                        place(holder),
                        holder.detail,
                        human(holder.bytes)
                    )
                },
                hint: if is_gradient(holder) {
                    without_gradient(holder)
                } else {
                    hint(evidence, holder)
                },
                step: None,
            })
        },
    )
}

fn is_gradient(holder: &Holder) -> bool {
    holder.detail.starts_with("gradient")
}

fn without_gradient(holder: &Holder) -> String {
    if holder.direct && (holder.shape.is_empty() || holder.path == holder.inside) {
        each(holder, "setattr({}, \"grad\", None)")
    } else {
        format!("{}.zero_grad(set_to_none=True)", holder.inside)
    }
}

/// Two names may keep parts of one graph, which is counted once: it goes only if both let go of it.
fn hint(evidence: &Evidence, holder: &Holder) -> String {
    let held = evidence.facts.iter().flat_map(|facts| &facts.holders);
    let others = held.filter(|one| {
        one.kind == HolderKind::Autograd && one.bytes < evidence.thresholds.min_held && one.direct
    });
    let lines: Vec<String> = std::iter::once(holder)
        .chain(others.take(MOST))
        .map(|one| replaced(one, "{}.detach()"))
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, MIB, finding, inside, is_gone};
    use super::*;

    #[test]
    fn names_that_keep_the_same_graph_let_go_of_it_together() {
        let held = inside(
            HolderKind::Autograd,
            "total",
            130 * MIB,
            ("total", "", "Tensor", true),
        );
        let also = inside(
            HolderKind::Autograd,
            "loss",
            0,
            ("loss", "", "Tensor", true),
        );
        let found = finding(Case::of(vec![held, also]).judge(detect));
        assert_eq!(found.hint, "total = total.detach(); loss = loss.detach()");
    }

    #[test]
    fn the_hint_detaches_what_is_kept() {
        let held = |bytes| {
            let mut held = inside(
                HolderKind::Autograd,
                "losses",
                bytes,
                ("losses", "list", "Tensor", true),
            );
            held.detail = "40 nodes".into();
            Case::of(vec![held])
        };
        let found = finding(held(130 * MIB).judge(detect));
        assert!(found.hint.starts_with("losses[:] = [_x.detach() if"));
        assert!(found.message.contains("(40 nodes)"));
        assert!(is_gone(held(MIB).judge(detect)));
    }
}
