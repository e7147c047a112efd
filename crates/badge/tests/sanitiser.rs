//! Every tag, attribute and style of a badge is one that JupyterLab's sanitiser keeps in an untrusted notebook.
//!
//! The lists are the part that we use of those in JupyterLab 4.6 (`@jupyterlab/apputils`, `sanitizer.ts`). The classic notebook,
//! VS Code and nbconvert let through at least as much.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use badge::{Options, bundle, findings_bundle};
use support::{Piece, SAMPLES, parse, record, sample, texts};

const TAGS: [&str; 10] = [
    "div", "span", "code", "details", "summary", "img", "table", "tbody", "tr", "td",
];
const PROPERTIES: [&str; 24] = [
    "background",
    "border",
    "border-collapse",
    "border-left",
    "border-radius",
    "color",
    "cursor",
    "display",
    "font-family",
    "font-size",
    "font-weight",
    "height",
    "line-height",
    "margin",
    "max-width",
    "opacity",
    "overflow-wrap",
    "padding",
    "padding-left",
    "text-align",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
];
/// Values with a word of these are dropped, and what is fixed to one theme is unreadable in the other.
const REFUSED: [&str; 9] = [
    "var(",
    "calc(",
    "hsl",
    "currentcolor",
    "url(",
    "expression",
    "!important",
    "\\",
    "/*",
];

fn attribute_is_kept(tag: &str, key: &str) -> bool {
    match key {
        "style" => true,
        "open" => tag == "details",
        "alt" | "width" | "height" | "src" => tag == "img",
        _ => false,
    }
}

fn check(html: &str) {
    for piece in parse(html).expect("readable HTML") {
        let Piece::Open(tag, attributes, _) = piece else {
            continue;
        };
        assert!(TAGS.contains(&tag.as_str()), "<{tag}> is not on the list");
        for (key, value) in attributes {
            assert!(attribute_is_kept(&tag, &key), "{key} of <{tag}> is dropped");
            if key == "style" {
                check_style(&value);
            }
            if key == "src" {
                assert!(value.starts_with("data:image/svg+xml;base64,"), "{value}");
            }
        }
    }
}

fn check_style(style: &str) {
    for declaration in style.split(';') {
        let (property, value) = declaration
            .split_once(':')
            .unwrap_or_else(|| panic!("{declaration:?} in {style:?}"));
        assert!(
            PROPERTIES.contains(&property),
            "{property} is not on the list"
        );
        let small = value.to_lowercase();
        assert!(
            !value.is_empty() && REFUSED.iter().all(|word| !small.contains(word)),
            "{declaration}"
        );
        match property {
            // Text inherits its colour; only the warning sign has one of its own.
            "color" => assert!(["#e08c1a", "#e03131"].contains(&value), "{declaration}"),
            "font-size" | "max-width" | "border-radius" | "height" => {
                assert!(is_length(value), "{declaration}")
            }
            "padding" | "margin" | "padding-left" => {
                assert!(value.split(' ').all(is_length), "{declaration}")
            }
            "width" => assert!(value == "auto" || is_length(value), "{declaration}"),
            "opacity" => assert!(
                value.parse::<f64>().is_ok_and(|v| (0.0..=1.0).contains(&v)),
                "{declaration}"
            ),
            _ => {}
        }
    }
}

fn is_length(value: &str) -> bool {
    let number = value.trim_end_matches("px").trim_end_matches('%');
    number
        .parse::<f64>()
        .is_ok_and(|n| n == 0.0 || number.len() < value.len())
}

#[test]
fn the_sanitiser_keeps_all_of_every_sample() {
    for (name, _) in SAMPLES {
        for open in [false, true] {
            let (_, html) = texts(&bundle(
                &record(sample(name)),
                &Options {
                    open,
                    ..Options::default()
                },
            ));
            check(&html);
        }
    }
}

#[test]
fn the_sanitiser_keeps_all_of_every_list() {
    for (name, _) in SAMPLES {
        let findings = record(sample(name)).findings;
        check(&texts(&findings_bundle(&findings, &Options::default())).1);
    }
}

#[test]
fn the_sanitiser_keeps_all_of_every_answer() {
    let mut session = ledger::Session::new(ledger::Thresholds::default());
    for (name, _) in SAMPLES {
        let record = record(sample(name));
        session.close_cell(ledger::CellEnd {
            execution_count: Some(1),
            source: name,
            status: ledger::Status::Ok,
            wall_s: None,
            cpu_s: None,
            overhead_s: None,
            reading: meter::Reading {
                host: record.host,
                gpu: record.gpu,
                timeline: record.timeline,
                ..meter::Reading::default()
            },
            tier0: ledger::Facts::default(),
            tier1: None,
            notices: Vec::new(),
        });
        let past = session.past(ledger::Which::Newest).expect("a cell");
        let why = badge::why_bundle(past, &record.findings, 2, &Options::default());
        check(&texts(&why).1);
    }
    check(&texts(&badge::account_bundle(session.account())).1);
    let holdings =
        br#"{"names": 1, "variables": [{"name": "x", "bytes": 9, "exclusive": 9, "gpu": 7}]}"#;
    let holdings = ledger::Inventory::parse(holdings).expect("holdings");
    check(&texts(&badge::holdings_bundle(&holdings)).1);
}

#[test]
fn the_check_refuses_what_the_sanitiser_drops() {
    let dropped = [
        "<svg></svg>",
        "<div class=\"x\"></div>",
        "<div style=\"color:var(--jp-ui-font-color1)\"></div>",
        "<div style=\"color:#222\"></div>",
        "<div style=\"font-variant-numeric:tabular-nums\"></div>",
        "<div style=\"width:calc(1px + 2px)\"></div>",
        "<div style=\"padding:1vw\"></div>",
        "<div style=\"display:block;\"></div>",
        "<span open></span>",
        "<img src=\"https://example.org/x.png\"/>",
    ];
    for html in dropped {
        assert!(
            std::panic::catch_unwind(|| check(html)).is_err(),
            "{html} passed"
        );
    }
}
