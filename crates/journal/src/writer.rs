//! Writing: a queue and a thread.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::entry::{Entry, Line};
use crate::files;

/// Lines that wait for a slow disk; more are lost, and it is said so.
const WAITING: usize = 1024;
/// A longer line is not written, bytes.
const LONGEST: usize = 1 << 20;

/// Where and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of all journals.
    pub folder: PathBuf,
    /// The kernel's id, which names the file.
    pub id: String,
    /// Both files of a journal together are no longer, bytes.
    pub max_bytes: u64,
}

/// The journal of one kernel. Its thread waits unless there is something to write, and ends when this is dropped, having
/// written everything.
#[derive(Debug)]
pub struct Journal {
    lines: Option<SyncSender<Vec<u8>>>,
    trouble: Arc<Mutex<Trouble>>,
    thread: Option<JoinHandle<()>>,
    /// The start of a session in which nothing has happened yet.
    held_back: Option<(String, Entry)>,
    lost: u64,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Why writing fails, until the person is told.
    untold: Option<String>,
    was_told: bool,
}

impl Journal {
    /// Starts the thread; files are made by it, when there is something to write.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn open(options: Options) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        let told = Arc::clone(&trouble);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || Writer::new(options).serve(&waiting, &told))?;
        Ok(Self {
            lines: Some(lines),
            trouble,
            thread: Some(thread),
            held_back: None,
            lost: 0,
        })
    }

    /// Hands over an entry. Never waits. A session in which nothing happens leaves no journal.
    pub fn add(&mut self, time: &str, entry: Entry) {
        match entry {
            Entry::Start { .. } => self.held_back = Some((time.to_owned(), entry)),
            Entry::End { .. } if self.held_back.is_some() => {}
            _ => {
                if let Some((time, start)) = self.held_back.take() {
                    self.hand_over_or_count(&time, start);
                }
                self.hand_over_or_count(time, entry);
            }
        }
    }

    fn hand_over_or_count(&mut self, time: &str, entry: Entry) {
        if self.lost > 0 {
            let text = format!("{} lines were lost: the disk was too slow", self.lost);
            if self.hand_over(time, Entry::Note { text }) {
                self.lost = 0;
            }
        }
        if !self.hand_over(time, entry) {
            self.lost += 1;
        }
    }

    fn hand_over(&self, time: &str, entry: Entry) -> bool {
        let line = Line {
            t: time.to_owned(),
            entry,
        };
        let Ok(mut bytes) = serde_json::to_vec(&line) else {
            return false;
        };
        bytes.push(b'\n');
        bytes.len() <= LONGEST
            && self
                .lines
                .as_ref()
                .is_some_and(|lines| lines.try_send(bytes).is_ok())
    }

    /// Why the journal cannot be written, once.
    pub fn complaint(&self) -> Option<String> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.untold.take()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread failed");
        }
    }
}

struct Writer {
    options: Options,
    path: PathBuf,
    file: Option<File>,
    size: u64,
    /// The last line may be incomplete.
    is_torn: bool,
}

impl Writer {
    fn new(options: Options) -> Self {
        Self {
            path: files::path(&options.folder, &options.id),
            options,
            file: None,
            size: 0,
            is_torn: false,
        }
    }

    fn serve(mut self, waiting: &Receiver<Vec<u8>>, told: &Mutex<Trouble>) {
        for line in waiting {
            if let Err(error) = self.write(&line) {
                self.file = None;
                self.is_torn = true;
                let mut trouble = told.lock().unwrap_or_else(PoisonError::into_inner);
                if !trouble.was_told {
                    trouble.was_told = true;
                    trouble.untold = Some(format!(
                        "The journal {} cannot be written ({error}); what happens from now on may be missing there.",
                        self.path.display()
                    ));
                }
            }
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let half = self.options.max_bytes / 2;
        if self.file.is_some() && self.size > 0 && self.size + line.len() as u64 > half {
            self.file = None;
            fs::rename(&self.path, files::older(&self.path))?;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        if self.is_torn {
            file.write_all(b"\n")?;
            self.is_torn = false;
        }
        file.write_all(line)?;
        self.size += line.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    fn open(&mut self) -> io::Result<File> {
        make_folder(&self.options.folder)?;
        files::prune(&self.options.folder);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .open(&self.path)?;
        self.size = file.metadata()?.len();
        Ok(file)
    }
}

/// `O_NOFOLLOW` of open(2) on Linux: a link that somebody has put there is no journal of ours.
const O_NOFOLLOW: i32 = 0o400_000;

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn note(text: &str) -> Entry {
        Entry::Note { text: text.into() }
    }

    fn options(folder: &Path, max_bytes: u64) -> Options {
        Options {
            folder: folder.join("a/b"),
            id: "kernel-1".into(),
            max_bytes,
        }
    }

    #[test]
    fn everything_handed_over_is_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(options(folder.path(), 1 << 20)).unwrap();
        for i in 0..100 {
            journal.add("now", note(&i.to_string()));
        }
        drop(journal);
        let path = folder.path().join("a/b/kernel-1.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert_eq!(
            text.lines().next(),
            Some(r#"{"t":"now","event":"note","text":"0"}"#)
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_session_in_which_nothing_happens_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let start = || Entry::Start {
            kernel: "kernel-1".into(),
            pid: 1,
            version: "0".into(),
            python: "python".into(),
            folder: "/".into(),
            notebook: None,
        };
        let end = || Entry::End {
            how: "asked".into(),
        };
        for (entries, expected) in [
            (vec![start(), end()], None),
            (
                vec![start(), note("x"), end()],
                Some(vec!["start", "note", "end"]),
            ),
        ] {
            let mut journal = Journal::open(options(folder.path(), 1 << 20)).unwrap();
            entries
                .into_iter()
                .for_each(|entry| journal.add("now", entry));
            drop(journal);
            let text = fs::read_to_string(folder.path().join("a/b/kernel-1.jsonl")).ok();
            let events = text.as_ref().map(|text| {
                let events = text.lines().filter_map(|line| line.split('"').nth(7));
                events.collect::<Vec<_>>()
            });
            assert_eq!(events, expected);
        }
    }

    #[test]
    fn both_files_together_stay_below_the_limit_and_hold_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(options(folder.path(), 4000));
        for i in 0..1000 {
            writer.write(format!("{i:099}\n").as_bytes()).unwrap();
        }
        let parts = files::parts(&writer.path);
        let sizes: Vec<u64> = parts
            .iter()
            .map(|part| fs::metadata(part).unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().sum::<u64>() <= 4000);
        let last = fs::read_to_string(&parts[1]).unwrap();
        assert!(last.ends_with("999\n"));
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_complained_of_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "not a folder").unwrap();
        let mut journal = Journal::open(options(folder.path(), 1 << 20)).unwrap();
        journal.add("now", note("x"));
        journal.add("now", note("y"));
        let mut complaints = Vec::new();
        for _ in 0..500 {
            complaints.extend(journal.complaint());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("kernel-1.jsonl"));
    }

    #[test]
    fn a_full_disk_tears_a_line_and_the_next_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(options(folder.path(), 1 << 20));
        writer.write(b"one\n").unwrap();
        writer.is_torn = true;
        writer.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&writer.path).unwrap(), "one\n\ntwo\n");
        assert!(
            OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap()
                .write_all(b"x")
                .is_err()
        );
    }
}
