//! The one loop.

use crate::Setup;
use crate::cell::Cell;
use crate::cell::Closing;
use crate::chronicle::Chronicle;
use crate::cleanup::Cleanup;
use crate::death::Life;
use crate::debug::Debug;
use crate::guarding::Guarding;
use crate::interrupt::Interrupts;
use crate::last_words::LastWords;
use crate::measure::Slot;
use crate::measure::Usage;
use crate::peaks::Peaks;
use crate::rebirth::Rebirth;
use crate::stdin::Question;
use crate::subshell_life::Subshells;
use crate::text_limit::TextLimits;
use bytes::Bytes;
use interpreter::Interpreter;
use journal::Entry;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use wire::Inbox;
use wire::Incoming;
use wire::Outbox;

/// While a cell runs, its text without a line end is fetched this often, as ipykernel does.
const FLUSH: Duration = Duration::from_millis(200);
/// A `kernel_info_request` waits this long for Python to say its version and whether it has a debugger: some 20 ms, more where
/// its files come from a cold disk.
pub(crate) const GREETING: Duration = Duration::from_millis(500);
/// Everything queued for clients is given this long at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Why [`Kernel::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A client asked for the end, or the user typed `exit`.
    Asked,
    /// A signal asked for the end.
    Signalled,
    /// The interpreter died, and the configuration does not want another one.
    Died,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked to",
            Self::Signalled => "by a signal",
            Self::Died => "with its interpreter",
        })
    }
}

/// A running kernel. See the crate's documentation.
pub struct Kernel {
    pub(crate) setup: Setup,
    pub(crate) outbox: Outbox,
    pub(crate) interpreter: Option<Interpreter>,
    pub(crate) life: Life,
    /// Shell requests that wait for the agent, oldest first.
    pub(crate) queue: VecDeque<Incoming>,
    /// Of the cells among this many of them the one before has failed: they are not run.
    pub(crate) doomed: usize,
    /// The cell in hand.
    pub(crate) cell: Option<Cell>,
    /// A cell that is about to be answered.
    pub(crate) closing: Option<Closing>,
    /// Other requests that the agent is answering, by number.
    pub(crate) forwarded: HashMap<u64, Incoming>,
    pub(crate) last_id: u64,
    pub(crate) debug: Debug,
    /// Header of the request that text of the pipes belongs to: the last one that the agent was given.
    pub(crate) text_parent: Option<Bytes>,
    pub(crate) limits: TextLimits,
    pub(crate) execution_count: u64,
    pub(crate) meter: Slot,
    pub(crate) usage: Usage,
    pub(crate) ledger: ledger::Session,
    /// What the user's names hold.
    pub(crate) holdings: ledger::Holdings,
    pub(crate) chronicle: Chronicle,
    pub(crate) guarding: Guarding,
    pub(crate) peaks: Peaks,
    /// The end of what came on standard error.
    pub(crate) stderr: LastWords,
    /// What the person is told with the next cell, since there was none to tell it under.
    pub(crate) words_for_the_next: Option<String>,
    /// Requests for the kernel's info that came before Python said its version.
    pub(crate) curious: Vec<Incoming>,
    /// Questions to the person that wait for their answer.
    pub(crate) questions: Vec<Question>,
    pub(crate) interrupts: Interrupts,
    pub(crate) subshells: Subshells,
    /// True once there were subshells: cells may run at once, and get their numbers here.
    pub(crate) counts_cells: bool,
    /// Ids of requests that go from one shell to another: their `busy` has been published.
    pub(crate) moved: Vec<String>,
    /// True once the end was asked for.
    pub(crate) ending: Option<Ended>,
    pub(crate) notices: Vec<String>,
    pub(crate) cleanup: Cleanup,
    /// An interpreter that is about to take the place of the one there is.
    pub(crate) rebirth: Option<Rebirth>,
    /// What the notebook's metadata set last.
    pub(crate) notebook_settings: Vec<(String, String)>,
    /// What Python said of itself.
    pub(crate) greeting: Option<crate::death::Greeting>,
    pub(crate) greeting_over: bool,
    /// When this kernel began, on a clock and as a date.
    pub(crate) born: std::time::Instant,
    pub(crate) born_at: String,
    flush_at: Option<Instant>,
    sample_at: Option<Instant>,
}

impl Kernel {
    /// Makes a kernel of a started interpreter and bound sockets. The interpreter comes first, so that Python starts while
    /// the sockets are bound; `Err` is the sentence that says why there is none.
    pub fn new(setup: Setup, outbox: Outbox, interpreter: Result<Interpreter, String>) -> Self {
        let ledger = ledger::Session::new(crate::measure::thresholds(&setup.config));
        let notices = setup.notices.clone();
        let chronicle = Chronicle::new(setup.journal.clone());
        let mut kernel = Self {
            setup,
            outbox,
            interpreter: None,
            life: Life::Starting,
            queue: VecDeque::new(),
            doomed: 0,
            cell: None,
            closing: None,
            forwarded: HashMap::new(),
            last_id: 0,
            debug: Debug::default(),
            text_parent: None,
            limits: TextLimits::default(),
            execution_count: 1,
            meter: Slot::Absent,
            usage: Usage::default(),
            ledger,
            chronicle,
            guarding: Guarding::default(),
            peaks: Peaks::default(),
            holdings: ledger::Holdings::default(),
            stderr: LastWords::default(),
            words_for_the_next: None,
            curious: Vec::new(),
            questions: Vec::new(),
            interrupts: Interrupts::default(),
            subshells: Subshells::default(),
            counts_cells: false,
            moved: Vec::new(),
            ending: None,
            notices,
            cleanup: Cleanup::default(),
            rebirth: None,
            notebook_settings: Vec::new(),
            greeting: None,
            greeting_over: false,
            born: std::time::Instant::now(),
            born_at: wire::now(),
            flush_at: None,
            sample_at: None,
        };
        match interpreter {
            Ok(interpreter) => kernel.adopt(interpreter),
            Err(why) => kernel.life = Life::Broken(why),
        }
        kernel
    }

    /// Serves until the end is asked for. The child is gone when this returns.
    pub async fn run(mut self, mut inbox: Inbox) -> Ended {
        self.status("starting", None);
        self.note_start();
        let greeting = tokio::time::sleep(GREETING);
        tokio::pin!(greeting);
        let mut greeted = false;
        let mut signals = match Signals::new() {
            Ok(signals) => Some(signals),
            Err(error) => {
                tracing::error!(%error, "signals are not handled");
                None
            }
        };
        loop {
            if let Some(ended) = self.ending {
                self.bury().await;
                self.outbox.drain(DRAIN).await;
                self.chronicle.add(Entry::End {
                    how: ended.to_string(),
                });
                return ended;
            }
            let congested = self.outbox.congested();
            let timer = self.next_timer();
            tokio::select! {
                biased;
                request = inbox.recv() => {
                    self.receive(request);
                    self.pump(&mut inbox).await;
                }
                measured = self.meter.finished(), if self.meter.is_working() => {
                    self.measured(measured);
                    self.pump(&mut inbox).await;
                }
                (request, usage) = self.usage.answered() => self.answer_usage(&request, usage),
                (id, event) = self.subshells.heard() => {
                    self.line_said(&id, event);
                    self.pump(&mut inbox).await;
                }
                event = next_event(self.interpreter.as_mut(), congested) => {
                    self.happened(event);
                    self.pump(&mut inbox).await;
                }
                event = self.guarding.event() => self.guarded(event),
                event = next_event(self.rebirth.as_mut().map(Rebirth::interpreter), congested) => self.rebirth_said(event),
                () = self.outbox.relieved(), if congested => {}
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => self.tick(),
                () = &mut greeting, if !greeted => {
                    greeted = true;
                    self.satisfy_curiosity();
                }
                signal = next_signal(signals.as_mut()) => self.signalled(signal),
            }
        }
    }

    /// Starts the timers of a running cell.
    pub(crate) fn start_timers(&mut self) {
        let now = Instant::now();
        self.flush_at = Some(now + FLUSH);
        self.sample_at = Some(now + Duration::from_millis(self.setup.config.timeline_ms));
        self.guarding.cell_begins();
        self.stderr.clear(); // what earlier cells said has nothing to do with the end of this one
    }

    pub(crate) fn stop_timers(&mut self) {
        self.flush_at = None;
        self.sample_at = None;
        self.guarding.cell_ends();
    }

    fn next_timer(&self) -> Option<Instant> {
        let cleanup = self.cleanup.due();
        [
            self.flush_at,
            self.sample_at,
            self.interrupts.due(),
            cleanup,
            self.guarding.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = Some(now + FLUSH);
            if let Some(interpreter) = &mut self.interpreter {
                interpreter.flush_text();
            }
        }
        self.clean_if_due();
        if self.interrupts.due().is_some_and(|at| at <= now) {
            self.tell_why_it_goes_on("");
        }
        if self.guarding.due().is_some_and(|at| at <= now) {
            self.look_at_cell();
        }
        if self.sample_at.is_some_and(|at| at <= now) {
            self.sample_at = Some(now + Duration::from_millis(self.setup.config.timeline_ms));
            let rss = self.meter.sample();
            self.note_running_cell(rss);
        }
    }

    fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::Interrupt => self.interrupt(),
            Signal::Terminate => self.ending = Some(Ended::Signalled),
            Signal::Child => {
                if let Some(interpreter) = &self.interpreter {
                    interpreter.reap_orphans();
                }
            }
        }
    }
}

/// While a client reads too slowly, what the debugger says alone is read.
async fn next_event(interpreter: Option<&mut Interpreter>, congested: bool) -> interpreter::Event {
    match interpreter {
        Some(interpreter) if congested => interpreter.next_of_debugger().await,
        Some(interpreter) => interpreter.next().await,
        None => std::future::pending().await,
    }
}

enum Signal {
    Interrupt,
    Terminate,
    Child,
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    child: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::SignalKind;
        use tokio::signal::unix::signal;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            child: signal(SignalKind::child())?,
        })
    }
}

async fn next_signal(signals: Option<&mut Signals>) -> Signal {
    let Some(signals) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = signals.interrupt.recv() => Signal::Interrupt,
        _ = signals.terminate.recv() => Signal::Terminate,
        _ = signals.child.recv() => Signal::Child,
    }
}
