//! What the user's variables hold, as the agent found it when a person asked.
//!
//! The user's code runs in the same process as the agent, so these bytes are judged like input from a stranger.

use serde_json::Value;

const LARGEST: usize = 1 << 20;
const VARIABLES: usize = 100;
const NAMES: usize = 8;
const TEXT: usize = 200;

/// The largest variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// How many names the user has.
    pub names: u64,
    /// What all of them hold together, what two of them share counted once.
    pub total: u64,
    /// Everything was looked at.
    pub complete: bool,
    /// The largest, largest first.
    pub variables: Vec<Holding>,
}

/// What one variable holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Its name.
    pub name: String,
    /// Other names of the same object.
    pub aliases: Vec<String>,
    /// Its value's class.
    pub type_name: String,
    /// Shape or length.
    pub detail: String,
    /// Host bytes that it reaches.
    pub bytes: u64,
    /// The part that nothing else reaches: what deleting it would free. `None` if there was no time to find out.
    pub exclusive: Option<u64>,
    /// Bytes on GPUs that it reaches.
    pub gpu: u64,
    /// `bytes` is a lower bound or an estimate.
    pub at_least: bool,
    /// Who else reaches a part of it, and how much.
    pub shared_with: Vec<(String, u64)>,
}

impl Inventory {
    /// Reads the agent's JSON; what cannot be used is left at its default.
    ///
    /// # Errors
    /// The sentence for the person if there is nothing to read.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() || bytes.len() > LARGEST {
            return Err("The variables could not be looked at.".into());
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| format!("What the variables hold was not readable: {error}."))?;
        let list = value["variables"].as_array().map_or(&[][..], Vec::as_slice);
        let mut variables: Vec<Holding> = list.iter().take(VARIABLES).map(Holding::read).collect();
        variables
            .sort_by_key(|holding| std::cmp::Reverse(holding.bytes.saturating_add(holding.gpu)));
        Ok(Self {
            names: number(&value["names"]),
            total: number(&value["total"]),
            complete: value["complete"].as_bool().unwrap_or(false),
            variables,
        })
    }
}

impl Holding {
    fn read(value: &Value) -> Self {
        let list = |name: &str| value[name].as_array().map_or(&[][..], Vec::as_slice);
        let bytes = number(&value["bytes"]);
        Self {
            name: text(&value["name"]),
            aliases: list("names").iter().take(NAMES).map(text).collect(),
            type_name: text(&value["type"]),
            detail: text(&value["detail"]),
            bytes,
            exclusive: value["exclusive"]
                .as_u64()
                .map(|exclusive| exclusive.min(bytes)),
            gpu: number(&value["gpu"]),
            at_least: value["at_least"].as_bool().unwrap_or(false),
            shared_with: list("shared_with")
                .iter()
                .take(NAMES)
                .map(|other| (text(&other["name"]), number(&other["bytes"])))
                .collect(),
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or("");
    text[..text.floor_char_boundary(TEXT)].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_agent_found_is_read() {
        let holdings = Inventory::parse(
            br#"{"names": 3, "total": 900, "complete": true, "variables": [
                {"name": "a", "names": ["b"], "type": "list", "detail": "2", "bytes": 10, "exclusive": 4, "at_least": true,
                 "gpu": 0, "shared_with": [{"name": "c", "bytes": 6}]},
                {"name": "big", "bytes": 800, "exclusive": null}, 7]}"#,
        )
        .unwrap();
        assert_eq!(
            (holdings.names, holdings.total, holdings.complete),
            (3, 900, true)
        );
        assert_eq!(holdings.variables.len(), 3);
        assert_eq!(holdings.variables[0].name, "big");
        assert_eq!(holdings.variables[0].exclusive, None);
        let a = &holdings.variables[1];
        assert_eq!(
            (a.aliases[0].as_str(), a.exclusive, a.at_least),
            ("b", Some(4), true)
        );
        assert_eq!(a.shared_with, [("c".to_owned(), 6)]);
    }

    #[test]
    fn nothing_is_an_error_and_not_an_empty_list() {
        for bytes in [b"".as_slice(), b"{", &[b' '; LARGEST + 1]] {
            assert!(Inventory::parse(bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Inventory::parse(&bytes);
        }

        #[test]
        fn no_json_makes_it_panic(name in any::<String>(), bytes in any::<i64>(), exclusive in any::<f64>()) {
            let json = serde_json::json!({"variables": [{"name": name, "bytes": bytes, "exclusive": exclusive, "names": name}]});
            Inventory::parse(json.to_string().as_bytes()).unwrap();
        }
    }
}
