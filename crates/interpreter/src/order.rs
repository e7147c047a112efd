//! The running interpreter: frames, text and death, in the order in which they happened.

use crate::channel::Channel;
use crate::door::Door;
use crate::estate;
use crate::estate::Segments;
use crate::exit::End;
use crate::exit::Exit;
use crate::forks::Forks;
use crate::forks::Said;
use crate::frame::Frame;
use crate::line::Ear;
use crate::line::Line;
use crate::pipe::Pipe;
use crate::remains::Faults;
use crate::remains::Vigil;
use crate::spawn::SpawnError;
use crate::spawn::Spec;
use crate::text::Cut;
use bytes::Bytes;
use nix::sys::signal::Signal;
use nix::sys::signal::killpg;
use nix::sys::wait::Id;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::waitid;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::Instant;

/// Text is not read as it comes but in steps, so that a loop of prints becomes few messages: front ends that save notebooks
/// keep each as an output. The first step is this long, the next ones twice as long each.
const FIRST_STEP: Duration = Duration::from_millis(5);
/// The step while text floods in.
const FLOOD_STEP: Duration = Duration::from_millis(20);
/// No step is longer.
const LONGEST_STEP: Duration = Duration::from_millis(100);
/// After a silence of this length the steps begin anew.
const SILENCE: Duration = Duration::from_millis(200);
/// Where a step brought more than this, bytes, steps stay short: the pipe must not fill.
const MUCH: usize = 16 << 10;
/// A pipe that holds this much is read without waiting, bytes.
const LARGE: usize = 128 << 10;
/// At most this much is read from a pipe in one go, bytes.
const MOST: usize = 1 << 20;
/// The channel is left alone after this much, bytes: others want to be served, and the client may be slower than we are.
const ENOUGH: usize = 8 << 20;
/// The frame by which the agent asks for the pipes to be emptied.
pub(crate) const SYNC: &[u8] = br#"{"op":"sync"}"#;

/// Which of the child's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What comes from the child.
#[derive(Debug)]
pub enum Event {
    /// A frame of the channel.
    Frame(Frame),
    /// A frame of the debugger's channel; `None` says that it was closed.
    Debug(Option<Frame>),
    /// A frame of a forked child.
    OfFork(Frame),
    /// Text as it was written: mostly UTF-8, never cut within a character.
    Text(Stream, Bytes),
    /// The child has ended; nothing comes after this.
    Exit(End),
}

/// What a look at the channel has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It was empty.
    Nothing,
    /// Everything that was there.
    All,
    /// There may be more.
    Enough,
}

/// A running interpreter. Dropping it kills the child.
#[derive(Debug)]
pub struct Interpreter {
    pid: Pid,
    child: Child,
    vigil: Option<Vigil>,
    faults: Faults,
    /// Byte 0 is the agent's, what follows is the guard's.
    pub(crate) board: Option<std::fs::File>,
    pub(crate) segments: Option<Segments>,
    channel: Channel,
    door: Door,
    forks: Forks,
    /// What a forked child has said, until the channel has been read up to here.
    said: Option<Said>,
    debug: Channel,
    /// True once the debugger was used: until then its channel is not looked at.
    debugs: bool,
    pipes: [Pipe; 2],
    ready: VecDeque<Event>,
    /// What the debugger says keeps no order with the rest, and waits for nothing of it.
    debugged: VecDeque<Event>,
    /// When text was last looked at, unless a silence or a frame came after it, and the step that followed.
    last_text: Option<Instant>,
    step: Duration,
    /// The agent waits for empty pipes before its next frame: they are read without a pause.
    agent_waits: bool,
    exit: Option<Exit>,
    /// True once it was killed because it cannot be heard.
    given_up: bool,
}
impl Interpreter {
    /// Starts an interpreter. Call it on the main thread: the child dies with the thread that started it.
    ///
    /// # Errors
    /// [`SpawnError`] if the operating system refuses.
    pub fn spawn(spec: &Spec) -> Result<Self, SpawnError> {
        spec.start()
    }

    pub(crate) fn new(
        child: Child,
        channel: std::os::unix::net::UnixStream,
        door: Door,
        debug: std::os::unix::net::UnixStream,
        faults: Faults,
        out: OwnedFd,
        err: OwnedFd,
    ) -> io::Result<Self> {
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| io::Error::other("the child has no pid"))?;
        let pipe = |stream, fd| Pipe {
            stream,
            watch: None,
            fd: Some(fd),
            cut: Cut::default(),
            not_before: Instant::now(),
        };
        Ok(Self {
            pid: Pid::from_raw(pid),
            child,
            vigil: Vigil::of(Pid::from_raw(pid)),
            faults,
            board: None,
            segments: None,
            channel: Channel::new(channel)?,
            debug: Channel::new(debug)?,
            debugs: false,
            forks: Forks::new(door.socket()),
            said: None,
            door,
            pipes: [pipe(Stream::Stdout, out), pipe(Stream::Stderr, err)],
            ready: VecDeque::new(),
            debugged: VecDeque::new(),
            last_text: None,
            step: FIRST_STEP,
            agent_waits: false,
            exit: None,
            given_up: false,
        })
    }

    /// The process id, which is the process group's too.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Sends a frame; what the socket cannot take yet goes out while [`Interpreter::next`] is polled.
    pub fn send(&mut self, sections: &[Bytes]) {
        self.channel.send(sections);
    }

    /// Sends a frame to the debugger. False if its channel is closed.
    pub fn send_debug(&mut self, sections: &[Bytes]) -> bool {
        self.debugs = true;
        self.debug.send(sections);
        self.debug.open
    }

    /// Sends SIGINT to the interpreter and the processes of its group.
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Asks the agent for text that was printed without a line end, also while a cell runs.
    pub fn flush_text(&self) {
        self.door.ask_for_text();
    }

    /// Answers the question with this number, of a thread that is no shell's.
    pub fn answer_thread(&self, number: u64, content: &[u8]) {
        if let Err(error) = self.door.answer(number, content) {
            tracing::error!(%error, "a thread waits for an answer that does not reach it");
        }
    }

    /// Interrupts the request with this number, which the subshell `id` has.
    pub fn interrupt_subshell(&self, id: &str, number: u64) {
        self.door.interrupt_subshell(id, number);
    }

    /// Asks where the main thread is; a frame answers, unless the thread holds the GIL.
    pub fn ask_where(&self) {
        self.door.ask_where();
    }

    /// Asks a cleanup step that is being done to give up: a request waits.
    pub fn stop_cleaning(&self) {
        self.door.stop_cleaning();
    }

    /// Opens a line for the subshell `id`, which the agent starts; whether it can is told to the ear. Call it on the runtime.
    ///
    /// # Errors
    /// If the operating system refuses, or the agent has not taken anything for long.
    pub fn open_line(&self, id: &str, ear: Ear) -> io::Result<Line> {
        self.door.open_line(id, ear)
    }

    /// Ends the interpreter and every process that descends from it. What else the session has left, shared memory, is put away by a
    /// thread, which may be waited for.
    pub fn kill(&mut self) -> Option<std::thread::JoinHandle<()>> {
        let trackers = estate::kill_everyone(self.pid, self.exit.is_none());
        estate::settle(trackers, self.segments.take()?)
    }

    /// The segments of shared memory that `other` has made are this one's from now on.
    pub fn take_over_segments(&mut self, other: &mut Self) {
        if let (Some(segments), Some(others)) = (&mut self.segments, &mut other.segments) {
            segments.take_over(others);
        }
    }

    /// Its group ends with the front, from now on until its exit is known.
    pub(crate) fn note_for_warden(&self) {
        crate::warden::note(self.pid);
    }

    fn signal(&self, signal: Signal) {
        if self.exit.is_none()
            && let Err(error) = killpg(self.pid, signal)
        {
            tracing::debug!(%error, %signal, "signal not sent");
        }
    }

    /// Takes the exit status of orphans that ended, so that no zombies pile up. Call it on SIGCHLD.
    pub fn reap_orphans(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // The interpreter's own status is left to `next`; until then it hides zombies behind it, which the next call takes.
        while let Ok(status) = waitid(Id::All, flags) {
            match status.pid() {
                Some(pid) if pid != self.pid => forget(waitpid(pid, Some(WaitPidFlag::WNOHANG))),
                _ => break,
            }
        }
    }

    /// The next thing that happens. Cancel-safe. After [`Event::Exit`] it never returns.
    pub async fn next(&mut self) -> Event {
        loop {
            let event = self.debugged.pop_front();
            if let Some(event) = event.or_else(|| self.ready.pop_front()) {
                return event;
            }
            if self.exit.is_some() {
                std::future::pending::<()>().await;
            }
            if self.said.is_some() {
                self.take_said();
                continue;
            }
            let not_before = self
                .pipes
                .iter()
                .map(|pipe| pipe.not_before)
                .max()
                .unwrap_or_else(Instant::now);
            let may_read = Instant::now() >= not_before && !self.channel.parser.is_inside();
            if may_read {
                self.pipes.iter_mut().for_each(Pipe::watch);
            }
            let end_at = self.channel.end_at;
            let debug_end = self.debug.end_at.filter(|_| self.debugs);
            let [out, err] = &self.pipes;
            tokio::select! {
                biased;
                () = self.debug.is_ready(), if self.debugs => self.take_debug(),
                result = self.channel.socket.readable(), if self.channel.open => {
                    drop(result);
                    self.take_channel();
                }
                result = self.channel.socket.writable(), if self.channel.open && !self.channel.out.is_empty() => {
                    drop(result);
                    self.channel.write();
                }
                said = self.forks.next() => self.said = Some(said),
                () = out.readable(), if may_read && out.watch.is_some() => self.take_text(0),
                () = err.readable(), if may_read && err.watch.is_some() => self.take_text(1),
                () = tokio::time::sleep_until(not_before), if !may_read && !self.channel.parser.is_inside() => {}
                () = tokio::time::sleep_until(end_at.unwrap_or(not_before)), if end_at.is_some() => {
                    self.channel.end_at = None;
                    self.given_up = true;
                    self.signal(Signal::SIGKILL);
                }
                () = tokio::time::sleep_until(debug_end.unwrap_or(not_before)), if debug_end.is_some() => {
                    // only now: mostly it is the child that ends, and that says more
                    self.debug.end_at = None;
                    self.debugged.push_back(Event::Debug(None));
                }
                (status, peak) = ended(&mut self.child, self.vigil.as_ref()) => {
                    let exit = match status {
                        _ if self.given_up => Exit::Unheard,
                        Ok(status) => Exit::from(status),
                        Err(_) => Exit::Unknown,
                    };
                    self.take_last();
                    crate::warden::forget(self.pid);
                    self.exit = Some(exit);
                    let fault = self.faults.take();
                    self.ready.push_back(Event::Exit(End { exit, peak, fault }));
                }
            }
        }
    }

    /// The next that the debugger says, for while nothing else may be read. Cancel-safe. The end of its channel is left to
    /// [`Interpreter::next`].
    pub async fn next_of_debugger(&mut self) -> Event {
        loop {
            if let Some(event) = self.debugged.pop_front() {
                return event;
            }
            if self.exit.is_some() || !self.debugs {
                std::future::pending::<()>().await;
            }
            self.debug.is_ready().await;
            self.take_debug();
        }
    }

    /// Reads the channel until it is empty, or enough has come; then the pipes, if the agent waits for that.
    fn take_channel(&mut self) {
        self.take_frames();
        if self.agent_waits {
            self.take_text(0);
            self.take_text(1);
        }
    }

    /// Reads the channel until it is empty, or enough has come.
    fn take_frames(&mut self) -> Taken {
        let mut any = false;
        let mut size = 0;
        while size < ENOUGH
            && let Some(frame) = self.channel.read(&mut any)
        {
            size += frame.0.iter().map(Bytes::len).sum::<usize>();
            if frame.0.len() == 1 && frame.0[0] == SYNC {
                self.hurry();
            } else {
                self.agent_waits = false;
                self.ready.push_back(Event::Frame(frame));
            }
        }
        match (any, size < ENOUGH) {
            (false, _) => Taken::Nothing,
            (true, true) => Taken::All,
            (true, false) => Taken::Enough,
        }
    }

    /// What a forked child says comes after everything that the interpreter had said by then.
    fn take_said(&mut self) {
        if self.take_frames() == Taken::Enough {
            return;
        }
        match self.said.take() {
            Some(Said::Sync) => {
                self.hurry();
                self.take_text(0);
                self.take_text(1);
            }
            Some(Said::Frame(frame, tell)) => {
                self.ready.push_back(Event::OfFork(frame));
                tell.send(()).unwrap_or_default(); // it may have ended meanwhile
            }
            None => {}
        }
    }

    /// Someone waits for empty pipes.
    fn hurry(&mut self) {
        self.agent_waits = true;
        self.last_text = None;
        let now = Instant::now();
        self.pipes.iter_mut().for_each(|pipe| pipe.not_before = now);
    }

    fn take_debug(&mut self) {
        self.debug.write();
        while let Some(frame) = self.debug.read(&mut false) {
            self.debugged.push_back(Event::Debug(Some(frame)));
        }
    }

    /// Reads a pipe in step with the channel: first every frame that was written before the text, then just the bytes
    /// that lay in the pipe when the channel was last seen empty. A frame is only written while the pipes are empty,
    /// so none can have been written after those bytes.
    fn take_text(&mut self, which: usize) {
        if self.take_frames() != Taken::Nothing || self.channel.parser.is_inside() {
            return;
        }
        let waiting = self.pipes[which].waiting();
        if waiting > 0 && self.take_frames() != Taken::Nothing {
            return;
        }
        let now = Instant::now();
        let is_small = (1..LARGE).contains(&waiting);
        if is_small && !self.agent_waits && self.last_text.is_none_or(|last| now - last > SILENCE) {
            self.step = FIRST_STEP;
            self.rest(now);
            return;
        }
        self.read_pipe(which, waiting);
        if is_small && !self.agent_waits {
            self.step = if waiting > MUCH {
                FLOOD_STEP
            } else {
                LONGEST_STEP.min(self.step * 2)
            };
            self.rest(now);
        }
    }

    /// Leaves the pipes alone for a step.
    fn rest(&mut self, now: Instant) {
        self.last_text = Some(now);
        for pipe in &mut self.pipes {
            pipe.watch = None;
            pipe.not_before = now + self.step;
        }
    }

    fn read_pipe(&mut self, which: usize, waiting: usize) {
        let pipe = &mut self.pipes[which];
        if waiting == 0 {
            pipe.nothing_there();
            return;
        }
        let text = pipe.read(waiting.min(MOST));
        if !text.is_empty() {
            self.ready.push_back(Event::Text(pipe.stream, text));
        }
    }

    /// The child is dead: what it left behind. A grandchild may hold the pipes open, so end of file is not awaited.
    fn take_last(&mut self) {
        self.take_frames();
        for which in 0..self.pipes.len() {
            for _ in 0..16 {
                let waiting = self.pipes[which].waiting();
                if waiting == 0 {
                    break;
                }
                self.read_pipe(which, waiting);
            }
        }
        for pipe in &mut self.pipes {
            let rest = pipe.cut.rest();
            if !rest.is_empty() {
                self.ready.push_back(Event::Text(pipe.stream, rest));
            }
        }
    }

    /// The file that is shared with the agent to say how much memory is left; once.
    pub fn take_board(&mut self) -> Option<std::fs::File> {
        self.board.take()
    }

    /// What `faulthandler` wrote since the last call although the interpreter lives: the end of a forked worker.
    pub fn fault_of_a_worker(&mut self) -> String {
        self.faults.take()
    }

    /// Gives out the begin of a character that was never finished; for the end of a cell.
    pub fn unfinished_text(&mut self) -> Vec<(Stream, Bytes)> {
        self.pipes
            .iter_mut()
            .map(|pipe| (pipe.stream, pipe.cut.rest()))
            .filter(|(_, rest)| !rest.is_empty())
            .collect()
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Waits for the child's end; what the system knows of it is asked before its status is taken. Cancel-safe.
async fn ended(
    child: &mut Child,
    vigil: Option<&Vigil>,
) -> (io::Result<std::process::ExitStatus>, Option<u64>) {
    let mut peak = None;
    if let Some(vigil) = vigil {
        vigil.ended().await;
        peak = vigil.peak();
    }
    (child.wait().await, peak)
}

/// For results that say only that someone else was faster.
fn forget<T>(_: nix::Result<T>) {}
