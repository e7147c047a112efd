//! `cargo xtask corpus`: labelled scenarios in a real kernel, and a score; with `--policy tidy|strict` what that policy gives back.

use crate::environment;
use crate::kernel;
use crate::paths::Paths;
use crate::process::{self, Result};

/// Runs `tests/corpus/run.py` with the given arguments. A scenario whose packages (`tests/corpus/requirements.txt`) are not in
/// `.venv` is reported as not run.
///
/// # Errors
/// The set-up fails, a scenario fails to run, or a clean one is flagged.
pub fn run(paths: &Paths, arguments: Vec<String>) -> Result<()> {
    environment::ensure(paths)?;
    kernel::build_and_install(paths)?;
    process::run(
        paths
            .command(paths.python())
            .arg("tests/corpus/run.py")
            .args(arguments),
    )
}
