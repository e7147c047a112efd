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
