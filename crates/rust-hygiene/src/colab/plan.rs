//! What is written and what is run, as plain data.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::NAMES;

/// The one web page that the server lets in.
const ORIGIN: &str = "https://colab.research.google.com";

/// Everything the server is started with.
#[derive(Debug)]
pub struct Plan {
    /// The text of both kernelspecs.
    pub kernel_json: String,
    /// The program that they start.
    pub program: PathBuf,
    /// The Python that runs the server.
    pub jupyter: PathBuf,
    /// Its port.
    pub port: u16,
    /// Further options of the person for it.
    pub options: Vec<OsString>,
    /// `JUPYTER_PATH` as it was: other kernels and extensions stay.
    pub jupyter_path: Option<OsString>,
}

impl Plan {
    /// The server's command line, program first.
    pub fn command(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.jupyter.clone().into()];
        let options = [
            "-m".into(),
            "jupyter_server".into(),
            "--no-browser".into(),
            "--ServerApp.ip=127.0.0.1".into(),
            format!("--ServerApp.port={}", self.port),
            "--ServerApp.port_retries=0".into(),
            "--ServerApp.base_url=/".into(),
            format!("--ServerApp.allow_origin={ORIGIN}"),
            "--ServerApp.allow_credentials=True".into(),
            "--Application.log_level=WARN".into(),
        ];
        words.extend(options.map(|option: String| option.into()));
        words.extend(self.options.iter().cloned());
        words
    }

    /// The server's variables beside those that it inherits. A token in a file is in no list of processes, and in no kernel's
    /// environment.
    pub fn variables(&self, folder: &Path) -> [(&'static str, OsString); 2] {
        let mut path = folder.as_os_str().to_owned();
        if let Some(rest) = self.jupyter_path.as_ref().filter(|rest| !rest.is_empty()) {
            path.push(":");
            path.push(rest);
        }
        [
            ("JUPYTER_PATH", path),
            ("JUPYTER_TOKEN_FILE", folder.join("token").into()),
        ]
    }

    /// All of it for a person to read; the command can be pasted into a shell.
    pub fn describe(&self) -> String {
        let folder = Path::new("DIR");
        let specs = NAMES.map(|name| format!("DIR/kernels/{name}/kernel.json"));
        let mut words: Vec<String> = self
            .variables(folder)
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(value)))
            .collect();
        words.extend(self.command().iter().map(|word| quoted(word)));
        format!(
            "DIR is a new folder that only you can read and that is removed at the end.\n\n\
             {}:\n{}\nDIR/token: a random word, or JUPYTER_TOKEN\n\ncommand:\n{}\n",
            specs.join(" and "),
            self.kernel_json,
            words.join(" ")
        )
    }
}

/// A word as a shell reads it back.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            kernel_json: "{}\n".into(),
            program: "/bin/rust-hygiene".into(),
            jupyter: "/env/bin/python3".into(),
            port: 9000,
            options: vec!["--ServerApp.root_dir=/my data".into()],
            jupyter_path: Some("/mine".into()),
        }
    }

    #[test]
    fn the_persons_own_options_and_folders_come_last() {
        let words = plan().command();
        assert_eq!(words.last().unwrap(), "--ServerApp.root_dir=/my data");
        let [(name, path), _] = plan().variables(Path::new("/private"));
        assert_eq!(
            (name, path.to_str().unwrap()),
            ("JUPYTER_PATH", "/private:/mine")
        );
    }

    #[test]
    fn an_empty_jupyter_path_adds_nothing() {
        let plan = Plan {
            jupyter_path: Some("".into()),
            ..plan()
        };
        assert_eq!(plan.variables(Path::new("/private"))[0].1, "/private");
    }

    #[test]
    fn the_description_can_be_pasted_into_a_shell() {
        let text = plan().describe();
        assert!(text.contains("'--ServerApp.root_dir=/my data'"), "{text}");
        assert_eq!(quoted(OsStr::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }
}
