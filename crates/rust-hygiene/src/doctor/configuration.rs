//! The configuration files that are there, and whether they can be read.

use std::fs;
use std::path::{Path, PathBuf};

use super::Check;
use crate::jupyter_paths::{Variables, process_variables};

const NAME: &str = "configuration";

/// Checks every configuration file that exists.
pub fn check() -> Vec<Check> {
    let candidates = candidates(&process_variables, std::env::home_dir().as_deref());
    let found: Vec<_> = candidates
        .iter()
        .filter_map(|(path, is_named)| judge(path, *is_named))
        .collect();
    if found.is_empty() {
        vec![Check::info(NAME, "no file, the defaults hold")]
    } else {
        found
    }
}

/// Where a configuration may lie, and whether somebody named it, so that it must be there.
fn candidates(variables: Variables, home: Option<&Path>) -> Vec<(PathBuf, bool)> {
    let set = |name| {
        variables(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(named) = set("RUST_HYGIENE_CONFIG") {
        return vec![(named, true)];
    }
    let folder = set("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")));
    folder
        .map(|folder| (folder.join("rust-hygiene/config.toml"), false))
        .into_iter()
        .collect()
}

fn judge(path: &Path, is_named: bool) -> Option<Check> {
    let shown = path.display();
    match fs::read_to_string(path) {
        Ok(text) => Some(match toml::from_str::<toml::Table>(&text) {
            Ok(_) => Check::ok(NAME, format!("{shown}")),
            Err(error) => Check::warn(
                NAME,
                format!(
                    "{shown} is not valid TOML and is ignored: {}",
                    error.message()
                ),
                format!("mend {shown}"),
            ),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => None,
        Err(error) => Some(Check::warn(
            NAME,
            format!("{shown} cannot be read: {error}"),
            "make it readable, or unset RUST_HYGIENE_CONFIG if it names the wrong file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_named_file_replaces_the_users_one() {
        let home = Path::new("/home/ada");
        for (variables, expected) in [
            (
                vec![],
                ("/home/ada/.config/rust-hygiene/config.toml", false),
            ),
            (
                vec![("XDG_CONFIG_HOME", "/xdg")],
                ("/xdg/rust-hygiene/config.toml", false),
            ),
            (
                vec![
                    ("XDG_CONFIG_HOME", "/xdg"),
                    ("RUST_HYGIENE_CONFIG", "/mine.toml"),
                ],
                ("/mine.toml", true),
            ),
        ] {
            let read = |name: &str| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.into())
            };
            assert_eq!(
                candidates(&read, Some(home)),
                [(PathBuf::from(expected.0), expected.1)]
            );
        }
    }

    #[test]
    fn a_file_is_judged_by_whether_it_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        assert!(judge(&file, false).is_none());
        assert_eq!(judge(&file, true).unwrap().status, Status::Warn);
        for (text, expected) in [
            ("a = 1\n", Status::Ok),
            ("", Status::Ok),
            ("a = \n", Status::Warn),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(judge(&file, false).unwrap().status, expected, "{text}");
        }
    }
}
