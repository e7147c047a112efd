//! The agent on the Pythons and IPythons that it promises to run on: environments of their own, and a selection of tests.
//!
//! Each environment holds IPython and nothing else, so ipykernel is not there either. The oldest Python that is found gets the
//! oldest IPython, the others the current one. What is not found is not run, and said.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kernel;
use crate::paths::Paths;
use crate::process::{self, Failure, Result};

/// The versions that the agent must run on, oldest first.
const PYTHONS: [&str; 5] = ["3.10", "3.11", "3.12", "3.13", "3.14"];
/// The oldest IPython, with what it needs, pinned.
const OLDEST: &str = "tests/requirements-oldest.txt";
/// The pins of the current one.
const CURRENT: &str = "tests/requirements.txt";
/// Little, but of everything that could depend on a version.
const TESTS: [&str; 6] = [
    "tests/kernel/test_python.py",
    "tests/kernel/test_execute.py",
    "tests/kernel/test_stdin.py",
    "tests/kernel/test_interrupt.py",
    "tests/kernel/test_message_schema.py",
    "tests/kernel/test_badge.py",
];

/// Runs the selection with every Python that is found.
///
/// # Errors
/// An environment cannot be made, or a test fails.
pub fn run(paths: &Paths) -> Result<()> {
    let found: Vec<(&str, PathBuf)> = PYTHONS
        .iter()
        .filter_map(|version| Some((*version, find(version)?)))
        .collect();
    for version in PYTHONS {
        if !found.iter().any(|(other, _)| *other == version) {
            eprintln!("Python {version}: not found, not run");
        }
    }
    for (at, (version, python)) in found.iter().enumerate() {
        let (name, packages) = if at == 0 {
            ("oldest", vec!["--requirement", OLDEST])
        } else {
            ("current", vec!["--constraint", CURRENT, "ipython"])
        };
        eprintln!("Python {version}, {name} IPython: {}", python.display());
        let venv = paths
            .target
            .join("pythons")
            .join(format!("{version}-{name}"));
        ensure(paths, python, &venv, &packages)?;
        kernel::install(paths, &venv)?;
        process::run(
            paths
                .command(paths.python())
                .env("JUPYTER_PATH", venv.join("share/jupyter"))
                .env("RUST_HYGIENE_BINARY", paths.binary())
                .args(["-m", "pytest", "--quiet", "-m", "not packages"])
                .args(TESTS),
        )?;
    }
    Ok(())
}

/// An interpreter of this version: on `PATH`, or where pyenv and uv keep theirs.
fn find(version: &str) -> Option<PathBuf> {
    let name = format!("python{version}");
    let is_it = |python: &Path| {
        let asks =
            format!("import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')");
        process::succeeds(Command::new(python).args(["-c", &asks]))
    };
    let on_path = PathBuf::from(&name);
    if is_it(&on_path) {
        return Some(on_path);
    }
    let home = env::home_dir().unwrap_or_default();
    let pyenv = env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    [pyenv.join("versions"), home.join(".local/share/uv/python")]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path().join("bin").join(&name))
        .find(|python| python.is_file() && is_it(python))
}

/// Makes the environment, unless it is there and was filled from the same.
fn ensure(paths: &Paths, python: &Path, venv: &Path, packages: &[&str]) -> Result<()> {
    let file = packages[1];
    let pins = fs::read_to_string(paths.root.join(file))
        .map_err(Failure::io(format!("cannot read {file}")))?;
    let wanted = format!("{}\n{}\n{pins}", python.display(), packages.join(" "));
    let stamp = venv.join(".xtask-stamp");
    if fs::read_to_string(&stamp).is_ok_and(|filled_from| filled_from == wanted) {
        return Ok(());
    }
    process::run(
        Command::new(python)
            .args(["-m", "venv", "--clear", "--without-pip"])
            .arg(venv),
    )?;
    process::run(
        paths
            .command(paths.python())
            .args(["-m", "pip", "--python"])
            .arg(venv.join("bin/python"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    )?;
    fs::write(&stamp, wanted).map_err(Failure::io(format!("cannot write {}", stamp.display())))
}
