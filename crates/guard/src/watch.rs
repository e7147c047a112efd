//! The thread that looks, and does what is due.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger::human;
use meter::{Footing, Watch, shared_memory_in_use};
use policy::GuardLevel;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::plan::{Action, Bound, Rules, State, Tick, Why};

/// The signal by which the agent raises `MemoryError`: one that nobody is known to use, counted from the last.
pub const MEMORY_SIGNAL: i32 = 5;
/// Libraries that abort when memory is refused to them.
const ABORTING: [&str; 5] = ["polars", "datafusion", "deltalake", "lance", "daft"];
/// Where less is left, the agent gives back what is free before a cell begins. Bytes.
const SHORT: i64 = 64 << 20;
/// Reading the children's share of what several have may take this part of the time.
const SHARE: u32 = 4;
/// A younger child may be a copy of the interpreter that is about to become another program: it is not counted while there is room.
const INFANT: Duration = Duration::from_millis(60);
/// After an answer of the person's the cell has this long to come to its senses.
const GRACE: Duration = Duration::from_secs(5);

/// A cell as the guard sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    /// The cap for this cell alone.
    pub cap: Option<u64>,
    /// Whether the person can be asked.
    pub may_ask: bool,
    /// [`Event::Looked`] is wanted once the limit of this cell holds.
    pub tell: bool,
}

/// What the person wants done with a cell that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `MemoryError` as soon as it can be raised.
    Free,
    /// Go on up to this many bytes.
    Raise(u64),
    /// `KeyboardInterrupt` as soon as it can be raised.
    Interrupt,
    /// End the interpreter.
    Die,
}

/// What the guard tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// The limit of the cell that was begun holds.
    Looked,
    /// It is getting tight.
    Warned(Why),
    /// The cell was told to stop.
    Raised(Why),
    /// A child was ended: its id, its name and what it held.
    ChildEnded(u32, String, u64, Why),
    /// Everything is stopped until [`Guard::answer`].
    Frozen(Why),
}

enum Command {
    Begin(Cell),
    Cap(u64),
    End,
    Answer(Answer),
}

/// The guard of one interpreter. Its thread ends when this is dropped.
#[derive(Debug)]
pub struct Guard {
    commands: Sender<Command>,
    events: UnboundedReceiver<Event>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Why the guard has ended the interpreter.
    reason: Mutex<Option<String>>,
    /// What was left at the last look, bytes; −1 before the first.
    left: AtomicI64,
}

impl Guard {
    /// Begins to guard a process. `board` is the file that the agent reads what it tells the person from.
    ///
    /// # Errors
    /// There is no such process, or the system has no thread to give.
    pub fn start(pid: u32, rules: &policy::Guard, board: Option<File>) -> io::Result<Self> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let (commands, received) = mpsc::channel();
        let (sender, events) = unbounded_channel();
        let shared = Arc::new(Shared::default());
        shared.left.store(-1, Ordering::Relaxed);
        let desk = Desk {
            pid,
            process: pidfd(pid).ok_or_else(gone)?,
            watch: Watch::open(pid).ok_or_else(gone)?,
            level: rules.level,
            cap: rules.cap,
            board,
            events: sender,
            shared: Arc::clone(&shared),
            libraries: 0,
            aborts: false,
            children_hold_much: false,
            known: HashMap::new(),
            frozen: None,
            shm: shared_memory_in_use(),
            shares: None,
        };
        std::thread::Builder::new()
            .name("guard".into())
            .spawn(move || desk.serve(&received))?;
        Ok(Self {
            commands,
            events,
            shared,
        })
    }

    /// A cell has been running for a moment.
    pub fn begin(&self, cell: Cell) {
        self.tell(Command::Begin(cell));
    }

    /// The cap of the cell in hand.
    pub fn cap(&self, bytes: u64) {
        self.tell(Command::Cap(bytes));
    }

    /// The cell that was begun is over.
    pub fn end(&self) {
        self.tell(Command::End);
    }

    /// Lets a stopped interpreter go on.
    pub fn answer(&self, answer: Answer) {
        self.tell(Command::Answer(answer));
    }

    fn tell(&self, command: Command) {
        // A thread that has ended has nobody to guard.
        let _ = self.commands.send(command);
    }

    /// The next event. Cancel-safe; waits for ever once the process has ended.
    pub async fn event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Why the guard has ended the interpreter, if it has.
    pub fn reason(&self) -> Option<String> {
        let reason = &self.shared.reason;
        reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What could still be taken at the last look.
    pub fn left(&self) -> Option<u64> {
        u64::try_from(self.shared.left.load(Ordering::Relaxed)).ok()
    }
}

fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and returns a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor is new and ours.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Course {
    On,
    Over,
}

/// The thread's side.
struct Desk {
    pid: u32,
    process: OwnedFd,
    watch: Watch,
    level: GuardLevel,
    cap: Option<u64>,
    board: Option<File>,
    events: UnboundedSender<Event>,
    shared: Arc<Shared>,
    /// Size of all library code when it was last looked for libraries that abort.
    libraries: u64,
    aborts: bool,
    /// There are children, and more than half of the cap is held.
    children_hold_much: bool,
    /// Since when each child is known.
    known: HashMap<u32, Instant>,
    /// All was stopped, and nothing has let it go on.
    frozen: Option<Why>,
    /// Use of `/dev/shm` when the session began.
    shm: u64,
    /// What each child has to itself, less what it holds; when that was read, and how long it took.
    shares: Option<(HashMap<u32, i64>, Instant, Duration)>,
}

/// The cell in hand.
struct Running {
    /// It is to be told that the cell was looked at.
    tell: bool,
    /// There is no cell.
    is_idle: bool,
    rules: Rules,
    began: Instant,
    state: State,
}

impl Desk {
    fn serve(mut self, commands: &Receiver<Command>) {
        while let Some(command) = self.rest(commands) {
            if let Command::Begin(cell) = command {
                let mut running = self.running(cell);
                let course = self.guard(&mut running, commands);
                self.thaw(); // the reply may have been on its way when all was stopped
                if course == Course::Over {
                    return;
                }
            }
        }
    }

    /// Between cells: sets the limit that the next ones begin with, which are over before the first look, mostly. Then only children can
    /// take memory, and are looked after while they hold much. The next command; `None` when all is over.
    fn rest(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        let mut idle = self.running(Cell::default());
        idle.is_idle = true;
        loop {
            let Some(pause) = self.look(&mut idle) else {
                return commands.recv().ok();
            };
            if !self.children_hold_much {
                return commands.recv().ok();
            }
            match commands.recv_timeout(pause) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn running(&self, cell: Cell) -> Running {
        Running {
            rules: Rules {
                level: self.level,
                cap: cell.cap.or(self.cap),
                may_ask: cell.may_ask,
            },
            began: Instant::now(),
            tell: cell.tell,
            is_idle: false,
            state: State::default(),
        }
    }

    /// Looks until the cell is over.
    fn guard(&mut self, running: &mut Running, commands: &Receiver<Command>) -> Course {
        loop {
            let Some(pause) = self.look(running) else {
                return Course::Over;
            };
            if std::mem::take(&mut running.tell) {
                let _ = self.events.send(Event::Looked); // nobody listens once the kernel has ended
            }
            match commands.recv_timeout(pause) {
                Ok(Command::End) => return Course::On,
                Ok(Command::Cap(bytes)) => running.rules.cap = Some(bytes),
                Ok(Command::Begin(cell)) => {
                    self.thaw();
                    *running = self.running(cell);
                }
                Ok(Command::Answer(answer)) => self.go_on(running, answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Course::Over,
            }
        }
    }

    /// One look: reads, decides, acts. How long to wait for the next one; `None` once the process has ended.
    fn look(&mut self, running: &mut Running) -> Option<Duration> {
        let footing = self.watch.read()?;
        let room = self.watch.room()?;
        if footing.libraries != self.libraries {
            self.libraries = footing.libraries;
            self.aborts = self.watch.has_library(&ABORTING);
        }
        let mut children = self.watch.children();
        self.known
            .retain(|pid, _| children.iter().any(|(child, _)| child == pid));
        let near = running
            .rules
            .cap
            .is_some_and(|cap| footing.held + rough(&children) > cap / 2);
        self.children_hold_much = near && !children.is_empty();
        if self.children_hold_much {
            self.look_closer(&mut children);
        } else {
            let known = &mut self.known;
            children.retain(|(pid, _)| {
                let since = known.entry(*pid).or_insert_with(Instant::now);
                since.elapsed() >= INFANT
            });
        }
        children.sort_by_key(|(_, child)| std::cmp::Reverse(child.held));
        let tick = Tick {
            at: running.began.elapsed(),
            held: self.held(&footing, &children),
            own: footing.held,
            children: children
                .iter()
                .map(|(pid, child)| (*pid, child.held))
                .collect(),
            data: footing.data,
            room: room.available,
            limit: room.limit,
            aborts: self.aborts,
            in_error_path: self.is_error_shown(),
        };
        let left = State::left(running.rules, &tick);
        self.shared.left.store(left.max(0), Ordering::Relaxed);
        let actions = running.state.step(running.rules, &tick);
        self.write_board(running, &tick);
        for action in actions {
            if !running.is_idle || matches!(action, Action::Limit(_) | Action::KillChild(..)) {
                self.act(running, action, &footing);
            }
        }
        Some(State::pause(running.rules, &tick))
    }

    /// What the whole session holds.
    fn held(&mut self, own: &Footing, children: &[(u32, Footing)]) -> u64 {
        let mapped = own.shared + children.iter().map(|(_, child)| child.shared).sum::<u64>();
        let files = if shared_memory_in_use() >= self.shm + (8 << 20) {
            let pids = children.iter().map(|(pid, _)| *pid).chain([self.pid]);
            self.watch.shared_files(pids)
        } else {
            0
        };
        own.held + rough(children) + files.saturating_sub(mapped)
    }

    /// Forked workers share what they have not written to with the interpreter, so what each has to itself counts.
    fn look_closer(&mut self, children: &mut [(u32, Footing)]) {
        let is_fresh = self.shares.as_ref().is_some_and(|(shares, at, took)| {
            at.elapsed() < *took * SHARE && children.iter().all(|(pid, _)| shares.contains_key(pid))
        });
        if !is_fresh {
            let began = Instant::now();
            let shares = children
                .iter()
                .map(|(pid, child)| {
                    let own = Watch::own_of(*pid).unwrap_or(child.held);
                    (*pid, own as i64 - child.held as i64)
                })
                .collect();
            self.shares = Some((shares, began, began.elapsed()));
        }
        let Some((shares, ..)) = &self.shares else {
            return;
        };
        for (pid, child) in children {
            let less = shares.get(pid).copied().unwrap_or(0).min(0);
            child.held = child.held.saturating_sub(less.unsigned_abs());
            child.shared = child.shared.min(child.held);
        }
    }

    fn is_error_shown(&self) -> bool {
        let mut flag = [0];
        self.board
            .as_ref()
            .is_some_and(|board| board.read_at(&mut flag, 0).is_ok() && flag[0] == 1)
    }

    /// Byte 0 is the agent's. Ours are the next one, which says whether memory is short, and the text after it.
    fn write_board(&self, running: &Running, tick: &Tick) {
        let Some(board) = &self.board else { return };
        let rules = running.rules;
        let left = State::left(rules, tick);
        let text = on_board(
            rules.level == GuardLevel::Protect && left < SHORT,
            &json!({
                "cap": rules.cap,
                "held": tick.held,
                "interrupted": running.state.is_interrupted(),
                "others": running.state.are_others_to_stop(),
                "room": tick.room,
                "limit": tick.limit,
                "left": left,
                "protects": rules.level == GuardLevel::Protect,
            }),
        );
        if let Err(error) = board.write_all_at(text.as_bytes(), 1) {
            tracing::debug!(%error, "the board");
        }
    }

    fn act(&mut self, running: &mut Running, action: Action, footing: &Footing) {
        match action {
            Action::Limit(bytes) => self.limit(bytes),
            Action::Warn(why) => self.say(Event::Warned(why)),
            Action::AskDepth => {
                self.signal_agent(footing);
            }
            Action::Raise(why) => {
                if self.signal_agent(footing) {
                    self.say(Event::Raised(why));
                }
            }
            Action::Interrupt(_) => self.signal(libc::SIGINT),
            Action::KillChild(pid, held, why) => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                kill(pid, libc::SIGKILL);
                self.say(Event::ChildEnded(pid, name.trim().to_owned(), held, why));
            }
            Action::Freeze(why) => {
                self.everyone(libc::SIGSTOP);
                self.frozen = Some(why);
                self.say(Event::Frozen(why));
                running.state.grace_until = Some(Duration::MAX); // until there is an answer
            }
            Action::Kill(why) => self.end(&format!(
                "The guard ended the interpreter before the memory was used up: {why}, and the cell is in compiled code that \
                 no interrupt reaches"
            )),
        }
    }

    /// The agent reads on the board why. False if it does not listen.
    fn signal_agent(&self, footing: &Footing) -> bool {
        let number = libc::SIGRTMAX() - MEMORY_SIGNAL;
        // Without a handler the signal would end it.
        let listens = footing.catches & (1 << (number - 1)) != 0;
        if listens {
            self.signal(number);
        }
        listens
    }

    /// Lets all go on that was stopped.
    fn thaw(&mut self) {
        if self.frozen.take().is_some() {
            self.everyone(libc::SIGCONT);
        }
    }

    fn go_on(&mut self, running: &mut Running, answer: Answer) {
        let Some(why) = self.frozen else {
            return; // the answer is about a cell that is over
        };
        let now = running.began.elapsed();
        running.state.grace_until = Some(now + GRACE);
        match answer {
            Answer::Free => self.signal(libc::SIGRTMAX() - MEMORY_SIGNAL),
            Answer::Raise(bytes) => {
                running.rules.cap = Some(bytes);
                if why.bound == Bound::Cap {
                    running.state.grace_until = None; // the machine has no more than it has
                }
            }
            Answer::Interrupt => self.signal(libc::SIGINT),
            Answer::Die => {
                self.end("The guard ended the interpreter, as you have asked");
                return;
            }
        }
        self.thaw();
    }

    fn end(&self, why: &str) {
        let mut reason = self
            .shared
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *reason = Some(why.to_owned());
        drop(reason);
        self.signal(libc::SIGKILL);
    }

    fn say(&self, event: Event) {
        // Nobody listens any more only at the end.
        let _ = self.events.send(event);
    }

    fn limit(&self, bytes: u64) {
        let mut old = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let pid = self.pid.cast_signed();
        // SAFETY: a null pointer leaves the limit as it is, the other points to a structure of ours (prlimit(2)).
        let known =
            unsafe { libc::prlimit(pid, libc::RLIMIT_DATA, std::ptr::null(), &raw mut old) };
        let new = libc::rlimit {
            rlim_cur: bytes.min(old.rlim_max),
            rlim_max: old.rlim_max,
        };
        // SAFETY: as above, the other way round.
        let set = known == 0
            && unsafe {
                libc::prlimit(pid, libc::RLIMIT_DATA, &raw const new, std::ptr::null_mut())
            } == 0;
        if !set {
            tracing::debug!(error = %io::Error::last_os_error(), limit = %human(bytes), "the limit is not set");
        }
    }

    /// To the interpreter; its number may be another's once it has ended, its descriptor never.
    fn signal(&self, number: i32) {
        // SAFETY: pidfd_send_signal takes a descriptor of ours and numbers; no information is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.process.as_raw_fd(),
                number,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if result != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), number, "a signal was not sent");
        }
    }

    /// To the interpreter and all that descend from it.
    fn everyone(&self, number: i32) {
        self.signal(number);
        for (pid, _) in self.watch.children() {
            kill(pid, number);
        }
    }
}

/// Our part of the board. Always of the same length, so that nothing is left of an earlier text.
fn on_board(is_short: bool, facts: &serde_json::Value) -> String {
    let facts = facts.to_string(); // a `Value` by itself is not padded
    format!("{}{facts:<400}\n", char::from(u8::from(is_short)))
}

/// What the children hold together.
fn rough(children: &[(u32, Footing)]) -> u64 {
    children.iter().map(|(_, child)| child.held).sum()
}

fn kill(pid: u32, number: i32) {
    // SAFETY: two numbers.
    if unsafe { libc::kill(pid.cast_signed(), number) } != 0 {
        tracing::debug!(pid, number, "a signal was not sent");
    }
}

impl Bound {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Machine => "machine",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command as Program;

    #[test]
    fn a_text_on_the_board_covers_the_one_before() {
        let long = on_board(true, &json!({"held": u64::MAX, "cap": u64::MAX}));
        let short = on_board(false, &json!({"held": 1}));
        assert_eq!((long.len(), long.as_bytes()[0]), (short.len(), 1));
        assert_eq!(short.as_bytes()[0], 0);
    }

    fn is_stopped(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        status[status.rfind(')').unwrap() + 2..].starts_with('T')
    }

    async fn until(is_so: impl Fn() -> bool) {
        let poll = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), poll)
            .await
            .unwrap();
    }

    /// Fills shared memory, which no limit counts, and then does nothing.
    fn greedy() -> std::process::Child {
        let code = "import mmap, time; m = mmap.mmap(-1, 400 << 20); [m.write(bytes(1 << 20)) for _ in range(400)]; time.sleep(60)";
        let mut program = Program::new("python3");
        program.args(["-c", code]);
        program.spawn().unwrap()
    }

    #[tokio::test]
    async fn what_was_stopped_goes_on_when_its_cell_turns_out_to_be_over() {
        let mut child = greedy();
        let rules = policy::Guard {
            level: GuardLevel::Protect,
            cap: Some(64 << 20),
        };
        let mut guard = Guard::start(child.id(), &rules, None).unwrap();
        guard.begin(Cell {
            may_ask: true,
            ..Cell::default()
        });
        let frozen = async { while !matches!(guard.event().await, Event::Frozen(_)) {} };
        tokio::time::timeout(Duration::from_secs(20), frozen)
            .await
            .unwrap();
        until(|| is_stopped(child.id())).await;
        guard.end();
        guard.answer(Answer::Interrupt); // about a cell that is over
        until(|| !is_stopped(child.id())).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(child.try_wait().unwrap().is_none(), "it was interrupted");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_gets_its_limit_and_nothing_is_done_between_cells() {
        let mut child = Program::new("sleep").arg("60").spawn().unwrap();
        let rules = policy::Guard {
            level: GuardLevel::Protect,
            cap: Some(1 << 30),
        };
        let guard = Guard::start(child.id(), &rules, None).unwrap();
        let limit = || {
            let text = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("Max data size"))
                .unwrap()
                .to_owned();
            line.split_whitespace().nth(3).unwrap().parse::<u64>()
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while limit().is_err() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        let mapped = limit().unwrap();
        assert!(mapped > 900 << 20 && mapped < 1100 << 20, "{mapped}");
        assert!(guard.left().unwrap() < 1 << 30);
        assert_eq!(guard.reason(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
