//! The interpreter's life: adopted, ready, dead, started anew, buried.

use crate::Kernel;
use crate::measure::Slot;
use crate::publish::error;
use interpreter::Event;
use interpreter::Exit;
use interpreter::Interpreter;
use interpreter::Spec;
use serde_json::json;
use std::time::Duration;

/// An idle interpreter is given this long for its `atexit` functions.
const FAREWELL: Duration = Duration::from_millis(1500);

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
    /// Starts an interpreter as the setup says; `go_on_with` is the number of its first cell, if it takes over from another.
    /// Call it on the main thread.
    ///
    /// # Errors
    /// The sentence that says why there is none.
    pub fn start_interpreter(
        setup: &crate::Setup,
        go_on_with: Option<u64>,
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
            "ipykernel_names": setup.config.ipykernel_names,
            "language_info": crate::info::language_info(None),
        });
        if let Some(count) = go_on_with {
            config["restarted"] = count.into();
        }
        let spec = Spec {
            python,
            env: setup.env.clone(),
            config,
        };
        Interpreter::spawn(&spec).map_err(|error| error.to_string())
    }

    pub(crate) fn adopt(&mut self, interpreter: Interpreter) {
        self.life = Life::Starting;
        self.usage.forget();
        self.meter = if self.setup.config.measure {
            Slot::Resting(Box::new(meter::Meter::new(
                interpreter.pid(),
                crate::cell::meter_options(&self.setup.config),
            )))
        } else {
            Slot::Absent
        };
        self.interpreter = Some(interpreter);
    }

    /// The interpreter ended. Whoever waits for it is told, and a fresh one is started.
    pub(crate) fn died(&mut self, exit: Exit) {
        if let Some(mut dead) = self.interpreter.take() {
            dead.kill(); // what is left of its process group
        }
        if self.ending.is_some() {
            return;
        }
        let was_ready = matches!(self.life, Life::Ready);
        let why = format!(
            "The Python interpreter {exit}. All variables are lost{}.",
            if was_ready {
                "; a fresh interpreter was started, the kernel goes on"
            } else {
                ""
            }
        );
        tracing::error!(%exit, "the interpreter ended");
        self.stop_timers();
        if let Some(held) = self.cleanup.forget() {
            self.queue.push_front(held);
        }
        self.questions.clear();
        if let Some(answered) = self.closing.take().or_else(|| self.take_answered_cell()) {
            self.answer_cell(answered);
        }
        if let Some(cell) = self.cell.take() {
            self.end_text(&cell.request.origin.header);
            self.publish_error(Some(&cell.request.origin.header), "InterpreterDied", &why);
            let reply = self.bad_cell("InterpreterDied", &why);
            self.reply(&cell.request, "execute_reply", &reply);
            self.idle(&cell.request);
            if cell.stores_history() {
                self.execution_count += 1;
            }
            self.doomed = 0;
            for request in std::mem::take(&mut self.queue) {
                let content = match request.header.msg_type.as_str() {
                    "execute_request" => self.aborted(),
                    _ => error("InterpreterDied", &why),
                };
                self.answer(&request, &content);
            }
        }
        for (_, request) in std::mem::take(&mut self.forwarded) {
            if let Some(kind) = crate::requests::type_of_reply(&request) {
                self.reply(&request, &kind, &error("InterpreterDied", &why));
            }
            self.idle(&request);
        }
        self.bury_subshells(&why);
        self.debugger_died(&why);
        self.meter = Slot::Absent;
        if let Life::Broken(_) = self.life {
            return; // it said itself why it cannot be used
        }
        if !was_ready {
            self.life = Life::Broken(format!(
                "{why} It ended before it could run a cell: rust-hygiene doctor says more."
            ));
            return;
        }
        self.ledger = ledger::Session::new(crate::cell::thresholds(&self.setup.config));
        match Self::start_interpreter(&self.setup, Some(self.execution_count)) {
            Ok(fresh) => {
                self.adopt(fresh);
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
                        Event::Frame(_) | Event::Debug(_) => {}
                    }
                }
            };
            if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
                tracing::info!("the interpreter did not end by itself and is killed");
            }
        }
        interpreter.kill();
    }
}
