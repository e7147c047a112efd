//! What may be written for a key: said to a person, and to an editor.

use std::fmt;

use serde_json::{Value, json};

use crate::size::UNITS;

/// The values of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// One of some words.
    Words(&'static [&'static str]),
    /// A size.
    Size,
    /// A size, or `none`.
    SizeOrNone,
    /// A size of at least 1 KiB, `auto` or `none`.
    SizeFromKib,
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds.
    Number(u64, u64),
    /// A path, or the word for none.
    Path(&'static str),
    /// A list of some words.
    ListOf(&'static [&'static str]),
    /// A list of texts.
    Texts,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SIZE: &str = "a size such as \"4 GiB\", \"500MB\" or a number of bytes";
        match self {
            Self::Words(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match quoted.split_last() {
                    Some((last, others)) if !others.is_empty() => {
                        write!(f, "{} or {last}", others.join(", "))
                    }
                    _ => f.write_str(&quoted.concat()),
                }
            }
            Self::Size => f.write_str(SIZE),
            Self::SizeOrNone => f.write_str("a size, or \"none\""),
            Self::SizeFromKib => f.write_str("\"auto\", \"none\" or a size from \"1 KiB\" on"),
            Self::Switch => f.write_str("true or false"),
            Self::Number(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Path(none) => write!(f, "a path, or \"{none}\""),
            Self::ListOf(words) => write!(f, "a list of {}", words.join(", ")),
            Self::Texts => f.write_str("a list of texts"),
        }
    }
}

impl Allowed {
    /// The same as JSON Schema, for a value in a file.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::Words(words) => word(words),
            Self::Size => json!({"anyOf": [bytes(), size_text("")]}),
            Self::SizeOrNone => json!({"anyOf": [bytes(), size_text("[nN][oO][nN][eE]|")]}),
            // A pattern cannot say that a text is at least 1 KiB.
            Self::SizeFromKib => {
                json!({"anyOf": [{"type": "integer", "minimum": 1024}, size_text("[nN][oO][nN][eE]|[aA][uU][tT][oO]|")]})
            }
            Self::Switch => json!({"type": "boolean"}),
            Self::Number(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
            Self::Path(_) => json!({"type": "string", "pattern": r"^\s*[^\s~]"}),
            Self::ListOf(words) => json!({"type": "array", "items": word(words)}),
            Self::Texts => json!({"type": "array", "items": {"type": "string", "pattern": r"\S"}}),
        }
    }
}

/// Words are read in upper and lower case, which a pattern says and completion does not offer.
fn word(words: &[&str]) -> Value {
    let any_case: Vec<String> = words
        .iter()
        .map(|word| {
            word.chars()
                .map(|c| match c {
                    'a'..='z' => format!("[{c}{}]", c.to_ascii_uppercase()),
                    _ => c.to_string(),
                })
                .collect()
        })
        .collect();
    json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": format!("^\\s*({})\\s*$", any_case.join("|"))}]})
}

fn bytes() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn size_text(or: &str) -> Value {
    let units: Vec<String> = UNITS
        .iter()
        .filter(|(unit, _)| !unit.is_empty())
        .map(|(unit, _)| {
            unit.chars()
                .map(|c| format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()))
                .collect()
        })
        .collect();
    let pattern = format!(
        "^\\s*({or}[0-9_]*[0-9][0-9_]*(\\.[0-9_]*[0-9][0-9_]*)?\\s*({})?)\\s*$",
        units.join("|")
    );
    json!({"type": "string", "pattern": pattern})
}
