//! `docs/configuration.md` and the code say the same.
#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use policy::{Config, KEYS, Level, Source, load};

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The text under the heading of a key, up to the next heading.
fn section(key: &str) -> &'static str {
    let (_, rest) = PAGE
        .split_once(&format!("### `{key}`\n"))
        .unwrap_or_else(|| panic!("{key} has no section"));
    rest.split("\n##").next().unwrap_or(rest)
}

#[test]
fn the_page_has_a_section_for_each_key_and_no_other() {
    let documented: BTreeSet<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    assert_eq!(documented, KEYS.iter().map(|key| key.name).collect());
}

#[test]
fn each_section_begins_with_the_default() {
    for key in KEYS {
        let default = format!("Default `{}`", key.print(&Config::default()));
        assert!(
            section(key.name).trim_start().starts_with(&default),
            "{}: {default}",
            key.name
        );
    }
}

#[test]
fn the_page_says_which_keys_a_project_may_not_set() {
    for key in KEYS {
        let refused = section(key.name)
            .replace('\n', " ")
            .contains("Refused in a project's file.");
        assert_eq!(refused, !key.in_project, "{}", key.name);
    }
}

#[test]
fn the_example_on_the_page_has_no_mistake() {
    let (_, rest) = PAGE.split_once("```toml\n").expect("an example");
    let text = rest.split("```").next().unwrap_or(rest).to_owned();
    let (config, problems) = load(&[Source::Toml {
        level: Level::Project,
        path: "rust-hygiene.toml".into(),
        text,
    }]);
    assert_eq!(problems, []);
    assert_ne!(config, Config::default());
}
