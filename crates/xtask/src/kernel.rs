//! The kernel itself: its release build, and its kernelspec in `.venv`.

use std::path::Path;

use crate::paths::Paths;
use crate::process::{self, Failure, Result};

/// The name of our kernelspec.
pub const NAME: &str = "rust-hygiene";

/// Builds the release binary and installs its kernelspec into `.venv`.
///
/// # Errors
/// The build or the installation fails, or the installation leaves no kernelspec.
pub fn build_and_install(paths: &Paths) -> Result<()> {
    process::run(paths.cargo().args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "rust-hygiene",
    ]))?;
    install(paths, &paths.venv)
}

/// Installs the kernelspec into an environment, for its own Python.
///
/// # Errors
/// The installation fails, or leaves no kernelspec.
pub fn install(paths: &Paths, venv: &Path) -> Result<()> {
    process::run(
        paths
            .command(paths.binary())
            .args(["install", "--prefix"])
            .arg(venv)
            .arg("--python")
            .arg(venv.join("bin/python"))
            .arg("--force"),
    )?;
    let spec = venv
        .join("share/jupyter/kernels")
        .join(NAME)
        .join("kernel.json");
    if spec.is_file() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "`rust-hygiene install` succeeded but there is no {}",
            spec.display()
        )))
    }
}
