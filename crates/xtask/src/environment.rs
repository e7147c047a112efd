//! The private Python environment `.venv`, made from `tests/requirements.txt`.
//!
//! A stamp inside it holds the requirements that it was filled from: while they are the same, nothing is done.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::paths::Paths;
use crate::process::{self, Failure, Result};

const REQUIREMENTS: &str = "tests/requirements.txt";
/// Makes environments where the `venv` module lacks `ensurepip`; installed into a folder of our own.
const VIRTUALENV: &str = "virtualenv>=20.26,<22";
/// Newest first: the interpreters to look for when `python3` is too old.
const INTERPRETERS: [&str; 5] = [
    "python3",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

/// Makes sure that `.venv` exists and holds the pinned packages.
///
/// # Errors
/// No usable Python, or pip fails.
pub fn ensure(paths: &Paths) -> Result<()> {
    let requirements = paths.root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .map_err(Failure::io(format!("cannot read {REQUIREMENTS}")))?;
    let stamp = paths.venv.join(".xtask-stamp");
    let usable = has_pip(&paths.python());
    if usable && fs::read_to_string(&stamp).is_ok_and(|filled_from| filled_from == wanted) {
        return Ok(());
    }
    if !usable {
        create(paths)?;
    }
    eprintln!("Installing the packages of {REQUIREMENTS} into .venv (a minute or two, once).");
    process::run(
        paths
            .command(paths.python())
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--progress-bar",
                "off",
            ])
            .args(["--requirement", REQUIREMENTS]),
    )?;
    fs::write(&stamp, wanted).map_err(Failure::io(format!("cannot write {}", stamp.display())))
}

/// Makes an empty `.venv`: with the standard library, or else (Debian without python3-venv) with virtualenv.
fn create(paths: &Paths) -> Result<()> {
    let interpreter = find_interpreter()?;
    if paths.venv.exists() {
        fs::remove_dir_all(&paths.venv).map_err(Failure::io("cannot remove the broken .venv"))?;
    }
    eprintln!("Making .venv with {interpreter}.");
    if process::succeeds(
        Command::new(interpreter)
            .args(["-m", "venv"])
            .arg(&paths.venv),
    ) && has_pip(&paths.python())
    {
        return Ok(());
    }
    eprintln!("{interpreter} has no working venv module: making .venv with virtualenv instead.");
    let boot = paths.target.join("boot");
    // PEP 668 forbids installing into the system's Python, but not into a folder named with --target.
    process::run(
        Command::new(interpreter)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"])
            .arg(&boot)
            .arg(VIRTUALENV),
    )
    .and_then(|()| {
        process::run(
            Command::new(interpreter)
                .env("PYTHONPATH", &boot)
                .args(["-m", "virtualenv", "--quiet", "--clear"])
                .arg(&paths.venv),
        )
    })
    .map_err(|failure| {
        Failure::new(format!(
            "{failure}.\n{interpreter} can make no environment. On Debian and Ubuntu: apt-get install python3-venv"
        ))
    })
}

/// The first interpreter that is new enough.
fn find_interpreter() -> Result<&'static str> {
    let recent = "import sys; sys.exit(sys.version_info < (3, 10))";
    INTERPRETERS
        .into_iter()
        .find(|name| process::succeeds(Command::new(name).args(["-c", recent])))
        .ok_or_else(|| {
            Failure::new(format!(
                "no Python 3.10 or newer on PATH (looked for {}): install one",
                INTERPRETERS.join(", ")
            ))
        })
}

fn has_pip(python: &Path) -> bool {
    python.exists() && process::succeeds(Command::new(python).args(["-c", "import pip"]))
}
