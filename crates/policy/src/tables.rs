//! The keys of a TOML text, each with its value and its place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::KEYS;
use crate::problem::Problem;
use crate::value::Raw;

/// One entry: the dotted key, the value, and where the key stands.
pub(crate) struct Entry<'t> {
    pub(crate) key: String,
    pub(crate) value: Raw<'t>,
    pub(crate) span: Range<usize>,
}

/// Parses a whole text.
///
/// # Errors
/// If it is not TOML: where and why.
pub(crate) fn parse<'t>(origin: &str, text: &'t str) -> Result<Spanned<DeTable<'t>>, Box<Problem>> {
    DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join(" ");
        let mut problem = Problem::of(
            origin,
            format!("not TOML: {message}; the whole file is ignored"),
        );
        if let Some(span) = error.span() {
            let (line, column) = position(text, span.start);
            (problem.line, problem.column) = (Some(line), Some(column));
        }
        Box::new(problem)
    })
}

/// The table `[tool.rust-hygiene]` of a `pyproject.toml`.
pub(crate) fn of_pyproject<'a, 't>(root: &'a DeTable<'t>) -> Option<&'a Spanned<DeValue<'t>>> {
    root.get("tool")?.get_ref().as_table()?.get("rust-hygiene")
}

/// The entries of a table in the order of the text. Only tables that have keys of ours are entered, so any other is one entry.
pub(crate) fn entries<'a>(table: &'a DeTable<'_>) -> Vec<Entry<'a>> {
    let mut out = Vec::new();
    for (key, value) in table {
        let prefix = format!("{}.", key.get_ref());
        let is_table = KEYS.iter().any(|known| known.name.starts_with(&prefix));
        match value.get_ref() {
            DeValue::Table(inner) if is_table => {
                let nested =
                    |(k, v): (&'a Spanned<_>, &'a Spanned<DeValue<'_>>)| entry(&prefix, k, v);
                out.extend(inner.iter().map(nested));
            }
            _ => out.push(entry("", key, value)),
        }
    }
    out.sort_by_key(|entry| entry.span.start);
    out
}

fn entry<'a>(
    prefix: &str,
    key: &'a Spanned<std::borrow::Cow<'_, str>>,
    value: &'a Spanned<DeValue<'_>>,
) -> Entry<'a> {
    Entry {
        key: format!("{prefix}{}", key.get_ref()),
        value: raw(value.get_ref()),
        span: key.span(),
    }
}

fn raw<'a>(value: &'a DeValue<'_>) -> Raw<'a> {
    match value {
        DeValue::String(text) => Raw::Text(text),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Integer(number) => {
            // The parser has removed the underscores; the sign stands before the digits.
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Raw::Other("number"), Raw::Integer)
        }
        DeValue::Float(_) => Raw::Other("fraction"),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Some(&**text),
                _ => None,
            });
            texts
                .collect::<Option<Vec<&str>>>()
                .map_or(Raw::Other("list"), Raw::Texts)
        }
        DeValue::Table(_) => Raw::Other("table"),
    }
}

/// Line and column of a byte in a text, in characters and from 1.
pub(crate) fn position(text: &str, byte: usize) -> (usize, usize) {
    let mut end = byte.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}
