//! A cell: measured, run, measured again, explained, shown, answered.

use crate::Ended;
use crate::Kernel;
use crate::agent::Envelope;
use crate::content::Execute;
use crate::measure::Measured;
use crate::publish::to_bytes;
use crate::requests::Extras;
use crate::tell::Question;
use bytes::Bytes;
use ledger::CellRecord;
use ledger::Facts;
use meter::Before;
use meter::Reading;
use serde_json::json;
use std::time::Duration;
use std::time::Instant;
use wire::Incoming;

mod record;

pub(crate) use record::peak_rise;

/// A cell in hand.
pub(crate) struct Cell {
    pub(crate) id: u64,
    pub(crate) request: Incoming,
    content: Execute,
    started: String,
    phase: Phase,
    before: Option<Before>,
    /// Our own work for this cell.
    overhead: Duration,
    work_began: Instant,
    interrupt_wanted: bool,
    waits_for_events: bool,
    /// Its number, if it was not left to the agent.
    pub(crate) count: Option<u64>,
    /// Why cleanup steps leave its results alone.
    kept: Option<String>,
    /// Another interpreter took the place of the one that ran it: its heap does not explain the change.
    reborn: bool,
    /// A cell of a subshell ran at the same time.
    shares_memory: bool,
    /// `clear_output(wait=True)` was the last output: whatever is shown next would wipe the cell.
    clear_is_pending: bool,
    /// What it wants to be told at its end.
    pub(crate) questions: Vec<Question>,
    /// What its variables hold, if it asked.
    holdings: Bytes,
}

enum Phase {
    /// The reading before it is being taken.
    Measuring,
    /// The agent runs it.
    Running,
    /// The reading after it is being taken.
    Reading(CellReply),
    /// The agent explains its heap.
    Explaining(CellReply, Box<Reading>),
    /// All is known.
    Over,
}

/// What the agent said of a cell.
pub(crate) struct CellReply {
    envelope: Envelope,
    content: Bytes,
    facts: Facts,
    notice: Option<String>,
}

/// A cell of which everything is known and which is still to be answered.
pub(crate) struct Closing {
    pub(crate) cell: Cell,
    reply: CellReply,
    reading: Option<Reading>,
    explained: Option<Facts>,
}

/// Metadata of an `execute_reply`: ipykernel's fields, and the record.
#[derive(serde::Serialize)]
pub(crate) struct ReplyMetadata<'a> {
    started: &'a str,
    dependencies_met: bool,
    engine: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rust_hygiene: Option<&'a CellRecord>,
}

impl<'a> ReplyMetadata<'a> {
    pub(crate) fn json(
        engine: &'a str,
        started: &'a str,
        status: &'a str,
        record: Option<&'a CellRecord>,
    ) -> Bytes {
        let metadata = Self {
            started,
            dependencies_met: true,
            engine,
            status,
            rust_hygiene: record,
        };
        serde_json::to_vec(&metadata).map_or_else(
            |error| {
                tracing::error!(%error, "a record that cannot be written");
                crate::publish::EMPTY
            },
            Bytes::from,
        )
    }
}

impl Closing {
    /// True if the cells that wait are to be aborted (messaging specification, `stop_on_error`).
    pub(crate) fn aborts_queue(&self) -> bool {
        let content = &self.cell.content;
        self.reply.envelope.status == "error" && !content.silent && content.stops_on_error()
    }
}

impl CellReply {
    pub(crate) fn new(envelope: Envelope, content: Bytes, facts: &[u8]) -> Self {
        let (facts, notice) = if facts.is_empty() {
            (Facts::default(), None)
        } else {
            Facts::parse(facts)
        };
        Self {
            envelope,
            content,
            facts,
            notice,
        }
    }
}

impl Cell {
    pub(crate) fn was_sent(&self) -> bool {
        !matches!(self.phase, Phase::Measuring)
    }

    pub(crate) fn interrupt_when_sent(&mut self) {
        self.interrupt_wanted = true;
    }

    pub(crate) fn waits_for_events(&mut self) {
        self.waits_for_events = true;
    }

    pub(crate) fn shares_memory(&mut self) {
        self.shares_memory = true;
    }

    /// True while the agent has it and has not answered.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// True while an async cell runs: the agent's event loop takes comm messages.
    pub(crate) fn is_waiting_for_events(&self) -> bool {
        self.waits_for_events && self.is_running()
    }

    pub(crate) fn shows_output(&mut self) {
        self.clear_is_pending = false;
    }

    pub(crate) fn clears_output(&mut self, wait: bool) {
        self.clear_is_pending = wait;
    }

    pub(crate) fn take_before(&mut self) -> Option<Before> {
        self.before.take()
    }

    /// Its code as sent.
    pub(crate) fn source(&self) -> &str {
        &self.content.code
    }

    /// Whether the person can be asked something.
    pub(crate) fn allows_questions(&self) -> bool {
        self.content.allows_questions()
    }

    pub(crate) fn stores_history(&self) -> bool {
        self.content.stores_history()
    }
}

impl Kernel {
    /// The cell in hand if the agent has answered it already, so that only its measuring is missing.
    pub(crate) fn take_answered_cell(&mut self) -> Option<Closing> {
        let mut cell = self.cell.take()?;
        match std::mem::replace(&mut cell.phase, Phase::Over) {
            Phase::Reading(reply) | Phase::Explaining(reply, _) => Some(Closing {
                cell,
                reply,
                reading: None,
                explained: None,
            }),
            phase => {
                cell.phase = phase;
                self.cell = Some(cell);
                None
            }
        }
    }

    pub(crate) fn start_cell(&mut self, request: Incoming, content: Execute) {
        self.last_id += 1;
        let kept = self.take_metadata(&request.metadata, &content.code);
        self.cell = Some(Cell {
            id: self.last_id,
            request,
            content,
            started: wire::now(),
            phase: Phase::Measuring,
            before: None,
            overhead: Duration::ZERO,
            work_began: Instant::now(),
            interrupt_wanted: false,
            waits_for_events: false,
            count: None,
            kept,
            reborn: false,
            shares_memory: self.subshells.run_a_cell(),
            clear_is_pending: false,
            questions: Vec::new(),
            holdings: Bytes::new(),
        });
        if !self.meter.begin() {
            self.send_cell();
        }
    }

    /// Takes a finished measurement.
    pub(crate) fn measured(&mut self, measured: Measured) {
        match measured {
            Measured::Before(before) => {
                if let Some(cell) = &mut self.cell {
                    cell.before = Some(before);
                }
                self.send_cell();
            }
            Measured::After(reading) => self.cell_read(reading),
        }
    }

    fn send_cell(&mut self) {
        let Some(mut cell) = self.cell.take() else {
            return;
        };
        cell.phase = Phase::Running;
        self.text_parent = Some(cell.request.origin.header.clone());
        self.begin_text(&cell.request, &cell.content);
        // To the agent first: it is still waking up while these are published, and its outputs are ordered behind them.
        let shown = if self.counts_cells {
            let count = self.number_of_cell(cell.stores_history());
            cell.count = Some(count);
            count
        } else {
            self.execution_count
        };
        let extras = Extras {
            facts: self.setup.config.measure,
            count: cell.count,
            keep: cell.kept.is_some(),
            interrupted_before: self.interrupts.take_sent() && !cell.interrupt_wanted,
        };
        self.hand_over(cell.id, &cell.request, extras);
        self.busy(&cell.request);
        if !cell.content.silent {
            let content = json!({"code": cell.content.code, "execution_count": shown});
            self.outbox.publish(
                "execute_input",
                Some(&cell.request.origin.header),
                crate::publish::EMPTY,
                to_bytes(&content),
                Vec::new(),
            );
            if let Some(words) = self.words_for_the_next.take() {
                self.publish_text(interpreter::Stream::Stderr, words.into());
            }
            self.forecast(&cell.content.code);
        }
        if cell.interrupt_wanted
            && let Some(interpreter) = &self.interpreter
        {
            interpreter.interrupt();
        }
        cell.overhead += cell.work_began.elapsed();
        self.cell = Some(cell);
        self.start_timers();
    }

    pub(crate) fn cell_replied(&mut self, reply: CellReply) {
        self.stop_timers();
        let Some(mut cell) = self.cell.take() else {
            return;
        };
        self.tell_of_dead_workers();
        let next = reply.envelope.execution_count;
        match cell.count {
            // it began before there were subshells, whose cells may have gone on counting
            None if self.counts_cells => {
                self.execution_count = self.execution_count.max(next.unwrap_or(0))
            }
            count => self.counted(count, next),
        }
        cell.work_began = Instant::now();
        let reborn = self.take_the_place(reply.envelope.status == "ok");
        let reading = match cell.before.take() {
            Some(before) => self.meter.end(before),
            None => false,
        };
        cell.reborn = reborn;
        if reading {
            cell.phase = Phase::Reading(reply);
            self.cell = Some(cell);
        } else {
            self.close_cell(cell, reply, None, None);
        }
    }

    /// A forked worker that crashed has written its stack to the file that is read if the interpreter crashes.
    fn tell_of_dead_workers(&mut self) {
        let fault = self
            .interpreter
            .as_mut()
            .map(interpreter::Interpreter::fault_of_a_worker)
            .unwrap_or_default();
        if !fault.is_empty() {
            self.publish_text(interpreter::Stream::Stderr, fault.into());
        }
    }

    fn cell_read(&mut self, reading: Reading) {
        let Some(mut cell) = self.cell.take() else {
            return;
        };
        let Phase::Reading(reply) = std::mem::replace(&mut cell.phase, Phase::Over) else {
            return;
        };
        let wanted = !cell.questions.is_empty();
        if (wanted || self.ledger.is_notable(&reading, &reply.facts))
            && let Some(interpreter) = &mut self.interpreter
        {
            let budget = self.setup.config.explain_budget_ms as f64 / 1000.0;
            let holdings = cell.questions.contains(&Question::Variables);
            let envelope = json!({"op": "explain", "budget_s": budget, "holdings": holdings});
            interpreter.send(&[Bytes::from(envelope.to_string())]);
            cell.phase = Phase::Explaining(reply, Box::new(reading));
            self.cell = Some(cell);
            return;
        }
        self.close_cell(cell, reply, Some(reading), None);
    }

    pub(crate) fn explained(&mut self, facts: &[u8], holdings: Bytes) {
        let Some(mut cell) = self.cell.take() else {
            return;
        };
        match std::mem::replace(&mut cell.phase, Phase::Over) {
            Phase::Explaining(mut reply, reading) => {
                cell.holdings = holdings;
                let (facts, notice) = Facts::parse(facts);
                reply.notice = reply.notice.or(notice);
                self.close_cell(cell, reply, Some(*reading), Some(facts));
            }
            phase => {
                cell.phase = phase;
                self.cell = Some(cell);
            }
        }
    }

    /// Takes what was found out in idle time.
    pub(crate) fn learnt(&mut self, facts: &[u8]) {
        let (facts, notice) = Facts::parse(facts);
        self.notices.extend(notice);
        self.ledger.learn(facts);
    }

    fn close_cell(
        &mut self,
        cell: Cell,
        reply: CellReply,
        reading: Option<Reading>,
        explained: Option<Facts>,
    ) {
        self.closing = Some(Closing {
            cell,
            reply,
            reading,
            explained,
        });
    }

    /// The record is made, the badge shown, the request answered.
    pub(crate) fn answer_cell(&mut self, closing: Closing) {
        let Closing {
            mut cell,
            reply,
            reading,
            explained,
        } = closing;
        cell.overhead += cell.work_began.elapsed();
        let record = reading.map(|reading| self.record(&cell, &reply, reading, explained));
        if let Some(record) = &record {
            if !cell.questions.iter().any(Question::is_of_the_cell) {
                self.show(&cell, record);
            }
            if !cell.clear_is_pending {
                let parent = &cell.request.origin.header;
                self.answer_questions(parent, &cell.questions, &cell.holdings);
            }
        }
        let metadata = self.reply_to_cell(
            &cell,
            &reply.envelope.status,
            record.as_ref(),
            reply.content,
        );
        self.idle(&cell.request);
        self.note_cell(&cell, &metadata);
        if let Some(record) = &record {
            self.peaks.note(record);
            let policy = &self.setup.config.policy;
            let let_go = reply.facts.let_go;
            self.cleanup.cell_over(policy, record, let_go, cell.kept);
        }
        if self.ledger.takes_a_look()
            && let Some(interpreter) = &mut self.interpreter
        {
            interpreter.send(&[Bytes::from_static(br#"{"op":"look"}"#)]);
        }
        if reply.envelope.exit {
            self.ending = Some(Ended::Asked);
        }
    }

    pub(crate) fn reply_to_cell(
        &self,
        cell: &Cell,
        status: &str,
        record: Option<&CellRecord>,
        content: Bytes,
    ) -> Bytes {
        let metadata = ReplyMetadata::json(&self.setup.session, &cell.started, status, record);
        self.reply_raw(
            &cell.request,
            "execute_reply",
            metadata.clone(),
            content,
            Vec::new(),
        );
        metadata
    }
}
