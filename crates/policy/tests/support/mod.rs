//! Sources, shared by the integration tests.
#![allow(dead_code, reason = "each test binary uses a part")]

use policy::{Config, Level, Source, load};

/// The user's file with this text.
pub fn user(text: &str) -> Source {
    Source::Toml {
        level: Level::User,
        path: "/home/me/config.toml".into(),
        text: text.to_owned(),
    }
}

/// A project's file with this text.
pub fn project(text: &str) -> Source {
    Source::Toml {
        level: Level::Project,
        path: "/code/rust-hygiene.toml".into(),
        text: text.to_owned(),
    }
}

/// A `pyproject.toml` with this text.
pub fn pyproject(text: &str) -> Source {
    Source::Toml {
        level: Level::Project,
        path: "/code/pyproject.toml".into(),
        text: text.to_owned(),
    }
}

/// Keys and values.
pub fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The environment with these variables.
pub fn env(set: &[(&str, &str)]) -> Source {
    Source::Env(pairs(set))
}

/// The configuration of sources without a mistake.
pub fn good(sources: &[Source]) -> Config {
    let (config, problems) = load(sources);
    assert_eq!(problems, [], "{sources:?}");
    config
}

/// The problems of sources, printed.
pub fn problems(sources: &[Source]) -> Vec<String> {
    load(sources).1.iter().map(ToString::to_string).collect()
}
