//! Sources to a configuration.

use std::path::{Path, PathBuf};

use crate::cleanup::{PolicyName, Trigger};
use crate::config::Config;
use crate::keys::{KEYS, Key};
use crate::problem::{Problem, quoted};
use crate::suggest::nearest;
use crate::tables;
use crate::value::Raw;

/// What the environment variables begin with.
pub const ENV_PREFIX: &str = "RUST_HYGIENE_";

/// Problems told of one source; the others are counted.
const PROBLEMS: usize = 20;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The user's own.
    User,
    /// The project's, which may be someone else's work: see [`Key::in_project`].
    Project,
}

/// One place that settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file. In one named `pyproject.toml` the settings are the table `[tool.rust-hygiene]`.
    Toml {
        /// Whose it is.
        level: Level,
        /// Where it is.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// Environment variables; those that do not begin with [`ENV_PREFIX`] are passed over, and so are empty ones.
    Env(Vec<(String, String)>),
    /// `key=value` pairs of the command line.
    CommandLine(Vec<(String, String)>),
}

/// Reads the sources in their order; a later one wins, key by key. A bad value leaves its key as the sources before it set it.
#[must_use]
pub fn load(sources: &[Source]) -> (Config, Vec<Problem>) {
    let mut config = Config::default();
    let mut problems = Vec::new();
    for source in sources {
        let mut found = match source {
            Source::Toml { level, path, text } => file(&mut config, *level, path, text),
            Source::Env(pairs) => environment(&mut config, pairs),
            Source::CommandLine(pairs) => command_line(&mut config, pairs),
        };
        if found.len() > PROBLEMS {
            let more = found.len() - PROBLEMS;
            found.truncate(PROBLEMS);
            found.push(Problem::of(
                found[0].origin.clone(),
                format!("{more} more problems"),
            ));
        }
        problems.append(&mut found);
    }
    problems.extend(unread_list(&config));
    (config, problems)
}

/// A list of steps that nothing reads, since the policy is not `custom`.
#[must_use]
pub fn unread_list(config: &Config) -> Option<Problem> {
    let policy = &config.policy;
    let mut lists = policy.lists.iter().zip(Trigger::OF_POLICIES);
    let (_, trigger) = lists.find(|(steps, _)| !steps.is_empty())?;
    (policy.name != PolicyName::Custom).then(|| {
        let message = format!(
            "`{}` has no effect while `policy.name` is \"{}\"; set that to \"custom\"",
            trigger.key(),
            policy.name
        );
        Problem::of_key("configuration", trigger.key(), message)
    })
}

fn file(config: &mut Config, level: Level, path: &Path, text: &str) -> Vec<Problem> {
    let origin = path.display().to_string();
    let root = match tables::parse(&origin, text) {
        Ok(root) => root,
        Err(problem) => return vec![*problem],
    };
    let mut table = root.get_ref();
    if path
        .file_name()
        .is_some_and(|name| name == "pyproject.toml")
    {
        match tables::of_pyproject(table).map(|value| value.get_ref().as_table()) {
            None => return Vec::new(),
            Some(Some(own)) => table = own,
            Some(None) => {
                return vec![Problem::of_key(
                    &origin,
                    "tool.rust-hygiene",
                    "`tool.rust-hygiene` must be a table",
                )];
            }
        }
    }
    let mut problems = Vec::new();
    for entry in tables::entries(table) {
        let result = match find(&entry.key) {
            None => Err(unknown(&entry.key, KEYS.iter().map(|key| key.name))),
            Some(key) if level == Level::Project && !key.in_project => Err(format!(
                "`{}` may not stand in a project's file; set it in your own or as {}",
                key.name,
                key.env_name()
            )),
            Some(key) => set_key(config, key, &entry.value, path.parent()),
        };
        if let Err(message) = result {
            let mut problem = Problem::of_key(&origin, &entry.key, message);
            // Counting lines costs a walk over the text, and only so many are told.
            if problems.len() < PROBLEMS {
                problem.line = Some(tables::position(text, entry.span.start).0);
            }
            problems.push(problem);
        }
    }
    problems
}

fn environment(config: &mut Config, pairs: &[(String, String)]) -> Vec<Problem> {
    const ORIGIN: &str = "environment";
    let names: Vec<String> = KEYS.iter().map(Key::env_name).collect();
    let mut problems = Vec::new();
    for (name, text) in pairs
        .iter()
        .filter(|(name, text)| name.starts_with(ENV_PREFIX) && !text.trim().is_empty())
    {
        let key = KEYS
            .iter()
            .zip(&names)
            .find_map(|(key, env)| (env == name).then_some(key));
        let result = match key {
            None => Err(unknown(name, names.iter().map(String::as_str))),
            Some(key) => set_key(config, key, &Raw::Untyped(text), None)
                .map_err(|message| format!("{name}: {message}")),
        };
        problems.extend(
            result
                .err()
                .map(|message| Problem::of_key(ORIGIN, name, message)),
        );
    }
    problems
}

fn command_line(config: &mut Config, pairs: &[(String, String)]) -> Vec<Problem> {
    const ORIGIN: &str = "command line";
    let mut problems = Vec::new();
    for (name, text) in pairs {
        problems.extend(
            set(config, name, text)
                .err()
                .map(|message| Problem::of_key(ORIGIN, name, message)),
        );
    }
    problems
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Sets one key while the kernel runs, from a text as on the command line.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn set(config: &mut Config, name: &str, text: &str) -> Result<(), String> {
    match find(name) {
        None => Err(unknown(name, KEYS.iter().map(|key| key.name))),
        Some(key) => set_key(config, key, &Raw::Untyped(text), None),
    }
}

fn set_key(
    config: &mut Config,
    key: &Key,
    raw: &Raw<'_>,
    base: Option<&Path>,
) -> Result<(), String> {
    (key.set)(config, raw, base).map_err(|message| format!("`{}`: {message}", key.name))
}

/// A key that is none of `known`: the nearest one, else those of its table, else the tables.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let shown = quoted(name, 60);
    if let Some(near) = nearest(name, known.clone()) {
        return format!("unknown key `{shown}`; did you mean `{near}`?");
    }
    let table = |key: &'a str| key.split_once('.').map(|(table, _)| table);
    let its_table = name.split_once('.').map(|(table, _)| table);
    let mut listed: Vec<String> = Vec::new();
    for key in known.clone() {
        let said = match table(key) {
            Some(other) if its_table != Some(other) => format!("{other}.…"),
            None if known
                .clone()
                .any(|key| table(key).is_some() && table(key) == its_table) =>
            {
                continue;
            }
            _ => key.to_owned(),
        };
        if !listed.contains(&said) {
            listed.push(said);
        }
    }
    format!("unknown key `{shown}`; there are {}", listed.join(", "))
}
