//! The kernelspecs that Jupyter would use, and those that it never sees.

use super::Check;
use crate::jupyter_paths::PythonEnvironment;
use crate::survey::{self, FoundSpec};

const NAME: &str = "kernelspec";

/// Checks every kernelspec of ours.
pub fn check(python: Option<&PythonEnvironment>) -> Vec<Check> {
    let specs = survey::find(python);
    if specs.is_empty() {
        let advice = "rust-hygiene install";
        return vec![Check::warn(
            NAME,
            "the kernel is not installed: Jupyter does not show it",
            advice,
        )];
    }
    specs.iter().map(judge).collect()
}

fn judge(spec: &FoundSpec) -> Check {
    let shown = format!("{} in {}", spec.name, spec.folder.display());
    if let Some(other) = &spec.hidden_by {
        let advice = "harmless if you want it so; else remove one of the two (rust-hygiene list, rust-hygiene uninstall)";
        return Check::warn(
            NAME,
            format!("{shown} is hidden: Jupyter finds {} first", other.display()),
            advice,
        );
    }
    match (&spec.program, &spec.python, &spec.python_error) {
        (Some(program), ..) if !spec.program_exists => Check::fail(
            NAME,
            format!("{shown} starts {}, which does not exist", program.display()),
            format!(
                "rust-hygiene install --name {} with the same options, or uninstall it",
                spec.name
            ),
        ),
        (_, Some(python), _) => Check::ok(NAME, format!("{shown} runs {}", python.display())),
        (_, _, error) => Check::fail(
            NAME,
            format!(
                "{shown} finds no Python: {}",
                error.as_deref().unwrap_or("unknown reason")
            ),
            format!("rust-hygiene install --name {} --python PATH", spec.name),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::jupyter_paths::Place;

    fn spec() -> FoundSpec {
        FoundSpec {
            name: "rust-hygiene".into(),
            display_name: String::new(),
            folder: "/k/rust-hygiene".into(),
            place: Place::User,
            hidden_by: None,
            program: Some("/bin/rust-hygiene".into()),
            program_exists: true,
            python: Some("/bin/python3".into()),
            rule: None,
            python_error: None,
        }
    }

    #[test]
    fn a_spec_is_judged_by_what_it_would_start() {
        let hidden = FoundSpec {
            hidden_by: Some("/other".into()),
            program_exists: false,
            ..spec()
        };
        for (spec, expected) in [
            (spec(), Status::Ok),
            (
                FoundSpec {
                    program: None,
                    ..spec()
                },
                Status::Ok,
            ),
            (
                FoundSpec {
                    program_exists: false,
                    ..spec()
                },
                Status::Fail,
            ),
            (
                FoundSpec {
                    python: None,
                    python_error: Some("none".into()),
                    ..spec()
                },
                Status::Fail,
            ),
            (hidden, Status::Warn),
        ] {
            assert_eq!(judge(&spec).status, expected, "{spec:?}");
        }
    }
}
