//! The command line of Rust-Hygiene Python: it starts the kernel, tells Jupyter about it and checks its surroundings.
//!
//! One module a command; what several commands share stands below them:
//! [`python`] chooses an interpreter, [`probe`] asks one about itself, [`jupyter_paths`] knows where Jupyter looks,
//! [`kernelspec`] reads and writes `kernel.json`, [`survey`] finds every kernelspec of ours.

mod colab;
mod configuration;
mod doctor;
mod install;
mod journal;
mod jupyter_paths;
mod kernel_arguments;
mod kernel_command;
mod kernelspec;
mod list;
mod output;
mod policy_command;
mod probe;
mod processes;
mod python;
mod scope;
mod strip;
mod survey;
mod uninstall;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Jupyter kernel for Python that tells, for every cell, where the memory went.
///
/// Start with `rust-hygiene install`: it makes the kernel appear in JupyterLab, Notebook, VS Code and every other Jupyter
/// program of this user. If something does not work, `rust-hygiene doctor` says what and how to mend it.
#[derive(Debug, Parser)]
#[command(
    name = "rust-hygiene",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Kernel(kernel_command::KernelArgs),
    Install(install::InstallArgs),
    Uninstall(uninstall::UninstallArgs),
    List(list::ListArgs),
    Doctor(doctor::DoctorArgs),
    Policy(policy_command::PolicyArgs),
    Journal(journal::JournalArgs),
    Strip(strip::StripArgs),
    Colab(colab::ColabArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(kernel_arguments::sort(std::env::args_os()));
    let outcome = match cli.command {
        Command::Kernel(args) => kernel_command::run(args).map(|()| ExitCode::SUCCESS),
        Command::Install(args) => install::run(args),
        Command::Uninstall(args) => uninstall::run(args),
        Command::List(args) => list::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Policy(args) => policy_command::run(args),
        Command::Journal(args) => journal::run(args),
        Command::Strip(args) => strip::run(args),
        Command::Colab(args) => colab::run(args),
    };
    outcome.unwrap_or_else(|error| {
        output::note(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
