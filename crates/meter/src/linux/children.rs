//! Who descends from a process, and whom it has left to us.
//!
//! A process whose parent ends goes to the nearest ancestor that takes such orphans (`PR_SET_CHILD_SUBREAPER`, prctl(2)). We do,
//! so nobody who descends from an interpreter gets lost, however often he forks: he is below the interpreter, or an orphan of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::{DirEntryExt, FileExt},
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use super::{
    cpu::parse_stat,
    read::{number, read, read_kept},
};

/// Descriptors kept for one process's threads; more threads are read by path.
const KEPT: usize = 64;
/// Descendants that are followed. More would be a fork bomb.
const MOST: usize = 4096;

/// The `children` files of each thread of one process: a child belongs to the thread that made it (proc(5)).
#[derive(Debug)]
pub(crate) struct ChildLists {
    directory: PathBuf,
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    thread: u32,
    /// Tells a thread from a later one of the same number.
    inode: u64,
    file: File,
    seen: bool,
}

impl ChildLists {
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            directory: PathBuf::from(format!("/proc/{pid}/task")),
            kept: Vec::new(),
        }
    }

    /// Whether any thread has a child; `None` where the system has no such files.
    pub(crate) fn any(&mut self) -> Option<bool> {
        if !children_files_exist() {
            return None;
        }
        self.kept.iter_mut().for_each(|kept| kept.seen = false);
        let mut found = false;
        // An unreadable directory is that of an ended process.
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let inode = entry.ino();
            let Some(thread) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let known = self
                .kept
                .iter_mut()
                .find(|kept| kept.thread == thread && kept.inode == inode);
            found |= match known {
                Some(kept) => {
                    kept.seen = true;
                    has_text(&kept.file)
                }
                None => match File::open(entry.path().join("children")) {
                    Ok(file) => {
                        let found = has_text(&file);
                        if self.kept.len() < KEPT {
                            self.kept.push(Kept {
                                thread,
                                inode,
                                file,
                                seen: true,
                            });
                        }
                        found
                    }
                    Err(_) => false, // The thread has ended.
                },
            };
        }
        self.kept.retain(|kept| kept.seen);
        Some(found)
    }
}

fn has_text(file: &File) -> bool {
    // Only whether there is something matters, so the text may be cut.
    let mut buffer = [0; 32];
    file.read_at(&mut buffer, 0).is_ok_and(|n| n > 0)
}

/// Whether this kernel has `children` files (`CONFIG_PROC_CHILDREN`).
fn children_files_exist() -> bool {
    static EXIST: OnceLock<bool> = OnceLock::new();
    *EXIST.get_or_init(|| Path::new("/proc/thread-self/children").exists())
}

/// What this process has started: what else becomes a child of it was left to it.
static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Notes that a child of this process was started by it.
pub(crate) fn note_started(pid: u32) {
    STARTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(pid);
}

/// The processes that interpreters of ours have left to us. They go to the main thread (proc(5)).
pub(crate) fn orphans() -> Vec<u32> {
    static KEPT_OPEN: OnceLock<Option<File>> = OnceLock::new();
    let file = KEPT_OPEN.get_or_init(|| {
        let own = std::process::id();
        File::open(format!("/proc/self/task/{own}/children")).ok()
    });
    let Some(file) = file else { return Vec::new() };
    // The text comes a page at a time: what does not fill less than a page is the end.
    let (mut buffer, mut spill) = ([0; 2048], Vec::new());
    let Ok(text) = read_kept(file, &mut buffer, &mut spill) else {
        return Vec::new();
    };
    let children = parse_children(text);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.retain(|pid| children.contains(pid));
    if started.is_empty() {
        return Vec::new(); // nobody is left who could have left anyone
    }
    let is_orphan = |pid: &u32| !started.contains(pid);
    children.into_iter().filter(is_orphan).collect()
}

/// All processes below `root` and below what was left to us, nearest first, without `root`. Those that come or go meanwhile may
/// be missed.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut roots = vec![root];
    if STARTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&root)
    {
        roots.extend(orphans());
    }
    if children_files_exist() {
        walk(&roots, children_of)
    } else {
        let parents = parents();
        walk(&roots, |pid| parents.get(&pid).cloned().unwrap_or_default())
    }
}

/// Breadth first, each process once, whatever `children` says; the first of the roots is left out.
fn walk(roots: &[u32], mut children: impl FnMut(u32) -> Vec<u32>) -> Vec<u32> {
    let mut seen: BTreeSet<u32> = roots.iter().copied().collect();
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        for child in children(pid) {
            if found.len() <= MOST && seen.insert(child) {
                found.push(child);
            }
        }
    }
    found.remove(0);
    found
}

/// The children of each thread of one process.
fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| read(thread.path().join("children")).ok())
        .flat_map(|text| parse_children(&text))
        .collect()
}

/// Reads `/proc/PID/task/TID/children`: numbers between blanks.
pub(crate) fn parse_children(text: &[u8]) -> Vec<u32> {
    text.split(u8::is_ascii_whitespace)
        .filter_map(|pid| number(pid)?.try_into().ok())
        .collect()
}

/// The children of every process, from a scan of `/proc`: slow, for kernels without `children` files.
fn parents() -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = read(entry.path().join("stat")) else {
            continue;
        };
        if let Some(stat) = parse_stat(&stat) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn children_are_numbers_between_blanks() {
        for (text, expected) in [
            ("", vec![]),
            ("12 ", vec![12]),
            ("12 345 6 ", vec![12, 345, 6]),
            ("12 x 99999999999 7", vec![12, 7]),
        ] {
            assert_eq!(parse_children(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_walk_visits_each_process_once_even_in_a_circle() {
        let tree = |pid: u32| match pid {
            1 => vec![2, 3],
            2 => vec![4],
            4 => vec![1, 2, 5],
            _ => vec![],
        };
        assert_eq!(walk(&[1], tree), [2, 3, 4, 5]);
        assert_eq!(walk(&[4, 3], tree), [3, 1, 2, 5]);
    }

    #[test]
    fn a_walk_ends_in_an_endless_tree() {
        assert_eq!(walk(&[0], |pid| vec![2 * pid + 1, 2 * pid + 2]).len(), MOST);
    }

    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("60").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn both_ways_find_a_child_and_the_quick_look_sees_it() {
        let own = std::process::id();
        let sleeper = Sleeper::start();
        let pid = sleeper.0.id();
        assert!(walk(&[own], |pid| parents().remove(&pid).unwrap_or_default()).contains(&pid));
        assert!(descendants(own).contains(&pid));
        if children_files_exist() {
            let mut lists = ChildLists::new(own);
            assert_eq!((lists.any(), lists.any()), (Some(true), Some(true)));
            assert_eq!(ChildLists::new(pid).any(), Some(false));
        }
    }
}
