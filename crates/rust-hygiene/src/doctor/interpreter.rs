//! The Python that runs the cells, and what is installed in it.

use std::path::{Path, PathBuf};

use super::Check;
use crate::jupyter_paths::PythonEnvironment;
use crate::probe::{self, Depth, Facts, Import};
use crate::python::{Candidates, OLDEST_PYTHON, choose_python, conda_prefix};
use crate::survey;

/// The oldest IPython that the agent works with.
const OLDEST_IPYTHON: (u32, u32) = (8, 12);

/// Checks the interpreter; also returns its environment, if it works.
pub fn check(named: Option<PathBuf>) -> (Vec<Check>, Option<PythonEnvironment>) {
    let (python, rule) = match choose_python(&Candidates::from_process(named)) {
        Ok(chosen) => chosen,
        Err(error) => {
            let advice = "install Python 3.10 or later, or name one with --python PATH";
            return (
                vec![Check::fail("interpreter", error.to_string(), advice)],
                None,
            );
        }
    };
    let conda =
        conda_prefix(&python).map(|prefix| format!(", conda environment {}", prefix.display()));
    let chosen = format!(
        "{} (from {rule}{})",
        python.display(),
        conda.unwrap_or_default()
    );
    let facts = match probe::ask(&python, Depth::Packages) {
        Ok(facts) => facts,
        Err(error) => {
            let advice = "repair that Python or name another one with --python PATH";
            return (
                vec![Check::fail(
                    "interpreter",
                    format!("{chosen}: {error:#}"),
                    advice,
                )],
                None,
            );
        }
    };
    let mut checks = vec![Check::ok("interpreter", chosen), version(&facts)];
    if let Some(import) = &facts.ipython {
        checks.push(ipython(import, &python));
    }
    checks.push(match &facts.ipykernel {
        Some(version) => Check::info(
            "ipykernel",
            format!("{version} is installed beside us; both kernels can be used"),
        ),
        None => Check::info(
            "ipykernel",
            "not installed in this Python; it is not needed",
        ),
    });
    (checks, Some(survey::environment(&facts)))
}

fn version(facts: &Facts) -> Check {
    let text = facts.version_text();
    if facts.is_recent_enough() {
        return Check::ok("python", format!("version {text}"));
    }
    let (major, minor) = OLDEST_PYTHON;
    let advice = format!("choose a Python {major}.{minor} or later with --python PATH");
    Check::fail("python", format!("version {text} is too old"), advice)
}

fn ipython(import: &Import, python: &Path) -> Check {
    let (major, minor) = OLDEST_IPYTHON;
    let advice = format!(
        "{} -m pip install --upgrade 'ipython>={major}.{minor}'",
        python.display()
    );
    match import {
        Import::Error(why) => Check::fail("ipython", format!("cannot be imported: {why}"), advice),
        Import::Version(version) => match leading_numbers(version) {
            Some(numbers) if numbers < OLDEST_IPYTHON => {
                Check::fail("ipython", format!("version {version} is too old"), advice)
            }
            Some(_) => Check::ok("ipython", format!("version {version}")),
            None => Check::warn(
                "ipython",
                format!("has an unusual version: {version}"),
                advice,
            ),
        },
    }
}

/// Major and minor of a version like `9.1.0`, `8.12` or `9.0.0b1`.
fn leading_numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let mut number = || -> Option<u32> {
        let part = parts.next()?;
        let digits = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part[..digits].parse().ok()
    };
    Some((number()?, number().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn ipython_is_judged_by_its_version() {
        for (version, expected) in [
            ("9.1.0", Status::Ok),
            ("8.12.0", Status::Ok),
            ("8.12rc1", Status::Ok),
            ("10.0", Status::Ok),
            ("9", Status::Ok),
            ("8.11.9", Status::Fail),
            ("7.34.0", Status::Fail),
            ("unknown", Status::Warn),
            ("", Status::Warn),
            ("99999999999.1", Status::Warn),
        ] {
            let check = ipython(&Import::Version(version.into()), Path::new("/p"));
            assert_eq!(check.status, expected, "{version}");
        }
    }

    #[test]
    fn a_failing_import_says_how_to_install() {
        let check = ipython(
            &Import::Error("ModuleNotFoundError: no".into()),
            Path::new("/p"),
        );
        assert_eq!(check.status, Status::Fail);
        assert!(check.advice.unwrap().starts_with("/p -m pip install"));
    }
}
