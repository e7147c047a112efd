//! The configuration in force here: files, environment, command line.

use policy::Config;
use policy::Places;
use policy::Problem;
use policy::Source;
use policy::Surroundings;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
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
    let starter = std::env::var("JPY_PARENT_PID")
        .ok()
        .and_then(|pid| pid.trim().parse::<u32>().ok())
        .and_then(|pid| std::fs::read(format!("/proc/{pid}/environ")).ok())
        .unwrap_or_default();
    let is_set = |name: &str| {
        std::env::var_os(name)
            .is_some_and(|value| !value.is_empty() && !holds(&starter, name, &value))
    };
    Surroundings {
        jpy_session_name: is_set("JPY_SESSION_NAME"),
        vscode: is_set("VSCODE_PID") || is_set("VSCODE_CWD"),
        labextension: false,
    }
}

/// Whether the program that started the kernel has the same variable. A server sets it for its kernels alone; a program that
/// is called in a notebook has it of that notebook's kernel, and hands it on.
fn holds(environ: &[u8], name: &str, value: &OsStr) -> bool {
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    environ
        .split(|&byte| byte == 0)
        .any(|entry| entry == wanted)
}

/// `KEY=VALUE` cut at the first `=`. A setting without one has an empty value, which the configuration then complains of.
pub fn pairs(settings: &[String]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|setting| setting.split_once('=').unwrap_or((setting, "")))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_inherited_if_the_starter_has_it_with_the_same_value() {
        let environ = b"HOME=/root\0JPY_SESSION_NAME=a.ipynb\0X=1\0";
        for (value, inherited) in [("a.ipynb", true), ("a.ipyn", false), ("b.ipynb", false)] {
            let value = OsStr::new(value);
            assert_eq!(
                holds(environ, "JPY_SESSION_NAME", value),
                inherited,
                "{value:?}"
            );
        }
        assert!(!holds(b"", "X", OsStr::new("1")));
    }

    #[test]
    fn a_setting_is_cut_at_its_first_equals_sign() {
        let given = ["badge=warn", "python = /a=b", "measure"].map(str::to_owned);
        let expected = [("badge", "warn"), ("python", "/a=b"), ("measure", "")];
        assert_eq!(
            pairs(&given),
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }
}
