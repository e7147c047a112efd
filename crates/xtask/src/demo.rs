//! `cargo xtask demo`: the notebook that shows what the kernel does.

use std::fs;

use crate::environment;
use crate::kernel;
use crate::paths::Paths;
use crate::process::{self, Failure, Result};

const NOTEBOOK: &str = "docs/demo.ipynb";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    lab: bool,
    kernel: String,
}

impl Options {
    /// Reads the arguments after `demo`.
    ///
    /// # Errors
    /// An argument is unknown or lacks its value.
    pub fn parse(arguments: Vec<String>) -> Result<Self> {
        let mut options = Self {
            lab: false,
            kernel: kernel::NAME.to_owned(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--lab" => options.lab = true,
                "--kernel" => {
                    options.kernel = arguments
                        .next()
                        .ok_or_else(|| Failure::new("--kernel needs a name"))?;
                }
                other => {
                    return Err(Failure::new(format!(
                        "demo does not know {other:?}; see cargo xtask help"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// Sets everything up, then runs the notebook, or opens it in JupyterLab.
///
/// # Errors
/// The set-up, the notebook or JupyterLab fails.
pub fn run(paths: &Paths, options: &Options) -> Result<()> {
    environment::ensure(paths)?;
    if options.kernel == kernel::NAME {
        kernel::build_and_install(paths)?;
    }
    let folder = paths.target.join("demo");
    fs::create_dir_all(&folder)
        .map_err(Failure::io(format!("cannot make {}", folder.display())))?;
    if options.lab {
        let copy = folder.join("demo-lab.ipynb");
        fs::copy(paths.root.join(NOTEBOOK), &copy)
            .map_err(Failure::io(format!("cannot copy {NOTEBOOK}")))?;
        eprintln!(
            "JupyterLab opens on {}; Ctrl-C here ends it.",
            copy.display()
        );
        return process::run(
            paths
                .command(paths.python())
                .args(["-m", "jupyterlab"])
                .arg(&copy),
        );
    }
    process::run(
        paths
            .command(paths.python())
            // Without a front end's session the kernel would keep its badge to the reply's metadata.
            .env("RUST_HYGIENE_BADGE", "output")
            .arg("crates/xtask/python/run_notebook.py")
            .args(["--kernel", &options.kernel, "--output"])
            .arg(&folder)
            .arg(NOTEBOOK),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        Options::parse(
            arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
        )
    }

    #[test]
    fn our_own_kernel_is_the_default() {
        assert_eq!(
            parse(&[]).unwrap(),
            Options {
                lab: false,
                kernel: "rust-hygiene".to_owned()
            }
        );
    }

    #[test]
    fn another_kernel_and_the_lab_can_be_asked_for() {
        let expected = Options {
            lab: true,
            kernel: "python3".to_owned(),
        };
        assert_eq!(parse(&["--kernel", "python3", "--lab"]).unwrap(), expected);
    }

    #[test]
    fn a_wrong_argument_is_refused() {
        assert!(parse(&["--kernel"]).is_err());
        assert!(parse(&["--labs"]).is_err());
    }
}
