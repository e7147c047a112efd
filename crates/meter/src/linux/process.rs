//! The main process, through files that stay open.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

use super::{
    children::ChildLists,
    page_size,
    read::{field, kilobytes, number, read_kept},
};

/// Room for `/proc/PID/status` of a process in few groups.
const STATUS_ROOM: usize = 4096;

/// Memory lines of `/proc/PID/status`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Resident bytes now (`VmRSS`).
    pub(crate) rss: u64,
    /// Highest resident bytes since the mark was set back (`VmHWM`).
    pub(crate) highest: Option<u64>,
    /// Anonymous part of `rss` (Linux 4.5 and newer, as the two that follow).
    pub(crate) anon: Option<u64>,
    /// Mapped files' part of `rss`.
    pub(crate) file: Option<u64>,
    /// Shared memory's part of `rss`.
    pub(crate) shmem: Option<u64>,
    /// Anonymous bytes that are swapped out.
    pub(crate) swap: Option<u64>,
}

impl Status {
    /// Reads `/proc/PID/status`; `None` where it has no memory lines, as a zombie's has none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut rss = None;
        let mut status = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            // Cheap refusal: four in five lines are about something else.
            if !matches!(line.first(), Some(b'V' | b'R')) {
                continue;
            }
            let Some((name, value)) = field(line) else {
                continue;
            };
            match name {
                b"VmRSS" => rss = kilobytes(value),
                b"VmHWM" => status.highest = kilobytes(value),
                b"RssAnon" => status.anon = kilobytes(value),
                b"RssFile" => status.file = kilobytes(value),
                b"RssShmem" => status.shmem = kilobytes(value),
                b"VmSwap" => {
                    status.swap = kilobytes(value);
                    break; // The last of them.
                }
                _ => {}
            }
        }
        status.rss = rss?;
        Some(status)
    }
}

/// Resident bytes from `/proc/PID/statm`: its second field counts pages.
pub(crate) fn parse_statm(text: &[u8], page: u64) -> Option<u64> {
    let blank = text.iter().position(|&byte| byte == b' ')?;
    number(&text[blank + 1..])?.checked_mul(page)
}

/// Calls with the name, the value and the bytes of each line of `/proc/PID/status`.
pub(crate) fn fields(status: &File, mut take: impl FnMut(&[u8], &[u8], Option<u64>)) -> Option<()> {
    let (mut buffer, mut spill) = ([0; STATUS_ROOM], Vec::new());
    let text = read_kept(status, &mut buffer, &mut spill).ok()?;
    for (name, value) in text.split(|&byte| byte == b'\n').filter_map(field) {
        take(name, value, kilobytes(value));
    }
    Some(())
}

/// One living process. Its descriptors stay with that process even where its number is given to another one.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    status: File,
    statm: File,
    clear_refs: Option<File>,
    children: ChildLists,
    spill: Vec<u8>,
}

impl Process {
    /// Opens a process's files; `None` where there is no such process.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            status: File::open(format!("/proc/{pid}/status")).ok()?,
            statm: File::open(format!("/proc/{pid}/statm")).ok()?,
            clear_refs: None,
            children: ChildLists::new(pid),
            spill: Vec::new(),
        })
    }

    /// Its memory now; `None` once it has ended.
    pub(crate) fn status(&mut self) -> Option<Status> {
        let mut buffer = [0; STATUS_ROOM];
        Status::parse(read_kept(&self.status, &mut buffer, &mut self.spill).ok()?)
    }

    /// Resident bytes now, cheaper than [`Process::status`]; `None` once it has ended.
    pub(crate) fn resident(&self) -> Option<u64> {
        let mut buffer = [0; 128];
        let n = self.statm.read_at(&mut buffer, 0).ok()?;
        // A zombie's statm says 0 everywhere, and no living process has no page.
        parse_statm(&buffer[..n], page_size()).filter(|&bytes| bytes > 0)
    }

    /// Sets the mark of [`Status::highest`] back to the resident size of now (proc(5), `clear_refs`, value 5).
    ///
    /// # Errors
    /// The system refuses where the process is not ours or not dumpable (prctl(2), `PR_SET_DUMPABLE`).
    pub(crate) fn reset_highest(&mut self) -> io::Result<()> {
        let file = match &mut self.clear_refs {
            Some(file) => file,
            none => none.insert(
                OpenOptions::new()
                    .write(true)
                    .open(format!("/proc/{}/clear_refs", self.pid))?,
            ),
        };
        file.write_all_at(b"5", 0)
    }

    /// Has the system refuse [`Process::reset_highest`] from now on.
    #[cfg(test)]
    pub(crate) fn refuse_reset(&mut self) {
        self.clear_refs = File::open("/dev/null").ok(); // Not open for writing.
    }

    /// Whether it has children; `None` where that cannot be told quickly.
    pub(crate) fn has_children(&mut self) -> Option<bool> {
        self.children.any()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "Name:\tpython3\nUmask:\t0022\nState:\tS (sleeping)\nVmPeak:\t  200000 kB\n\
        VmSize:\t  150000 kB\nVmHWM:\t   90000 kB\nVmRSS:\t   80000 kB\nRssAnon:\t   70000 kB\n\
        RssFile:\t    9000 kB\nRssShmem:\t    1000 kB\nVmData:\t   10 kB\nVmSwap:\t       5 kB\nThreads:\t3\n";

    #[test]
    fn status_gives_each_memory_line_in_bytes() {
        let expected = Status {
            rss: 80_000 << 10,
            highest: Some(90_000 << 10),
            anon: Some(70_000 << 10),
            file: Some(9_000 << 10),
            shmem: Some(1_000 << 10),
            swap: Some(5 << 10),
        };
        assert_eq!(Status::parse(STATUS.as_bytes()), Some(expected));
    }

    #[test]
    fn a_status_without_some_lines_leaves_them_unknown() {
        for (text, expected) in [
            // A kernel older than 4.5.
            (
                "VmHWM:\t 2 kB\nVmRSS:\t 1 kB\n",
                Some(Status {
                    rss: 1024,
                    highest: Some(2048),
                    ..Status::default()
                }),
            ),
            // A zombie, an ended process, nonsense.
            ("Name:\tpython3\nState:\tZ (zombie)\nThreads:\t1\n", None),
            ("", None),
            ("VmRSS:\t many kB\n", None),
            ("VmRSS", None),
        ] {
            assert_eq!(Status::parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn statm_gives_the_second_field_in_pages() {
        for (text, expected) in [
            ("5000 300 100 1 0 400 0\n", Some(300 * 4096)),
            ("0 0 0 0 0 0 0\n", Some(0)),
            ("5000", None),
            ("", None),
            ("1 18446744073709551615 1", None),
        ] {
            assert_eq!(parse_statm(text.as_bytes(), 4096), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
            Status::parse(&text);
            parse_statm(&text, 4096);
        }
    }

    #[test]
    fn our_own_process_is_read_and_a_missing_one_is_not() {
        let mut own = Process::open(std::process::id()).unwrap();
        let status = own.status().unwrap();
        assert!(status.rss > 0 && status.highest >= Some(status.rss));
        assert!(own.resident().unwrap() > 0);
        assert!(Process::open(u32::MAX).is_none());
    }
}
