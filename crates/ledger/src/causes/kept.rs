//! What the detectors of held memory have in common: holders of a kind, judged by their size.

use super::{Evidence, Verdict, is_identifier};
use crate::facts::{Holder, HolderKind};
use crate::record::{Cause, Confidence, Culprit, CulpritKind, Finding};

/// What is told of a holder.
pub(super) struct Told {
    pub kind: CulpritKind,
    pub message: String,
    pub hint: String,
    pub step: Option<&'static str>,
}

/// The holders of a kind that `tell` has something to say about, as findings.
pub(super) fn each_of(
    evidence: &Evidence,
    cause: Cause,
    kind: HolderKind,
    tell: impl Fn(&Holder) -> Option<Told>,
) -> Verdict {
    let Some(facts) = evidence.facts else {
        return Verdict::Unknown;
    };
    let found: Vec<Finding> = facts
        .holders
        .iter()
        .filter(|holder| holder.kind == kind && holder.bytes >= evidence.thresholds.min_held)
        .filter_map(|holder| Some(finding(cause, holder, holder.bytes, tell(holder)?)))
        .collect();
    settled(facts.complete, found)
}

/// A verdict that says all, unless the walk did not see all and nothing was found.
pub(super) fn settled(complete: bool, found: Vec<Finding>) -> Verdict {
    match (found.is_empty(), complete) {
        (false, _) => Verdict::Holds(found),
        (true, true) => Verdict::Gone,
        (true, false) => Verdict::Unknown,
    }
}

/// A finding about a holder.
pub(super) fn finding(cause: Cause, holder: &Holder, bytes: u64, told: Told) -> Finding {
    Finding {
        id: cause.id(&format!("{}:{}", holder.type_name, holder.name)),
        cause,
        leak: true,
        culprit: Culprit {
            kind: told.kind,
            name: holder.name.clone(),
        },
        bytes,
        confidence: if holder.maybe_shared {
            Confidence::Possible
        } else {
            Confidence::Likely
        },
        message: told.message,
        hint: told.hint,
        step: told.step.map(Into::into),
    }
}

/// A line that calls something of each thing that a variable keeps, `{}` standing for the thing; where that cannot be typed, the
/// variable is dropped. The list of what the calls gave is emptied: else it would be the cell's result, and kept by the shell.
pub(super) fn each(holder: &Holder, call: &str) -> String {
    let path = &holder.path;
    let values = match holder.shape.as_str() {
        _ if !holder.direct => return dropped(holder),
        "" => return of_all(holder, call).unwrap_or_else(|| call.replace("{}", path)),
        "dict" => format!("{path}.values()"),
        _ => path.clone(),
    };
    let same = if holder.kind == HolderKind::Exceptions && holder.type_name != "frame" {
        "isinstance(_x, BaseException)".to_owned()
    } else {
        format!("type(_x).__name__ == {:?}", holder.element)
    };
    format!(
        "[{} for _x in {values} if {same}].clear()",
        call.replace("{}", "_x")
    )
}

/// The line for all items of a container, where there are many like `jobs[3]._error`.
fn of_all(holder: &Holder, call: &str) -> Option<String> {
    let (item, attribute) = holder.path.rsplit_once("].")?;
    let (container, _) = item.rsplit_once('[')?;
    if holder.count < 2 || !is_identifier(attribute) || container.is_empty() {
        return None;
    }
    Some(format!(
        "[{} for _x in ({container}.values() if isinstance({container}, dict) else {container}) if getattr(_x, {attribute:?}, None) \
         is not None].clear()",
        call.replace("{}", &format!("_x.{attribute}"))
    ))
}

/// A line that replaces each thing that a variable keeps by what `value` makes of it; other variables that hold one of them, too.
pub(super) fn replaced(holder: &Holder, value: &str) -> String {
    let mut line = replaced_inside(holder, value);
    if holder.direct {
        for name in holder.names.iter().filter(|name| is_identifier(name)) {
            line.push_str(&format!("; {name} = {}", value.replace("{}", name)));
        }
    }
    line
}

fn replaced_inside(holder: &Holder, value: &str) -> String {
    let path = &holder.path;
    let item = || {
        let same = format!("type(_x).__name__ == {:?}", holder.element);
        format!("{} if {same} else _x", value.replace("{}", "_x"))
    };
    match holder.shape.as_str() {
        _ if !holder.direct => dropped(holder),
        "list" => format!("{path}[:] = [{} for _x in {path}]", item()),
        "tuple" | "set" | "frozenset" => {
            format!("{path} = {}({} for _x in {path})", holder.shape, item())
        }
        "dict" => format!(
            "{path}.update({{_k: {} for _k, _x in {path}.items()}})",
            item()
        ),
        "" => format!("{path} = {}", value.replace("{}", path)),
        _ => dropped(holder),
    }
}

/// A line that drops the variable, and others that hold what it holds.
pub(super) fn dropped(holder: &Holder) -> String {
    let names = std::iter::once(&holder.inside).chain(&holder.names);
    if names.clone().all(|name| is_identifier(name)) {
        let names: Vec<&str> = names.map(String::as_str).collect();
        format!("del {}", names.join(", "))
    } else {
        let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
        format!(
            "[globals().pop(_n) for _n in ({},)].clear()",
            names.join(", ")
        )
    }
}

/// What a person would call the place: the variable, with the way from it where that says more.
pub(super) fn place(holder: &Holder) -> &str {
    if holder.path.is_empty() {
        &holder.inside
    } else {
        &holder.path
    }
}
