//! Whatever a record holds, the badge is well-formed and shows what the user named as text.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use badge::{Bundle, FINDINGS_MIME, Options, TEXT_MIME, bundle, findings_bundle};
use ledger::{CellRecord, Finding};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Piece, check_balance, parse, record, sample, stripped, texts};

/// Text of the kind that breaks things: markup, controls, direction marks, very long.
fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[<>&\"'/=;:{}\\\\ \n\t\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}a-z]{0,60}",
        Just("</div><script>alert(1)</script>".to_owned()),
        Just("x".repeat(10_000)),
    ]
}

fn unsigned() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<u64>().prop_map(|n| json!(n)),
        (0u64..1 << 34).prop_map(|n| json!(n)),
        Just(json!(u64::MAX))
    ]
}

fn signed() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(|n| json!(n)),
        Just(json!(i64::MIN)),
        Just(json!(i64::MAX))
    ]
}

fn bytes() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        -1i64 << 30..1 << 30
    ]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..1e6,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY)
    ]
}

fn host() -> impl Strategy<Value = Value> {
    let quality = prop_oneof![Just(json!("exact")), Just(json!("sampled"))];
    let children = prop_oneof![
        Just(Value::Null),
        (any::<u64>(), unsigned(), signed()).prop_map(|(count, pss, delta)| {
            json!({"count": count, "pss": pss, "delta": delta})
        })
    ];
    (unsigned(), signed(), unsigned(), quality, children, unsigned()).prop_map(|(after, delta, peak, quality, children, limit)| {
        json!({
            "before": after, "after": after, "delta": delta, "peak": peak, "peak_quality": quality, "anon": delta,
            "file": delta, "shmem": null, "swap": null, "children": children, "limit": limit, "limit_source": "policy"
        })
    })
}

fn gpu() -> impl Strategy<Value = Value> {
    let quality = prop::sample::select(vec![
        "process",
        "sole_process",
        "device_delta",
        "framework",
        "unavailable",
    ]);
    (any::<u32>(), nasty(), unsigned(), signed(), unsigned(), quality, nasty()).prop_map(
        |(index, name, used, delta, peak, quality, framework)| {
            let mut gpu = json!({
                "index": index, "name": name, "used": used, "delta": delta, "peak": peak, "quality": quality, "frameworks": {}
            });
            gpu["frameworks"][framework] = json!({"live": used, "cached": peak});
            gpu
        },
    )
}

fn variable() -> impl Strategy<Value = Value> {
    let change = prop::sample::select(vec!["new", "grown", "shrunk", "dropped"]);
    (nasty(), nasty(), any::<u64>(), bytes(), change, any::<bool>()).prop_map(|(name, kind, bytes, delta, change, at_least)| {
        json!({
            "name": name, "type": kind, "detail": kind, "bytes": bytes, "delta": delta, "change": change, "at_least": at_least
        })
    })
}

/// Causes that a record may name; the words of the closed list and of the rows.
fn cause(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

fn row() -> impl Strategy<Value = Value> {
    let cause = cause(&["variables", "mapped_files", "user_growth", "pool_cache"]);
    (nasty(), cause, nasty(), bytes(), nasty()).prop_map(|(space, cause, owner, bytes, evidence)| {
        json!({"space": space, "cause": cause, "owner": owner, "bytes": bytes, "evidence": evidence})
    })
}

fn finding() -> impl Strategy<Value = Value> {
    let confidence = prop::sample::select(vec!["certain", "likely", "possible"]);
    let cause = cause(&["user_growth", "ipython_refs", "pool_cache", "native_leak"]);
    (cause, any::<bool>(), nasty(), any::<u64>(), confidence, nasty(), nasty()).prop_map(
        |(cause, leak, name, bytes, confidence, message, hint)| {
            json!({
                "id": hint, "cause": cause, "leak": leak, "culprit": {"kind": "variable", "name": name}, "bytes": bytes,
                "confidence": confidence, "message": message, "hint": hint, "step": null
            })
        },
    )
}

fn step() -> impl Strategy<Value = Value> {
    (nasty(), nasty(), bytes(), bytes()).prop_map(|(step, trigger, host, gpu)| {
        json!({"step": step, "trigger": trigger, "released": {"host": host, "gpu": gpu}, "took_s": 0.1})
    })
}

fn any_record() -> impl Strategy<Value = CellRecord> {
    let ledger = (prop::collection::vec(row(), 0..12), signed(), float())
            .prop_map(|(rows, residue, explained)| json!({"rows": rows, "residue": residue, "explained": explained}));
    let many = (
        prop::collection::vec(gpu(), 0..7),
        prop::collection::vec(variable(), 0..12),
        prop::collection::vec(finding(), 0..7),
        prop::collection::vec(step(), 0..5),
        prop::collection::vec(nasty(), 0..5),
    );
    let timeline = prop::collection::vec((float(), any::<u64>()), 0..60);
    (float(), host(), any::<u64>(), ledger, many, timeline).prop_map(
        |(wall_s, host, count, ledger, many, timeline)| {
            let mut value = sample("quiet");
            let (gpu, variables, findings, steps, notices) = many;
            let parts = [
                ("host", host),
                ("ledger", ledger),
                ("gpu", json!(gpu)),
                ("variables", json!(variables)),
                ("findings", json!(findings)),
                ("steps", json!(steps)),
                ("notices", json!(notices)),
                (
                    "counts",
                    json!({"new": count, "dropped": count, "changed": count}),
                ),
                (
                    "timeline",
                    timeline
                        .iter()
                        .map(|(_, rss)| json!({"t_s": 0.0, "rss": rss}))
                        .collect(),
                ),
            ];
            for (key, part) in parts {
                value[key] = part;
            }
            let mut record = record(value);
            // JSON has no NaN and no infinity, but a record in memory may.
            record.wall_s = Some(wall_s);
            record.limit_share = Some(wall_s);
            for (sample, (t_s, _)) in record.timeline.iter_mut().zip(timeline) {
                sample.t_s = t_s;
            }
            record
        },
    )
}

fn check(badge: &Bundle) -> Result<(), String> {
    let (_, html) = texts(badge);
    if html.matches("<div").count() > 20 || html.len() > 40_000 {
        return Err(format!("{} bytes of HTML", html.len()));
    }
    check_texts(badge)
}

fn check_texts(bundle: &Bundle) -> Result<(), String> {
    let (text, html) = texts(bundle);
    let pieces = parse(&html)?;
    check_balance(&pieces)?;
    for piece in &pieces {
        let Piece::Text(text) = piece else { continue };
        if text.contains(['>', '"', '\'']) {
            return Err(format!("not escaped: {text:?}"));
        }
    }
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    if let Some(c) = html.chars().chain(text.chars()).find(|&c| bad(c)) {
        return Err(format!("{c:?} is shown"));
    }
    if !text.lines().all(|line| line.starts_with("[hygiene] ")) {
        return Err(format!("a text broke its line: {text:?}"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_makes_well_formed_html_and_unbroken_text(record in any_record(), details_delta in any::<u64>(), open: bool) {
        for details_delta in [0, details_delta] {
            let badge = bundle(&record, &Options { details_delta, open });
            prop_assert_eq!(check(&badge), Ok(()));
            prop_assert!(badge.data.contains_key(TEXT_MIME));
        }
    }

    #[test]
    fn any_findings_make_a_well_formed_list_with_one_line_each(findings in prop::collection::vec(finding(), 0..7)) {
        let count = findings.len();
        let findings: Vec<Finding> = serde_json::from_value(json!(findings)).expect("findings as in a record");
        let list = findings_bundle(&findings, &Options::default());
        prop_assert_eq!(check_texts(&list), Ok(()));
        let (text, _) = texts(&list);
        prop_assert_eq!(text.lines().count(), count.max(1));
        prop_assert_eq!(&list.data[FINDINGS_MIME], &json!({"v": 1, "findings": findings}));
    }

    #[test]
    fn a_hint_of_printable_characters_is_in_a_list_to_the_letter(hint in "[!-~]([ -~]{0,800}[!-~])?") {
        let mut one = support::finding("figures", true, 1, "likely");
        one["hint"] = json!(hint);
        let findings: Vec<Finding> = serde_json::from_value(json!([one])).expect("a finding as in a record");
        let (text, html) = texts(&findings_bundle(&findings, &Options::default()));
        let (in_text, in_html) = (format!("  -> {hint}"), format!(" {hint}"));
        prop_assert!(text.ends_with(&in_text), "{}", text);
        let unescaped = stripped(&html);
        let unescaped = unescaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#x27;", "'");
        prop_assert!(unescaped.replace("&amp;", "&").ends_with(&in_html), "{}", html);
    }
}
