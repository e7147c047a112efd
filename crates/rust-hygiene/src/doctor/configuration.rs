//! The configuration files that are there, and what is wrong with them.

use super::Check;
use crate::configuration;

const NAME: &str = "configuration";

/// Checks every configuration file that exists, and the environment, by the rules that the kernel goes by.
pub fn check() -> Vec<Check> {
    let files = configuration::files();
    let (_, problems) = configuration::load(Vec::new());
    let mut checks: Vec<Check> = problems
        .iter()
        .map(|problem| {
            Check::warn(
                NAME,
                problem.to_string(),
                "mend it; until then the default holds",
            )
        })
        .collect();
    if problems.is_empty() {
        checks.extend(
            files
                .iter()
                .map(|file| Check::ok(NAME, file.display().to_string())),
        );
    }
    if checks.is_empty() {
        checks.push(Check::info(NAME, "no file, the defaults hold"));
    }
    checks
}
