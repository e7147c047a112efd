//! Values as they stand in a source, and how each kind of key reads them.

use std::path::{Path, PathBuf};

use crate::config::StreamLimit;
use crate::problem::quoted;
use crate::size::parse_size;

/// A value before a key has read it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw<'a> {
    /// A string of a file.
    Text(&'a str),
    /// From the environment or the command line, where all is text.
    Untyped(&'a str),
    /// `true` or `false` of a file.
    Bool(bool),
    /// A whole number of a file.
    Integer(i64),
    /// Anything else of a file; the word for its type.
    Other(&'static str),
}

impl Raw<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Untyped(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The value as it is repeated in a message.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Untyped(text) => format!("\"{}\"", quoted(text, 60)),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Other(kind) => format!("this {kind}"),
        }
    }

    fn refused(&self, allowed: &str) -> String {
        format!("{} is not allowed; use {allowed}", self.shown())
    }
}

/// One of some words.
pub(crate) fn word<T: Copy>(raw: &Raw<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let found = raw.text().and_then(|text| {
        words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
    });
    found.map(|&(_, value)| value).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        raw.refused(&format!("one of {}", all.join(", ")))
    })
}

/// Yes or no; outside of files also as `1`, `yes`, `on` and their opposites.
pub(crate) fn switch(raw: &Raw<'_>) -> Result<bool, String> {
    const WORDS: [(&str, bool); 8] = [
        ("true", true),
        ("false", false),
        ("1", true),
        ("0", false),
        ("yes", true),
        ("no", false),
        ("on", true),
        ("off", false),
    ];
    match raw {
        Raw::Bool(value) => Ok(*value),
        Raw::Untyped(_) => word(raw, &WORDS).map_err(|_| raw.refused("true or false")),
        Raw::Text(_) => Err(raw.refused("true or false, without quotes")),
        _ => Err(raw.refused("true or false")),
    }
}

/// A whole number within bounds.
pub(crate) fn number(raw: &Raw<'_>, low: u64, high: u64) -> Result<u64, String> {
    let value = match raw {
        Raw::Integer(value) => u64::try_from(*value).ok(),
        Raw::Untyped(text) => text.trim().parse().ok(),
        _ => None,
    };
    let allowed = || raw.refused(&format!("a whole number from {low} to {high}"));
    value
        .filter(|value| (low..=high).contains(value))
        .ok_or_else(allowed)
}

/// A size in bytes.
pub(crate) fn size(raw: &Raw<'_>) -> Result<u64, String> {
    match raw {
        Raw::Text(text) | Raw::Untyped(text) => {
            parse_size(text).map_err(|error| format!("{}: {error}", raw.shown()))
        }
        Raw::Integer(bytes) => {
            u64::try_from(*bytes).map_err(|_| format!("{bytes}: a size is not negative"))
        }
        _ => Err(raw.refused("a size such as \"4 GiB\", \"500MB\" or a number of bytes")),
    }
}

/// A size, or `none`.
pub(crate) fn optional_size(raw: &Raw<'_>) -> Result<Option<u64>, String> {
    if is_word(raw, "none") {
        return Ok(None);
    }
    size(raw)
        .map(Some)
        .map_err(|error| format!("{error}, or \"none\""))
}

/// How much text is shown: a word, or a size.
pub(crate) fn stream_limit(raw: &Raw<'_>) -> Result<StreamLimit, String> {
    if is_word(raw, "auto") {
        return Ok(StreamLimit::Auto);
    }
    match optional_size(raw).map_err(|error| format!("{error}, or \"auto\""))? {
        None => Ok(StreamLimit::None),
        Some(bytes) if bytes < StreamLimit::SMALLEST => {
            Err(raw.refused("\"none\" for no limit, or a size from \"1 KiB\" on"))
        }
        Some(bytes) => Ok(StreamLimit::Bytes(bytes)),
    }
}

/// A path, or the word for none. One with a folder in it counts from `base`, the folder of the file that it stands in.
pub(crate) fn path(
    raw: &Raw<'_>,
    none: &str,
    base: Option<&Path>,
) -> Result<Option<PathBuf>, String> {
    if is_word(raw, none) {
        return Ok(None);
    }
    let allowed = format!("a path or \"{none}\"");
    let text = raw
        .text()
        .filter(|text| !text.is_empty() && !text.contains('\0'))
        .ok_or_else(|| raw.refused(&allowed))?;
    if text.starts_with('~') {
        return Err(format!(
            "{}: `~` is not expanded; write the whole path",
            raw.shown()
        ));
    }
    let path = Path::new(text);
    match base {
        Some(base) if path.components().count() > 1 || text.starts_with('.') => {
            Ok(Some(base.join(path)))
        }
        _ => Ok(Some(path.to_owned())),
    }
}

fn is_word(raw: &Raw<'_>, word: &str) -> bool {
    raw.text()
        .is_some_and(|text| text.eq_ignore_ascii_case(word))
}
