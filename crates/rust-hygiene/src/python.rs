//! Which Python runs the cells. A pure choice over [`Candidates`]; only the question "is this file executable?" touches the world.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The oldest Python that the agent runs on.
pub const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// Everything the choice depends on.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// `--python`. A bare name (`python3.12`) is looked up on `path`.
    pub explicit: Option<PathBuf>,
    /// `RUST_HYGIENE_PYTHON`, read like `explicit`.
    pub variable: Option<PathBuf>,
    /// The folder of this program: where a wheel puts it there is a Python beside it.
    pub beside: Option<PathBuf>,
    /// `VIRTUAL_ENV`.
    pub virtual_env: Option<PathBuf>,
    /// `CONDA_PREFIX`.
    pub conda_prefix: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
}

impl Candidates {
    /// Collects them from this process; empty variables count as absent.
    pub fn from_process(explicit: Option<PathBuf>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // Not canonicalised: a virtual environment's python is a link, and following it loses the environment.
        let exe = std::env::current_exe().ok();
        Self {
            explicit: explicit.map(absolute),
            variable: variable("RUST_HYGIENE_PYTHON")
                .map(PathBuf::from)
                .map(absolute),
            beside: exe.as_deref().and_then(Path::parent).map(Path::to_path_buf),
            virtual_env: variable("VIRTUAL_ENV").map(PathBuf::from),
            conda_prefix: variable("CONDA_PREFIX").map(PathBuf::from),
            path: variable("PATH"),
        }
    }
}

/// The rule that decided, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Named on the command line.
    Explicit,
    /// Named by `RUST_HYGIENE_PYTHON`.
    Variable,
    /// Beside this program, as in a wheel.
    Beside,
    /// The active virtual environment.
    VirtualEnv,
    /// The active conda environment.
    CondaPrefix,
    /// The first `python3`, else `python`, on `PATH`.
    Path,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Explicit => "--python",
            Self::Variable => "RUST_HYGIENE_PYTHON",
            Self::Beside => "beside the rust-hygiene program",
            Self::VirtualEnv => "VIRTUAL_ENV",
            Self::CondaPrefix => "CONDA_PREFIX",
            Self::Path => "PATH",
        })
    }
}

/// Why no Python could be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A Python was named, and the name leads nowhere. The later rules are not tried: a wrong Python would be a bad surprise.
    #[error("`{}` (from {rule}) is not a program that can be run; name the Python to use, for example /usr/bin/python3", path.display())]
    Unusable {
        /// Who named it.
        rule: Rule,
        /// What was named.
        path: PathBuf,
    },
    /// Nothing was named and nothing found.
    #[error(
        "no Python found beside rust-hygiene, in VIRTUAL_ENV, in CONDA_PREFIX or on PATH; \
         name one with --python PATH or RUST_HYGIENE_PYTHON"
    )]
    NotFound,
}

/// Chooses the interpreter: `--python`, `RUST_HYGIENE_PYTHON`, beside this program, `VIRTUAL_ENV`, `CONDA_PREFIX`, `PATH`.
///
/// # Errors
/// [`Error::Unusable`] if the one that was named does not exist, [`Error::NotFound`] if there is none at all.
pub fn choose_python(candidates: &Candidates) -> Result<(PathBuf, Rule), Error> {
    choose(candidates, &is_executable)
}

/// The conda environment that an interpreter belongs to, if it does: conda keeps a `conda-meta` folder in each.
/// Libraries of such an environment expect `CONDA_PREFIX` to be set and its `bin` to lead `PATH`.
pub fn conda_prefix(python: &Path) -> Option<PathBuf> {
    let prefix = python.parent()?.parent()?;
    prefix
        .join("conda-meta")
        .is_dir()
        .then(|| prefix.to_path_buf())
}

fn choose(candidates: &Candidates, runs: &dyn Fn(&Path) -> bool) -> Result<(PathBuf, Rule), Error> {
    for (named, rule) in [
        (&candidates.explicit, Rule::Explicit),
        (&candidates.variable, Rule::Variable),
    ] {
        if let Some(path) = named {
            let found = resolve(path, candidates.path.as_deref(), runs);
            let unusable = || Error::Unusable {
                rule,
                path: path.clone(),
            };
            return found.map(|python| (python, rule)).ok_or_else(unusable);
        }
    }
    let bin = |prefix: &PathBuf| prefix.join("bin");
    let folders = [
        (candidates.beside.clone(), Rule::Beside),
        (candidates.virtual_env.as_ref().map(bin), Rule::VirtualEnv),
        (candidates.conda_prefix.as_ref().map(bin), Rule::CondaPrefix),
    ];
    for (folder, rule) in folders {
        if let Some(python) = folder.and_then(|folder| in_folder(&folder, runs)) {
            return Ok((python, rule));
        }
    }
    let path = candidates.path.as_deref();
    ["python3", "python"]
        .iter()
        .find_map(|name| on_path(OsStr::new(name), path, runs))
        .map(|python| (python, Rule::Path))
        .ok_or(Error::NotFound)
}

/// What a person may name: a program, an environment's folder, or a bare name to look up.
fn resolve(named: &Path, path: Option<&OsStr>, runs: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    if is_bare_name(named) {
        return on_path(named.as_os_str(), path, runs);
    }
    if runs(named) {
        Some(named.to_path_buf())
    } else {
        in_folder(&named.join("bin"), runs)
    }
}

fn in_folder(folder: &Path, runs: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    ["python3", "python"]
        .iter()
        .map(|name| folder.join(name))
        .find(|python| runs(python))
}

fn on_path(name: &OsStr, path: Option<&OsStr>, runs: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    // Relative entries (an empty one is the current folder) depend on where Jupyter was started: not for a kernel.
    std::env::split_paths(path?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|python| runs(python))
}

fn is_bare_name(path: &Path) -> bool {
    !path.as_os_str().to_string_lossy().contains('/')
}

fn absolute(path: PathBuf) -> PathBuf {
    if is_bare_name(&path) {
        path
    } else {
        std::path::absolute(&path).unwrap_or(path)
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every candidate set at once, so that a rule wins only by its rank.
    fn all() -> Candidates {
        Candidates {
            explicit: Some("/explicit/python".into()),
            variable: Some("/variable/python".into()),
            beside: Some("/wheel/bin".into()),
            virtual_env: Some("/venv".into()),
            conda_prefix: Some("/conda".into()),
            path: Some("/one:/two".into()),
        }
    }

    fn chosen(candidates: &Candidates, existing: &[&str]) -> Result<(String, Rule), Error> {
        let runs = |path: &Path| existing.iter().any(|known| Path::new(known) == path);
        choose(candidates, &runs).map(|(path, rule)| (path.display().to_string(), rule))
    }

    #[test]
    fn the_rules_are_tried_in_their_order() {
        let existing = [
            "/explicit/python",
            "/variable/python",
            "/wheel/bin/python3",
            "/venv/bin/python3",
            "/conda/bin/python3",
            "/two/python3",
        ];
        let mut candidates = all();
        let drops: [fn(&mut Candidates); 6] = [
            |c| c.explicit = None,
            |c| c.variable = None,
            |c| c.beside = None,
            |c| c.virtual_env = None,
            |c| c.conda_prefix = None,
            |c| c.path = None,
        ];
        let rules = [
            Rule::Explicit,
            Rule::Variable,
            Rule::Beside,
            Rule::VirtualEnv,
            Rule::CondaPrefix,
            Rule::Path,
        ];
        for ((expected, rule), drop) in existing.iter().zip(rules).zip(drops) {
            assert_eq!(
                chosen(&candidates, &existing),
                Ok((expected.to_string(), rule))
            );
            drop(&mut candidates);
        }
        assert_eq!(chosen(&candidates, &existing), Err(Error::NotFound));
    }

    #[test]
    fn a_place_without_a_python_is_passed_over() {
        for (existing, expected, rule) in [
            (
                vec!["/wheel/bin/python", "/venv/bin/python3"],
                "/wheel/bin/python",
                Rule::Beside,
            ),
            (
                vec!["/venv/bin/python", "/conda/bin/python3"],
                "/venv/bin/python",
                Rule::VirtualEnv,
            ),
            (
                vec!["/conda/bin/python3", "/one/python3"],
                "/conda/bin/python3",
                Rule::CondaPrefix,
            ),
            (
                vec!["/one/python", "/two/python3"],
                "/two/python3",
                Rule::Path,
            ),
            (vec!["/two/python"], "/two/python", Rule::Path),
        ] {
            let candidates = Candidates {
                explicit: None,
                variable: None,
                ..all()
            };
            assert_eq!(
                chosen(&candidates, &existing),
                Ok((expected.to_string(), rule))
            );
        }
    }

    #[test]
    fn a_named_python_that_is_missing_is_an_error_and_not_a_reason_to_guess() {
        let existing = ["/wheel/bin/python3", "/one/python3"];
        let error = chosen(&all(), &existing).unwrap_err();
        assert_eq!(
            error,
            Error::Unusable {
                rule: Rule::Explicit,
                path: "/explicit/python".into()
            }
        );
        let error = chosen(
            &Candidates {
                explicit: None,
                ..all()
            },
            &existing,
        )
        .unwrap_err();
        assert_eq!(
            error,
            Error::Unusable {
                rule: Rule::Variable,
                path: "/variable/python".into()
            }
        );
        assert!(error.to_string().contains("RUST_HYGIENE_PYTHON"), "{error}");
    }

    #[test]
    fn a_named_python_may_be_a_bare_name_or_an_environment() {
        let existing = ["/two/python3.12", "/env/bin/python3"];
        for (named, expected) in [
            ("python3.12", "/two/python3.12"),
            ("/env", "/env/bin/python3"),
        ] {
            let candidates = Candidates {
                explicit: Some(named.into()),
                ..all()
            };
            assert_eq!(
                chosen(&candidates, &existing),
                Ok((expected.to_string(), Rule::Explicit))
            );
        }
    }

    #[test]
    fn relative_folders_on_the_path_are_not_searched() {
        let candidates = Candidates {
            path: Some(":bin:/two".into()),
            ..Candidates::default()
        };
        let existing = ["python3", "bin/python3", "/two/python3"];
        assert_eq!(
            chosen(&candidates, &existing),
            Ok(("/two/python3".into(), Rule::Path))
        );
    }

    #[test]
    fn a_python_inside_a_conda_environment_names_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("bin/python3");
        assert_eq!(conda_prefix(&python), None);
        std::fs::create_dir(folder.path().join("conda-meta")).unwrap();
        assert_eq!(conda_prefix(&python), Some(folder.path().to_path_buf()));
    }
}
