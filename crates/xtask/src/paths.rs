//! Where things are, and the environment in which tools run.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failure, Result};

/// The places of one checkout.
pub struct Paths {
    /// The top of the checkout.
    pub root: PathBuf,
    /// Cargo's target directory; what the commands write goes below it.
    pub target: PathBuf,
    /// The private Python environment.
    pub venv: PathBuf,
}

impl Paths {
    /// Finds the checkout that this program was built from.
    ///
    /// # Errors
    /// The checkout is gone.
    pub fn discover() -> Result<Self> {
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).join("../..");
        let root = root
            .canonicalize()
            .map_err(Failure::io(format!("no checkout at {}", root.display())))?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        let jupyter = target.join("jupyter");
        // IPython takes a directory of its own only where the parent exists.
        std::fs::create_dir_all(&jupyter)
            .map_err(Failure::io(format!("cannot make {}", jupyter.display())))?;
        Ok(Self {
            venv: root.join(".venv"),
            target,
            root,
        })
    }

    /// The Python of the environment.
    pub fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// The kernel, as `cargo build --release` leaves it.
    pub fn binary(&self) -> PathBuf {
        self.target.join("release/rust-hygiene")
    }

    /// Makes a fresh, empty directory below the target directory and returns it.
    ///
    /// # Errors
    /// It cannot be emptied or made.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let directory = self.target.join(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory)
                .map_err(Failure::io(format!("cannot empty {}", directory.display())))?;
        }
        std::fs::create_dir_all(&directory)
            .map_err(Failure::io(format!("cannot make {}", directory.display())))?;
        Ok(directory)
    }

    /// Cargo itself, at the top of the checkout.
    pub fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// A program that runs at the top of the checkout as if `.venv` were activated.
    ///
    /// The kernelspecs of `.venv` come first, and Jupyter, IPython and the kernel find no configuration, history or
    /// variables of the user's: a run says the same for everyone, and leaves nothing behind but the target directory.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let jupyter = self.target.join("jupyter");
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("PATH", self.search_path())
            .env("VIRTUAL_ENV", &self.venv)
            .env("JUPYTER_PATH", self.venv.join("share/jupyter"))
            .env("JUPYTER_CONFIG_DIR", jupyter.join("config"))
            .env("JUPYTER_DATA_DIR", jupyter.join("data"))
            .env("JUPYTER_RUNTIME_DIR", jupyter.join("runtime"))
            .env("IPYTHONDIR", jupyter.join("ipython"))
            .env("XDG_CONFIG_HOME", jupyter.join("xdg"))
            .env_remove("PYTHONHOME")
            .env_remove("PYTHONPATH");
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"RUST_HYGIENE_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// `PATH` with the programs of `.venv` first.
    fn search_path(&self) -> OsString {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let first = self.venv.join("bin");
        let all = std::iter::once(first.clone()).chain(env::split_paths(&inherited));
        env::join_paths(all).unwrap_or_else(|_| first.into())
    }
}
