//! Which line of the cell makes what was found in memory, and what to write instead.
//!
//! One function for each cause of which code can tell anything. Each wants the name of the culprit, or a call that nothing else
//! explains, so that a remark is never about another line than the one that did it.

use super::{Fact, Sort, What};
use crate::record::{Cause, CulpritKind, Finding};

/// A sentence about the line of the cell that made a finding.
pub(crate) fn remark(facts: &[Fact], finding: &Finding, run: u64) -> Option<String> {
    let culprit = Culprit(&finding.culprit.name);
    match finding.cause {
        Cause::AutogradGraph => graph(facts, culprit),
        Cause::UserGrowth if finding.culprit.kind == CulpritKind::Variable && finding.leak => {
            growth(facts, culprit, run)
        }
        Cause::FrameworkState => framework(facts, culprit, run),
        Cause::OpenResource if finding.culprit.kind == CulpritKind::File => segments(facts),
        Cause::OpenResource => handles(facts, culprit),
        Cause::Figures => figures(facts),
        Cause::CacheGrowth => cache(facts, culprit),
        Cause::ViewRetention => view(facts, culprit),
        Cause::TracebackRefs if finding.culprit.kind == CulpritKind::Variable => {
            exceptions(facts, culprit)
        }
        Cause::ChildProcess => children(facts, culprit),
        Cause::RegistryCallback => registered(facts, run),
        _ => None,
    }
}

/// The name of a culprit, with its attributes and whatever else leads to the memory.
#[derive(Clone, Copy)]
struct Culprit<'a>(&'a str);

impl Culprit<'_> {
    /// Whether `name` of the code is the culprit, something in it, or what it is in.
    fn is(self, name: &str) -> bool {
        let begins = |long: &str, short: &str| {
            long.strip_prefix(short)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        begins(self.0, name) || begins(name, self.0)
    }
}

fn said(fact: &Fact) -> String {
    format!("Line {} of the cell, `{}`,", fact.line, fact.text)
}

/// The last name of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn keeps<'a>(facts: &'a [Fact], culprit: Culprit<'a>) -> impl Iterator<Item = (&'a Fact, &'a str)> {
    facts.iter().filter_map(move |fact| match &fact.what {
        What::Keeps { to, value } if culprit.is(to) => Some((fact, value.as_str())),
        _ => None,
    })
}

fn calls<'a>(facts: &'a [Fact], names: &'a [&'a str]) -> impl Iterator<Item = &'a Fact> {
    facts.iter().filter(move |fact| {
        matches!(&fact.what, What::Calls { callee, .. } if names.contains(&last(callee)))
    })
}

/// `value` as the receiver of a method.
fn receiver(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("({value})")
    }
}

fn graph(facts: &[Fact], culprit: Culprit) -> Option<String> {
    let cut = |value: &str| {
        [".item()", ".detach()", ".cpu()", ".tolist()"]
            .iter()
            .any(|end| value.ends_with(end))
    };
    let sums = facts.iter().filter_map(|fact| match &fact.what {
        What::Adds { to, value } if culprit.is(to) => Some((fact, value.as_str(), "adds to")),
        _ => None,
    });
    let kept = keeps(facts, culprit).map(|(fact, value)| (fact, value, "keeps"));
    let (fact, value, does) = sums
        .chain(kept)
        .find(|(_, value, _)| !value.is_empty() && !cut(value))?;
    let value = receiver(value);
    Some(format!(
        "{} {does} the graph each time: write `{value}.item()` there for a number, `{value}.detach()` for a tensor.",
        said(fact)
    ))
}

fn growth(facts: &[Fact], culprit: Culprit, run: u64) -> Option<String> {
    let emptied = facts.iter().any(|fact| match &fact.what {
        What::Binds { name, .. } => culprit.is(name),
        What::Calls { callee, .. } => callee
            .strip_suffix(".clear")
            .is_some_and(|name| culprit.is(name)),
        _ => false,
    });
    if emptied || run < 2 {
        return None;
    }
    let added = facts.iter().find(
        |fact| matches!(&fact.what, What::Adds { to, .. } | What::Keeps { to, .. } if culprit.is(to)),
    )?;
    Some(format!(
        "{} adds to it in each run, and nothing in the cell empties it.",
        said(added)
    ))
}

fn framework(facts: &[Fact], culprit: Culprit, run: u64) -> Option<String> {
    let traced = facts.iter().find(|fact| match &fact.what {
        What::Decorates {
            function,
            decorator,
            ..
        } => last(decorator) == "function" && culprit.is(function),
        What::Calls { callee, bound, .. } => last(callee) == "function" && culprit.is(bound),
        _ => false,
    });
    if let Some(fact) = traced.filter(|_| run >= 2) {
        return Some(format!(
            "{} makes a new function, with traces of its own, in each run of the cell: define it in a cell that is run once.",
            said(fact)
        ));
    }
    let built = calls(
        facts,
        &[
            "Sequential",
            "Model",
            "Functional",
            "load_model",
            "clone_model",
        ],
    )
    .next()?;
    if run < 2 && built.loops == 0 {
        return None;
    }
    let each = if built.loops > 0 {
        "each turn of the loop"
    } else {
        "each run of the cell"
    };
    Some(format!(
        "{} builds a model in {each}: build it once, or call `keras.utils.clear_session()` before.",
        said(built)
    ))
}

fn segments(facts: &[Fact]) -> Option<String> {
    let made = calls(facts, &["SharedMemory", "ShareableList"]).find(|fact| {
        matches!(&fact.what, What::Calls { callee, keywords, .. }
            if last(callee) == "ShareableList" || keywords.iter().any(|(name, value)| name == "create" && value == "True"))
    })?;
    if calls(facts, &["unlink"]).next().is_some() {
        return None;
    }
    Some(format!(
        "{} makes a segment, and nothing in the cell unlinks it.",
        said(made)
    ))
}

fn handles(facts: &[Fact], culprit: Culprit) -> Option<String> {
    let open = ["File", "connect", "open", "mmap", "Connection"];
    let opened = calls(facts, &open)
        .find(|fact| matches!(&fact.what, What::Calls { managed: false, .. }) && fact.loops > 0)?;
    keeps(facts, culprit).next()?;
    if calls(facts, &["close"]).next().is_some() {
        return None;
    }
    Some(format!(
        "{} opens one in each turn, and nothing in the cell closes it.",
        said(opened)
    ))
}

fn figures(facts: &[Fact]) -> Option<String> {
    let opened =
        calls(facts, &["figure", "subplots", "subplot_mosaic"]).find(|fact| fact.loops > 0)?;
    if calls(facts, &["close", "clf"]).next().is_some() {
        return None;
    }
    let What::Calls { bound, .. } = &opened.what else {
        return None;
    };
    let figure = if bound.is_empty() { "fig" } else { bound };
    Some(format!(
        "{} opens a figure in each turn of the loop: end the turn with `plt.close({figure})`.",
        said(opened)
    ))
}

fn cache(facts: &[Fact], culprit: Culprit) -> Option<String> {
    facts.iter().find_map(|fact| match &fact.what {
        What::Decorates {
            function,
            decorator,
            keywords,
            called,
        } if culprit.is(function) => {
            let unbound = match last(decorator) {
                "cache" => true,
                "lru_cache" => {
                    *called
                        && keywords
                            .iter()
                            .any(|(name, value)| name == "maxsize" && value == "None")
                }
                _ => false,
            };
            unbound.then(|| {
                format!(
                    "{} gives it no bound: `@lru_cache(maxsize=128)` does.",
                    said(fact)
                )
            })
        }
        _ => None,
    })
}

fn view(facts: &[Fact], culprit: Culprit) -> Option<String> {
    let kept = keeps(facts, culprit).find(|(_, value)| value.ends_with(']'));
    let bound = facts.iter().find_map(|fact| match &fact.what {
        What::Binds {
            name,
            value,
            sort: Sort::Part,
        } if culprit.is(name) => Some((fact, value.as_str())),
        _ => None,
    });
    let (fact, value) = bound.or(kept)?;
    Some(format!(
        "{} keeps a view of all of it: `{value}.copy()` would keep the part alone.",
        said(fact)
    ))
}

fn exceptions(facts: &[Fact], culprit: Culprit) -> Option<String> {
    let (fact, value) = keeps(facts, culprit).find(|(_, value)| !value.is_empty())?;
    let value = receiver(value);
    Some(format!(
        "{} keeps the exception with the variables of its frames: keep `{value}.with_traceback(None)` or `str({value})`.",
        said(fact)
    ))
}

fn children(facts: &[Fact], culprit: Culprit) -> Option<String> {
    let started = facts.iter().find(|fact| {
        matches!(&fact.what, What::Calls { callee, bound, managed: false, .. }
            if !bound.is_empty() && culprit.is(bound)
                && matches!(last(callee), "Pool" | "ProcessPoolExecutor" | "Popen" | "Process"))
    })?;
    if calls(facts, &["shutdown", "terminate", "join", "wait", "kill"])
        .next()
        .is_some()
    {
        return None;
    }
    Some(format!(
        "{} starts it outside a with block, and nothing in the cell ends it.",
        said(started)
    ))
}

fn registered(facts: &[Fact], run: u64) -> Option<String> {
    let entered = calls(
        facts,
        &[
            "addHandler",
            "register",
            "observe",
            "subscribe",
            "register_callback",
            "add_done_callback",
        ],
    )
    .find(|fact| run >= 2 || fact.loops > 0)?;
    let each = if entered.loops > 0 {
        "each turn of the loop"
    } else {
        "each run of the cell"
    };
    Some(format!("{} enters one more in {each}.", said(entered)))
}

/// Whether the cell takes items out of a container too, as one does that keeps to a bound.
pub(crate) fn trims(facts: &[Fact], name: &str) -> bool {
    // `name[-100:]`, but neither a copy, `name[:]`, nor the value at a key, `name["a:b"]`.
    let cut = |value: &str| {
        value
            .strip_prefix(name)
            .and_then(|part| part.strip_prefix('[')?.strip_suffix(']'))
            .is_some_and(|slice| {
                slice.contains(':')
                    && !slice.contains(['"', '\''])
                    && slice.contains(|c: char| c != ':' && !c.is_whitespace())
            })
    };
    facts.iter().any(|fact| match &fact.what {
        What::Takes { from } => from == name,
        What::Calls { callee, .. } => callee
            .strip_prefix(name)
            .is_some_and(|method| [".pop", ".popleft", ".popitem"].contains(&method)),
        What::Binds {
            name: bound,
            value,
            sort: Sort::Part,
        } => bound == name && cut(value),
        What::Keeps { to, value } => to == name && cut(value),
        _ => false,
    })
}

/// The line where a list of the cell is filled and the one where it is gone through, if that is all the cell does with it.
pub(crate) fn once_read<'a>(facts: &'a [Fact], name: &str) -> Option<(&'a Fact, &'a Fact)> {
    let mut made = None;
    let mut filled = None;
    let (mut fills, mut uses, mut binds) = (0, 0, 0);
    let mut read = None;
    for fact in facts {
        match &fact.what {
            What::Binds {
                name: bound, sort, ..
            } if bound == name => {
                binds += 1;
                match sort {
                    Sort::Empty => made = Some(fact),
                    Sort::Comprehension => filled = Some(fact),
                    _ => return None,
                }
            }
            What::Keeps { to, .. } if to == name => {
                fills += 1;
                if fact.loops == 0 {
                    return None;
                }
                filled = Some(fact);
            }
            What::Adds { to, .. } if to == name => return None,
            What::Iterates { over } if over == name => {
                if read.is_some() || fact.loops > 0 {
                    return None;
                }
                read = Some(fact);
            }
            What::Uses { name: used } if used == name => uses += 1,
            _ => {}
        }
    }
    let (filled, read) = (filled?, read?);
    let by_hand = made.is_some();
    // Each fill by hand is a use of the name, and so is the reading.
    let expected = if by_hand { fills + 1 } else { 1 };
    (binds == 1 && uses == expected && by_hand == (fills > 0) && read.line >= filled.line)
        .then_some((filled, read))
}

#[cfg(test)]
mod tests;
