//! Where configuration files are. The thin part that looks at the disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::load::{Level, Source};
use crate::problem::Problem;
use crate::tables;

/// The largest file that is read; a longer one is no configuration.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

const PROJECT_FILE: &str = "rust-hygiene.toml";
const PYPROJECT: &str = "pyproject.toml";

/// Where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`; one that is not absolute is passed over (XDG base directory specification).
    pub xdg_config_home: Option<PathBuf>,
    /// `$JUPYTER_CONFIG_DIR`.
    pub jupyter_config_dir: Option<PathBuf>,
    /// The folder that the kernel was started in.
    pub cwd: PathBuf,
}

/// A configuration file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub level: Level,
    /// Where it is.
    pub path: PathBuf,
}

/// The files that apply, the weakest first: the user's `rust-hygiene/config.toml` in the configuration folder, then
/// `rust-hygiene.toml` in Jupyter's, then the project's, which is the nearest `rust-hygiene.toml` or `pyproject.toml` with a
/// table `[tool.rust-hygiene]` in `cwd` or above it, not above the repository (a folder with `.git`) or the home folder.
#[must_use]
pub fn discover(places: &Places) -> Vec<Found> {
    let config_home = places
        .xdg_config_home
        .clone()
        .filter(|path| path.is_absolute());
    let config_home = config_home.or_else(|| Some(places.home.as_ref()?.join(".config")));
    let user = [
        config_home.map(|folder| folder.join("rust-hygiene").join("config.toml")),
        places
            .jupyter_config_dir
            .as_ref()
            .map(|folder| folder.join(PROJECT_FILE)),
    ];
    let user = user.into_iter().flatten().filter(|path| path.is_file());
    let mut found: Vec<Found> = user
        .map(|path| Found {
            level: Level::User,
            path,
        })
        .collect();
    // The user's own file stays the user's, even if the kernel was started in its folder.
    let project = project_file(places).filter(|path| found.iter().all(|user| user.path != *path));
    found.extend(project.map(|path| Found {
        level: Level::Project,
        path,
    }));
    found
}

fn project_file(places: &Places) -> Option<PathBuf> {
    for folder in places.cwd.ancestors() {
        let own = folder.join(PROJECT_FILE);
        if own.is_file() {
            return Some(own);
        }
        let shared = folder.join(PYPROJECT);
        if shared.is_file() && is_about_us(&shared) {
            return Some(shared);
        }
        if folder.join(".git").exists() || places.home.as_deref() == Some(folder) {
            return None;
        }
    }
    None
}

/// Whether a `pyproject.toml` has our table. One that is broken counts if it names the table, so that the person hears of it.
fn is_about_us(path: &Path) -> bool {
    let Ok(Some(text)) = read_text(path) else {
        return false;
    };
    match tables::parse("", &text) {
        Ok(root) => tables::of_pyproject(root.get_ref()).is_some(),
        Err(_) => text.contains("[tool.rust-hygiene"),
    }
}

/// Reads the files. One that cannot be read is a problem and no source.
#[must_use]
pub fn read(files: &[Found]) -> (Vec<Source>, Vec<Problem>) {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for Found { level, path } in files {
        let problem = |message: String| Problem::of(path.display().to_string(), message);
        match read_text(path) {
            Ok(Some(text)) => sources.push(Source::Toml {
                level: *level,
                path: path.clone(),
                text,
            }),
            Ok(None) => problems.push(problem(
                "larger than 1 MiB; the whole file is ignored".to_owned(),
            )),
            Err(error) => problems.push(problem(format!(
                "cannot be read: {error}; the whole file is ignored"
            ))),
        }
    }
    (sources, problems)
}

/// The text, or `None` if there is too much of it. Reads no more than the limit, whatever the file claims to be.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Ok(None);
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A home folder with the given files, a repository `code/.git` in it, and where to look from `code/deep/er`.
    fn home(files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("code/.git")).unwrap();
        fs::create_dir_all(root.join("code/deep/er")).unwrap();
        for (path, text) in files {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        let places = Places {
            home: Some(root.to_owned()),
            cwd: root.join("code/deep/er"),
            ..Places::default()
        };
        (dir, places)
    }

    fn found(places: &Places) -> Vec<(Level, String)> {
        let home = places.home.clone().unwrap();
        let name = |path: &Path| path.strip_prefix(&home).unwrap().display().to_string();
        discover(places)
            .iter()
            .map(|f| (f.level, name(&f.path)))
            .collect()
    }

    #[test]
    fn the_nearest_project_file_inside_the_repository_is_found() {
        const OURS: &str = "[tool.rust-hygiene]\ngpu = false";
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let table: &[Row<'_>] = &[
            (&[], None),
            (
                &[("code/rust-hygiene.toml", "")],
                Some("code/rust-hygiene.toml"),
            ),
            (
                &[
                    ("code/rust-hygiene.toml", ""),
                    ("code/deep/rust-hygiene.toml", ""),
                ],
                Some("code/deep/rust-hygiene.toml"),
            ),
            (
                &[("code/pyproject.toml", OURS)],
                Some("code/pyproject.toml"),
            ),
            (
                &[("code/pyproject.toml", "[tool.rust-hygiene\n")],
                Some("code/pyproject.toml"),
            ),
            (
                &[
                    ("code/deep/pyproject.toml", "[tool.ruff]"),
                    ("code/pyproject.toml", OURS),
                ],
                Some("code/pyproject.toml"),
            ),
            (
                &[
                    ("code/pyproject.toml", OURS),
                    ("code/rust-hygiene.toml", ""),
                ],
                Some("code/rust-hygiene.toml"),
            ),
            // Above the repository.
            (&[("rust-hygiene.toml", "")], None),
        ];
        for (files, project) in table {
            let (_dir, places) = home(files);
            let expected: Vec<_> = project
                .iter()
                .map(|path| (Level::Project, (*path).to_owned()))
                .collect();
            assert_eq!(found(&places), expected, "{files:?}");
        }
    }

    #[test]
    fn the_search_ends_at_home_and_takes_what_stands_there() {
        let (dir, mut places) = home(&[("rust-hygiene.toml", ""), ("plain/x", "")]);
        places.cwd = dir.path().join("plain");
        assert_eq!(
            found(&places),
            [(Level::Project, "rust-hygiene.toml".to_owned())]
        );
        places.home = Some(dir.path().join("plain"));
        assert_eq!(discover(&places), []);
    }

    #[test]
    fn user_files_come_before_the_project_file() {
        let (dir, mut places) = home(&[
            (".config/rust-hygiene/config.toml", ""),
            ("xdg/rust-hygiene/config.toml", ""),
            ("jupyter/rust-hygiene.toml", ""),
            ("code/rust-hygiene.toml", ""),
        ]);
        let project = (Level::Project, "code/rust-hygiene.toml".to_owned());
        let user = |path: &str| (Level::User, path.to_owned());
        assert_eq!(
            found(&places),
            [user(".config/rust-hygiene/config.toml"), project.clone()]
        );
        places.xdg_config_home = Some("xdg".into());
        assert_eq!(
            found(&places),
            [user(".config/rust-hygiene/config.toml"), project.clone()],
            "not absolute"
        );
        places.xdg_config_home = Some(dir.path().join("xdg"));
        places.jupyter_config_dir = Some(dir.path().join("jupyter"));
        assert_eq!(
            found(&places),
            [
                user("xdg/rust-hygiene/config.toml"),
                user("jupyter/rust-hygiene.toml"),
                project
            ]
        );
        places.cwd = dir.path().join("jupyter");
        assert_eq!(
            found(&places),
            [
                user("xdg/rust-hygiene/config.toml"),
                user("jupyter/rust-hygiene.toml")
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_and_the_others_are_read() {
        let (dir, _) = home(&[("good.toml", "gpu = false")]);
        fs::write(
            dir.path().join("long.toml"),
            vec![b' '; MAX_FILE_BYTES as usize + 1],
        )
        .unwrap();
        fs::write(
            dir.path().join("full.toml"),
            vec![b' '; MAX_FILE_BYTES as usize],
        )
        .unwrap();
        fs::write(dir.path().join("latin.toml"), b"# \xe9").unwrap();
        let names = [
            "gone.toml",
            "long.toml",
            "latin.toml",
            "full.toml",
            "good.toml",
        ];
        let files: Vec<_> = names
            .iter()
            .map(|name| Found {
                level: Level::User,
                path: dir.path().join(name),
            })
            .collect();
        let (sources, problems) = read(&files);
        assert_eq!(sources.len(), 2);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for (said, words) in said.iter().zip([
            "gone.toml: cannot be read",
            "larger than 1 MiB",
            "not UTF-8",
        ]) {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(said.len(), 3);
    }
}
