//! JSON Schema of a configuration file, for editors.

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::keys::{KEYS, Key};

/// The schema of a file, made of [`KEYS`]. `docs/schema/config.v1.json` is a copy.
#[must_use]
pub fn schema() -> Value {
    let defaults = Config::default();
    let mut properties = Map::new();
    for key in KEYS {
        match key.name.split_once('.') {
            None => {
                properties.insert(key.name.to_owned(), property(key, &defaults));
            }
            Some((table, name)) => {
                let table = properties.entry(table).or_insert_with(
                    || json!({"type": "object", "properties": {}, "additionalProperties": false}),
                );
                table["properties"][name] = property(key, &defaults);
            }
        }
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://github.com/rust-hygiene/rust-hygiene/docs/schema/config.v1.json",
        "title": "Configuration of Rust-Hygiene Python",
        "description": "A file rust-hygiene.toml, config.toml, or the table [tool.rust-hygiene] of pyproject.toml.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(key: &Key, defaults: &Config) -> Value {
    let mut schema = key.allowed.schema();
    schema["description"] = key.doc.into();
    let default = format!("value = {}", key.print(defaults));
    if let Ok(mut table) = default.parse::<toml::Table>()
        && let Some(Ok(default)) = table.remove("value").map(serde_json::to_value)
    {
        schema["default"] = default;
    }
    schema
}
