//! `rust-hygiene install`: makes the kernel known to Jupyter by writing the kernelspec itself, without asking Jupyter.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Args};

use crate::kernelspec::{self, DEFAULT_NAME, NewSpec};
use crate::output;
use crate::probe::{self, Facts};
use crate::python::{Candidates, choose_python};
use crate::scope::Scope;

/// Make the kernel appear in Jupyter, VS Code and every other program that reads Jupyter's kernelspecs.
///
/// Writes kernel.json and the icons. The spec names this very program by its full path, so install again after moving it.
/// Installing twice under one name updates the spec; a spec of another kernel is never replaced without --force.
#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    scope: Scope,

    /// The kernel's name in commands and notebooks: ASCII letters, digits, '.', '_' and '-'.
    #[arg(long, default_value = DEFAULT_NAME, value_parser = kernelspec::check_name)]
    name: String,

    /// The name that people see in menus. [default: Rust-Hygiene Python]
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,

    /// Always run cells with this Python: a program, an environment's folder or a name on PATH. Without it the kernel looks for
    /// one each time it starts; `rust-hygiene doctor` tells which.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// Set an environment variable for the kernel. May be given several times.
    #[arg(long, num_args = 2, value_names = ["KEY", "VALUE"], action = ArgAction::Append, allow_hyphen_values = true)]
    env: Vec<String>,

    /// Replace the spec of another kernel that has this name.
    #[arg(long)]
    force: bool,
}

/// Writes the kernelspec.
///
/// # Errors
/// If the Python that was named does not work, the name belongs to another kernel, or the folder cannot be written.
pub fn run(args: InstallArgs) -> Result<ExitCode> {
    let env = pairs(&args.env)?;
    let chosen = choose_python(&Candidates::from_process(args.python.clone()));
    let python = match (args.python.is_some(), chosen) {
        (true, chosen) => {
            let (python, _) = chosen?;
            warn_of_missing_packages(&python, &probe::usable(&python)?);
            Some(python)
        }
        // Only a forecast: the kernel will look again, with the surroundings that it then has.
        (false, Ok((python, _))) => {
            match probe::usable(&python) {
                Ok(facts) => warn_of_missing_packages(&python, &facts),
                Err(error) => output::note(&format!(
                    "warning: {error:#}; fix the kernel's Python with --python PATH"
                )),
            }
            None
        }
        (false, Err(error)) => {
            output::note(&format!("warning: {error}"));
            None
        }
    };
    if kernelspec::is_taken_for_plain_python(&args.name) {
        output::note(&format!(
            "warning: VS Code takes kernels named `{}` for the plain Python kernel and may start that instead",
            args.name
        ));
    }
    let program = std::env::current_exe().context("cannot tell the path of this program")?;
    let folder = args
        .scope
        .kernels_folder(args.python.as_deref())?
        .join(&args.name);
    let spec = NewSpec {
        program,
        python,
        display_name: args.display_name,
        env,
    };
    kernelspec::write(&folder, &spec.to_json()?, args.force)?;
    output::line(&format!(
        "Installed kernelspec {} in {}",
        args.name,
        folder.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn warn_of_missing_packages(python: &Path, facts: &Facts) {
    if let Some(missing) = facts.missing_ipython(python) {
        output::note(&format!("warning: {missing}"));
    }
}

fn pairs(words: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in words.chunks_exact(2) {
        let (key, value) = (pair[0].clone(), pair[1].clone());
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            bail!(
                "`--env {key} {value}`: the name of a variable is not empty and holds no '='; write --env KEY VALUE"
            );
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}
