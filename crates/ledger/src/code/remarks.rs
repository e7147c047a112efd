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
mod tests {
    use super::super::reader::read;
    use super::*;
    use crate::record::{Confidence, Culprit as Named};

    fn finding(cause: Cause, kind: CulpritKind, name: &str) -> Finding {
        Finding {
            id: String::new(),
            cause,
            leak: true,
            culprit: Named {
                kind,
                name: name.into(),
            },
            bytes: 1,
            confidence: Confidence::Likely,
            message: String::new(),
            hint: String::new(),
            step: None,
        }
    }

    fn variable(cause: Cause, name: &str, source: &str, run: u64) -> Option<String> {
        remark(
            &read(source),
            &finding(cause, CulpritKind::Variable, name),
            run,
        )
    }

    fn library(cause: Cause, name: &str, source: &str, run: u64) -> Option<String> {
        remark(
            &read(source),
            &finding(cause, CulpritKind::Library, name),
            run,
        )
    }

    /// Each says something that contains the text, or nothing.
    fn check(cases: &[(Option<String>, Option<&str>)]) {
        for (number, (found, expected)) in cases.iter().enumerate() {
            match (found, expected) {
                (Some(found), Some(expected)) => {
                    assert!(found.contains(expected), "{number}: {found}")
                }
                (found, expected) => assert_eq!(found.as_deref(), *expected, "{number}"),
            }
        }
    }

    #[test]
    fn a_sum_of_losses_keeps_their_graphs_if_it_is_the_culprit() {
        let of = |name: &str, source: &str| variable(Cause::AutogradGraph, name, source, 1);
        let loop_with =
            |line: &str| format!("total = 0\nfor x in data:\n    loss = net(x)\n    {line}");
        check(&[
            (
                of("total", &loop_with("total += loss")),
                Some(
                    "Line 4 of the cell, `total += loss`, adds to the graph each time: write `loss.item()`",
                ),
            ),
            (
                of("total", &loop_with("total = total + f(loss)")),
                Some("`(f(loss)).item()`"),
            ),
            (of("total", &loop_with("total += loss.item()")), None),
            (of("other", &loop_with("total += loss")), None),
            (
                of("log.kept", &loop_with("log.kept.append(loss)")),
                Some("keeps the graph"),
            ),
        ]);
    }

    #[test]
    fn a_cell_that_adds_and_never_empties_grows() {
        let of = |source: &str, run| variable(Cause::UserGrowth, "rows", source, run);
        check(&[
            (
                of("for x in y:\n    rows.append(x)", 3),
                Some("Line 2 of the cell, `rows.append(x)`, adds to it"),
            ),
            (of("rows += [1]", 3), Some("nothing in the cell empties it")),
            (of("rows = []\nrows.append(x)", 3), None),
            (of("rows.clear()\nrows.append(x)", 3), None),
            (of("rows.append(x)", 1), None),
        ]);
    }

    #[test]
    fn models_and_functions_that_each_run_makes_anew_are_told() {
        let keras = |source: &str, run| library(Cause::FrameworkState, "keras", source, run);
        let traced = |source: &str, run| variable(Cause::FrameworkState, "step", source, run);
        check(&[
            (
                keras("model = keras.Sequential([a])", 2),
                Some("builds a model in each run"),
            ),
            (
                keras("for i in r:\n    m = Model(a, b)", 1),
                Some("in each turn of the loop"),
            ),
            (keras("model = keras.Sequential([a])", 1), None),
            (
                traced("@tf.function\ndef step(x): return x", 3),
                Some("Line 1 of the cell, `@tf.function`,"),
            ),
            (traced("@tf.function\ndef other(x): return x", 3), None),
        ]);
    }

    #[test]
    fn segments_are_told_where_nothing_unlinks() {
        let of = |source: &str| {
            remark(
                &read(source),
                &finding(Cause::OpenResource, CulpritKind::File, "/dev/shm"),
                1,
            )
        };
        check(&[
            (
                of("s = SharedMemory(create=True, size=9)\ns.close()"),
                Some("nothing in the cell unlinks it"),
            ),
            (
                of("s = SharedMemory(create=True, size=9)\ns.unlink()"),
                None,
            ),
            (of("s = SharedMemory(name)"), None),
        ]);
    }

    #[test]
    fn figures_files_caches_views_exceptions_children_and_callbacks_are_told_by_line() {
        check(&[
            (
                library(
                    Cause::Figures,
                    "matplotlib",
                    "for i in r:\n    fig = plt.figure()\n    fig.add_subplot()",
                    1,
                ),
                Some("`plt.close(fig)`"),
            ),
            (
                library(Cause::Figures, "matplotlib", "plt.figure()", 1),
                None,
            ),
            (
                variable(
                    Cause::OpenResource,
                    "files",
                    "for n in names:\n    files.append(h5py.File(n))",
                    1,
                ),
                Some("opens one in each turn"),
            ),
            (
                variable(
                    Cause::CacheGrowth,
                    "f",
                    "@functools.cache\ndef f(x): return x",
                    1,
                ),
                Some("gives it no bound"),
            ),
            (
                variable(Cause::CacheGrowth, "f", "@lru_cache\ndef f(x): return x", 1),
                None,
            ),
            (
                variable(Cause::ViewRetention, "head", "head = big[:10]", 1),
                Some("`big[:10].copy()`"),
            ),
            (
                variable(
                    Cause::TracebackRefs,
                    "errors",
                    "for x in y:\n    try: f(x)\n    except E as e: errors.append(e)",
                    1,
                ),
                Some("`e.with_traceback(None)`"),
            ),
            (
                variable(
                    Cause::ChildProcess,
                    "pool",
                    "pool = multiprocessing.Pool(4)",
                    1,
                ),
                Some("outside a with block"),
            ),
            (
                variable(
                    Cause::ChildProcess,
                    "pool",
                    "pool = Pool(4)\npool.terminate()",
                    1,
                ),
                None,
            ),
            (
                library(
                    Cause::RegistryCallback,
                    "logging",
                    "log.addHandler(Handler())",
                    2,
                ),
                Some("enters one more in each run"),
            ),
        ]);
    }

    #[test]
    fn a_cell_that_takes_items_out_keeps_to_a_bound() {
        for (source, expected) in [
            ("rows.append(x)\nrows = rows[-100:]", true),
            ("rows.append(x)\nrows[:] = rows[-100:]", true),
            ("rows.append(x)\nrows.pop(0)", true),
            ("rows.append(x)\ndel rows[0]", true),
            ("rows.append(x)\nrows = rows[:]", false),
            ("rows.append(x)\nrows = rows[ : : ]", false),
            ("rows[k] = x\nrows = rows['a:b']", false),
            ("rows.append(x)\nothers = rows[-100:]", false),
            ("rows.append(x)", false),
        ] {
            assert_eq!(trims(&read(source), "rows"), expected, "{source}");
        }
    }

    #[test]
    fn a_list_that_is_filled_and_gone_through_once_is_recognised() {
        for (source, expected) in [
            (
                "xs = []\nfor i in r:\n    xs.append(f(i))\nfor x in xs:\n    print(x)",
                Some((3, 4)),
            ),
            ("xs = [f(i) for i in r]\ntotal = sum(xs)", Some((1, 2))),
            ("xs = [f(i) for i in r]\ntotal = sum(xs) / len(xs)", None),
            (
                "xs = [f(i) for i in r]\nfor y in z:\n    g(x for x in xs)",
                None,
            ),
            ("xs = []\nfor i in r:\n    xs.append(f(i))", None),
            ("xs = load()\nfor x in xs: pass", None),
            ("xs = [f(i) for i in r]\nfor x in xs: pass\nxs[0]", None),
        ] {
            let facts = read(source);
            let found = once_read(&facts, "xs").map(|(filled, read)| (filled.line, read.line));
            assert_eq!(found, expected, "{source}");
        }
    }
}
