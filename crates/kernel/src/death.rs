//! The interpreter's life: adopted, ready, dead, started anew, buried.

use crate::Ended;
use crate::Kernel;
use crate::autopsy;
use crate::autopsy::Evidence;
use crate::cell::Cell;
use crate::fault::Fault;
use crate::measure::Slot;
use crate::publish::EMPTY;
use crate::publish::error;
use crate::publish::to_bytes;
use interpreter::End;
use interpreter::Event;
use interpreter::Interpreter;
use interpreter::Spec;
use journal::Entry;
use ledger::Death;
use meter::Meter;
use meter::Reading;
use serde_json::json;
use std::time::Duration;

/// An idle interpreter is given this long for its `atexit` functions.
pub(crate) const FAREWELL: Duration = Duration::from_millis(1500);

/// The name of the error.
pub(crate) const DIED: &str = "InterpreterDied";
/// So many findings of the ledger are told with a death.
const FINDINGS: usize = 3;

/// What is said of a death.
struct Obituary {
    /// The sentence.
    why: String,
    /// The lines after it.
    story: Vec<String>,
    death: Death,
    /// Memory of the cell that it died in.
    reading: Option<Reading>,
}

impl Obituary {
    fn traceback(&self) -> Vec<String> {
        let first = format!("\u{1b}[0;31m{DIED}\u{1b}[0m: {}", self.why);
        std::iter::once(first)
            .chain(self.story.iter().cloned())
            .collect()
    }

    /// As text under the next cell, where no cell was running.
    fn text(&self) -> String {
        let lines =
            std::iter::once(format!("{DIED}: {}", self.why)).chain(self.story.iter().cloned());
        lines.map(|line| line + "\n").collect()
    }
}

/// How the interpreter is.
#[derive(Debug)]
pub(crate) enum Life {
    /// Python runs, the shell is not made yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It cannot be used, and this is why.
    Broken(String),
}

/// What Python says first.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// `sys.version`.
    pub python: String,
    /// As `3.12.1`.
    pub version: String,
    /// Whether debugpy is installed for it.
    pub debugger: bool,
}

impl Kernel {
    /// Starts an interpreter as the setup says; `go_on_with` is the number of its first cell, if it takes over from another, and
    /// `restore` what it takes over. Call it on the main thread.
    ///
    /// # Errors
    /// The sentence that says why there is none.
    pub fn start_interpreter(
        setup: &crate::Setup,
        go_on_with: Option<u64>,
        restore: Option<serde_json::Value>,
    ) -> Result<Interpreter, String> {
        let python = setup.python.clone()?;
        let mut config = json!({
            "connection_file": setup.connection_file,
            "session": setup.session,
            "key": setup.key,
            "ident": setup.session,
            "version": setup.version,
            "arguments": setup.arguments,
            "facts": setup.config.measure,
            "guard": setup.config.guard.level == policy::GuardLevel::Protect,
            "causes": ledger::causes_with_pages().collect::<Vec<_>>(),
            "ipykernel_names": setup.config.ipykernel_names,
            "language_info": crate::info::language_info(None),
        });
        if let Some(count) = go_on_with {
            config["restarted"] = count.into();
        }
        if let Some(restore) = restore {
            config["restore"] = restore;
        }
        let spec = Spec {
            python,
            env: setup.env.clone(),
            config,
        };
        let interpreter = Interpreter::spawn(&spec).map_err(|error| error.to_string())?;
        meter::note_started(interpreter.pid());
        Ok(interpreter)
    }

    pub(crate) fn adopt(&mut self, interpreter: Interpreter) {
        self.life = Life::Starting;
        self.usage.forget();
        self.meter = if self.setup.config.measure {
            Slot::Resting(Box::new(meter::Meter::new(
                interpreter.pid(),
                crate::measure::meter_options(&self.setup.config),
            )))
        } else {
            Slot::Absent
        };
        self.interpreter = Some(interpreter);
    }

    /// The interpreter ended. Whoever waits for it is told, and a fresh one is started.
    pub(crate) fn died(&mut self, end: End) {
        if let Some(mut dead) = self.interpreter.take() {
            dead.kill(); // whoever descends from it; nobody waits for the rest
        }
        if self.ending.is_some() {
            return;
        }
        let was_ready = matches!(self.life, Life::Ready);
        tracing::error!(exit = %end.exit, "the interpreter ended");
        self.rebirth = None;
        self.stop_timers();
        if let Some(held) = self.cleanup.forget() {
            self.queue.push_front(held);
        }
        self.questions.clear();
        let meter = std::mem::replace(&mut self.meter, Slot::Absent).rested();
        let (our_reason, available) = self.guarding.bury();
        if let Some(answered) = self.closing.take().or_else(|| self.take_answered_cell()) {
            self.answer_cell(answered);
        }
        let mut cell = self.cell.take();
        let obituary = self.obituary(
            end,
            cell.as_mut(),
            meter,
            was_ready,
            (our_reason, available),
        );
        let why = obituary.why.clone();
        self.words_for_the_next = None;
        if let Some(cell) = cell {
            self.bury_cell(&cell, &obituary);
            self.doomed = 0;
            for request in std::mem::take(&mut self.queue) {
                let content = match request.header.msg_type.as_str() {
                    "execute_request" => self.aborted(),
                    _ => error(DIED, &why),
                };
                self.answer(&request, &content);
            }
        } else if was_ready {
            self.note_death(&obituary);
            self.words_for_the_next = Some(obituary.text());
        }
        for (_, request) in std::mem::take(&mut self.forwarded) {
            if let Some(kind) = crate::requests::type_of_reply(&request) {
                self.reply(&request, &kind, &error(DIED, &why));
            }
            self.idle(&request);
        }
        self.bury_subshells(&why);
        self.debugger_died(&why);
        self.ledger = ledger::Session::new(crate::measure::thresholds(&self.setup.config));
        self.holdings = ledger::Holdings::default();
        self.stderr.clear();
        self.go_on_after_death(was_ready, &why);
    }

    /// All that can be said of the end.
    fn obituary(
        &mut self,
        end: End,
        cell: Option<&mut Cell>,
        meter: Option<Box<Meter>>,
        was_ready: bool,
        (our_reason, available): (Option<String>, Option<u64>),
    ) -> Obituary {
        let label = format!("Cell In[{}]", self.execution_count);
        let before = cell.and_then(Cell::take_before);
        let last = meter.as_ref().and_then(|meter| meter.last_sample());
        let kills = meter
            .as_ref()
            .map(|meter| meter.killed_lately())
            .unwrap_or_default();
        let reading = meter
            .zip(before)
            .map(|(mut meter, before)| meter.after_death(&before, end.peak));
        let (peak, limit) = reading.as_ref().map_or((end.peak, None), |reading| {
            (reading.host.peak, reading.host.limit)
        });
        let death = Evidence {
            exit: Some(end.exit),
            kills,
            peak,
            last,
            limit,
            available,
            fault: Fault::parse(&end.fault, &label),
            stderr: self.stderr.as_str(),
            our_reason,
            lost: self.holdings.largest(autopsy::LISTED),
            lost_count: self.holdings.count(),
        }
        .judge();
        let goes_on = match (was_ready, self.setup.config.restart_after_death) {
            (true, true) => "; a fresh interpreter was started, the kernel goes on",
            (true, false) => "; the kernel ends too, as configured",
            (false, _) => "",
        };
        let mut story = autopsy::story(&death, &autopsy::readings(last, peak, limit));
        story.extend(
            self.ledger
                .findings()
                .into_iter()
                .take(FINDINGS)
                .map(|finding| {
                    format!(
                        "The ledger held: {} ({})",
                        finding.message,
                        ledger::human(finding.bytes)
                    )
                }),
        );
        Obituary {
            why: format!("{}. All variables are lost{goes_on}.", death.message),
            story,
            death,
            reading,
        }
    }

    /// Answers the cell that the interpreter died in.
    fn bury_cell(&mut self, cell: &Cell, obituary: &Obituary) {
        let record = obituary
            .reading
            .clone()
            .map(|reading| self.record_of_death(cell, reading, obituary.death.clone()));
        let content =
            json!({"ename": DIED, "evalue": obituary.why, "traceback": obituary.traceback()});
        let parent = Some(&cell.request.origin.header);
        self.outbox
            .publish("error", parent, EMPTY, to_bytes(&content), Vec::new());
        let mut reply = self.bad_cell(DIED, &obituary.why);
        reply["traceback"] = content["traceback"].clone();
        let metadata = self.reply_to_cell(cell, "error", record.as_ref(), to_bytes(&reply));
        self.idle(&cell.request);
        if record.is_some() {
            self.note_cell(cell, &metadata);
        } else {
            self.note_death(obituary);
        }
        if cell.stores_history() {
            self.execution_count += 1;
        }
    }

    fn note_death(&mut self, obituary: &Obituary) {
        let death = obituary.death.clone();
        self.chronicle.add(Entry::Death { death });
    }

    fn go_on_after_death(&mut self, was_ready: bool, why: &str) {
        if let Life::Broken(_) = self.life {
            return; // it said itself why it cannot be used
        }
        if !was_ready {
            self.life = Life::Broken(format!(
                "{why} It ended before it could run a cell: rust-hygiene doctor says more."
            ));
            return;
        }
        if !self.setup.config.restart_after_death {
            self.ending = Some(Ended::Died);
            return;
        }
        match Self::start_interpreter(&self.setup, Some(self.execution_count), None) {
            Ok(fresh) => {
                self.chronicle.add(Entry::Fresh { pid: fresh.pid() });
                self.adopt(fresh);
                // Front ends forget widgets and whatever else lived in the old one, as after a restart by the server.
                self.status("restarting", None);
                self.status("starting", None);
            }
            Err(why) => self.life = Life::Broken(why),
        }
    }

    /// Ends the interpreter: politely if it is idle, and for certain.
    pub(crate) async fn bury(&mut self) {
        let Some(mut interpreter) = self.interpreter.take() else {
            return;
        };
        let polite = matches!(self.life, Life::Ready);
        if polite {
            if self.cell.is_some() || !self.forwarded.is_empty() {
                interpreter.interrupt();
            }
            interpreter.send(&[bytes::Bytes::from_static(br#"{"op":"exit"}"#)]);
            let farewell = async {
                loop {
                    match interpreter.next().await {
                        Event::Exit(_) => return,
                        Event::Text(stream, text) => self.publish_text(stream, text),
                        Event::Frame(_) | Event::OfFork(_) | Event::Debug(_) => {}
                    }
                }
            };
            if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
                tracing::info!("the interpreter did not end by itself and is killed");
            }
        }
        if let Some(rest) = interpreter.kill() {
            while !rest.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
