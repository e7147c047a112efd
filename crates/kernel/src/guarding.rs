//! The guard's place in the kernel: when it looks, what it is asked, and what the person is told of it.

use crate::Kernel;
use crate::cell::Cell;
use crate::content::Named;
use crate::publish::EMPTY;
use crate::publish::to_bytes;
use guard::Answer;
use guard::Bound;
use guard::Event;
use guard::Guard;
use guard::Why;
use interpreter::Stream;
use journal::Entry;
use ledger::human;
use policy::Effective;
use policy::GuardLevel;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use wire::Channel;

/// Most cells are over before this, and cost nothing.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// The guard, and what it was told of the cell in hand.
#[derive(Default)]
pub(crate) struct Guarding {
    pub(crate) guard: Option<Guard>,
    /// When the cell in hand is to be looked at first.
    due: Option<Instant>,
    /// It knows of the cell in hand.
    begun: bool,
    /// Of the cell in hand alone.
    cap: Option<u64>,
    /// The cell waits until its cap holds.
    awaited: bool,
    /// The message that asks what is to be done with a stopped cell.
    question: Option<(String, Why)>,
}

impl Guarding {
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) async fn event(&mut self) -> Event {
        match &mut self.guard {
            Some(guard) => guard.event().await,
            None => std::future::pending().await,
        }
    }

    /// A cell was handed over.
    pub(crate) fn cell_begins(&mut self) {
        if self.guard.is_some() {
            self.due = Some(Instant::now() + FIRST_LOOK);
        }
    }

    /// No cell is in hand any more.
    pub(crate) fn cell_ends(&mut self) {
        self.due = None;
        self.cap = None;
        self.question = None;
        if std::mem::take(&mut self.begun)
            && let Some(guard) = &self.guard
        {
            guard.end();
        }
    }

    /// The interpreter is gone. Why, if the guard has ended it; and what was left.
    pub(crate) fn bury(&mut self) -> (Option<String>, Option<u64>) {
        let guard = std::mem::take(self).guard;
        guard.map_or((None, None), |guard| (guard.reason(), guard.left()))
    }
}

impl Kernel {
    /// The interpreter takes requests: from now on it is guarded.
    pub(crate) fn start_guard(&mut self) {
        let rules = self.setup.config.guard;
        let Some(interpreter) = &mut self.interpreter else {
            return;
        };
        if rules.level == GuardLevel::Off {
            return;
        }
        let board = interpreter.take_board();
        match Guard::start(interpreter.pid(), &rules, board) {
            Ok(guard) => self.guarding.guard = Some(guard),
            Err(error) => tracing::warn!(%error, "memory is not guarded"),
        }
    }

    /// The cell in hand has been running for a moment.
    pub(crate) fn look_at_cell(&mut self) {
        self.guarding.due = None;
        let may_ask = self.cell.as_ref().is_some_and(Cell::allows_questions);
        if let Some(guard) = &self.guarding.guard {
            self.guarding.begun = true;
            guard.begin(guard::Cell {
                cap: self.guarding.cap,
                may_ask,
                tell: std::mem::take(&mut self.guarding.awaited),
            });
        }
    }

    /// `%%hygiene cap=2GiB`: a cap for the cell in hand, which goes on when the guard says that it holds.
    pub(crate) fn cap_cell(&mut self, words: &[String]) -> Result<(), String> {
        let [word] = words else {
            return Err("cap= takes a size, such as cap=2GiB".into());
        };
        let bytes = policy::parse_size(word).map_err(|error| format!("cap={word}: {error}"))?;
        if self.cell.is_none() {
            return Err("No cell is running that could have a cap.".into());
        }
        if self.guarding.guard.is_none() {
            return Err(
                "There is no guard: `guard.level` is off in the configuration, or it could not be started."
                    .into(),
            );
        }
        self.guarding.cap = Some(bytes);
        self.guarding.awaited = true;
        self.look_at_cell();
        Ok(())
    }

    pub(crate) fn guarded(&mut self, event: Event) {
        let is_over = self.cell.as_ref().is_none_or(|cell| !cell.is_running());
        match event {
            Event::Looked => self.let_go_on(None, ""),
            Event::Warned(why) => {
                self.chronicle.add(Entry::Note {
                    text: format!("memory is short: {why}"),
                });
                if !is_over && self.shows_lines() {
                    self.say(&format!("Memory is getting short: {why}.\n"));
                }
            }
            Event::Raised(why) => self.chronicle.add(Entry::Note {
                text: format!("the cell was told to stop: {why}"),
            }),
            Event::ChildEnded(pid, name, held, why) => {
                let text = format!(
                    "The guard ended the child process {pid} ({name}), which held {}: {why}.\n",
                    human(held)
                );
                self.say(&text);
                self.chronicle.add(Entry::Note { text });
            }
            Event::Frozen(why) => self.ask_what_to_do(&why, is_over),
        }
    }

    /// Whether lines about memory are shown under cells.
    fn shows_lines(&self) -> bool {
        matches!(self.setup.badge, Effective::Output | Effective::Warn)
    }

    fn say(&mut self, text: &str) {
        self.show_text(Stream::Stderr, text.as_bytes(), self.text_parent.as_ref());
    }

    fn ask_what_to_do(&mut self, why: &Why, is_over: bool) {
        let Some(cell) = self.cell.as_ref().filter(|_| !is_over) else {
            self.answer_guard(Answer::Free);
            return;
        };
        let prompt = format!(
            "The cell was stopped: {why}. [f]ree what it holds (MemoryError), [r]aise the limit (r 4GiB), [i]nterrupt, or \
             [d]ie? "
        );
        let content = to_bytes(&json!({"prompt": prompt, "password": false}));
        let header = self.outbox.reply(
            Channel::Stdin,
            &cell.request.origin,
            "input_request",
            EMPTY,
            content,
            Vec::new(),
        );
        self.guarding.question = Some((Named::of(&header).msg_id, *why));
        self.chronicle.add(Entry::Note {
            text: format!("the cell was stopped: {why}"),
        });
    }

    /// True if this answers the guard's question.
    pub(crate) fn is_answer_to_guard(&mut self, named: &str, value: &str) -> bool {
        let Some((asked, why)) = &self.guarding.question else {
            return false;
        };
        if asked != named && !self.questions.is_empty() {
            return false;
        }
        let value = value.trim().to_lowercase();
        let (word, rest) = value.split_at(value.find(char::is_whitespace).unwrap_or(value.len()));
        let answer = match word.chars().next() {
            Some('r') => {
                let size = policy::parse_size(rest.trim()).ok();
                Answer::Raise(size.unwrap_or_else(|| half_as_much_again(why)))
            }
            Some('i') => Answer::Interrupt,
            Some('d') => Answer::Die,
            _ => Answer::Free,
        };
        self.answer_guard(answer);
        true
    }

    /// A stopped cell is let go on with an interrupt. False if none is stopped.
    pub(crate) fn interrupts_stopped_cell(&mut self) -> bool {
        self.guarding.question.is_some() && {
            self.answer_guard(Answer::Interrupt);
            true
        }
    }

    fn answer_guard(&mut self, answer: Answer) {
        self.guarding.question = None;
        if let Some(guard) = &self.guarding.guard {
            guard.answer(answer);
        }
    }

    /// Says so if what the last run of this cell took at its peak is not free now.
    pub(crate) fn forecast(&mut self, source: &str) {
        if !self.shows_lines() {
            return;
        }
        let Some(rise) = self.peaks.of(source) else {
            return;
        };
        let Some(left) = self.guarding.guard.as_ref().and_then(Guard::left) else {
            return;
        };
        if rise > left {
            self.say(&format!(
                "This cell may not fit: its last run took {} more at its peak, and {} are left.\n",
                human(rise),
                human(left)
            ));
        }
    }
}

/// The limit where the person names none: half as much again as is held, or as the limit was.
fn half_as_much_again(why: &Why) -> u64 {
    let base = match why.bound {
        Bound::Cap => why.held.max(why.limit),
        Bound::Machine => why.held,
    };
    base / 2 * 3
}
