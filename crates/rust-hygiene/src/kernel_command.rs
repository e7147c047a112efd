//! `rust-hygiene kernel`: what Jupyter runs.

use std::path::PathBuf;

use clap::Args;

/// Run the kernel. Jupyter calls this; you hardly ever will.
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// The connection file that Jupyter wrote: addresses, ports and the signing key.
    #[arg(
        short = 'f',
        long,
        value_name = "PATH",
        required = true,
        overrides_with = "connection_file"
    )]
    pub connection_file: PathBuf,

    /// The Python that runs the cells. Without it the first of these: RUST_HYGIENE_PYTHON, a Python beside this program,
    /// VIRTUAL_ENV, CONDA_PREFIX, `python3` on PATH.
    #[arg(long, value_name = "PATH", overrides_with = "python")]
    pub python: Option<PathBuf>,

    /// Append the kernel's own log to this file instead of standard error.
    #[arg(long, value_name = "FILE", overrides_with = "log")]
    pub log: Option<PathBuf>,

    /// Anything else, for example `--HistoryManager.enabled=False`: handed to IPython, never a reason not to start.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub ipython_args: Vec<String>,
}

/// Runs the kernel until it is told to stop.
///
/// # Errors
/// When the kernel cannot start.
pub fn run(args: KernelArgs) -> anyhow::Result<()> {
    let _ = (
        args.connection_file,
        args.python,
        args.log,
        args.ipython_args,
    );
    anyhow::bail!("not wired yet")
}
