//! What a list of findings says.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use badge::{Bundle, FINDINGS_MIME, METADATA_KEY, Options, findings_bundle};
use ledger::Finding;
use serde_json::{Value, json};
use support::{finding, record, sample, stripped, texts};

fn list(findings: &[Value]) -> Bundle {
    let findings: Vec<Finding> =
        serde_json::from_value(json!(findings)).expect("findings as in a record");
    findings_bundle(&findings, &Options::default())
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut finding = finding("figures", true, 1 << 20, "certain");
    for (key, value) in changes {
        finding[*key] = value.clone();
    }
    finding
}

#[test]
fn a_list_has_three_representations_and_the_mark_of_what_is_ours() {
    let findings = record(sample("leak")).findings;
    let bundle = findings_bundle(&findings, &Options::default());
    assert_eq!(
        bundle.data.keys().collect::<Vec<_>>(),
        ["text/plain", "text/html", FINDINGS_MIME]
    );
    assert_eq!(
        bundle.data[FINDINGS_MIME],
        json!({"v": 1, "findings": sample("leak")["findings"]})
    );
    assert_eq!(bundle.metadata, json!({ METADATA_KEY: {"v": 1} }));
}

#[test]
fn without_findings_it_says_so() {
    let bundle = list(&[]);
    let (text, html) = texts(&bundle);
    assert_eq!(text, "[hygiene] nothing is kept by accident");
    assert_eq!(stripped(&html), "nothing is kept by accident");
    assert_eq!(bundle.data[FINDINGS_MIME], json!({"v": 1, "findings": []}));
}

#[test]
fn a_finding_is_one_line_whose_title_says_how_sure_it_is() {
    let table = [
        (true, "certain", "Leak: A sentence.  -> del x"),
        (true, "likely", "Leak suspected: A sentence.  -> del x"),
        (true, "possible", "Possible leak: A sentence.  -> del x"),
        (false, "certain", "Cached by a pool: A sentence.  -> del x"),
        (false, "possible", "Cached by a pool: A sentence.  -> del x"),
    ];
    let findings: Vec<Value> = table
        .iter()
        .map(|&(leak, confidence, _)| finding("pool_cache", leak, 1, confidence))
        .collect();
    let (text, html) = texts(&list(&findings));
    let said: Vec<String> = table
        .iter()
        .map(|(.., said)| format!("[hygiene] {said}"))
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), said);
    for (.., said) in table {
        assert!(
            stripped(&html).contains(&said.replace("  -> ", " ")),
            "{html}"
        );
    }
}

#[test]
fn every_hint_is_whole() {
    let long = format!("for n in ({}): del_var(n)", "\"_1\", ".repeat(1_000));
    let (text, html) = texts(&list(&[with(&[("hint", json!(long))])]));
    assert!(text.ends_with(&format!("  -> {long}")));
    assert!(html.contains(&format!(">{}</code>", long.replace('"', "&quot;"))));
}

#[test]
fn a_message_may_be_long_and_one_is_made_if_there_is_none() {
    let long = "word ".repeat(150);
    let (text, _) = texts(&list(&[
        with(&[("message", json!(long)), ("hint", json!(""))]),
        with(&[("message", json!("")), ("hint", json!(""))]),
    ]));
    assert_eq!(
        text,
        format!(
            "[hygiene] Leak: {}\n[hygiene] Leak: x holds 1.0 MiB.",
            long.trim()
        )
    );
}

#[test]
fn beyond_a_hundred_they_are_counted_and_the_json_has_them_all() {
    let bundle = list(&vec![with(&[]); 103]);
    let (text, html) = texts(&bundle);
    assert_eq!(text.lines().count(), 101);
    assert!(text.ends_with("\n[hygiene] 3 more findings"));
    assert!(stripped(&html).ends_with("3 more findings"));
    let all = bundle.data[FINDINGS_MIME]["findings"].as_array();
    assert_eq!(all.map(Vec::len), Some(103));
}

#[test]
fn the_edge_is_as_loud_as_the_worst_finding() {
    let table = [
        (finding("figures", true, 1, "likely"), "solid #e03131"),
        (
            finding("pool_cache", false, 1 << 20, "certain"),
            "solid #e08c1a",
        ),
        (
            finding("pool_cache", false, 1, "certain"),
            "solid rgba(128,128,128,.35)",
        ),
        (
            finding("figures", true, 1 << 30, "possible"),
            "solid rgba(128,128,128,.35)",
        ),
    ];
    for (finding, edge) in table {
        let (_, html) = texts(&list(&[finding]));
        assert!(html.contains(edge), "{html}");
    }
}
