//! `cargo xtask test`: a list of steps, each with a heading and its time; the first that fails ends the run.

use std::time::{Duration, Instant};

use crate::browser;
use crate::environment;
use crate::kernel;
use crate::paths::Paths;
use crate::process::{self, Failure, Result};
use crate::versions;

/// What `--only` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Formatting and lints of Rust and Python.
    Lint,
    /// `cargo test`.
    Rust,
    /// `pytest`, with the installed kernel.
    Python,
    /// A selection of it, with every Python that is found.
    Versions,
    /// A notebook in JupyterLab, in Chromium.
    Lab,
}

use Group::{Lab, Lint, Python, Rust, Versions};

struct Step {
    name: &'static str,
    /// The groups that need this step.
    groups: &'static [Group],
    act: fn(&Paths) -> Result<()>,
}

/// In the order in which they run: what is cheap and fails often comes first.
const STEPS: [Step; 12] = [
    Step {
        name: "python environment",
        groups: &[Lint, Rust, Python, Versions, Lab],
        act: environment::ensure,
    },
    Step {
        name: "browser",
        groups: &[Lab],
        act: |paths| {
            browser::ensure_node_modules(paths).and(browser::ensure_chromium(paths).map(drop))
        },
    },
    Step {
        name: "cargo fmt",
        groups: &[Lint],
        act: |paths| process::run(paths.cargo().args(["fmt", "--all", "--check"])),
    },
    Step {
        name: "ruff check",
        groups: &[Lint],
        act: |paths| process::run(paths.command("ruff").args(["check", "."])),
    },
    Step {
        name: "ruff format",
        groups: &[Lint],
        act: |paths| process::run(paths.command("ruff").args(["format", "--check", "."])),
    },
    Step {
        name: "vermin",
        groups: &[Lint],
        act: vermin,
    },
    Step {
        name: "clippy",
        groups: &[Lint],
        act: clippy,
    },
    Step {
        name: "cargo test",
        groups: &[Rust],
        act: |paths| process::run(paths.cargo().args(["test", "--quiet", "--workspace"])),
    },
    Step {
        name: "release build and kernelspec",
        groups: &[Python, Versions, Lab],
        act: kernel::build_and_install,
    },
    Step {
        name: "pytest",
        groups: &[Python],
        act: pytest,
    },
    Step {
        name: "other Pythons",
        groups: &[Python, Versions],
        act: versions::run,
    },
    Step {
        name: "JupyterLab",
        groups: &[Lab],
        act: lab,
    },
];

/// What runs in the person's Python uses nothing that 3.10 lacks.
fn vermin(paths: &Paths) -> Result<()> {
    let code = [
        "crates/interpreter/agent",
        "crates/rust-hygiene/python",
        "crates/rust-hygiene/src/probe.py",
    ];
    process::run(
        paths
            .command("vermin")
            .args(["--target=3.10-", "--violations", "--no-tips"])
            .args(["--eval-annotations", "--quiet"])
            .args(code),
    )
}

fn clippy(paths: &Paths) -> Result<()> {
    let arguments = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    process::run(paths.cargo().args(arguments))
}

fn pytest(paths: &Paths) -> Result<()> {
    let arguments = ["-m", "pytest", "--quiet", "tests"];
    process::run(
        paths
            .command(paths.python())
            .env("RUST_HYGIENE_BINARY", paths.binary())
            .args(arguments),
    )
}

fn lab(paths: &Paths) -> Result<()> {
    let chromium = browser::ensure_chromium(paths)?;
    let pictures = paths.fresh("lab")?;
    process::run(
        paths
            .command("node")
            .arg("tests/lab/lab.mjs")
            .args(["--display-name", "Rust-Hygiene Python", "--python"])
            .arg(paths.python())
            .arg("--chromium")
            .arg(chromium)
            .arg("--out")
            .arg(&pictures),
    )?;
    eprintln!("Pictures: {}", pictures.display());
    Ok(())
}

/// Reads the arguments after `test`.
///
/// # Errors
/// Anything but nothing, or `--only` with a group's name.
pub fn parse_only(arguments: Vec<String>) -> Result<Option<Group>> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(None),
        ["--only", "lint"] => Ok(Some(Lint)),
        ["--only", "rust"] => Ok(Some(Rust)),
        ["--only", "python"] => Ok(Some(Python)),
        ["--only", "versions"] => Ok(Some(Versions)),
        ["--only", "lab"] => Ok(Some(Lab)),
        _ => Err(Failure::new(format!(
            "test takes --only rust|python|versions|lab|lint, not {words:?}"
        ))),
    }
}

/// Runs the steps of one group, or all of them.
///
/// # Errors
/// The first step that fails.
pub fn run(paths: &Paths, only: Option<Group>) -> Result<()> {
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| only.is_none_or(|group| step.groups.contains(&group)))
        .collect();
    let begin = Instant::now();
    let mut passed = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        eprintln!("\n== {}/{} {}", index + 1, steps.len(), step.name);
        let start = Instant::now();
        let outcome = (step.act)(paths);
        let took = start.elapsed();
        match outcome {
            Ok(()) => {
                eprintln!("   ok, {}", seconds(took));
                passed.push((step.name, took));
            }
            Err(failure) => {
                eprintln!(
                    "{}",
                    summary(&passed, Some((step.name, took)), &steps[index + 1..])
                );
                return Err(Failure::new(format!("{}: {failure}", step.name)));
            }
        }
    }
    eprintln!("{}", summary(&passed, None, &[]));
    eprintln!("All passed in {}.", seconds(begin.elapsed()));
    Ok(())
}

fn summary(
    passed: &[(&str, Duration)],
    failed: Option<(&str, Duration)>,
    left: &[&Step],
) -> String {
    let mut lines = vec!["\n== summary".to_owned()];
    lines.extend(
        passed
            .iter()
            .map(|(name, took)| format!("   ok       {name} ({})", seconds(*took))),
    );
    lines.extend(failed.map(|(name, took)| format!("   FAILED   {name} ({})", seconds(took))));
    lines.extend(left.iter().map(|step| format!("   not run  {}", step.name)));
    lines.join("\n")
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(group: Group) -> Vec<&'static str> {
        STEPS
            .iter()
            .filter(|step| step.groups.contains(&group))
            .map(|step| step.name)
            .collect()
    }

    #[test]
    fn only_takes_the_five_groups_and_nothing_else() {
        let parse =
            |words: &[&str]| parse_only(words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&["--only", "lab"]), Ok(Some(Lab)));
        assert!(parse(&["--only"]).is_err());
        assert!(parse(&["--only", "everything"]).is_err());
        assert!(parse(&["lab"]).is_err());
    }

    #[test]
    fn pytest_and_jupyterlab_come_after_the_kernel_is_installed() {
        let install = "release build and kernelspec";
        assert_eq!(
            names(Python),
            ["python environment", install, "pytest", "other Pythons"]
        );
        assert_eq!(
            names(Lab),
            ["python environment", "browser", install, "JupyterLab"]
        );
    }

    #[test]
    fn a_summary_names_what_was_not_run() {
        let text = summary(
            &[("one", Duration::ZERO)],
            Some(("two", Duration::ZERO)),
            &[&STEPS[11]],
        );
        assert_eq!(
            text,
            "\n== summary\n   ok       one (0.0 s)\n   FAILED   two (0.0 s)\n   not run  JupyterLab"
        );
    }
}
