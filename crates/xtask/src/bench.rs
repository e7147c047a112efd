//! `cargo xtask bench`: our kernel beside its peers, and a verdict.

use crate::environment;
use crate::kernel;
use crate::paths::Paths;
use crate::process::{self, Failure, Result};

/// The first is the one that the others are compared with.
const KERNELS: [&str; 4] = ["--kernels", "python3", "xpython", kernel::NAME];
const ROUNDS: [&str; 2] = ["--rounds", "5"];

/// Runs `tests/bench/kernel_bench.py` with the given arguments, then judges its results.
///
/// # Errors
/// The set-up fails, the bench writes no results, or a target is missed.
pub fn run(paths: &Paths, arguments: Vec<String>) -> Result<()> {
    environment::ensure(paths)?;
    let script = "tests/bench/kernel_bench.py";
    if arguments
        .iter()
        .any(|argument| matches!(argument.as_str(), "--list" | "--help" | "-h"))
    {
        return process::run(paths.command(paths.python()).arg(script).args(arguments));
    }
    let arguments = with_defaults(arguments);
    if arguments.iter().any(|argument| argument == kernel::NAME) {
        kernel::build_and_install(paths)?;
    }
    let folder = paths.fresh("bench")?;
    let results = folder.join("results.json");
    let measured = process::run(
        paths
            .command(paths.python())
            .arg(script)
            .args(&arguments)
            .arg("--json")
            .arg(&results)
            .arg("--markdown")
            .arg(folder.join("table.md")),
    );
    if !results.is_file() {
        return measured.and(Err(Failure::new("the bench wrote no results")));
    }
    // A peer that fails a metric makes the bench fail; the verdict is about our kernel.
    if let Err(failure) = measured {
        eprintln!("{failure}: some metric failed, see the table.");
    }
    eprintln!("\nValues: {}\n", folder.display());
    process::run(
        paths
            .command(paths.python())
            .arg("tests/bench/verdict.py")
            .arg(&results),
    )
}

/// Our kernel beside its peers, five rounds, unless the arguments say otherwise.
fn with_defaults(mut arguments: Vec<String>) -> Vec<String> {
    for default in [&KERNELS[..], &ROUNDS[..]] {
        if !arguments.iter().any(|argument| argument == default[0]) {
            arguments.extend(default.iter().map(|&word| word.to_owned()));
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(words: &[&str]) -> Vec<String> {
        with_defaults(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn the_three_kernels_run_five_rounds_by_default() {
        let expected = [
            "--kernels",
            "python3",
            "xpython",
            "rust-hygiene",
            "--rounds",
            "5",
        ];
        assert_eq!(defaults(&[]), expected);
    }

    #[test]
    fn arguments_win_over_defaults() {
        let words = ["--kernels", "python3", "--rounds", "1", "--quick"];
        assert_eq!(defaults(&words), words);
    }
}
