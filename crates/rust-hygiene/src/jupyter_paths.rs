//! Where Jupyter keeps kernelspecs on Linux: the rules of `jupyter_core.paths`, as a pure function of the surroundings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Reads an environment variable; a parameter so that the rules can be tested.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variables of this process.
pub fn process_variables(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The Python environment whose Jupyter looks.
#[derive(Debug, Clone)]
pub struct PythonEnvironment {
    /// `sys.prefix`.
    pub prefix: PathBuf,
    /// `sys.prefix != sys.base_prefix`.
    pub is_virtual: bool,
    /// The folder belongs to this user; only then does Jupyter prefer it to the user's own specs.
    pub is_owned: bool,
    /// The per-user installation folder, where user packages are enabled.
    pub user_base: Option<PathBuf>,
}

/// Which kind of folder a kernelspec lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Named by `JUPYTER_PATH`.
    JupyterPath,
    /// The user's data folder.
    User,
    /// `share/jupyter` of the Python environment.
    Environment,
    /// `/usr/local/share/jupyter` and `/usr/share/jupyter`.
    System,
    /// `~/.ipython/kernels`, kept by Jupyter for old times' sake.
    Ipython,
}

/// One folder of kernelspecs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelsFolder {
    /// Its kind.
    pub place: Place,
    /// The folder that holds one folder a kernel.
    pub path: PathBuf,
}

/// The user's Jupyter data folder: `JUPYTER_DATA_DIR`, else `XDG_DATA_HOME/jupyter`, else `~/.local/share/jupyter`.
pub fn user_data_dir(variables: Variables, home: Option<&Path>) -> Option<PathBuf> {
    if let Some(folder) = set(variables, "JUPYTER_DATA_DIR") {
        return Some(folder.into());
    }
    let share = set(variables, "XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".local/share")))?;
    Some(share.join("jupyter"))
}

/// Where running kernels leave files: `JUPYTER_RUNTIME_DIR`, else `runtime` in the data folder.
pub fn runtime_dir(variables: Variables, home: Option<&Path>) -> Option<PathBuf> {
    set(variables, "JUPYTER_RUNTIME_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(user_data_dir(variables, home)?.join("runtime")))
}

/// The data folder of a prefix.
pub fn prefix_data_dir(prefix: &Path) -> PathBuf {
    prefix.join("share/jupyter")
}

/// All folders in the order in which Jupyter searches them: the first that holds a name wins.
pub fn kernels_folders(
    variables: Variables,
    home: Option<&Path>,
    python: Option<&PythonEnvironment>,
) -> Vec<KernelsFolder> {
    let mut folders: Vec<KernelsFolder> = Vec::new();
    let mut add = |place, path: PathBuf| {
        if !folders.iter().any(|known| known.path == path) {
            folders.push(KernelsFolder { place, path });
        }
    };
    if let Some(list) = set(variables, "JUPYTER_PATH") {
        for path in std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()) {
            add(Place::JupyterPath, path.join("kernels"));
        }
    }
    let mut user: Vec<PathBuf> = user_data_dir(variables, home).into_iter().collect();
    user.extend(
        python
            .and_then(|python| python.user_base.as_deref())
            .map(prefix_data_dir),
    );
    let user = user.into_iter().map(|path| (Place::User, path));
    let system = ["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from);
    // A prefix of /usr is a system path and keeps that low rank.
    let environment = python
        .map(|python| prefix_data_dir(&python.prefix))
        .filter(|path| !system.contains(path));
    let environment = environment
        .into_iter()
        .map(|path| (Place::Environment, path));
    let ordered: Vec<_> = if python.is_some_and(|python| prefers_environment(variables, python)) {
        environment.chain(user).collect()
    } else {
        user.chain(environment).collect()
    };
    for (place, path) in ordered
        .into_iter()
        .chain(system.map(|path| (Place::System, path)))
    {
        add(place, path.join("kernels"));
    }
    let ipython = set(variables, "IPYTHONDIR")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".ipython")));
    if let Some(path) = ipython {
        add(Place::Ipython, path.join("kernels"));
    }
    folders
}

/// `jupyter_core.paths.prefer_environment_over_user`.
fn prefers_environment(variables: Variables, python: &PythonEnvironment) -> bool {
    if let Some(wish) = variables("JUPYTER_PREFER_ENV_PATH") {
        let wish = wish.to_string_lossy().to_lowercase();
        return !["no", "n", "false", "off", "0", "0.0"].contains(&wish.as_str());
    }
    let in_conda = set(variables, "CONDA_PREFIX")
        .is_some_and(|prefix| python.prefix.starts_with(prefix))
        && variables("CONDA_DEFAULT_ENV").is_some_and(|name| name != "base");
    python.is_owned && (python.is_virtual || in_conda)
}

fn set(variables: Variables, name: &str) -> Option<OsString> {
    variables(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/ada";

    fn folders(variables: &[(&str, &str)], python: Option<&PythonEnvironment>) -> Vec<String> {
        let read = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        let found = kernels_folders(&read, Some(Path::new(HOME)), python);
        found
            .into_iter()
            .map(|folder| folder.path.display().to_string())
            .collect()
    }

    fn environment(is_virtual: bool, is_owned: bool) -> PythonEnvironment {
        PythonEnvironment {
            prefix: "/env".into(),
            is_virtual,
            is_owned,
            user_base: None,
        }
    }

    #[test]
    fn the_users_data_folder_follows_jupyters_rules() {
        for (variables, expected) in [
            (vec![], "/home/ada/.local/share/jupyter"),
            (vec![("XDG_DATA_HOME", "/xdg")], "/xdg/jupyter"),
            (
                vec![("XDG_DATA_HOME", "/xdg"), ("JUPYTER_DATA_DIR", "/data")],
                "/data",
            ),
            (
                vec![("XDG_DATA_HOME", ""), ("JUPYTER_DATA_DIR", "")],
                "/home/ada/.local/share/jupyter",
            ),
        ] {
            let read = |name: &str| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| OsString::from(value))
            };
            assert_eq!(
                user_data_dir(&read, Some(Path::new(HOME))),
                Some(expected.into())
            );
        }
        assert_eq!(user_data_dir(&|_| None, None), None);
    }

    #[test]
    fn the_users_folder_precedes_a_plain_environment() {
        let found = folders(&[], Some(&environment(false, true)));
        let expected = [
            "/home/ada/.local/share/jupyter/kernels",
            "/env/share/jupyter/kernels",
            "/usr/local/share/jupyter/kernels",
            "/usr/share/jupyter/kernels",
            "/home/ada/.ipython/kernels",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn who_comes_first_depends_on_the_environment_and_on_the_users_wish() {
        let first = "/env/share/jupyter/kernels";
        let conda = ("CONDA_PREFIX", "/env");
        for (variables, python, expected) in [
            (vec![], environment(true, true), true),
            (vec![], environment(true, false), false),
            (
                vec![("JUPYTER_PREFER_ENV_PATH", "0")],
                environment(true, true),
                false,
            ),
            (
                vec![("JUPYTER_PREFER_ENV_PATH", "1")],
                environment(false, false),
                true,
            ),
            (
                vec![conda, ("CONDA_DEFAULT_ENV", "work")],
                environment(false, true),
                true,
            ),
            (
                vec![conda, ("CONDA_DEFAULT_ENV", "base")],
                environment(false, true),
                false,
            ),
            (
                vec![("CONDA_PREFIX", "/other"), ("CONDA_DEFAULT_ENV", "work")],
                environment(false, true),
                false,
            ),
        ] {
            assert_eq!(
                folders(&variables, Some(&python))[0] == first,
                expected,
                "{variables:?} {python:?}"
            );
        }
    }

    #[test]
    fn the_jupyter_path_leads_and_nothing_is_listed_twice() {
        let python = PythonEnvironment {
            prefix: "/usr".into(),
            user_base: Some("/home/ada/.local".into()),
            ..environment(false, true)
        };
        let found = folders(
            &[("JUPYTER_PATH", "/a::/usr/local/share/jupyter")],
            Some(&python),
        );
        let expected = [
            "/a/kernels",
            "/usr/local/share/jupyter/kernels",
            "/home/ada/.local/share/jupyter/kernels",
            "/usr/share/jupyter/kernels",
            "/home/ada/.ipython/kernels",
        ];
        assert_eq!(found, expected);
    }
}
