//! The parts of contents that the front itself reads. Everything else passes through unread.

use crate::text_limit::Text;
use interpreter::Stream;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What the front needs of an `execute_request` (messaging specification, "Execute").
#[derive(Debug, Deserialize)]
pub(crate) struct Execute {
    pub code: String,
    #[serde(default, deserialize_with = "truth")]
    pub silent: bool,
    #[serde(default, deserialize_with = "some_truth")]
    pub store_history: Option<bool>,
    #[serde(default, deserialize_with = "some_truth")]
    pub stop_on_error: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub allow_stdin: bool,
    #[serde(default)]
    pub user_expressions: Option<Box<RawValue>>,
}

impl Execute {
    pub(crate) fn parse(content: &[u8]) -> Result<Self, String> {
        let parsed: Self = serde_json::from_slice(content)
            .map_err(|error| format!("bad execute_request: {error}"))?;
        if let Some(expressions) = &parsed.user_expressions
            && !matches!(
                expressions.get().trim_start().as_bytes().first(),
                Some(b'{' | b'n')
            )
        {
            return Err("bad execute_request: user_expressions must be an object".into());
        }
        Ok(parsed)
    }

    pub(crate) fn stores_history(&self) -> bool {
        !self.silent && self.store_history.unwrap_or(true)
    }

    /// Whether somebody is there who could be asked: front ends say yes, programs that run notebooks say no.
    pub(crate) fn allows_questions(&self) -> bool {
        !self.silent && self.allow_stdin
    }

    pub(crate) fn stops_on_error(&self) -> bool {
        self.stop_on_error.unwrap_or(true)
    }
}

/// A flag as Python takes it, and ipykernel with it: some clients send 0 and 1, or null.
fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => false,
        Value::Bool(flag) => flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    })
}

fn some_truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    truth(deserializer).map(Some)
}

/// A `shutdown_request`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Shutdown {
    pub restart: bool,
}

/// An `input_reply`.
#[derive(Debug, Deserialize)]
pub(crate) struct InputReply<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

impl InputReply<'_> {
    /// Colab's page talks to its own kernel in dictionaries on this channel. None is what a person entered, and a question that
    /// waits goes on waiting.
    pub(crate) fn is_talk_of_the_page(content: &[u8]) -> bool {
        serde_json::from_slice::<InputReply<'_>>(content)
            .is_ok_and(|reply| reply.value.get().starts_with('{'))
    }
}

impl InputReply<'_> {
    /// What a person entered; empty where it is no text.
    pub(crate) fn text(content: &[u8]) -> String {
        serde_json::from_slice::<InputReply<'_>>(content)
            .ok()
            .and_then(|reply| serde_json::from_str(reply.value.get()).ok())
            .unwrap_or_default()
    }
}

/// A `delete_subshell_request`.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteSubshell {
    pub subshell_id: String,
}

/// The id in a header.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub msg_id: String,
}

impl Named {
    pub(crate) fn of(header: &[u8]) -> Self {
        serde_json::from_slice(header).unwrap_or_default()
    }
}

/// The date of a header.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Dated {
    pub date: Option<String>,
}

/// A `stream`.
#[derive(Debug, Deserialize)]
pub(crate) struct Printed {
    name: String,
    text: String,
}

impl Printed {
    /// The text of a `stream` message, unless it is of a stream that we do not know.
    pub(crate) fn parse(content: &[u8]) -> Option<Text> {
        let Self { name, text } = serde_json::from_slice(content).ok()?;
        let stream = match name.as_str() {
            "stdout" => Stream::Stdout,
            "stderr" => Stream::Stderr,
            _ => return None,
        };
        Some((stream, text.into()))
    }
}

/// A `clear_output`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ClearOutput {
    pub wait: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dictionary_is_talk_of_the_page() {
        for (content, talk) in [
            (r#"{"value":{"type":"colab_reply"},"more":1}"#, true),
            (r#"{"value": {}}"#, true),
            (r#"{"value":"{}"}"#, false),
            (r#"{"value":[{}]}"#, false),
            (r#"{"value":null}"#, false),
            ("{}", false),
            ("nonsense", false),
        ] {
            assert_eq!(
                InputReply::is_talk_of_the_page(content.as_bytes()),
                talk,
                "{content}"
            );
        }
    }

    #[test]
    fn flags_are_taken_as_python_takes_them() {
        for (value, is_true) in [
            ("null", false),
            ("0", false),
            ("0.0", false),
            ("\"\"", false),
            ("[]", false),
            ("{}", false),
            ("1", true),
            ("-0.5", true),
            ("\"no\"", true),
            ("[0]", true),
            ("{\"a\":0}", true),
        ] {
            let content = format!(
                r#"{{"code":"","silent":{value},"stop_on_error":{value},"allow_stdin":{value}}}"#
            );
            let parsed = Execute::parse(content.as_bytes()).unwrap();
            assert_eq!(
                (parsed.silent, parsed.stops_on_error(), parsed.allow_stdin),
                (is_true, is_true, is_true),
                "{value}"
            );
            let content = format!(r#"{{"code":"","store_history":{value}}}"#);
            let parsed = Execute::parse(content.as_bytes()).unwrap();
            assert_eq!(parsed.stores_history(), is_true, "{value}");
        }
    }

    #[test]
    fn an_execute_request_needs_code_and_forgives_the_rest() {
        let parsed =
            Execute::parse(br#"{"code":"1","unknown":[],"user_expressions":null}"#).unwrap();
        assert!(parsed.stores_history() && parsed.stops_on_error() && !parsed.silent);
        let silent = Execute::parse(
            br#"{"code":"","silent":true,"store_history":true,"stop_on_error":false}"#,
        )
        .unwrap();
        assert!(!silent.stores_history() && !silent.stops_on_error());
        for bad in [
            "{}",
            "[]",
            "null",
            "",
            "{\"code\":1}",
            "{\"code\":\"\",\"user_expressions\":[]}",
        ] {
            assert!(
                Execute::parse(bad.as_bytes())
                    .unwrap_err()
                    .starts_with("bad execute_request"),
                "{bad}"
            );
        }
    }
}
