//! `rust-hygiene journal`: the story of a kernel, also of one that was killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::journal::{Story, newest, parts};
use anyhow::{Context, Result, bail};
use clap::Args;

use crate::jupyter_paths::{process_variables, runtime_dir};
use crate::output;

/// How often a journal that is followed is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Tell what happened in a kernel: its cells with their memory, how the interpreter died, what was lost.
///
/// Every kernel keeps a journal in Jupyter's runtime folder, which outlives it even if everything is killed at once. Without a
/// file this tells the one that was written last.
#[derive(Debug, Args)]
pub struct JournalArgs {
    /// A journal, or a folder of journals.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Go on telling as it is written.
    #[arg(short, long)]
    follow: bool,

    /// Print the lines as they are, JSON, instead of telling them.
    #[arg(long)]
    raw: bool,
}

/// Where kernels of this user keep their journals.
pub fn folder() -> Option<PathBuf> {
    let home = std::env::home_dir();
    Some(runtime_dir(&process_variables, home.as_deref())?.join("rust-hygiene"))
}

/// Tells one journal.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn run(args: JournalArgs) -> Result<ExitCode> {
    let path = choose(args.file)?;
    output::note(&path.display().to_string());
    let mut story = Story::default();
    let mut tell = |line: &str| -> Result<()> {
        if args.raw {
            output::line(line)?;
        } else {
            for line in story.tell(line) {
                output::line(&line)?;
            }
        }
        Ok(())
    };
    let mut at = 0;
    for part in parts(&path) {
        at = read_from(&part, 0, &mut tell)?;
    }
    if !args.follow {
        if !args.raw {
            for line in story.end() {
                output::line(&line)?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(LOOK);
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        if size < at {
            at = 0; // a new file took its place
        }
        if size > at {
            at = read_from(&path, at, &mut tell)?;
        }
    }
}

fn choose(given: Option<PathBuf>) -> Result<PathBuf> {
    let (folder, named) = match given {
        Some(path) if path.is_dir() => (path, true),
        Some(path) => return Ok(path),
        None => (
            folder().context("neither JUPYTER_RUNTIME_DIR nor a home folder is set")?,
            false,
        ),
    };
    match newest(&folder) {
        Ok(Some(path)) => Ok(path),
        Err(error) if named => {
            Err(error).with_context(|| format!("cannot read {}", folder.display()))
        }
        _ => bail!("there is no journal in {}", folder.display()),
    }
}

/// Reads whole lines from a place on; returns where the next one begins.
fn read_from(path: &Path, at: u64, tell: &mut impl FnMut(&str) -> Result<()>) -> Result<u64> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.seek(SeekFrom::Start(at))?;
    let mut reader = BufReader::new(file);
    let mut at = at;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(at);
        }
        at += read as u64;
        tell(String::from_utf8_lossy(&line).trim_end())?;
    }
}
