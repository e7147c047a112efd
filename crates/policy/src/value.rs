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
    /// A list of strings of a file.
    Texts(Vec<&'a str>),
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
            Self::Texts(_) => "this list".to_owned(),
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

/// A list of texts; outside of files with commas between them, in brackets or not.
pub(crate) fn texts(raw: &Raw<'_>) -> Result<Vec<String>, String> {
    let items = items(raw).ok_or_else(|| raw.refused("a list such as [\"a\", \"b\"]"))?;
    if items.iter().any(|item| item.is_empty()) {
        return Err("a text of a list must not be empty".to_owned());
    }
    Ok(items.into_iter().map(str::to_owned).collect())
}

/// A list of words out of `known`, each as it stands there.
pub(crate) fn words<'k>(raw: &Raw<'_>, known: &[&'k str]) -> Result<Vec<&'k str>, String> {
    let allowed = || format!("a list of {}", known.join(", "));
    let items = items(raw).ok_or_else(|| raw.refused(&allowed()))?;
    items
        .into_iter()
        .map(|item| {
            let found = known.iter().find(|word| word.eq_ignore_ascii_case(item));
            found
                .copied()
                .ok_or_else(|| format!("\"{}\" is not known; use {}", quoted(item, 60), allowed()))
        })
        .collect()
}

fn items<'a>(raw: &'a Raw<'_>) -> Option<Vec<&'a str>> {
    match raw {
        Raw::Texts(items) => Some(items.iter().map(|item| item.trim()).collect()),
        Raw::Untyped(text) => {
            let text = text.trim();
            let inner = text
                .strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'));
            let inner = inner.unwrap_or(text).trim();
            if inner.is_empty() || inner.eq_ignore_ascii_case("none") {
                return Some(Vec::new());
            }
            let bare = |item: &'a str| item.trim().trim_matches(['"', '\'']).trim();
            Some(inner.split(',').map(bare).collect())
        }
        _ => None,
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
