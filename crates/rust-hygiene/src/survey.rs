//! Finds every kernelspec of ours in the folders that a Jupyter searches, and what each would start.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::jupyter_paths::{Place, PythonEnvironment, kernels_folders, process_variables};
use crate::kernelspec::{Installed, Launch};
use crate::probe::Facts;
use crate::python::{Candidates, Rule, choose_python};

/// One kernelspec of ours.
#[derive(Debug, Clone, Serialize)]
pub struct FoundSpec {
    /// The name as Jupyter knows it.
    pub name: String,
    /// The name in menus.
    pub display_name: String,
    /// The folder with `kernel.json`.
    pub folder: PathBuf,
    /// The kind of that folder.
    pub place: Place,
    /// The folder of the spec that Jupyter finds first under this name, if it is not this one.
    pub hidden_by: Option<PathBuf>,
    /// The program that it starts; absent for `python -m rust_hygiene`.
    pub program: Option<PathBuf>,
    /// The program is there.
    pub program_exists: bool,
    /// The Python that would run the cells.
    pub python: Option<PathBuf>,
    /// The rule that chose it.
    pub rule: Option<Rule>,
    /// Why there is no Python.
    pub python_error: Option<String>,
}

/// The part of an interpreter's facts that decides where its Jupyter looks.
pub fn environment(facts: &Facts) -> PythonEnvironment {
    let owner = fs::metadata(&facts.prefix).map(|metadata| metadata.uid());
    PythonEnvironment {
        prefix: facts.prefix.clone(),
        is_virtual: facts.prefix != facts.base_prefix,
        is_owned: owner.is_ok_and(|owner| owner == nix::unistd::geteuid().as_raw()),
        user_base: facts.user_base.clone(),
    }
}

/// All specs of ours as the Jupyter of `python` sees them, the first found first. Folders that cannot be read are passed over, as
/// Jupyter does.
pub fn find(python: Option<&PythonEnvironment>) -> Vec<FoundSpec> {
    let home = std::env::home_dir();
    let mut winners: HashMap<String, PathBuf> = HashMap::new();
    let mut found = Vec::new();
    for folder in kernels_folders(&process_variables, home.as_deref(), python) {
        for (name, path) in specs_in(&folder.path) {
            let winner = winners.entry(name.clone()).or_insert_with(|| path.clone());
            let hidden_by = (*winner != path).then(|| winner.clone());
            let Ok(Some(spec)) = Installed::read(&path) else {
                continue;
            };
            let Some(launch) = spec.launch(&path) else {
                continue;
            };
            found.push(describe(
                name,
                path,
                folder.place,
                hidden_by,
                spec,
                launch,
                python,
            ));
        }
    }
    found
}

/// Lower-case names and folders of all kernelspecs in one folder, sorted.
fn specs_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let specs = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("kernel.json").is_file());
    let named =
        specs.filter_map(|path| Some((path.file_name()?.to_str()?.to_ascii_lowercase(), path)));
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

fn describe(
    name: String,
    folder: PathBuf,
    place: Place,
    hidden_by: Option<PathBuf>,
    spec: Installed,
    launch: Launch,
    jupyter: Option<&PythonEnvironment>,
) -> FoundSpec {
    let mut candidates = Candidates::from_process(spec.python());
    if let Some(named) = spec
        .env
        .get("RUST_HYGIENE_PYTHON")
        .filter(|named| !named.is_empty())
    {
        candidates.variable = Some(named.into());
    }
    let program = match launch {
        Launch::Program(program) => {
            candidates.beside = program.parent().map(Path::to_path_buf);
            Some(program)
        }
        // The launcher hands on the interpreter that runs it. Jupyter replaces a bare `python` by its own.
        Launch::Module => {
            let first = PathBuf::from(spec.argv.first().map_or("python", String::as_str));
            let own = || jupyter.map(|jupyter| jupyter.prefix.join("bin/python3"));
            let runner = if first.is_absolute() {
                Some(first)
            } else {
                own()
            };
            candidates.variable = candidates.variable.or(runner);
            None
        }
    };
    let (python, rule, python_error) = match choose_python(&candidates) {
        Ok((python, rule)) => (Some(python), Some(rule), None),
        Err(error) => (None, None, Some(error.to_string())),
    };
    FoundSpec {
        name,
        display_name: spec.display_name,
        folder,
        place,
        hidden_by,
        program_exists: program.as_deref().is_none_or(Path::is_file),
        program,
        python,
        rule,
        python_error,
    }
}
