//! What a session leaves: processes, and segments of shared memory.
//!
//! Every process that descends from an interpreter stays below this one, which takes orphans (`PR_SET_CHILD_SUBREAPER`), so nobody
//! who forks twice or begins a session of its own gets lost. Segments are noted by the agent, and by workers that it forks, in a file in memory
//! when they are made. Python's own trackers of shared resources (`multiprocessing.resource_tracker`) end by themselves when
//! all others are gone, and put away what was registered with them: they are given time for that.

use crate::remains::memory_file;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

/// A tracker that lives longer than all others is killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether it still lives.
const STEP: Duration = Duration::from_millis(5);
/// Rounds of killing: more processes may have been born during the one before.
const ROUNDS: usize = 8;
/// Processes that are followed. More would be a fork bomb.
const MOST: usize = 4096;
const FOLDER: &str = "/dev/shm/";

/// The segments that one interpreter and its forked workers have made: lines of an inode's number and a name.
#[derive(Debug)]
pub(crate) struct Segments(fs::File);

impl Segments {
    pub(crate) fn new() -> io::Result<Self> {
        let file = memory_file(c"segments")?;
        // Shared by all who inherit it: each line is appended whole.
        nix::fcntl::fcntl(
            file.as_fd(),
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_APPEND),
        )?;
        Ok(Self(file))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn lines(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.0.rewind().and_then(|()| self.0.read_to_end(&mut text));
        if let Err(error) = read {
            tracing::debug!(%error, "segments of shared memory are not known");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Those of another interpreter too.
    pub(crate) fn take_over(&mut self, other: &mut Self) {
        if let Err(error) = self.0.write_all(other.lines().as_bytes()) {
            tracing::debug!(%error, "segments of shared memory are forgotten");
        }
    }

    /// Removes those that are still there. A file that got the name of one later is another's.
    fn remove(&mut self) {
        for line in self.lines().lines() {
            let Some((inode, name)) = line.split_once(' ') else {
                continue;
            };
            if name.contains('/') {
                continue;
            }
            let path = format!("{FOLDER}{name}");
            let is_it = |file: &fs::Metadata| Ok(file.ino()) == inode.parse();
            if fs::symlink_metadata(&path).as_ref().is_ok_and(is_it) {
                match fs::remove_file(&path) {
                    Ok(()) => {
                        tracing::info!(name, "shared memory that the session left is removed")
                    }
                    Err(error) => tracing::debug!(name, %error, "shared memory is not removed"),
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.metadata().is_ok_and(|file| file.len() == 0)
    }
}

/// Kills everyone below this process but the warden and trackers of shared resources, whose ids are returned. `interpreter` is killed if
/// `lives`.
pub(crate) fn kill_everyone(interpreter: Pid, lives: bool) -> Vec<Pid> {
    let mut trackers = Vec::new();
    let warden = crate::warden::pid().map(|pid| Pid::from_raw(pid as i32));
    for _ in 0..ROUNDS {
        let mut any = false;
        trackers.clear();
        for pid in below_this_process() {
            if pid == interpreter && !lives || Some(pid) == warden {
                continue; // the interpreter is a zombie
            }
            if is_tracker(pid) {
                trackers.push(pid);
                continue;
            }
            if let Err(error) = nix::sys::signal::kill(pid, Signal::SIGKILL) {
                tracing::debug!(%pid, %error, "not killed");
            }
            any |= pid != interpreter && !is_zombie(pid);
        }
        if !any {
            break;
        }
    }
    trackers
}

/// Waits for the trackers, and removes what nobody has removed; on a thread of its own. `None` if there is nothing to do.
pub(crate) fn settle(trackers: Vec<Pid>, mut segments: Segments) -> Option<JoinHandle<()>> {
    if trackers.is_empty() && segments.is_empty() {
        return None;
    }
    let work = move || {
        let deadline = Instant::now() + PATIENCE;
        while trackers.iter().any(|pid| is_tracker(*pid)) && Instant::now() < deadline {
            std::thread::sleep(STEP);
        }
        for pid in trackers.into_iter().filter(|pid| is_tracker(*pid)) {
            tracing::debug!(%pid, "a tracker of shared resources is killed");
            if let Err(error) = nix::sys::signal::kill(pid, Signal::SIGKILL) {
                tracing::debug!(%pid, %error, "not killed");
            }
        }
        segments.remove();
    };
    match std::thread::Builder::new()
        .name("estate".into())
        .spawn(work)
    {
        Ok(thread) => Some(thread),
        Err(error) => {
            tracing::warn!(%error, "shared memory that the session left stays");
            None
        }
    }
}

fn is_tracker(pid: Pid) -> bool {
    const WORD: &[u8] = b"resource_tracker";
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.windows(WORD.len()).any(|words| words == WORD))
}

/// Without memory of its own: it has ended, and its parent does not know.
fn is_zombie(pid: Pid) -> bool {
    !fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.contains("VmRSS"))
}

/// All processes below this one, nearest first.
fn below_this_process() -> Vec<Pid> {
    let mut seen = BTreeSet::new();
    let mut found = vec!["self".to_owned()];
    let mut next = 0;
    while let Some(one) = found.get(next) {
        next += 1;
        for child in children_of(one) {
            if found.len() <= MOST && seen.insert(child) {
                found.push(child.to_string());
            }
        }
    }
    let pids = found.iter().filter_map(|pid| pid.parse().ok());
    pids.map(Pid::from_raw).collect()
}

fn children_of(process: &str) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let lists = tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|children| {
            let pids = children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok());
            pids.collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn note(segments: &Segments, inode: u64, name: &str) {
        let mut file = fs::File::from(segments.as_fd().try_clone_to_owned().unwrap());
        writeln!(file, "{inode} {name}").unwrap();
    }

    #[test]
    fn segments_that_are_still_there_are_removed_and_others_of_their_name_are_not() {
        let own = std::process::id();
        let names = ["left", "again", "inherited"].map(|name| format!("estate-{own}-{name}"));
        let inodes = names.clone().map(|name| {
            let path = format!("{FOLDER}{name}");
            fs::write(&path, "x").unwrap();
            fs::metadata(&path).unwrap().ino()
        });
        let (mut segments, mut old) = (Segments::new().unwrap(), Segments::new().unwrap());
        assert!(segments.is_empty());
        note(&segments, inodes[0], &names[0]);
        note(&segments, inodes[1] + 1, &names[1]);
        note(&segments, 1, "gone long ago");
        note(&segments, 1, "../../etc/passwd");
        note(&old, inodes[2], &names[2]);
        segments.take_over(&mut old);
        settle(Vec::new(), segments).unwrap().join().unwrap();
        let is_there = |name: &String| fs::exists(format!("{FOLDER}{name}")).unwrap();
        assert_eq!(names.each_ref().map(is_there), [false, true, false]);
        fs::remove_file(format!("{FOLDER}{}", names[1])).unwrap();
    }

    #[test]
    fn who_is_below_us_is_found_and_a_tracker_is_known_by_its_command() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60; true # resource_tracker"])
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_tracker(pid) || children_of(&pid.to_string()).is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(STEP);
        }
        let grandchild = Pid::from_raw(children_of(&pid.to_string())[0]);
        let all = below_this_process();
        assert!(all.contains(&pid) && all.contains(&grandchild));
        assert!(!is_zombie(grandchild) && !is_tracker(grandchild));
        child.kill().unwrap();
        while !is_zombie(pid) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(STEP);
        }
        child.wait().unwrap();
        nix::sys::signal::kill(grandchild, Signal::SIGKILL).unwrap();
    }
}
