//! A mistake in a configuration.

use std::fmt;

/// One mistake: where it is, and what to do about it. Prints as one line without control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// A file, `environment` or `command line`.
    pub origin: String,
    /// The line in the file, from 1.
    pub line: Option<usize>,
    /// The column in that line in characters, from 1; only where the file is not TOML.
    pub column: Option<usize>,
    /// The key as it was written, or the name of the environment variable.
    pub key: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Problem {
    /// A problem of a whole source.
    pub(crate) fn of(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            line: None,
            column: None,
            key: None,
            message: message.into(),
        }
    }

    /// A problem of a key.
    pub(crate) fn of_key(origin: &str, key: &str, message: impl Into<String>) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..Self::of(origin, message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.origin, 200))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A text from a configuration inside a message: no control characters, at most `max` characters.
pub(crate) fn quoted(text: &str, max: usize) -> String {
    let mut out: String = text
        .chars()
        .take(max)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}
