//! Starting the interpreter.

use crate::agent;
use crate::door::Door;
use crate::estate::Segments;
use crate::order::Interpreter;
use crate::remains::Faults;
use crate::remains::memory_file;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

/// The descriptor of the channel in the child. The boot code greets on it before it knows anything else.
const CHANNEL_FD: i32 = 3;
/// The descriptor of the pipe with the agent's sources in the child.
const BUNDLE_FD: i32 = 4;
/// The descriptor of the door in the child.
const DOOR_FD: i32 = 5;
/// The descriptor of the debugger's channel in the child.
const DEBUG_FD: i32 = 6;
/// The descriptor of the file for `faulthandler` in the child.
const FAULTS_FD: i32 = 7;
/// The descriptor of the file in which the guard says how much memory is left.
const BOARD_FD: i32 = 8;
/// The descriptor of the file in which segments of shared memory are noted.
const SEGMENTS_FD: i32 = 9;
/// How many descriptors are handed over.
const INHERITED: usize = 7;
/// Room in the pipes of stdout and stderr, bytes: a burst of prints need not wait for the front.
const PIPE_SIZE: i32 = 1 << 20;

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The Python interpreter.
    pub python: PathBuf,
    /// Variables set for the child, beside those that it inherits.
    pub env: Vec<(OsString, OsString)>,
    /// Configuration for the agent; a JSON object.
    pub config: serde_json::Value,
}

/// The interpreter could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The operating system refused to start it.
    #[error("cannot start the Python interpreter {}: {source}; choose another with --python or RUST_HYGIENE_PYTHON", python.display())]
    Start {
        /// The interpreter that was to be started.
        python: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No pipes or sockets are left.
    #[error("cannot make the channel to the interpreter: {0}")]
    Channel(#[from] io::Error),
}

impl Spec {
    /// Starts the interpreter. Must be called on the process' main thread: the child is told to die with the thread
    /// that started it (prctl(2), `PR_SET_PDEATHSIG`).
    pub(crate) fn start(&self) -> Result<Interpreter, SpawnError> {
        become_subreaper();
        let (ours, theirs) = UnixStream::pair()?;
        let (our_debug, their_debug) = UnixStream::pair()?;
        let (bundle_read, bundle_write) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from)?;
        let (door, their_door) = Door::new()?;
        let faults = Faults::new()?;
        let board = memory_file(c"board")?;
        let segments = Segments::new()?;
        let (out_read, out_write) = output_pipe()?;
        let (err_read, err_write) = output_pipe()?;

        let mut config = self.config.clone();
        config["channel_fd"] = CHANNEL_FD.into();
        config["door_fd"] = DOOR_FD.into();
        config["debug_fd"] = DEBUG_FD.into();
        config["faults_fd"] = FAULTS_FD.into();
        config["board_fd"] = BOARD_FD.into();
        config["segments_fd"] = SEGMENTS_FD.into();
        let bundle = agent::bundle(&config);

        let mut command = tokio::process::Command::new(&self.python);
        command
            .args(["-c", agent::BOOT])
            .arg(BUNDLE_FD.to_string())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(at_its_end()?))
            .stdout(Stdio::from(out_write))
            .stderr(Stdio::from(err_write))
            .process_group(0)
            .kill_on_drop(true);
        let (channel, pipe) = (OwnedFd::from(theirs), bundle_read);
        let inherited = [
            (channel.as_raw_fd(), CHANNEL_FD),
            (pipe.as_raw_fd(), BUNDLE_FD),
            (their_door.as_raw_fd(), DOOR_FD),
            (their_debug.as_raw_fd(), DEBUG_FD),
            (faults.as_fd().as_raw_fd(), FAULTS_FD),
            (board.as_raw_fd(), BOARD_FD),
            (segments.as_fd().as_raw_fd(), SEGMENTS_FD),
        ];
        let parent = std::process::id();
        // SAFETY: only async-signal-safe calls (signal-safety(7)) run between fork and exec: prctl, getppid, _exit, fcntl, dup2.
        unsafe {
            command.pre_exec(move || in_child(inherited, parent));
        }
        let child = command.spawn().map_err(|source| SpawnError::Start {
            python: self.python.clone(),
            source,
        })?;
        drop((channel, pipe, their_door, their_debug));
        // The bundle is larger than a pipe's buffer: it is written by a thread of its own, which ends with the reader.
        std::thread::spawn(move || {
            if let Err(error) = std::fs::File::from(bundle_write).write_all(&bundle) {
                tracing::warn!(%error, "the agent could not be handed to the interpreter");
            }
        });
        let mut interpreter =
            Interpreter::new(child, ours, door, our_debug, faults, out_read, err_read)?;
        interpreter.note_for_warden();
        interpreter.board = Some(board);
        interpreter.segments = Some(segments);
        Ok(interpreter)
    }
}

fn in_child(inherited: [(i32, i32); INHERITED], parent: u32) -> io::Result<()> {
    let check = |result: i32| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    };
    // SAFETY: plain system calls on descriptors that this process owns.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if libc::getppid() as u32 != parent {
            libc::_exit(1); // the front ended before prctl: no signal will come
        }
        // out of the way of their final numbers first; the copies made here close on exec
        let mut copies = [0; INHERITED];
        for (copy, (fd, _)) in copies.iter_mut().zip(inherited) {
            *copy = check(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10))?;
        }
        for (copy, (_, number)) in copies.into_iter().zip(inherited) {
            check(libc::dup2(copy, number))?;
        }
        // The front ignores SIGINT and SIGPIPE; what is ignored stays ignored over exec, so the child gets the defaults.
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    Ok(())
}

/// Orphans of the interpreter become our children instead of init's, so they can be seen and ended (prctl(2)).
fn become_subreaper() {
    // SAFETY: no memory is passed.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } != 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "orphans of cells cannot be watched");
    }
}

/// A pipe with nothing to read: unlike `/dev/null` it can be waited for (epoll_ctl(2), EPERM), as asyncio does.
fn at_its_end() -> io::Result<OwnedFd> {
    let (read, _) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok(read)
}

fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // Refused beyond the user's quota (pipe(7)): then the pipe is smaller and prints wait sooner.
    if let Err(error) = fcntl(write.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_SIZE)) {
        tracing::debug!(%error, "pipe not enlarged");
    }
    fcntl(read.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}
