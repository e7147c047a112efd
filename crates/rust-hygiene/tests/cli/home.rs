//! A home folder for one test, and the program run in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A home folder that vanishes with the test. Nothing of the tester's own surroundings reaches the program.
pub struct Home {
    folder: TempDir,
}

/// How a run ended.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The output of a run that had to succeed.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// The complaint of a run that had to fail.
    #[track_caller]
    pub fn failure(self) -> String {
        assert_eq!(self.code, 1, "out: {}\nerr: {}", self.out, self.err);
        assert!(self.err.contains("error: "), "{}", self.err);
        self.err
    }

    /// The output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Home {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let home = Self { folder };
        fs::create_dir(home.path("bin")).unwrap();
        home
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(relative)
    }

    /// The kernelspec of this name in Jupyter's folder of the user.
    pub fn spec(&self, name: &str) -> PathBuf {
        self.path("data/kernels").join(name)
    }

    /// The `kernel.json` of a spec.
    #[track_caller]
    pub fn kernel_json(&self, folder: &Path) -> Value {
        serde_json::from_slice(&fs::read(folder.join("kernel.json")).unwrap()).unwrap()
    }

    /// Puts the spec of some other kernel there.
    pub fn other_kernel(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let spec = json!({"argv": ["python", "-m", "ipykernel_launcher"], "display_name": "Other", "language": "python"});
        fs::write(folder.join("kernel.json"), spec.to_string()).unwrap();
    }

    /// An environment `name` whose interpreter answers as Python 3.`minor` with the given IPython.
    pub fn python(&self, name: &str, minor: u32, ipython: Value) -> PathBuf {
        self.python_with(name, json!({"version": [3, minor, 1], "ipython": ipython}))
    }

    /// An environment `name` whose interpreter answers as a Python 3.12, with `more` facts.
    pub fn python_with(&self, name: &str, more: Value) -> PathBuf {
        let prefix = self.path(name);
        fs::create_dir_all(prefix.join("bin")).unwrap();
        let mut answer = json!({"version": [3, 12, 1], "prefix": prefix, "base_prefix": prefix, "user_base": null});
        for (key, value) in more.as_object().unwrap() {
            answer[key] = value.clone();
        }
        let python = prefix.join("bin/python3");
        // Written by another process: were it written here, a test that forks meanwhile would inherit the open file, and
        // running it would fail with "text file busy".
        let script = format!("#!/bin/sh\necho 'RUST_HYGIENE_PROBE {answer}'\n");
        let mut writer = Command::new("sh");
        writer
            .args(["-c", r#"printf %s "$2" > "$1" && chmod +x "$1""#, "sh"])
            .arg(&python)
            .arg(script);
        assert!(writer.status().unwrap().success());
        python
    }

    /// A Python 3.12 with IPython 9 in `env`.
    pub fn good_python(&self) -> PathBuf {
        self.python("env", 12, json!({"version": "9.1.0"}))
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[], b"")
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rust-hygiene"));
        command
            .args(args)
            .env_clear()
            .current_dir(self.folder.path());
        command
            .env("HOME", self.folder.path())
            .env("JUPYTER_DATA_DIR", self.path("data"));
        command
            .env("PATH", self.path("bin"))
            .envs(env.iter().copied());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The program may end without reading it.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A path as an argument.
pub fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}
