//! The thread that looks, and does what is due.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use meter::{Footing, Watch, shared_memory_in_use};
use policy::GuardLevel;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use crate::guard::{Answer, Cell, Command, Event, Shared};
use crate::plan::{Action, Bound, Rules, State, Tick, Why};
use crate::process::{Process, kill};

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

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Course {
    On,
    Over,
}

/// The thread's side.
pub(crate) struct Desk {
    process: Process,
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
    /// Nothing is read before [`Desk::serve`].
    pub fn new(
        process: Process,
        watch: Watch,
        rules: &policy::Guard,
        board: Option<File>,
        events: UnboundedSender<Event>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            process,
            watch,
            level: rules.level,
            cap: rules.cap,
            board,
            events,
            shared,
            libraries: 0,
            aborts: false,
            children_hold_much: false,
            known: HashMap::new(),
            frozen: None,
            shm: shared_memory_in_use(),
            shares: None,
        }
    }

    /// Does what is due until the process, or the kernel's side, is gone.
    pub fn serve(mut self, commands: &Receiver<Command>) {
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
            let pids = children
                .iter()
                .map(|(pid, _)| *pid)
                .chain([self.process.pid]);
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
            Action::Limit(bytes) => self.process.limit(bytes),
            Action::Warn(why) => self.say(Event::Warned(why)),
            Action::AskDepth => {
                self.signal_agent(footing);
            }
            Action::Raise(why) => {
                if self.signal_agent(footing) {
                    self.say(Event::Raised(why));
                }
            }
            Action::Interrupt(_) => self.process.signal(libc::SIGINT),
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
            self.process.signal(number);
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
            Answer::Free => self.process.signal(libc::SIGRTMAX() - MEMORY_SIGNAL),
            Answer::Raise(bytes) => {
                running.rules.cap = Some(bytes);
                if why.bound == Bound::Cap {
                    running.state.grace_until = None; // the machine has no more than it has
                }
            }
            Answer::Interrupt => self.process.signal(libc::SIGINT),
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
        self.process.signal(libc::SIGKILL);
    }

    fn say(&self, event: Event) {
        // Nobody listens any more only at the end.
        let _ = self.events.send(event);
    }

    /// To the interpreter and all that descend from it.
    fn everyone(&self, number: i32) {
        self.process.signal(number);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_on_the_board_covers_the_one_before() {
        let long = on_board(true, &json!({"held": u64::MAX, "cap": u64::MAX}));
        let short = on_board(false, &json!({"held": 1}));
        assert_eq!((long.len(), long.as_bytes()[0]), (short.len(), 1));
        assert_eq!(short.as_bytes()[0], 0);
    }
}
