//! `rust-hygiene doctor`: checks everything that the kernel depends on and says how to mend what is broken.

mod configuration;
mod interpreter;
mod machine;
mod processes;
mod specs;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::output;

/// Check everything that the kernel needs and say what to do about what is missing.
///
/// Every line begins with `ok`, `info` (nothing to do), `warn` (the kernel works, but not fully) or `FAIL` (it does not work).
/// The exit code is 1 if there is a FAIL, else 0.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Check this Python instead of the one that the kernel would choose.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Print one JSON object for programs.
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// As it should be.
    Ok,
    /// Worth knowing, nothing to do.
    Info,
    /// The kernel works, but something is missing.
    Warn,
    /// The kernel does not work.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    message: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            message: message.into(),
            advice: None,
        }
    }

    fn info(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: Status::Info,
            ..Self::ok(name, message)
        }
    }

    fn warn(name: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            advice: Some(advice.into()),
            ..Self::ok(name, message)
        }
    }

    fn fail(name: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            advice: Some(advice.into()),
            ..Self::ok(name, message)
        }
    }
}

/// Runs all checks and prints the report.
///
/// # Errors
/// Only if the report cannot be printed.
pub fn run(args: DoctorArgs) -> Result<ExitCode> {
    let (mut checks, environment) = interpreter::check(args.python);
    checks.extend(specs::check(environment.as_ref()));
    checks.extend(processes::check());
    checks.push(machine::memory());
    checks.push(machine::gpu());
    checks.extend(configuration::check());
    let is_well = checks.iter().all(|check| check.status != Status::Fail);
    if args.json {
        output::line(&serde_json::to_string_pretty(
            &json!({"ok": is_well, "checks": checks}),
        )?)?;
    } else {
        output::write(report(&checks).as_bytes())?;
    }
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        text += &format!("{:4}  {:13}  {}\n", check.status, check.name, check.message);
        if let Some(advice) = &check.advice {
            text += &format!("{:21}→ {advice}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_one_line_a_check_and_its_advice_below() {
        let checks = [
            Check::ok("python", "3.12.1"),
            Check::fail("ipython", "missing", "install it"),
        ];
        let expected = "ok    python         3.12.1\nFAIL  ipython        missing\n                     → install it\n";
        assert_eq!(report(&checks), expected);
    }
}
