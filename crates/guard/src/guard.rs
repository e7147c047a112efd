//! What the kernel has in hand of the guard: it says when cells begin and end, and hears what happens.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use meter::Watch;

use crate::plan::Why;
use crate::process::Process;
use crate::watch::Desk;

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

/// What the thread is told.
pub(crate) enum Command {
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

/// What its thread leaves for the kernel to read.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Why the guard has ended the interpreter.
    pub reason: Mutex<Option<String>>,
    /// What was left at the last look, bytes; −1 before the first.
    pub left: AtomicI64,
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
        let process = Process::open(pid).ok_or_else(gone)?;
        let watch = Watch::open(pid).ok_or_else(gone)?;
        let desk = Desk::new(process, watch, rules, board, sender, Arc::clone(&shared));
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

#[cfg(test)]
mod tests {
    use super::*;
    use policy::GuardLevel;
    use std::process::Command as Program;
    use std::time::{Duration, Instant};

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
