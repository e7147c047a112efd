//! Sample records and a reader of the HTML that we write, shared by the integration tests.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::expect_used, reason = "helpers of tests")]

use badge::{Bundle, HTML_MIME, Options, TEXT_MIME, bundle};
use ledger::CellRecord;
use serde_json::{Value, json};

/// Name and JSON of each sample.
pub const SAMPLES: [(&str, &str); 5] = [
    ("quiet", include_str!("../../samples/quiet.json")),
    ("details", include_str!("../../samples/details.json")),
    ("notable", include_str!("../../samples/notable.json")),
    ("leak", include_str!("../../samples/leak.json")),
    ("traceback", include_str!("../../samples/traceback.json")),
];

/// The sample of that name as JSON.
pub fn sample(name: &str) -> Value {
    let (_, text) = SAMPLES
        .iter()
        .find(|(n, _)| *n == name)
        .expect("a sample of that name");
    serde_json::from_str(text).expect("a sample is JSON")
}

/// The record that some JSON stands for.
pub fn record(json: Value) -> CellRecord {
    serde_json::from_value(json).expect("a cell record")
}

/// The sample `name` after one value is replaced; `pointer` is a JSON pointer.
pub fn changed(name: &str, changes: &[(&str, Value)]) -> CellRecord {
    let mut value = sample(name);
    for (pointer, new) in changes {
        *value
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{pointer} in {name}")) = new.clone();
    }
    record(value)
}

/// A finding with the given cause, leak flag, bytes and confidence.
pub fn finding(cause: &str, leak: bool, bytes: u64, confidence: &str) -> Value {
    json!({
        "id": format!("{cause}:x"), "cause": cause, "leak": leak, "culprit": {"kind": "variable", "name": "x"},
        "bytes": bytes, "confidence": confidence, "message": "A sentence.", "hint": "del x", "step": null
    })
}

/// Text and HTML of a record.
pub fn shown(record: &CellRecord) -> (String, String) {
    texts(&bundle(record, &Options::default()))
}

/// Text and HTML of a bundle.
pub fn texts(bundle: &Bundle) -> (String, String) {
    let text = |mime: &str| bundle.data[mime].as_str().expect("a string").to_owned();
    (text(TEXT_MIME), text(HTML_MIME))
}

/// One piece of HTML.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Name and attributes; whether it closes itself.
    Open(String, Vec<(String, String)>, bool),
    /// Name.
    Close(String),
    /// What stands between tags, still escaped.
    Text(String),
}

/// Reads HTML as strictly as we write it: quoted attributes (or bare `open`), lower-case names. `Err` says what is wrong.
pub fn parse(html: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        if at > 0 {
            pieces.push(Piece::Text(rest[..at].to_owned()));
        }
        let inside = &rest[at + 1..];
        let end = inside.find('>').ok_or("a tag does not end")?;
        pieces.push(tag(&inside[..end])?);
        rest = &inside[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn tag(inside: &str) -> Result<Piece, String> {
    if let Some(name) = inside.strip_prefix('/') {
        return Ok(Piece::Close(name.to_owned()));
    }
    let (inside, closed) = inside
        .strip_suffix('/')
        .map_or((inside, false), |inside| (inside, true));
    let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase()) {
        return Err(format!("not the name of a tag: {name:?}"));
    }
    let mut attributes = Vec::new();
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let word = rest.find(['=', ' ']).unwrap_or(rest.len());
        let key = rest[..word].to_owned();
        rest = &rest[word..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let end = quoted
                .find('"')
                .ok_or(format!("{key} has no closing quote"))?;
            value = quoted[..end].to_owned();
            rest = &quoted[end + 1..];
        } else if rest.starts_with('=') {
            return Err(format!("{key} is not quoted"));
        }
        attributes.push((key, value));
    }
    Ok(Piece::Open(name.to_owned(), attributes, closed))
}

/// Whether every tag is closed, in the right order.
pub fn check_balance(pieces: &[Piece]) -> Result<(), String> {
    let mut open = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Open(_, _, true) | Piece::Text(_) => {}
            Piece::Open(name, ..) => open.push(name),
            Piece::Close(name) if open.last() == Some(&name) => drop(open.pop()),
            Piece::Close(name) => return Err(format!("</{name}> closes {:?}", open.last())),
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("never closed: {open:?}"))
    }
}

/// The text that is left when every tag is stripped.
pub fn stripped(html: &str) -> String {
    let text: String = parse(html)
        .expect("readable HTML")
        .into_iter()
        .filter_map(|piece| {
            if let Piece::Text(text) = piece {
                Some(text)
            } else {
                None
            }
        })
        .collect();
    text.replace('\u{a0}', " ")
}
