//! Names of journals.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Ending of a journal's name.
const ENDING: &str = "jsonl";
/// What was rotated out of the way has this after its name.
const OLDER: &str = "jsonl.1";
/// So many journals are kept.
const KEPT: usize = 30;
/// A younger one is kept in any case: its kernel may live.
const YOUNG: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn path(folder: &Path, id: &str) -> PathBuf {
    // An id comes from the name of a connection file.
    let id: String = id
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    folder.join(format!("{id}.{ENDING}"))
}

pub(crate) fn older(path: &Path) -> PathBuf {
    path.with_extension(OLDER)
}

/// The journal in a folder that was written last.
///
/// # Errors
/// If the folder cannot be read.
pub fn newest(folder: &Path) -> io::Result<Option<PathBuf>> {
    Ok(all(folder)?.into_iter().next().map(|(_, path)| path))
}

/// The files that a journal consists of, oldest first.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    [older(path), path.to_owned()]
        .into_iter()
        .filter(|part| part.exists())
        .collect()
}

/// All journals, the one that was written last first.
fn all(folder: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    Ok(found)
}

/// Removes the oldest journals beyond those that are kept.
pub(crate) fn prune(folder: &Path) {
    let now = SystemTime::now();
    let Ok(found) = all(folder) else { return };
    for (written, path) in found.into_iter().skip(KEPT) {
        if now.duration_since(written).is_ok_and(|age| age > YOUNG) {
            for part in parts(&path) {
                if let Err(error) = fs::remove_file(&part) {
                    tracing::debug!(%error, path = %part.display(), "an old journal stays");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_out_of_the_folder() {
        assert_eq!(
            path(Path::new("/f"), "kernel-1.2"),
            Path::new("/f/kernel-1.2.jsonl")
        );
        assert_eq!(
            path(Path::new("/f"), "../a b"),
            Path::new("/f/.._a_b.jsonl")
        );
        assert_eq!(
            older(Path::new("/f/a.b.jsonl")),
            Path::new("/f/a.b.jsonl.1")
        );
    }

    #[test]
    fn only_old_journals_beyond_the_newest_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * YOUNG;
        for i in 0..KEPT as u64 + 5 {
            let path = path(folder.path(), &format!("k{i}"));
            fs::write(older(&path), "").unwrap();
            let file = fs::File::create(&path).unwrap();
            file.set_modified(old + Duration::from_secs(i)).unwrap();
        }
        prune(folder.path());
        assert_eq!(all(folder.path()).unwrap().len(), KEPT);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2 * KEPT);
        assert!(!path(folder.path(), "k4").exists() && path(folder.path(), "k5").exists());
        assert_eq!(
            newest(folder.path()).unwrap(),
            Some(path(folder.path(), "k34"))
        );
    }
}
