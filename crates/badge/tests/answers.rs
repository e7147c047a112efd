//! What the longer answers say: a cell at length, the ledger of a session, the variables.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use badge::{Bundle, Options, account_bundle, holdings_bundle, why_bundle};
use ledger::{CellEnd, Facts, Inventory, Session, Status, Thresholds, Which};
use serde_json::{Value, json};
use support::{Piece, parse, stripped, texts};

const MIB: u64 = 1 << 20;

/// A session of one notable cell per entry: before and after in MiB, and the facts of tier 1.
fn session(cells: &[(u64, u64, Option<Value>)]) -> Session {
    let mut session = Session::new(Thresholds::default());
    for (number, (before, after, facts)) in (1u64..).zip(cells) {
        let tier1 = facts.as_ref().map(|facts| {
            let (facts, notice) = Facts::parse(facts.to_string().as_bytes());
            assert_eq!(notice, None);
            facts
        });
        let (tier0, _) = Facts::parse(
            br#"{"new": ["x", "y"], "new_count": 5, "dropped": ["old"], "dropped_count": 1}"#,
        );
        let (before, after) = (before * MIB, after * MIB);
        session.close_cell(CellEnd {
            execution_count: Some(number),
            source: "x = load()",
            status: if number == 2 {
                Status::Error
            } else {
                Status::Ok
            },
            wall_s: Some(1.5),
            cpu_s: None,
            overhead_s: None,
            reading: meter::Reading {
                host: meter::Host {
                    before: Some(before),
                    after: Some(after),
                    delta: Some(after as i64 - before as i64),
                    peak: Some(after + 50 * MIB),
                    anon: Some(after as i64 - before as i64),
                    limit: Some(1 << 30),
                    ..meter::Host::default()
                },
                ..meter::Reading::default()
            },
            tier0,
            tier1,
            notices: vec!["A notice.".into()],
        });
    }
    session
}

fn large_variable(name: &str) -> Value {
    json!({"complete": true, "holders": [], "frameworks": {}, "variables": [
        {"name": name, "type": "ndarray", "detail": "float64", "bytes": 90 * MIB, "before": 0, "change": "new", "at_least": true}
    ]})
}

fn kept_output() -> Value {
    json!({"complete": true, "variables": [], "frameworks": {}, "holders": [
        {"kind": "out", "name": "Out[1]", "names": ["_1"], "type": "ndarray", "detail": "", "bytes": 90 * MIB, "before": 0}
    ]})
}

fn why(session: &Session, which: Which) -> Bundle {
    let past = session.past(which).expect("a cell");
    let findings = session.findings_of(past);
    why_bundle(
        past,
        &findings,
        session.findings().len() - findings.len(),
        &Options::default(),
    )
}

fn all_answers(session: &Session, holdings: &Inventory) -> Vec<Bundle> {
    vec![
        why(session, Which::Last),
        account_bundle(session.account()),
        holdings_bundle(holdings),
    ]
}

fn holdings(variables: Value) -> Inventory {
    let json = json!({"names": 7, "total": 900 * MIB, "complete": true, "variables": variables});
    Inventory::parse(json.to_string().as_bytes()).expect("holdings")
}

fn assert_says(bundle: &Bundle, sentences: &[&str]) {
    let (text, html) = texts(bundle);
    let html = stripped(&html).replace('\u{a0}', " ");
    for sentence in sentences {
        assert!(
            text.contains(sentence),
            "{sentence:?} is not in the text:\n{text}"
        );
        for word in sentence.split("  ").map(str::trim) {
            assert!(html.contains(word), "{word:?} is not in the HTML:\n{html}");
        }
    }
}

#[test]
fn a_cell_is_explained_with_its_figures_rows_residue_and_names() {
    let session = session(&[(100, 200, Some(large_variable("x")))]);
    assert_says(
        &why(&session, Which::Last),
        &[
            "Cell [1]",
            "1.5 s",
            "Resident memory was 100 MiB before and 200 MiB after; the peak was 250 MiB, 150 MiB above the start.",
            "The limit is 1.0 GiB",
            "Nothing of this cell.",
            "+90.0 MiB",
            "unattributed",
            "+10.0 MiB",
            "90 % explained",
            "Estimated from samples, so their rows may be off: x.",
            "no Python name owns",
            "New names: x, y and 3 more.",
            "Dropped names: old.",
            "Note: A notice.",
        ],
    );
}

#[test]
fn findings_of_a_cell_come_with_hint_evidence_and_where_to_read_on() {
    let session = session(&[(100, 200, Some(kept_output())), (200, 201, None)]);
    assert_says(
        &why(&session, Which::Numbered(1)),
        &[
            "Leak: The output history (Out) alone keeps 90.0 MiB",
            "%xdel _1",
            "certain",
            "%hygiene help ipython_refs",
        ],
    );
    assert_says(
        &why(&session, Which::Last),
        &["Cell [2], run 2 of this code, failed", "%xdel _1"],
    );
}

#[test]
fn a_finding_that_no_longer_holds_is_not_told() {
    let gone = json!({"complete": true, "variables": [], "holders": [], "frameworks": {}});
    let session = session(&[(100, 200, Some(kept_output())), (200, 100, Some(gone))]);
    assert_says(
        &why(&session, Which::Numbered(1)),
        &["Nothing of this cell."],
    );
}

#[test]
fn the_ledger_of_a_session_has_every_part_of_the_change() {
    let session = session(&[
        (100, 200, Some(large_variable("x"))),
        (190, 190, None),
        (190, 280, Some(kept_output())),
    ]);
    assert_says(
        &account_bundle(session.account()),
        &[
            "The ledger of 3 cells",
            "100 MiB before the first cell and is 280 MiB now, +180 MiB; the highest peak was 330 MiB",
            "Live, by owner",
            "x       Variables",
            "what no row explains",
            "+10.0 MiB",
            "between cells",
            "\u{2212}10.0 MiB",
            "1 cell",
            "[3]",
        ],
    );
    let empty = Session::new(Thresholds::default());
    assert_says(
        &account_bundle(empty.account()),
        &["No cell has been measured yet."],
    );
}

#[test]
fn variables_are_listed_with_what_they_hold_alone_and_who_shares_the_rest() {
    let bundle = holdings_bundle(&holdings(json!([
        {"name": "df", "names": ["same"], "type": "DataFrame", "detail": "(3, 4)", "bytes": 800 * MIB, "exclusive": 300 * MIB,
         "at_least": true, "gpu": 0, "shared_with": [{"name": "parts", "bytes": 500 * MIB}]},
        {"name": "slow", "type": "list", "detail": "", "bytes": 5 * MIB, "exclusive": null}
    ])));
    assert_says(
        &bundle,
        &[
            "7 names hold 900 MiB",
            "df = same",
            "\u{2265} 800 MiB",
            "300 MiB",
            "parts (500 MiB)",
            "?",
        ],
    );
    assert!(!texts(&bundle).0.contains("GPU"));
    let on_gpu = holdings(
        json!([{"name": "t", "type": "Tensor", "bytes": 200, "exclusive": 200, "gpu": 3 * MIB}]),
    );
    assert_says(&holdings_bundle(&on_gpu), &["on GPUs", "3.0 MiB"]);
    assert_says(
        &holdings_bundle(&holdings(json!([]))),
        &["There is nothing to list."],
    );
}

#[test]
fn names_of_a_program_cannot_break_out_of_an_answer() {
    for hostile in [
        "<img src=x onerror=alert(1)>",
        "\" style=\"x",
        "</div></td>",
        "a\n[hygiene] forged",
        "\u{202e}txt",
        "\u{1b}[31m",
    ] {
        let session = session(&[(100, 200, Some(large_variable(hostile)))]);
        let holdings = holdings(
            json!([{"name": hostile, "names": [hostile], "type": hostile, "detail": hostile,
            "bytes": MIB, "exclusive": 1, "shared_with": [{"name": hostile, "bytes": MIB}]}]),
        );
        for bundle in all_answers(&session, &holdings) {
            let (text, html) = texts(&bundle);
            assert_eq!(
                text.matches("[hygiene]").count() - text.matches("[hygiene] forged").count(),
                1
            );
            assert!(
                !text
                    .lines()
                    .any(|line| line.starts_with("[hygiene] forged")),
                "{text}"
            );
            assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
            for piece in parse(&html).expect("readable HTML") {
                if let Piece::Open(tag, attributes, _) = piece {
                    assert!(
                        ["div", "span", "code", "table", "tbody", "tr", "td"]
                            .contains(&tag.as_str()),
                        "{tag}"
                    );
                    assert!(
                        attributes.iter().all(|(key, _)| key == "style"),
                        "{attributes:?}"
                    );
                }
            }
        }
    }
}
