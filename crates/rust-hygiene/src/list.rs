//! `rust-hygiene list`: every kernelspec of ours and what it would start.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::output;
use crate::probe::{self, Depth};
use crate::python::{Candidates, choose_python};
use crate::survey::{self, FoundSpec};

/// Show where this kernel is installed, which Python each installation runs, and whether its program still exists.
///
/// Looks where the Jupyter of one Python environment looks: the environment of --python or, without it, of the Python that the
/// kernel would choose.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The Python whose Jupyter is meant.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Print a JSON array for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the list.
///
/// # Errors
/// If the Python that was named does not work.
pub fn run(args: ListArgs) -> Result<ExitCode> {
    let named = args.python.is_some();
    let facts = choose_python(&Candidates::from_process(args.python))
        .map_err(anyhow::Error::from)
        .and_then(|(python, _)| probe::ask(&python, Depth::Environment));
    let environment = match facts {
        Ok(facts) => Some(survey::environment(&facts)),
        Err(error) if named => return Err(error),
        Err(error) => {
            output::note(&format!(
                "warning: {error:#}; looking in the folders of the user and the system only"
            ));
            None
        }
    };
    let specs = survey::find(environment.as_ref());
    if args.json {
        output::line(&serde_json::to_string_pretty(&specs)?)?;
    } else if specs.is_empty() {
        output::line("The kernel is not installed; `rust-hygiene install` does that.")?;
    } else {
        let blocks: Vec<_> = specs.iter().map(block).collect();
        output::line(&blocks.join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn block(spec: &FoundSpec) -> String {
    let mut lines = vec![format!("{}  \"{}\"", spec.name, spec.display_name)];
    lines.push(format!("  spec     {}", spec.folder.display()));
    if let Some(other) = &spec.hidden_by {
        lines.push(format!(
            "           hidden: Jupyter finds {} first",
            other.display()
        ));
    }
    lines.push(match &spec.program {
        Some(program) if spec.program_exists => format!("  program  {}", program.display()),
        Some(program) => {
            format!(
                "  program  {} is MISSING; run `rust-hygiene install` again or uninstall this one",
                program.display()
            )
        }
        None => "  program  python -m rust_hygiene".into(),
    });
    lines.push(match (&spec.python, spec.rule, &spec.python_error) {
        (Some(python), Some(rule), _) => format!("  python   {} ({rule})", python.display()),
        (_, _, error) => format!("  python   none: {}", error.as_deref().unwrap_or("unknown")),
    });
    lines.join("\n")
}
