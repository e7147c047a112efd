//! `cargo xtask demo | test | bench | suites | corpus | docs`: the project's commands, on a machine with Rust, Python and Node.
//!
//! Theory of operation: every command first makes sure of an environment (`environment`: a private `.venv` with pinned
//! packages; `kernel`: the release binary and its kernelspec in that `.venv`), then runs other people's tools in it
//! (`demo`, `test`, `bench`, `suites`, `corpus`). Nothing of the user's own Jupyter or IPython configuration is read or written
//! (`paths::Paths::command`). Standard library only, so that the runner itself is built in seconds.

mod bench;
mod browser;
mod corpus;
mod demo;
mod docs;
mod environment;
mod kernel;
mod paths;
mod process;
mod suites;
mod test;
mod versions;

use std::process::ExitCode;

use crate::paths::Paths;
use crate::process::{Failure, Result};

const USAGE: &str = "\
cargo xtask demo [--lab] [--kernel NAME]
    Build and install the kernel into .venv, run docs/demo.ipynb with it, write the result to target/demo/.
    --lab opens JupyterLab on a copy of the notebook; --kernel runs another kernel of .venv, to compare.

cargo xtask test [--only rust|python|versions|lab|lint]
    Everything that must pass: formatting and lints, cargo test, pytest, a notebook in JupyterLab.

cargo xtask bench [arguments of tests/bench/kernel_bench.py]
    Measure the kernel beside ipykernel and xeus-python and judge it by its targets; writes target/bench/.

cargo xtask suites [NAME...]
    Run the test suites of other projects (jupyter_client, nbclient, papermill, ...) with our kernel and with ipykernel and
    compare them name by name. It fetches them from PyPI and takes a quarter of an hour; works in target/suites/.

cargo xtask corpus [beginnings of ids] [--json FILE]
    Run the labelled leaks and clean notebooks of tests/corpus in the kernel and score its verdicts.

cargo xtask docs
    Write docs/causes, a page for each cause of kept memory, from the comments of the files that find them.
";

fn main() -> ExitCode {
    match dispatch(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut arguments: Vec<String>) -> Result<()> {
    if arguments.is_empty() {
        return Err(Failure::new(format!("which command?\n\n{USAGE}")));
    }
    let command = arguments.remove(0);
    match command.as_str() {
        "demo" => demo::run(&Paths::discover()?, &demo::Options::parse(arguments)?),
        "test" => test::run(&Paths::discover()?, test::parse_only(arguments)?),
        "bench" => bench::run(&Paths::discover()?, arguments),
        "suites" => suites::run(&Paths::discover()?, arguments),
        "docs" => docs::run(&Paths::discover()?),
        "corpus" => corpus::run(&Paths::discover()?, arguments),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(Failure::new(format!(
            "unknown command {other:?}\n\n{USAGE}"
        ))),
    }
}
