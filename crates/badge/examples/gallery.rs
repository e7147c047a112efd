//! Prints a page with a badge for each sample record on a light and on a dark ground:
//! `cargo run -p badge --example gallery > gallery.html`.

use badge::{HTML_MIME, Options, TEXT_MIME, bundle};
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
    for (name, json, open) in SAMPLES {
        let record = serde_json::from_str(json)?;
        let data = bundle(
            &record,
            &Options {
                open,
                ..Options::default()
            },
        )
        .data;
        let text = |mime: &str| {
            data.get(mime)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        badges.push_str(&format!(
            "<!-- {name}\n{}\n-->\n{}\n<br>\n",
            text(TEXT_MIME),
            text(HTML_MIME)
        ));
    }
    println!(
        "<!doctype html><meta charset=\"utf-8\"><title>Badges</title><body style=\"margin:0\">"
    );
    for (ground, ink) in [("#fff", "#222"), ("#111", "#e6e6e6")] {
        println!("<div style=\"background:{ground};color:{ink};padding:16px 24px\">{badges}</div>");
    }
    Ok(())
}
