use super::super::testing::{Case, MIB, finding, is_gone, judge};
use super::*;

const M: i64 = MIB as i64;

fn run(delta: i64, grown: &[(&str, &str, i64, bool)]) -> Run {
    let grown = grown
        .iter()
        .enumerate()
        .map(|(i, (name, type_name, delta, new))| Growth {
            name: (*name).into(),
            type_name: (*type_name).into(),
            delta: *delta,
            bytes: (*delta as u64) * (i as u64 + 1),
            new: *new,
            ..Growth::default()
        })
        .collect();
    Run {
        delta: Some(delta),
        grown,
        ..Run::default()
    }
}

fn append(delta: i64) -> Run {
    run(
        delta,
        &[
            ("preds", "list", delta, false),
            ("out", "ndarray", 1024, false),
        ],
    )
}

#[test]
fn a_list_that_every_run_appends_to_is_named_with_a_line_that_clears_it() {
    let found = finding(judge(
        detect,
        None,
        vec![
            append(20 * M),
            append(10 * M),
            append(10 * M),
            append(10 * M),
        ],
    ));
    assert_eq!(
        found.culprit,
        Culprit {
            kind: CulpritKind::Variable,
            name: "preds".into()
        }
    );
    assert_eq!(found.hint, "preds.clear()");
    assert_eq!(found.confidence, Confidence::Likely);
    assert!(
        found
            .message
            .contains("`preds` grew by 10.0 MiB in each of the last 3 runs")
    );
}

#[test]
fn a_private_container_is_cleared_by_the_object_around_it() {
    let grows = || {
        let mut grows = run(10 * M, &[("fig", PRIVATE, 10 * M, false)]);
        grows.grown[0].part = "fig.axes[0]._children".into();
        grows
    };
    let found = finding(judge(
        detect,
        None,
        vec![grows(), grows(), grows(), grows()],
    ));
    assert_eq!(found.culprit.name, "fig.axes[0]._children");
    assert_eq!(found.hint, "fig.axes[0].clear()");
}

#[test]
fn three_runs_are_enough_for_a_list_that_grew_evenly_in_all_of_them() {
    let first = |new| run(50 * M, &[("preds", "list", 46 * M, new)]);
    for (what, runs) in [
        (
            "it was there before",
            vec![first(false), append(46 * M), append(46 * M)],
        ),
        (
            "the first run made it",
            vec![first(true), append(46 * M), append(46 * M)],
        ),
        (
            "the amounts differ a little",
            vec![append(40 * M), append(60 * M), append(50 * M)],
        ),
        (
            "the first run filled free memory",
            vec![
                run(0, &[("preds", "list", 46 * M, false)]),
                append(46 * M),
                append(46 * M),
            ],
        ),
    ] {
        let found = finding(judge(detect, None, runs));
        assert_eq!(
            (
                found.culprit.name.as_str(),
                found.hint.as_str(),
                found.confidence
            ),
            ("preds", "preds.clear()", Confidence::Likely),
            "{what}"
        );
        assert!(
            found.message.contains("in each of the last 3 runs"),
            "{what}"
        );
    }
}

#[test]
fn a_variable_that_grows_evenly_is_found_through_the_noise_of_an_allocator() {
    let noisy = |deltas: &[i64], own: i64| {
        let runs = deltas
            .iter()
            .map(|delta| run(delta * M, &[("X", "ndarray", own * M, false)]))
            .collect();
        judge(detect, None, runs)
    };
    let found = finding(noisy(&[36, 42, 48, 0, 36, 18], 18));
    assert_eq!(found.culprit.name, "X");
    finding(noisy(&[36, 42, 48, 36, 0], 18));
    assert!(is_gone(noisy(&[36, 10, 0, 0, -20], 18))); // memory did not grow by what the name did
    assert!(is_gone(noisy(&[60, 80, 60, 0, 60], 18))); // or by far more
}

#[test]
fn three_runs_are_too_few_for_anything_less_plain() {
    let named = |name: &str, kind: &str, delta, new| run(delta, &[(name, kind, delta, new)]);
    let list = |delta| named("preds", "list", delta, false);
    for (what, runs) in [
        ("two runs", vec![list(10 * M), list(10 * M)]),
        (
            "a warm-up without it",
            vec![run(80 * M, &[]), list(10 * M), list(10 * M)],
        ),
        (
            "a larger first run",
            vec![list(20 * M), list(10 * M), list(10 * M)],
        ),
        (
            "uneven amounts",
            vec![list(10 * M), list(10 * M), list(16 * M)],
        ),
        (
            "a run that freed",
            vec![list(10 * M), list(-10 * M), list(10 * M), list(10 * M)],
        ),
        (
            "a run that added nothing",
            vec![list(10 * M), list(10 * M), run(0, &[])],
        ),
        (
            "no memory retained",
            vec![
                list(10 * M),
                run(0, &[("preds", "list", 10 * M, false)]),
                list(10 * M),
            ],
        ),
        (
            "kilobytes",
            vec![list(900 << 10), list(900 << 10), list(900 << 10)],
        ),
        (
            "a small list beside large growth",
            vec![
                run(50 * M, &[("preds", "list", 2 * M, false)]),
                run(50 * M, &[("preds", "list", 2 * M, false)]),
                run(50 * M, &[("preds", "list", 2 * M, false)]),
            ],
        ),
        (
            "a result that each run replaces",
            vec![
                named("df", "DataFrame", 80 * M, true),
                run(2 * M, &[]),
                run(2 * M, &[]),
            ],
        ),
        (
            "a result that each run replaces by a slightly larger one",
            vec![
                named("df", "DataFrame", 80 * M, true),
                named("df", "DataFrame", 2 * M, false),
                named("df", "DataFrame", 2 * M, false),
            ],
        ),
        (
            "a result that doubles",
            vec![
                named("x", "ndarray", 10 * M, true),
                named("x", "ndarray", 10 * M, false),
                named("x", "ndarray", 20 * M, false),
            ],
        ),
        (
            "a name that is new each time",
            (0..3)
                .map(|_| named("tmp", "ndarray", 10 * M, true))
                .collect(),
        ),
        (
            "numbered copies",
            (1..=3)
                .map(|n| named(&format!("df_{n}"), "DataFrame", 10 * M, true))
                .collect(),
        ),
        (
            "growth behind a name",
            (0..3)
                .map(|_| named("log", "Logger", 10 * M, false))
                .collect(),
        ),
        (
            "growth without a name",
            (0..3).map(|_| run(10 * M, &[])).collect(),
        ),
        (
            "growth of the output history beside it",
            (0..3)
                .map(|_| Run {
                    holders: 10 * M,
                    ..list(10 * M)
                })
                .collect(),
        ),
    ] {
        assert!(matches!(judge(detect, None, runs), Verdict::Gone), "{what}");
    }
}

#[test]
fn numbered_copies_are_one_culprit() {
    let copy = |n: i64| run(20 * M, &[(&format!("df_{n}"), "DataFrame", 20 * M, true)]);
    let found = finding(judge(detect, None, (1..=5).map(copy).collect()));
    assert_eq!(found.culprit.name, "df_*");
    assert_eq!(found.hint, "del df_2, df_3, df_4, df_5");
}

#[test]
fn growth_becomes_certain_only_after_eight_runs() {
    for (runs, confidence) in [
        (4, Confidence::Likely),
        (8, Confidence::Likely),
        (9, Confidence::Certain),
    ] {
        let found = finding(judge(
            detect,
            None,
            (0..runs).map(|_| append(10 * M)).collect(),
        ));
        assert_eq!(found.confidence, confidence, "{runs} runs");
    }
}

#[test]
fn growth_behind_a_name_is_not_blamed_on_the_name() {
    let handlers = |_| run(4 * M, &[("log", "Logger", 4 * M, false)]);
    let early = finding(judge(detect, None, (0..4).map(handlers).collect()));
    assert_eq!(
        (early.confidence, early.hint.as_str()),
        (Confidence::Possible, "%hygiene leaks")
    );
    assert!(early.message.contains("What `log` reaches grew by 4.0 MiB"));
    let late = finding(judge(detect, None, (0..12).map(handlers).collect()));
    assert_eq!(
        (late.confidence, late.hint.as_str()),
        (Confidence::Likely, "%hygiene leaks")
    );
}

#[test]
fn what_the_allocators_keep_free_is_no_growth_without_an_explanation() {
    let freed = |slack| Run {
        slack,
        ..run(4 * M, &[])
    };
    for (slack, grows) in [(0, true), (M, true), (3 * M, false)] {
        let verdict = judge(detect, None, (0..6).map(|_| freed(slack)).collect());
        assert_eq!(matches!(verdict, Verdict::Holds(_)), grows, "{slack}");
    }
}

#[test]
fn what_only_its_name_refers_to_is_the_names_own() {
    let grown = |_| {
        let mut one = run(10 * M, &[("X", "csr_matrix", 10 * M, false)]);
        one.grown[0].alone = true;
        one
    };
    let found = finding(judge(detect, None, (0..4).map(grown).collect()));
    assert_eq!(
        (found.confidence, found.hint.as_str()),
        (Confidence::Likely, "del X")
    );
    // Three runs are too few: a library's object may fill a cache of its own.
    assert!(matches!(
        judge(detect, None, (0..3).map(grown).collect()),
        Verdict::Gone
    ));
}

#[test]
fn a_part_that_is_known_from_the_second_look_on_is_enough() {
    let part = |n: i64| {
        let mut one = run(10 * M, &[("done", "deque", 10 * M, false)]);
        if n == 0 {
            one.grown[0].type_name = "Queue".into();
        } else {
            one.grown[0].part = "done.queue".into();
        }
        one
    };
    let found = finding(judge(detect, None, (0..3).map(part).collect()));
    assert_eq!(
        (found.culprit.name.as_str(), found.hint.as_str()),
        ("done.queue", "done.queue.clear()")
    );
}

#[test]
fn a_part_that_keeps_functions_is_where_they_are_registered() {
    let part = |_| {
        let mut one = run(10 * M, &[("bus", "list", 10 * M, false)]);
        one.grown[0].part = "bus._subs".into();
        one.grown[0].callables = true;
        one
    };
    let found = finding(judge(detect, None, (0..4).map(part).collect()));
    assert_eq!(
        (found.cause, found.hint.as_str()),
        (Cause::RegistryCallback, "bus._subs.clear()")
    );
}

#[test]
fn a_part_of_a_registry_is_not_emptied() {
    for alone in [true, false] {
        let part = |_| {
            let mut one = run(10 * M, &[("canvas", "registry", 10 * M, false)]);
            one.grown[0].part = "canvas.callbacks".into();
            (one.grown[0].callables, one.grown[0].alone) = (true, alone);
            one
        };
        let found = finding(judge(detect, None, (0..7).map(part).collect()));
        assert_eq!(
            (found.cause, found.hint.as_str()),
            (Cause::RegistryCallback, DISCONNECT)
        );
    }
}

#[test]
fn what_the_cell_itself_cuts_back_has_a_bound() {
    for (source, grows) in [
        ("preds.append(x)", true),
        ("preds.append(x)\nif len(preds) > 9: preds.pop(0)", false),
        ("preds.append(x)\npreds = preds[-9:]", false),
        ("preds.append(x)\npreds[:] = preds[-9:]", false),
        ("preds.append(x)\ndel preds[:-9]", false),
        ("preds.append(x)\nothers.pop(0)", true),
    ] {
        let case = Case::of(vec![])
            .source(source)
            .runs((0..5).map(|_| append(10 * M)));
        let verdict = case.judge(detect);
        assert_eq!(matches!(verdict, Verdict::Holds(_)), grows, "{source}");
    }
}

#[test]
fn ordinary_cells_do_not_alarm() {
    let plain = |deltas: &[i64]| {
        deltas
            .iter()
            .map(|delta| run(*delta, &[]))
            .collect::<Vec<_>>()
    };
    for (what, runs) in [
        ("one run of an import", plain(&[80 * M])),
        ("an import that is repeated", plain(&[80 * M, 0, 0, 0, 0])),
        (
            "a result that each run replaces",
            plain(&[80 * M, 49 * M, 0, 0, 0]),
        ),
        ("two runs that grow", plain(&[0, 10 * M, 10 * M])),
        ("growth that ends", plain(&[0, 10 * M, 10 * M, 10 * M, 0])),
        (
            "up and down",
            plain(&[0, 10 * M, -10 * M, 10 * M, -10 * M, 10 * M, 10 * M, 10 * M]),
        ),
        (
            "kilobytes a run",
            plain(&[0, 900 << 10, 900 << 10, 900 << 10, 900 << 10]),
        ),
    ] {
        assert!(
            matches!(judge(detect, None, runs), Verdict::Gone | Verdict::Unknown),
            "{what}"
        );
    }
}

#[test]
fn growth_of_the_output_history_is_not_ours() {
    let shown = || Run {
        delta: Some(16 * M),
        grown: vec![],
        holders: 16 * M,
        native: 0,
        ..Run::default()
    };
    assert!(matches!(
        judge(detect, None, (0..6).map(|_| shown()).collect()),
        Verdict::Gone
    ));
}

#[test]
fn growth_without_a_variable_says_so_and_waits_for_more_runs() {
    let runs = |n: usize| (0..n).map(|_| run(10 * M, &[])).collect::<Vec<_>>();
    let early = finding(judge(detect, None, runs(4)));
    assert_eq!(early.confidence, Confidence::Possible);
    assert!(early.message.contains("no variable explains it"));
    assert_eq!(
        finding(judge(detect, None, runs(6))).confidence,
        Confidence::Likely
    );
}

#[test]
fn a_name_is_released_in_the_way_that_fits_it() {
    for (name, type_name, line) in [
        ("xs", "list", "xs.clear()"),
        ("arr", "ndarray", "del arr"),
        ("two words", "list", "globals().pop(\"two words\");"),
    ] {
        assert_eq!(release(name, type_name), line);
    }
}

#[test]
fn families_differ_only_in_the_last_number() {
    for (name, expected) in [
        ("df_12", "df_*"),
        ("x", "x"),
        ("a1b22", "a1b*"),
        ("7", "*"),
        ("ä1", "ä*"),
        ("run3_out", "run*_out"),
    ] {
        assert_eq!(family(name), expected);
    }
}

#[test]
fn an_object_that_grows_is_cleared_where_it_grew() {
    let step = || {
        let mut run = run(24 * M, &[("exp", "list", 24 * M, false)]);
        run.grown[0].part = "exp.history".into();
        run
    };
    let found = finding(judge(detect, None, (0..6).map(|_| step()).collect()));
    assert_eq!(found.culprit.name, "exp.history");
    assert_eq!(found.hint, "exp.history.clear()");
}

#[test]
fn callbacks_within_an_object_are_a_registry_and_cleared_where_they_are() {
    let step = || {
        let mut run = run(16 * M, &[("net", "OrderedDict", 16 * M, false)]);
        run.grown[0].part = "net._modules['0']._forward_hooks".into();
        run
    };
    let found = finding(judge(detect, None, (0..6).map(|_| step()).collect()));
    assert_eq!(found.cause, Cause::RegistryCallback);
    assert_eq!(found.hint, "net._modules['0']._forward_hooks.clear()");
}
