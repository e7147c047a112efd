//! The options that say for whom a kernelspec is: one user, a Python environment, or a prefix.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::jupyter_paths::{prefix_data_dir, process_variables, user_data_dir};
use crate::probe::{self, Depth};
use crate::python::{Candidates, choose_python};

/// For whom the kernelspec is.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Scope {
    /// For this user, in Jupyter's data folder (JUPYTER_DATA_DIR, else XDG_DATA_HOME/jupyter, else ~/.local/share/jupyter). The
    /// default.
    #[arg(long)]
    user: bool,

    /// For everyone who uses one Python environment: the one of --python or, without it, of the Python that would be found.
    #[arg(long)]
    sys_prefix: bool,

    /// For everyone who uses an installation prefix, for example /usr/local: goes into DIR/share/jupyter.
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

impl Scope {
    /// The folder that holds one folder a kernel.
    ///
    /// # Errors
    /// If the home folder or the Python that decides cannot be found.
    pub fn kernels_folder(&self, python: Option<&Path>) -> Result<PathBuf> {
        let data = if let Some(prefix) = &self.prefix {
            prefix_data_dir(&std::path::absolute(prefix)?)
        } else if self.sys_prefix {
            let (python, _) =
                choose_python(&Candidates::from_process(python.map(Path::to_path_buf)))?;
            prefix_data_dir(&probe::ask(&python, Depth::Environment)?.prefix)
        } else {
            user_data_dir(&process_variables, std::env::home_dir().as_deref()).context(
                "this user has no home folder; set JUPYTER_DATA_DIR or pass --prefix DIR",
            )?
        };
        Ok(std::path::absolute(data.join("kernels"))?)
    }
}
