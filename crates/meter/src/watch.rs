//! What a guard reads of a process and its tree while a cell runs: short files that stay open.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use crate::{
    limit::Limits,
    platform::{self, fields},
};

/// Memory of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footing {
    /// What it has mapped for data, as `RLIMIT_DATA` counts it (`VmData`).
    pub data: u64,
    /// Code of libraries (`VmLib`): it changes when one is loaded.
    pub libraries: u64,
    /// What it holds and the machine cannot drop: anonymous and shared memory, and what is swapped out.
    pub held: u64,
    /// The shared part of it.
    pub shared: u64,
    /// Signals that it has handlers for, one bit each (`SigCgt`).
    pub catches: u64,
}

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be taken under every limit of the system.
    pub available: u64,
    /// The smallest of these limits.
    pub limit: u64,
}

/// Follows one process.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    status: File,
    limits: Option<Limits>,
    /// Files in `/dev/shm` that were seen open in the tree: number of the file to its path.
    shared: HashMap<u64, PathBuf>,
}

impl Watch {
    /// `None` where there is no such process.
    pub fn open(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            status: File::open(format!("/proc/{pid}/status")).ok()?,
            limits: None,
            shared: HashMap::new(),
        })
    }

    /// Its memory now; `None` once it has ended.
    pub fn read(&self) -> Option<Footing> {
        footing(&self.status)
    }

    /// What each process below it holds, and of that what is shared.
    pub fn children(&self) -> Vec<(u32, Footing)> {
        platform::descendants(self.pid)
            .into_iter()
            .filter_map(|pid| {
                let status = File::open(format!("/proc/{pid}/status")).ok()?;
                Some((pid, footing(&status)?))
            })
            .collect()
    }

    /// What a process has written and shares with nobody: slow, milliseconds a gigabyte. `None` where the system does not tell.
    pub fn own_of(pid: u32) -> Option<u64> {
        let file = File::open(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let mut own = None;
        fields(&file, |name, _, bytes| {
            if name == b"Private_Dirty" {
                own = bytes;
            }
        })?;
        own
    }

    /// What is left of the machine's and the control group's memory.
    pub fn room(&mut self) -> Option<Room> {
        if !self.limits.as_ref().is_some_and(Limits::is_fresh) {
            self.limits = Some(Limits::read(self.pid, None));
        }
        let limits = self.limits.as_ref()?;
        Some(Room {
            available: limits.available(None)?,
            limit: limits.smallest()?.0,
        })
    }

    /// Bytes of the files in `/dev/shm` that these processes have open, or have had open when this was last called.
    pub fn shared_files(&mut self, pids: impl Iterator<Item = u32>) -> u64 {
        let mut open: HashMap<u64, u64> = HashMap::new();
        for pid in pids {
            let directory = format!("/proc/{pid}/fd");
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let Ok(target) = fs::read_link(entry.path()) else {
                    continue;
                };
                if target.starts_with("/dev/shm")
                    && let Ok(file) = fs::metadata(entry.path())
                {
                    open.insert(file.ino(), file.blocks() * 512);
                    self.shared.insert(file.ino(), target);
                }
            }
        }
        self.shared.retain(|number, path| {
            open.contains_key(number)
                || fs::metadata(path).is_ok_and(|file| {
                    let same = file.ino() == *number;
                    if same {
                        open.insert(*number, file.blocks() * 512);
                    }
                    same
                })
        });
        open.values().sum()
    }

    /// Whether a library whose path has one of these words in it is loaded.
    pub fn has_library(&self, words: &[&str]) -> bool {
        fs::read_to_string(format!("/proc/{}/maps", self.pid)).is_ok_and(|maps| {
            maps.lines()
                .filter_map(|line| line.rsplit_once('/'))
                .any(|(folder, name)| {
                    name.contains(".so")
                        && words
                            .iter()
                            .any(|word| name.contains(word) || folder.ends_with(word))
                })
        })
    }
}

/// Bytes in use in `/dev/shm`, whoever's.
pub fn shared_memory_in_use() -> u64 {
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with a zero and the structure is large enough (statvfs(3)).
    let result = unsafe { libc::statvfs(c"/dev/shm".as_ptr(), stat.as_mut_ptr()) };
    // SAFETY: all zeroes is a valid value.
    let stat = unsafe { stat.assume_init() };
    if result == 0 {
        (stat.f_blocks.saturating_sub(stat.f_bfree)) * stat.f_frsize
    } else {
        0
    }
}

fn footing(status: &File) -> Option<Footing> {
    let mut footing = Footing::default();
    let mut is_alive = false;
    fields(status, |name, value, bytes| match name {
        b"VmData" => footing.data = bytes.unwrap_or(0),
        b"VmLib" => footing.libraries = bytes.unwrap_or(0),
        b"RssAnon" => {
            is_alive = true;
            footing.held += bytes.unwrap_or(0);
        }
        b"RssShmem" => {
            footing.shared = bytes.unwrap_or(0);
            footing.held += footing.shared;
        }
        b"VmSwap" => footing.held += bytes.unwrap_or(0),
        b"SigCgt" => {
            footing.catches = std::str::from_utf8(value)
                .ok()
                .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
                .unwrap_or(0);
        }
        _ => {}
    })?;
    is_alive.then_some(footing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_footing_and_room_are_known() {
        let mut watch = Watch::open(std::process::id()).unwrap();
        let footing = watch.read().unwrap();
        assert!(footing.data >= footing.held - footing.shared && footing.held > 0);
        let room = watch.room().unwrap();
        assert!(room.available < room.limit);
        assert!(Watch::open(u32::MAX).is_none());
    }

    #[test]
    fn shared_files_count_also_when_they_are_closed_until_they_are_gone() {
        let own = std::process::id();
        let mut watch = Watch::open(own).unwrap();
        let before = watch.shared_files(std::iter::once(own));
        let path = format!("/dev/shm/guard-test-{own}");
        let file = File::create(&path).unwrap();
        fs::write(&path, vec![1; 1 << 20]).unwrap();
        assert_eq!(watch.shared_files(std::iter::once(own)), before + (1 << 20));
        drop(file);
        assert_eq!(watch.shared_files(std::iter::once(own)), before + (1 << 20));
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.shared_files(std::iter::once(own)), before);
    }
}
