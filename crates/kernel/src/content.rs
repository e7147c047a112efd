//! The parts of contents that the front itself reads. Everything else passes through unread.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the front needs of an `execute_request` (messaging specification, "Execute").
#[derive(Debug, Deserialize)]
pub(crate) struct Execute {
    pub code: String,
    #[serde(default)]
    pub silent: bool,
    pub store_history: Option<bool>,
    pub stop_on_error: Option<bool>,
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

    pub(crate) fn stops_on_error(&self) -> bool {
        self.stop_on_error.unwrap_or(true)
    }
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

/// The date of a header.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Dated {
    pub date: Option<String>,
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
            "{\"code\":\"\",\"silent\":\"no\"}",
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
