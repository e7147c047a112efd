//! Prints a page with a badge for each sample record, and lists of findings, on a light and on a dark ground:
//! `cargo run -p badge --example gallery > gallery.html`.

use badge::{Bundle, HTML_MIME, Options, TEXT_MIME, bundle, findings_bundle};
use ledger::CellRecord;
use serde_json::Value;

const SAMPLES: [(&str, &str, bool); 6] = [
    ("quiet", include_str!("../samples/quiet.json"), false),
    ("details", include_str!("../samples/details.json"), true),
    (
        "notable, folded",
        include_str!("../samples/notable.json"),
        false,
    ),
    ("notable", include_str!("../samples/notable.json"), true),
    ("leak", include_str!("../samples/leak.json"), true),
    (
        "a long hint",
        include_str!("../samples/traceback.json"),
        false,
    ),
];

fn main() -> Result<(), serde_json::Error> {
    let mut badges = String::new();
    let mut findings = Vec::new();
    for (name, json, open) in SAMPLES {
        let record: CellRecord = serde_json::from_str(json)?;
        let options = Options {
            open,
            ..Options::default()
        };
        badges.push_str(&shown(name, &bundle(&record, &options)));
        findings.extend(record.findings);
    }
    for (name, findings) in [("list", findings), ("empty list", Vec::new())] {
        let list = findings_bundle(&findings, &Options::default());
        badges.push_str(&shown(name, &list));
    }
    println!(
        "<!doctype html><meta charset=\"utf-8\"><title>Badges</title><body style=\"margin:0\">"
    );
    for (ground, ink) in [("#fff", "#222"), ("#111", "#e6e6e6")] {
        println!("<div style=\"background:{ground};color:{ink};padding:16px 24px\">{badges}</div>");
    }
    Ok(())
}

fn shown(name: &str, bundle: &Bundle) -> String {
    let text = |mime: &str| {
        bundle
            .data
            .get(mime)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!(
        "<!-- {name}\n{}\n-->\n{}\n<br>\n",
        text(TEXT_MIME),
        text(HTML_MIME)
    )
}
