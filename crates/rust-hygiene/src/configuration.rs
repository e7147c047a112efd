//! The configuration in force here: files, environment, command line.

use policy::Config;
use policy::Places;
use policy::Problem;
use policy::Source;
use policy::Surroundings;
use std::path::PathBuf;

/// Variables with our prefix that are no configuration keys.
const OTHER_VARIABLES: [&str; 2] = ["RUST_HYGIENE_NVML_LIBRARY", "RUST_HYGIENE_BINARY"];

/// The configuration files that apply here, the weakest first.
pub fn files() -> Vec<PathBuf> {
    policy::discover(&places())
        .into_iter()
        .map(|found| found.path)
        .collect()
}

/// Reads it. Problems are returned beside a configuration that holds for everything else.
pub fn load(command_line: Vec<(String, String)>) -> (Config, Vec<Problem>) {
    let (mut sources, mut problems) = policy::read(&policy::discover(&places()));
    sources.push(Source::Env(
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str()))
            .collect(),
    ));
    sources.push(Source::CommandLine(command_line));
    let (config, more) = policy::load(&sources);
    problems.extend(more);
    (config, problems)
}

fn places() -> Places {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    Places {
        home: std::env::home_dir(),
        xdg_config_home: folder("XDG_CONFIG_HOME"),
        jupyter_config_dir: folder("JUPYTER_CONFIG_DIR"),
        cwd: std::env::current_dir().unwrap_or_default(),
    }
}

/// Where this kernel was started, as far as the environment tells.
pub fn surroundings() -> Surroundings {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    Surroundings {
        jpy_session_name: is_set("JPY_SESSION_NAME"),
        vscode: is_set("VSCODE_PID") || is_set("VSCODE_CWD"),
        labextension: false,
    }
}
