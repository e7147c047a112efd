//! What a badge says, fact by fact.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use badge::{METADATA_KEY, Options, RECORD_MIME, Severity, bundle, largest_delta, severity};
use serde_json::{Value, json};
use support::{changed, finding, record, sample, shown, stripped};

/// The first line of the text.
fn line(name: &str, changes: &[(&str, Value)]) -> String {
    let (text, _) = shown(&changed(name, changes));
    text.lines().next().expect("a line").to_owned()
}

const GIB: u64 = 1 << 30;

#[test]
fn a_bundle_has_three_representations_and_a_mark_by_which_a_filter_finds_it() {
    let badge = bundle(&record(sample("leak")), &Options::default());
    assert_eq!(
        badge.data.keys().collect::<Vec<_>>(),
        ["text/plain", "text/html", RECORD_MIME]
    );
    assert_eq!(
        badge.data[RECORD_MIME],
        serde_json::to_value(record(sample("leak"))).unwrap()
    );
    assert_eq!(badge.metadata, json!({ METADATA_KEY: {"v": 1} }));
}

#[test]
fn the_quiet_line_says_time_memory_gpu_and_variables() {
    assert_eq!(
        line("details", &[]),
        "[hygiene] 1.2 s · RAM +512 MiB (peak 1.4 GiB) · GPU0 +0 · 3 new vars"
    );
}

#[test]
fn what_was_not_measured_is_left_out() {
    let none = Value::Null;
    let all = [
        ("/wall_s", none.clone()),
        ("/host/after", none.clone()),
        ("/host/delta", none.clone()),
        ("/host/peak", none.clone()),
        ("/gpu/0/used", none.clone()),
        ("/gpu/0/delta", none.clone()),
        ("/gpu/0/peak", none.clone()),
    ];
    assert_eq!(line("details", &all), "[hygiene] 3 new vars");
    assert_eq!(
        line("quiet", &[("/host/delta", none)]),
        "[hygiene] 1.2 s · RAM 300 MiB · GPU0 +0 · 1 new var"
    );
}

#[test]
fn a_peak_is_shown_only_if_it_says_more_than_the_figure_after_the_cell() {
    let table = [
        (json!(GIB), ""),
        (json!(GIB + (1 << 20) - 1), ""),
        (json!(GIB + (1 << 20)), " (peak 1.0 GiB)"),
        (json!(2 * GIB), " (peak 2.0 GiB)"),
        (json!(0), ""),
        (Value::Null, ""),
    ];
    for (peak, said) in table {
        let line = line(
            "quiet",
            &[("/host/after", json!(GIB)), ("/host/peak", peak)],
        );
        assert_eq!(
            line,
            format!("[hygiene] 1.2 s · RAM +511 KiB{said} · GPU0 +0 · 1 new var")
        );
    }
}

#[test]
fn a_sampled_peak_is_a_lower_bound_and_says_so() {
    let line = line("details", &[("/host/peak_quality", json!("sampled"))]);
    assert!(line.contains("(peak \u{2265} 1.4 GiB)"), "{line}");
}

#[test]
fn the_limit_is_mentioned_from_seventy_per_cent_on() {
    let table = [
        (json!(8 * GIB), json!(0.699_9), None),
        (json!(8 * GIB), json!(0.7), Some("70 % of 8.0 GiB limit")),
        (json!(8 * GIB), json!(0.759), Some("75 % of 8.0 GiB limit")),
        (json!(8 * GIB), json!(1.125), Some("112 % of 8.0 GiB limit")),
        (json!(8 * GIB), json!(1e300), Some("999 % of 8.0 GiB limit")),
        (json!(8 * GIB), json!(-1.0), None),
        (json!(8 * GIB), Value::Null, None),
        (json!(0), json!(1.0), None),
        (Value::Null, json!(1.0), None),
    ];
    for (limit, share, said) in table {
        let line = line("quiet", &[("/host/limit", limit), ("/limit_share", share)]);
        match said {
            Some(said) => assert!(line.contains(said), "{line}"),
            None => assert!(!line.contains("limit"), "{line}"),
        }
    }
}

#[test]
fn gpus_that_did_not_move_share_a_segment() {
    let gpu = |index: u32, delta: i64| json!({"index": index, "name": "H100", "used": GIB, "delta": delta, "peak": GIB, "quality": "process", "frameworks": {}});
    let unavailable = json!({"index": 0, "name": "", "used": null, "delta": null, "peak": null, "quality": "unavailable", "frameworks": {}});
    let grown = i64::try_from(GIB).unwrap();
    let table = [
        (json!([]), "1 new var"),
        (json!([unavailable]), "1 new var"),
        (json!([gpu(3, 0)]), "GPU3 +0 · 1 new var"),
        (json!([gpu(0, 0), gpu(1, 0)]), "2 GPUs +0 · 1 new var"),
        (
            json!([gpu(0, 0), gpu(1, grown)]),
            "GPU1 +1.0 GiB · 1 new var",
        ),
        (
            json!((0..6).map(|i| gpu(i, -grown)).collect::<Vec<_>>()),
            "GPU0 −1.0 GiB · GPU1 −1.0 GiB · GPU2 −1.0 GiB · GPU3 −1.0 GiB · 2 more GPUs · 1 new var",
        ),
    ];
    for (gpus, said) in table {
        assert_eq!(
            line("quiet", &[("/gpu", gpus)]),
            format!("[hygiene] 1.2 s · RAM +511 KiB · {said}")
        );
    }
}

#[test]
fn a_finding_is_as_loud_as_its_evidence() {
    let mib = 1 << 20;
    let table = [
        (
            finding("figures", true, mib, "certain"),
            Severity::Leak,
            "Leak: A sentence.",
        ),
        (
            finding("figures", true, mib, "likely"),
            Severity::Leak,
            "Leak suspected: A sentence.",
        ),
        (
            finding("figures", true, mib, "possible"),
            Severity::Quiet,
            "",
        ),
        (
            finding("pool_cache", false, mib, "certain"),
            Severity::Notable,
            "Cached by a pool: A sentence.",
        ),
        (
            finding("pool_cache", false, mib, "likely"),
            Severity::Notable,
            "Cached by a pool: A sentence.",
        ),
        (
            finding("pool_cache", false, mib, "possible"),
            Severity::Quiet,
            "",
        ),
        (
            finding("pool_cache", false, mib - 1, "certain"),
            Severity::Quiet,
            "",
        ),
        (
            finding("user_growth", false, mib, "certain"),
            Severity::Quiet,
            "",
        ),
        (
            finding("user_growth", true, mib, "likely"),
            Severity::Leak,
            "Leak suspected: A sentence.",
        ),
    ];
    for (finding, loudness, said) in table {
        let record = changed("quiet", &[("/findings", json!([finding]))]);
        assert_eq!(
            severity(&record, &Options::default()),
            loudness,
            "{finding}"
        );
        let (text, html) = shown(&record);
        if said.is_empty() {
            assert!(
                !text.contains("sentence") && !html.contains("sentence"),
                "{text}"
            );
        } else {
            assert_eq!(
                text.lines().nth(1),
                Some(format!("[hygiene] ! {said}  -> del x").as_str())
            );
            assert!(stripped(&html).contains(&format!("{said} del x")), "{html}");
        }
    }
}

#[test]
fn leaks_stand_before_what_is_only_notable_and_too_many_are_counted() {
    let mut findings = vec![finding("pool_cache", false, GIB, "certain")];
    findings.extend((0..5).map(|_| finding("figures", true, GIB, "certain")));
    let (text, html) = shown(&changed("quiet", &[("/findings", json!(findings))]));
    assert_eq!(text.matches("! Leak: ").count(), 4);
    assert!(!text.contains("Cached by a pool"));
    assert!(
        text.ends_with("\n[hygiene] ! 2 more findings: %hygiene leaks"),
        "{text}"
    );
    assert!(stripped(&html).contains("2 more findings: %hygiene leaks"));
}

#[test]
fn a_finding_without_a_sentence_gets_one_from_its_figures() {
    let record = changed(
        "leak",
        &[
            ("/findings/0/message", json!("")),
            ("/findings/0/hint", json!("")),
        ],
    );
    let (text, _) = shown(&record);
    assert!(
        text.lines()
            .any(|l| l == "[hygiene] ! Leak suspected: model.history holds 3.5 GiB."),
        "{text}"
    );
}

#[test]
fn a_hint_is_whole_or_another_command_takes_its_place() {
    let command = |length: usize| format!("del {}", "x".repeat(length - 4));
    let table = [
        (
            "for n in (\"_1\",  \"_2\"): f(n)".to_owned(),
            "for n in (\"_1\",  \"_2\"): f(n)".to_owned(),
        ),
        (command(400), command(400)),
        (command(401), "%hygiene leaks".to_owned()),
    ];
    for (hint, said) in table {
        let (text, html) = shown(&changed("leak", &[("/findings/0/hint", json!(hint))]));
        assert!(
            text.lines()
                .nth(1)
                .is_some_and(|line| line.ends_with(&format!("  -> {said}"))),
            "{text}"
        );
        let html_said = format!(">{}</code>", said.replace('"', "&quot;"));
        assert!(html.contains(&html_said), "{html}");
    }
}

#[test]
fn the_details_panel_comes_with_a_large_delta_or_with_a_warning() {
    let mib: i64 = 1 << 20;
    let none = json!([]);
    let leak = json!([finding("figures", true, 1 << 20, "certain")]);
    let table = [
        (mib - 1, &none, false),
        (mib, &none, true),
        (-mib, &none, true),
        (0, &leak, true),
        (0, &none, false),
    ];
    for (delta, findings, panel) in table {
        let (_, html) = shown(&changed(
            "quiet",
            &[
                ("/host/delta", json!(delta)),
                ("/findings", findings.clone()),
            ],
        ));
        assert_eq!(html.contains("<details"), panel, "{delta} {findings}");
    }
    let (_, html) = shown(&changed("quiet", &[("/gpu/0/delta", json!(mib))]));
    assert!(html.contains("<details"), "a GPU counts as well");
}

#[test]
fn a_quiet_badge_is_under_one_kilobyte_and_a_panel_under_nine() {
    let size = |name| shown(&record(sample(name))).1.len();
    assert!(size("quiet") < 1024, "{}", size("quiet"));
    for name in ["details", "notable", "leak"] {
        assert!(size(name) < 9 << 10, "{name}: {}", size(name));
    }
}

#[test]
fn the_table_has_eight_rows_and_the_residue_and_the_smaller_rows_are_added_up() {
    let row = |i: i64| json!({"space": "host", "cause": "variables", "owner": format!("v{i}"), "bytes": i << 20, "evidence": ""});
    let rows: Vec<Value> = (1..=20).map(row).collect();
    let (_, html) = shown(&changed("details", &[("/ledger/rows", json!(rows))]));
    assert_eq!(html.matches("<tr").count(), 9);
    let text = stripped(&html);
    assert!(
        text.contains("v20") && text.contains("v14") && !text.contains("v13"),
        "{text}"
    );
    // 1 + 2 + … + 13 MiB
    assert!(text.contains("…13 smaller ones+91.0 MiB"), "{text}");
    assert!(
        text.contains("—unattributed (allocator, caches)+2.0 MiB99 % explained"),
        "{text}"
    );
}

#[test]
fn a_table_without_a_ledger_shows_the_variables_and_none_that_is_noise() {
    let small = json!({"name": "i", "type": "int", "detail": "", "bytes": 28, "delta": 28, "change": "new", "at_least": false});
    let large = json!({"name": "rows", "type": "list", "detail": "", "bytes": GIB, "delta": GIB, "change": "grown", "at_least": true});
    let changes = [
        ("/ledger/rows", json!([])),
        ("/ledger/residue", Value::Null),
        ("/variables", json!([small, large])),
    ];
    let (_, html) = shown(&changed("details", &changes));
    assert_eq!(html.matches("<tr").count(), 1);
    assert!(
        stripped(&html).contains("rowslist≥ +1.0 GiBgrown"),
        "{html}"
    );
}

#[test]
fn a_row_about_one_variable_shows_its_type_and_any_other_its_cause_and_evidence() {
    let rows = json!([
        {"space": "host", "cause": "variables", "owner": "df", "bytes": 430 << 20, "evidence": "new DataFrame"},
        {"space": "host", "cause": "view_retention", "owner": "mask", "bytes": 40 << 20, "evidence": "a view of a large base"},
        {"space": "host", "cause": "variables", "owner": "7 other names", "bytes": 30 << 20, "evidence": "sizes of the names"},
        {"space": "gpu0", "cause": "mapped_files", "owner": "libtorch", "bytes": 20 << 20, "evidence": "smaps"}
    ]);
    let (_, html) = shown(&changed("details", &[("/ledger/rows", rows)]));
    let text = stripped(&html);
    let parts = [
        "dfDataFrame 4.0M×14+430 MiBnew",
        "maskndarray bool+40.0 MiBa view of a large base",
        "7 other namesVariables+30.0 MiBsizes of the names",
        "libtorchMapped files on GPU0+20.0 MiBsmaps",
    ];
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn notices_and_cleanup_steps_are_told_without_alarm() {
    let (text, html) = shown(&record(sample("notable")));
    assert!(
        text.contains("\n[hygiene] Cleaned up: malloc trim 310 MiB (idle)"),
        "{text}"
    );
    assert!(
        text.contains("\n[hygiene] Note: rust-hygiene.toml, line 3"),
        "{text}"
    );
    assert!(stripped(&html).contains("Cleaned up: malloc trim 310 MiB (idle)"));
    let calm = changed(
        "quiet",
        &[(
            "/notices",
            json!(["Peak is sampled: clear_refs was refused."]),
        )],
    );
    assert_eq!(severity(&calm, &Options::default()), Severity::Quiet);
}

#[test]
fn cleanup_steps_are_one_line_without_those_that_gave_nothing() {
    let step = |step: &str, trigger: &str, host: Value, gpu: Value| json!({"step": step, "trigger": trigger, "released": {"host": host, "gpu": gpu}, "took_s": 0.1});
    let gc = step("gc", "idle", json!(310 << 20), Value::Null);
    let torch = step("torch_cache", "idle", json!(4096), json!(900 << 20));
    let nothing = step("arrow_pool", "idle", json!(-8192), Value::Null);
    let late = step("malloc_trim", "after_cell", json!(80 << 20), Value::Null);
    let table = [
        (json!([nothing]), None),
        (
            json!([gc, torch, nothing]),
            Some("Cleaned up: gc 310 MiB, torch cache 900 MiB of GPU memory (idle)\n"),
        ),
        (
            json!([gc, late]),
            Some("Cleaned up: gc 310 MiB, malloc trim 80.0 MiB\n"),
        ),
    ];
    for (steps, line) in table {
        let (text, _) = shown(&changed("notable", &[("/steps", steps)]));
        match line {
            None => assert!(!text.contains("Cleaned up"), "{text}"),
            Some(line) => assert!(format!("{text}\n").contains(line), "{text}"),
        }
    }
}

#[test]
fn with_every_style_stripped_the_badge_still_reads_well() {
    let text = stripped(&shown(&record(sample("quiet"))).1);
    assert_eq!(text, "1.2 s · RAM +511 KiB · GPU0 +0 · 1 new var");
    let text = stripped(&shown(&record(sample("details"))).1);
    assert!(
        text.starts_with("1.2 s · RAM +512 MiB (peak 1.4 GiB) · GPU0 +0 · 3 new vars"),
        "{text}"
    );
}

#[test]
fn what_a_user_named_is_shown_as_text() {
    let evil = "<script>alert(\"1\")</script>&'\u{202e}\u{1b}[2J";
    let changes: Vec<(&str, Value)> = [
        "/findings/0/culprit/name",
        "/findings/0/message",
        "/findings/0/hint",
        "/variables/0/name",
        "/variables/0/type",
        "/variables/0/detail",
        "/ledger/rows/0/owner",
        "/ledger/rows/0/evidence",
        "/ledger/rows/2/space",
        "/gpu/0/name",
    ]
    .map(|pointer| (pointer, json!(evil)))
    .into();
    let (text, html) = shown(&changed("leak", &changes));
    assert!(
        !html.contains("<script") && html.contains("&lt;script&gt;alert(&quot;1&quot;)"),
        "{html}"
    );
    for shown in [&text, &html] {
        assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'));
    }
}

#[test]
fn the_largest_delta_is_the_largest_of_any_space_in_either_direction() {
    let children = json!({"count": 1, "pss": 1, "delta": -5000});
    let base = [("/host/delta", json!(100)), ("/gpu/0/delta", json!(-70))];
    assert_eq!(largest_delta(&changed("quiet", &base)), 100);
    assert_eq!(
        largest_delta(&changed(
            "quiet",
            &[&base[1..], &[("/host/delta", Value::Null)]].concat()
        )),
        70
    );
    assert_eq!(
        largest_delta(&changed(
            "quiet",
            &[&base[..], &[("/host/children", children)]].concat()
        )),
        5000
    );
    assert_eq!(
        largest_delta(&changed("quiet", &[("/host/delta", json!(i64::MIN))])),
        1 << 63
    );
}
