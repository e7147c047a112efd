//! `docs/schema/config.v1.json` is what the code accepts.
//!
//! After an intended change: `REWRITE_EXAMPLES=1 cargo test -p policy --test schema`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use policy::{KEYS, load, schema};
use regex::Regex;
use serde_json::Value;
use support::user;

const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/schema/config.v1.json"
);

#[test]
fn the_file_is_what_the_code_makes() {
    let made = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("REWRITE_EXAMPLES").is_some() {
        std::fs::write(PATH, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(PATH).unwrap(), made);
}

/// Values of every kind, as TOML.
const VALUES: &[&str] = &[
    "true",
    "false",
    "0",
    "1",
    "5",
    "9",
    "10",
    "50",
    "100",
    "101",
    "1000",
    "1001",
    "10000",
    "60000",
    "60001",
    "86400",
    "86401",
    "-1",
    "1.5",
    "\"\"",
    "\" \"",
    "\"auto\"",
    "\"AUTO\"",
    "\"output\"",
    "\"none\"",
    "\"None\"",
    "\"off\"",
    "\"warn\"",
    "\"trace\"",
    "\"tidy\"",
    "\"Tidy\"",
    "\"custom\"",
    "\"/a/b\"",
    "\"~/a\"",
    "\"4 GiB\"",
    "\"4gib\"",
    "\"500MB\"",
    "\"4 gigs\"",
    "\".5 GiB\"",
    "\"1. GiB\"",
    "\"1.5 GiB\"",
    "\"_\"",
    "\"65_536\"",
    "\"-1\"",
    "\"1e9\"",
    "\"gc\"",
    "[]",
    "[\"gc\"]",
    "[\"GC\", \"malloc_trim\"]",
    "[\"gc\", \"x\"]",
    "[\"figures\"]",
    "[\"ref_cycle\"]",
    "[\"\"]",
    "[1]",
    "[\"a\", 1]",
    "[[\"gc\"]]",
    "{ a = 1 }",
    "2020-01-01",
];

#[test]
fn the_schema_and_the_code_accept_the_same_values() {
    let schema = schema();
    let mut accepted = 0;
    for key in KEYS {
        for value in VALUES {
            let text = format!("{} = {value}", key.name);
            // A list under another policy is no mistake of the value.
            let custom = if key.name == "policy.name" {
                ""
            } else {
                "policy.name = \"custom\"\n"
            };
            let (_, problems) = load(&[user(&format!("{custom}{text}"))]);
            let Some(value) = as_json(&text) else {
                continue; // a date: no editor takes it for text
            };
            let by_schema = fits(&schema, &value);
            assert_eq!(by_schema, problems.is_empty(), "{text}: {problems:?}");
            accepted += usize::from(by_schema);
        }
    }
    assert!(accepted > KEYS.len());
    for unknown in ["bagde = 1", "policy.x = 1", "policy = 1", "log.x.y = 1"] {
        assert!(!fits(&schema, &as_json(unknown).unwrap()), "{unknown}");
    }
}

#[test]
fn each_default_fits_its_own_schema() {
    fn check(at: &str, schema: &Value) {
        if let Some(inner) = schema["properties"].as_object() {
            for (name, schema) in inner {
                check(&format!("{at}.{name}"), schema);
            }
        } else {
            assert!(fits(schema, &schema["default"]), "{at}");
            assert!(
                !schema["default"].is_null() && schema["description"].is_string(),
                "{at}"
            );
        }
    }
    check("", &schema());
}

fn as_json(toml: &str) -> Option<Value> {
    let table: toml::Table = toml.parse().unwrap();
    let has_date = toml.contains("2020");
    (!has_date).then(|| serde_json::to_value(table).unwrap())
}

/// A validator for the words of JSON Schema that the schema uses; another word is a failure of this test.
fn fits(schema: &Value, value: &Value) -> bool {
    schema
        .as_object()
        .unwrap()
        .iter()
        .all(|(word, rule)| match word.as_str() {
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("unknown type {other}"),
            },
            "anyOf" => rule
                .as_array()
                .unwrap()
                .iter()
                .any(|schema| fits(schema, value)),
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().unwrap()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
            "items" => value
                .as_array()
                .is_none_or(|items| items.iter().all(|item| fits(rule, item))),
            "properties" => value.as_object().is_none_or(|object| {
                object
                    .iter()
                    .all(|(name, value)| rule.get(name).is_none_or(|schema| fits(schema, value)))
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                object
                    .keys()
                    .all(|name| schema["properties"].get(name).is_some())
            }),
            "$schema" | "$id" | "title" | "description" | "default" => true,
            other => panic!("unknown word {other}"),
        })
}
