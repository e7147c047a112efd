//! What the JupyterLab test needs beyond Python: Chromium and playwright-core.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths::Paths;
use crate::process::{self, Failure, Result};

const PLACES: [&str; 3] = [
    "/usr/bin/chromium",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];

/// The browser: what `CHROMIUM` names, or one that is installed, or (as root on Debian) one installed now.
///
/// # Errors
/// There is none and none can be installed; says how to get one.
pub fn ensure_chromium(paths: &Paths) -> Result<PathBuf> {
    if let Some(named) = env::var_os("CHROMIUM") {
        let named = PathBuf::from(named);
        let missing = || {
            Failure::new(format!(
                "CHROMIUM names {}, which does not exist",
                named.display()
            ))
        };
        return named.is_file().then(|| named.clone()).ok_or_else(missing);
    }
    if let Some(found) = installed() {
        return Ok(found);
    }
    if is_root() {
        eprintln!("No Chromium: installing it with apt-get.");
        let quiet = ["-qq", "-o", "Dpkg::Use-Pty=0"];
        let apt = |arguments: &[&str]| {
            let mut command = paths.command("apt-get");
            command
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(quiet)
                .args(arguments);
            process::run(&mut command)
        };
        apt(&["update"])
            .and_then(|()| apt(&["install", "-y", "--no-install-recommends", "chromium"]))
            .map_err(|failure| Failure::new(format!("{failure}\n{}", advice())))?;
    }
    installed().ok_or_else(|| Failure::new(advice()))
}

fn installed() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

fn advice() -> String {
    format!(
        "the JupyterLab test needs Chromium at {} or where the variable CHROMIUM points. \
         On Debian: sudo apt-get install chromium. To run the other tests: cargo xtask test --only rust|python|lint",
        PLACES.join(", ")
    )
}

/// Makes sure that `tests/lab/node_modules` is what `package-lock.json` says.
///
/// # Errors
/// Node or npm is missing, or `npm ci` fails.
pub fn ensure_node_modules(paths: &Paths) -> Result<()> {
    let lab = paths.root.join("tests/lab");
    let lock = read(&lab.join("package-lock.json"))?;
    let stamp = lab.join("node_modules/.xtask-stamp");
    if fs::read_to_string(&stamp).is_ok_and(|filled_from| filled_from == lock) {
        return Ok(());
    }
    if !process::succeeds(Command::new("npm").arg("--version")) {
        return Err(Failure::new(
            "the JupyterLab test needs Node 20 or newer with npm: install them",
        ));
    }
    process::run(
        paths
            .command("npm")
            .current_dir(&lab)
            .args(["ci", "--no-audit", "--no-fund"]),
    )?;
    fs::write(&stamp, lock).map_err(Failure::io(format!("cannot write {}", stamp.display())))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Failure::io(format!("cannot read {}", path.display())))
}
