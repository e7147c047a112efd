//! `kernel.json` and its folder: what is in it, whether it is ours, how it is written and removed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The name under which Jupyter knows the kernel. Not `python…`: VS Code takes such names for the plain Python kernel.
pub const DEFAULT_NAME: &str = "rust-hygiene";

/// The spec that the wheel carries, which is also the template for the ones that are written here.
macro_rules! shipped {
    ($file:literal) => {
        concat!(
            "../../../kernelspec/wheel/data/share/jupyter/kernels/rust-hygiene/",
            $file
        )
    };
}
const TEMPLATE: &str = include_str!(shipped!("kernel.json"));
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-32x32.png", include_bytes!(shipped!("logo-32x32.png"))),
    ("logo-64x64.png", include_bytes!(shipped!("logo-64x64.png"))),
    ("logo-svg.svg", include_bytes!(shipped!("logo-svg.svg"))),
];

/// What a spec of ours says beyond the template.
#[derive(Debug)]
pub struct NewSpec {
    /// Absolute path of this program.
    pub program: PathBuf,
    /// `--python`, fixed for this spec.
    pub python: Option<PathBuf>,
    /// Shown in menus; the template's if absent.
    pub display_name: Option<String>,
    /// Environment variables that Jupyter sets before it starts the kernel.
    pub env: Vec<(String, String)>,
}

impl NewSpec {
    /// The text of `kernel.json`.
    ///
    /// # Errors
    /// If a path is not UTF-8, which JSON cannot carry.
    pub fn to_json(&self) -> Result<String> {
        let mut argv = vec![text(&self.program)?, "kernel"];
        if let Some(python) = &self.python {
            argv.extend(["--python", text(python)?]);
        }
        argv.extend(["-f", "{connection_file}"]);
        let mut spec: Map<String, Value> = serde_json::from_str(TEMPLATE)?;
        spec.insert("argv".into(), json!(argv));
        if let Some(name) = &self.display_name {
            spec.insert("display_name".into(), json!(name));
        }
        let env = self
            .env
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        spec.insert("env".into(), Value::Object(env));
        Ok(serde_json::to_string_pretty(&spec)? + "\n")
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| {
        format!(
            "the path {} is not UTF-8 and cannot stand in kernel.json; move it elsewhere",
            path.display()
        )
    })
}

/// The parts of an installed `kernel.json` that matter here.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Installed {
    /// The command line.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Shown in menus.
    #[serde(default)]
    pub display_name: String,
    /// Variables for the kernel.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// How the kernel of a spec is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launch {
    /// Our program itself, with its path as far as it can be known.
    Program(PathBuf),
    /// `python -m rust_hygiene`.
    Module,
}

impl Installed {
    /// Reads `kernel.json` of a folder; nothing if there is none.
    ///
    /// # Errors
    /// If it cannot be read or is no kernelspec.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("kernel.json");
        match fs::read(&path) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is not a kernelspec", path.display())),
        }
    }

    /// How it is started if it starts this kernel; nothing if it starts another one.
    pub fn launch(&self, folder: &Path) -> Option<Launch> {
        let first = self.argv.first()?;
        if self
            .argv
            .windows(2)
            .any(|pair| pair == ["-m", "rust_hygiene"])
        {
            return Some(Launch::Module);
        }
        let program = first.replace("{resource_dir}", &folder.to_string_lossy());
        let program = PathBuf::from(program);
        let is_ours = program.file_stem()? == "rust-hygiene"
            && self.argv.get(1).is_some_and(|word| word == "kernel");
        is_ours.then(|| Launch::Program(tidy(&program)))
    }

    /// It lies in a wheel: its program is found relative to its folder, and pip put it there.
    pub fn is_from_wheel(&self) -> bool {
        self.argv
            .first()
            .is_some_and(|program| program.starts_with("{resource_dir}"))
    }

    /// The value of `--python`, if the spec fixes one.
    pub fn python(&self) -> Option<PathBuf> {
        let mut words = self.argv.iter();
        while let Some(word) = words.next() {
            if word == "--python" {
                return words.next().map(PathBuf::from);
            }
            if let Some(value) = word.strip_prefix("--python=") {
                return Some(value.into());
            }
        }
        None
    }
}

/// Removes `..` by text, as far as that changes no meaning: links in the way are resolved by the file system instead.
fn tidy(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// Checks a kernel name by Jupyter's rule and returns it in lower case, as Jupyter compares it.
///
/// # Errors
/// If it holds other characters than ASCII letters, digits, `.`, `_` and `-`, or only dots.
pub fn check_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty()
        || !name.chars().all(allowed)
        || name.chars().all(|c| c == '.')
        || name.starts_with('-')
    {
        return Err("a kernel name consists of ASCII letters, digits, '.', '_' and '-'".into());
    }
    if name.len() > 200 {
        return Err("a kernel name must be shorter than 200 characters".into());
    }
    Ok(name.to_ascii_lowercase())
}

/// Whether VS Code would take a spec of this name for the plain Python kernel and start something else.
pub fn is_taken_for_plain_python(name: &str) -> bool {
    name.strip_prefix("python")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

/// Writes the spec and the logos into `folder`. Every file appears whole or not at all, `kernel.json` last.
///
/// # Errors
/// If another kernel's spec is there and `force` is false, or the folder cannot be written.
pub fn write(folder: &Path, json: &str, force: bool) -> Result<()> {
    let is_free = match Installed::read(folder) {
        Ok(None) => true,
        Ok(Some(spec)) => spec.launch(folder).is_some(),
        Err(_) => false,
    };
    if !is_free && !force {
        bail!(
            "{} holds the spec of another kernel; choose another --name, or pass --force to replace it",
            folder.display()
        );
    }
    fs::create_dir_all(folder).with_context(|| hint_at_permissions("create", folder))?;
    for (name, bytes) in LOGOS
        .iter()
        .copied()
        .chain([("kernel.json", json.as_bytes())])
    {
        let path = folder.join(name);
        write_whole(&path, bytes).with_context(|| hint_at_permissions("write", &path))?;
    }
    Ok(())
}

fn hint_at_permissions(verb: &str, path: &Path) -> String {
    format!(
        "cannot {verb} {} (--user or --prefix DIR can choose a folder that you may write)",
        path.display()
    )
}

/// Writes a file under another name and moves it into place. A device or a pipe is written to, not replaced.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let known = fs::metadata(path).ok();
    if known.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return fs::write(path, bytes);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    // As for any new file, the umask has its say; a file that was there keeps its permissions.
    let usual = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .prefix(".rust-hygiene-")
        .permissions(usual)
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    if let Some(metadata) = known {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes our files and, if nothing else is left, the folder. Returns what was left behind.
///
/// # Errors
/// If a file cannot be removed.
pub fn remove(folder: &Path) -> io::Result<Vec<OsString>> {
    if folder.is_symlink() {
        // Only the link: what it leads to belongs to whoever made it.
        fs::remove_file(folder)?;
        return Ok(Vec::new());
    }
    for name in ["kernel.json"]
        .into_iter()
        .chain(LOGOS.map(|(name, _)| name))
    {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let left: Vec<OsString> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    if left.is_empty() {
        fs::remove_dir(folder)?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(argv: &[&str]) -> Installed {
        Installed {
            argv: argv.iter().map(|word| word.to_string()).collect(),
            ..Installed::default()
        }
    }

    #[test]
    fn the_written_spec_says_what_jupyter_needs() {
        let spec = NewSpec {
            program: "/opt/bin/rust-hygiene".into(),
            python: Some("/env/bin/python3".into()),
            display_name: Some("Mine \"2\"".into()),
            env: vec![("B".into(), "2".into()), ("A".into(), "{\"x\"}".into())],
        };
        let value: Value = serde_json::from_str(&spec.to_json().unwrap()).unwrap();
        let expected = json!({
            "argv": ["/opt/bin/rust-hygiene", "kernel", "--python", "/env/bin/python3", "-f", "{connection_file}"],
            "display_name": "Mine \"2\"",
            "language": "python",
            "interrupt_mode": "message",
            "kernel_protocol_version": "5.5",
            "metadata": {"debugger": true},
            "env": {"A": "{\"x\"}", "B": "2"},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_spec_without_wishes_differs_from_the_shipped_one_in_the_program_only() {
        let program = PathBuf::from("/opt/bin/rust-hygiene");
        let spec = NewSpec {
            program,
            python: None,
            display_name: None,
            env: Vec::new(),
        };
        let mut value: Value = serde_json::from_str(&spec.to_json().unwrap()).unwrap();
        let shipped: Value = serde_json::from_str(TEMPLATE).unwrap();
        assert_eq!(value["argv"][0], "/opt/bin/rust-hygiene");
        value["argv"][0] = shipped["argv"][0].clone();
        assert_eq!(value, shipped);
    }

    #[test]
    fn our_specs_are_told_from_others_by_their_command_line() {
        let folder = Path::new("/p/share/jupyter/kernels/x");
        for (argv, expected) in [
            (
                vec!["/opt/bin/rust-hygiene", "kernel", "-f", "{connection_file}"],
                true,
            ),
            (
                vec!["{resource_dir}/../../../../bin/rust-hygiene", "kernel"],
                true,
            ),
            (vec!["python", "-m", "rust_hygiene", "kernel"], true),
            (vec!["python", "-m", "ipykernel_launcher"], false),
            (vec!["/opt/bin/rust-hygiene", "run"], false),
            (vec!["/opt/bin/rust-hygiene-wrapper", "kernel"], false),
            (vec![], false),
        ] {
            assert_eq!(
                installed(&argv).launch(folder).is_some(),
                expected,
                "{argv:?}"
            );
        }
    }

    #[test]
    fn the_fixed_python_is_read_back() {
        for (argv, expected) in [
            (vec!["x", "kernel", "--python", "/p"], Some("/p")),
            (vec!["x", "kernel", "--python=/p"], Some("/p")),
            (vec!["x", "kernel", "--python"], None),
            (vec!["x", "kernel"], None),
        ] {
            assert_eq!(
                installed(&argv).python(),
                expected.map(PathBuf::from),
                "{argv:?}"
            );
        }
    }

    #[test]
    fn names_follow_jupyters_rule() {
        for (name, expected) in [
            ("rust-hygiene", Some("rust-hygiene")),
            ("My_Kernel.2", Some("my_kernel.2")),
            ("", None),
            ("..", None),
            (".", None),
            ("a/b", None),
            ("a b", None),
            ("é", None),
            ("--force", None),
        ] {
            assert_eq!(check_name(name).ok().as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn names_that_vs_code_misreads_are_known() {
        for (name, expected) in [
            ("python", true),
            ("python3", true),
            ("python-rh", false),
            ("rust-hygiene", false),
        ] {
            assert_eq!(is_taken_for_plain_python(name), expected, "{name}");
        }
    }
}
