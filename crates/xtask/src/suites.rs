//! `cargo xtask suites`: the test suites of other projects with our kernel and with ipykernel, compared name by name.

use crate::environment;
use crate::kernel;
use crate::paths::Paths;
use crate::process::{self, Result};

const REQUIREMENTS: [&str; 2] = ["tests/requirements.txt", "tests/suites/requirements.txt"];

/// Runs `tests/suites/run.py` in an environment of its own: what suites install must not change what the other commands measure.
///
/// # Errors
/// The set-up fails, or a suite passes with ipykernel where it fails with our kernel.
pub fn run(paths: &Paths, names: Vec<String>) -> Result<()> {
    environment::ensure(paths)?;
    kernel::build_and_install(paths)?;
    let venv = paths.target.join("suites-venv");
    let python = venv.join("bin/python");
    process::run(
        paths
            .command(paths.python())
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv),
    )?;
    process::run(
        paths
            .command(paths.python())
            .args(["-m", "pip", "--python"])
            .arg(&python)
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(REQUIREMENTS.iter().flat_map(|file| ["--requirement", file])),
    )?;
    kernel::install(paths, &venv)?;
    process::run(
        paths
            .command(paths.python())
            .arg("tests/suites/run.py")
            .arg("--venv")
            .arg(&venv)
            .arg("--work")
            .arg(paths.target.join("suites"))
            .args(names),
    )
}
