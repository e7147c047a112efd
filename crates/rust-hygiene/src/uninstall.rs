//! `rust-hygiene uninstall`: takes a kernelspec away, if it is ours.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::kernelspec::{self, DEFAULT_NAME, Installed};
use crate::output;
use crate::scope::Scope;

/// Remove a kernelspec that `rust-hygiene install` wrote. Specs of other kernels are left alone.
///
/// Asks before it removes; in a script pass --yes.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    scope: Scope,

    /// The name under which it was installed.
    #[arg(long, default_value = DEFAULT_NAME, value_parser = kernelspec::check_name)]
    name: String,

    /// With --sys-prefix: the Python whose environment is meant.
    #[arg(long, value_name = "PATH", requires = "sys_prefix")]
    python: Option<PathBuf>,

    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Removes the kernelspec.
///
/// # Errors
/// If there is none, it is not ours, or it cannot be removed.
pub fn run(args: UninstallArgs) -> Result<ExitCode> {
    let folder = args
        .scope
        .kernels_folder(args.python.as_deref())?
        .join(&args.name);
    let shown = folder.display();
    let Some(spec) = Installed::read(&folder)? else {
        bail!("there is no kernelspec {shown}; `rust-hygiene list` shows where ours are");
    };
    if spec.launch(&folder).is_none() {
        bail!(
            "{shown} starts another kernel and is left alone; `jupyter kernelspec uninstall {}` removes it",
            args.name
        );
    }
    if spec.is_from_wheel() {
        bail!("{shown} belongs to the Python package; remove it with `pip uninstall rust-hygiene`");
    }
    if !args.yes && !confirm(&format!("Remove {shown}?"))? {
        output::note("nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    let left = kernelspec::remove(&folder).with_context(|| format!("cannot remove {shown}"))?;
    output::line(&format!("Removed {shown}"))?;
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|name| name.to_string_lossy()).collect();
        output::note(&format!(
            "note: files that are not ours stay in that folder: {}",
            names.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn confirm(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{question} There is nobody to ask; pass --yes");
    }
    output::note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
