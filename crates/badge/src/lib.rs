//! A cell record, or a list of findings, as a MIME bundle.
//!
//! [`bundle`] turns one [`CellRecord`] into three representations of the same facts: a line of text, a piece of HTML that
//! survives the sanitisers of the notebook front ends, and the record itself as JSON. It is a pure function and never fails:
//! what could not be measured is left out, and whatever a user's program put into a name or a message is shown as text.
//!
//! The data flows one way: `view` reads the record and cleans every text, `line` and `rows` choose what to say, `plain` and
//! `html` write it. Only `view` knows the fields of the record.
//!
//! How the HTML must be written, and why, is told in `docs/badge.md`.

mod account;
mod cause;
mod doc;
mod duration;
mod html;
mod line;
mod plain;
mod rows;
mod size;
mod spark;
mod style;
mod text;
mod vars;
mod view;
mod why;

use ledger::{Account, CellRecord, Finding, Inventory, Past};
use serde_json::{Map, Value, json};

pub use duration::Seconds;
pub use size::{Bytes, Delta};

/// Key of the one-line text.
pub const TEXT_MIME: &str = "text/plain";
/// Key of the HTML.
pub const HTML_MIME: &str = "text/html";
/// Key of a page of documentation.
pub const MARKDOWN_MIME: &str = "text/markdown";
/// Key of the record itself.
pub const RECORD_MIME: &str = "application/vnd.rust-hygiene.cell+json";
/// Key of a list of findings: `{"v": 1, "findings": […]}`, each finding as in a record.
pub const FINDINGS_MIME: &str = "application/vnd.rust-hygiene.findings+json";
/// Key in the output's metadata (and in `execute_reply.metadata`) that marks what is ours.
pub const METADATA_KEY: &str = "rust_hygiene";

/// What the badge depends on besides the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A change of at least this many bytes, in either direction, gets the details panel, and a finding that is not a leak
    /// gets a warning line.
    pub details_delta: u64,
    /// Whether the details panel starts unfolded.
    pub open: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            details_delta: 1 << 20,
            open: false,
        }
    }
}

/// The `data` and `metadata` of a `display_data` message.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// MIME type to representation.
    pub data: Map<String, Value>,
    /// Marks the output as a badge, so that a filter can remove it from a notebook.
    pub metadata: Value,
}

/// How loud a badge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// One line of figures, nothing to act on.
    Quiet,
    /// Something worth knowing: amber.
    Notable,
    /// Memory is kept by accident: red.
    Leak,
}

/// Writes the badge of one cell.
#[must_use]
pub fn bundle(record: &CellRecord, options: &Options) -> Bundle {
    let view = view::View::of(record, options);
    // A record is plain data with string keys, so this does not fail; were it to, the two other representations still say all.
    let json = serde_json::to_value(record).ok();
    of(
        plain::badge(&view),
        html::badge(&view, options),
        (RECORD_MIME, json),
    )
}

/// Writes a list of findings, such as all that still hold, in the order given.
///
/// Unlike a badge it leaves nothing out for being small or uncertain, since somebody has asked; and every hint is whole.
#[must_use]
pub fn findings_bundle(findings: &[Finding], options: &Options) -> Bundle {
    let list = view::List::of(findings, options);
    let json = serde_json::to_value(findings)
        .ok()
        .map(|findings| json!({ "v": 1, "findings": findings }));
    of(plain::list(&list), html::list(&list), (FINDINGS_MIME, json))
}

/// Explains a cell at length: its figures, the `findings` of this cell that hold (and how many `others` do), every row of its
/// ledger, what the residue may be, and the names that moved.
#[must_use]
pub fn why_bundle(past: &Past, findings: &[Finding], others: usize, options: &Options) -> Bundle {
    let (blocks, severity) = why::blocks(past, findings, others, options);
    answer(&blocks, severity)
}

/// Writes the ledger of a session: by owner, by allocator, and cell by cell.
#[must_use]
pub fn account_bundle(account: &Account) -> Bundle {
    answer(&account::blocks(account), Severity::Quiet)
}

/// Lists the largest variables: what each holds, what it holds alone, and who else holds the rest.
#[must_use]
pub fn holdings_bundle(holdings: &Inventory) -> Bundle {
    answer(&vars::blocks(holdings), Severity::Quiet)
}

/// A page of the documentation, written in Markdown.
#[must_use]
pub fn page_bundle(page: &str) -> Bundle {
    let mut data = Map::new();
    data.insert(TEXT_MIME.to_owned(), Value::String(page.to_owned()));
    data.insert(MARKDOWN_MIME.to_owned(), Value::String(page.to_owned()));
    Bundle {
        data,
        metadata: json!({ METADATA_KEY: { "v": 1 } }),
    }
}

fn answer(blocks: &[doc::Block], severity: Severity) -> Bundle {
    let mut data = Map::new();
    data.insert(TEXT_MIME.to_owned(), Value::String(doc::text(blocks)));
    data.insert(
        HTML_MIME.to_owned(),
        Value::String(doc::html(blocks, severity)),
    );
    Bundle {
        data,
        metadata: json!({ METADATA_KEY: { "v": 1 } }),
    }
}

fn of(text: String, html: String, (mime, json): (&str, Option<Value>)) -> Bundle {
    let mut data = Map::new();
    data.insert(TEXT_MIME.to_owned(), Value::String(text));
    data.insert(HTML_MIME.to_owned(), Value::String(html));
    data.extend(json.map(|json| (mime.to_owned(), json)));
    Bundle {
        data,
        metadata: json!({ METADATA_KEY: { "v": 1 } }),
    }
}

/// How loud the badge of this record is: the worst of the warnings that it shows.
#[must_use]
pub fn severity(record: &CellRecord, options: &Options) -> Severity {
    view::View::of(record, options).severity()
}

/// The largest change of the cell in bytes, in either direction: of the host, of the child processes or of a GPU.
#[must_use]
pub fn largest_delta(record: &CellRecord) -> u64 {
    view::largest_delta(record)
}
