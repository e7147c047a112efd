//! Asks an interpreter about itself by running it, with a time limit: it may be broken, slow or no Python at all.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::python::OLDEST_PYTHON;

const SCRIPT: &str = include_str!("probe.py");
const MARK: &str = "RUST_HYGIENE_PROBE ";
/// A cold import of IPython from a network disk takes seconds; longer than this is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// An interpreter's start-up files may print; more than this (bytes) is not an answer.
const LONGEST_ANSWER: u64 = 1 << 20;

/// How much to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Version and folders: some 20 ms.
    Environment,
    /// IPython too, by importing it, and what else is installed: some 300 ms.
    Packages,
}

/// What an interpreter says about itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// Major, minor, micro.
    pub version: (u32, u32, u32),
    /// `sys.prefix`: the environment.
    pub prefix: PathBuf,
    /// `sys.base_prefix`: what a virtual environment was made from.
    pub base_prefix: PathBuf,
    /// The per-user installation folder, if this interpreter looks there.
    pub user_base: Option<PathBuf>,
    /// The result of `import IPython`; absent if not asked.
    #[serde(default)]
    pub ipython: Option<Import>,
    /// The version of ipykernel, if it is installed.
    #[serde(default)]
    pub ipykernel: Option<String>,
    /// The version of jupyter_server, if it is installed.
    #[serde(default)]
    pub jupyter_server: Option<String>,
}

/// What importing a package gave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Import {
    /// It works.
    Version(String),
    /// It does not, and why.
    Error(String),
}

impl Facts {
    /// `3.12.1`.
    pub fn version_text(&self) -> String {
        let (major, minor, micro) = self.version;
        format!("{major}.{minor}.{micro}")
    }

    /// Whether the agent runs on this version.
    pub fn is_recent_enough(&self) -> bool {
        (self.version.0, self.version.1) >= OLDEST_PYTHON
    }

    /// If IPython cannot be imported: a sentence that says so and what to do.
    pub fn missing_ipython(&self, python: &Path) -> Option<String> {
        let Some(Import::Error(why)) = &self.ipython else {
            return None;
        };
        let python = python.display();
        Some(format!(
            "{python} cannot import IPython ({why}), which the kernel needs; \
             install it with: {python} -m pip install 'ipython>=8.12'"
        ))
    }
}

/// Asks an interpreter that is to run cells about itself and its packages.
///
/// # Errors
/// As [`ask`], and if it is too old.
pub fn usable(python: &Path) -> Result<Facts> {
    let facts = ask(python, Depth::Packages)?;
    if !facts.is_recent_enough() {
        let (major, minor) = OLDEST_PYTHON;
        bail!(
            "{} is Python {}; the kernel needs {major}.{minor} or later",
            python.display(),
            facts.version_text()
        );
    }
    Ok(facts)
}

/// Runs `python` and returns its answer.
///
/// # Errors
/// If it cannot be started, does not answer within 30 seconds, or is no Python.
pub fn ask(python: &Path, depth: Depth) -> Result<Facts> {
    ask_within(python, depth, PATIENCE)
}

fn ask_within(python: &Path, depth: Depth, patience: Duration) -> Result<Facts> {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]);
    if depth == Depth::Packages {
        command.arg("packages");
    }
    // With `-c` the current folder is importable; a stray `json.py` there would spoil the answer.
    command.current_dir("/").process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", python.display()))?;
    let deadline = Instant::now() + patience;
    let (answer, complaint) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let Some(status) = wait_until(&mut child, deadline) else {
        bail!(
            "{} did not answer within {} s; does it start at all?",
            python.display(),
            patience.as_secs()
        );
    };
    // A grandchild may hold the pipe open after the end: wait for the text, not for ever.
    let left = deadline
        .saturating_duration_since(Instant::now())
        .min(Duration::from_secs(2));
    let text = answer.recv_timeout(left).unwrap_or_default();
    match text.lines().find_map(|line| line.strip_prefix(MARK)) {
        Some(json) => serde_json::from_str(json)
            .with_context(|| format!("{} answered something unreadable", python.display())),
        None => {
            let complaint = complaint
                .recv_timeout(Duration::from_secs(1))
                .unwrap_or_default();
            let last = complaint
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no message");
            bail!(
                "{} does not work as a Python ({status}: {last})",
                python.display()
            )
        }
    }
}

/// Reads a pipe to its end, or to the limit, on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(LONGEST_ANSWER).read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
            // Whatever else comes is drained, so that the writer can end.
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
    });
    receiver
}

/// Waits for the end until the deadline; then kills the whole process group and returns nothing.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that pretends to be a Python. Written by another process: were it written here, a test that forks meanwhile
    /// would inherit the open file, and running it would fail with "text file busy".
    fn fake(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("python3");
        let mut writer = Command::new("sh");
        writer.args([
            "-c",
            r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1""#,
            "sh",
        ]);
        assert!(writer.arg(&path).arg(script).status().unwrap().success());
        path
    }

    #[test]
    fn an_answer_is_found_among_other_output() {
        let folder = tempfile::tempdir().unwrap();
        let answer = r#"{"version":[3,12,1],"prefix":"/p","base_prefix":"/b","user_base":null,"ipython":{"version":"9.1.0"}}"#;
        let python = fake(
            folder.path(),
            &format!("echo hello from sitecustomize\necho '{MARK}{answer}'"),
        );
        let facts = ask(&python, Depth::Packages).unwrap();
        assert_eq!(facts.version_text(), "3.12.1");
        assert_eq!(facts.ipython, Some(Import::Version("9.1.0".into())));
        assert!(facts.is_recent_enough());
    }

    #[test]
    fn a_program_that_is_no_python_is_reported_with_its_complaint() {
        let folder = tempfile::tempdir().unwrap();
        let python = fake(
            folder.path(),
            "echo cannot open shared object >&2; exit 127",
        );
        let error = ask(&python, Depth::Environment).unwrap_err().to_string();
        assert!(
            error.contains("cannot open shared object") && error.contains("127"),
            "{error}"
        );
    }

    #[test]
    fn an_interpreter_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let python = fake(folder.path(), "sleep 600");
        let error = ask_within(&python, Depth::Environment, Duration::from_millis(50))
            .unwrap_err()
            .to_string();
        assert!(error.contains("did not answer"), "{error}");
    }
}
