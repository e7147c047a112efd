//! What becomes of a request: answered here, queued, or handed to the agent.

use crate::Ended;
use crate::Kernel;
use crate::cell::Cell;
use crate::content::Dated;
use crate::content::Execute;
use crate::content::Shutdown;
use crate::death::Life;
use crate::publish::error;
use crate::publish::reply_kind;
use bytes::Bytes;
use serde_json::json;
use wire::Channel;
use wire::Inbox;
use wire::Incoming;

/// More waiting requests than this are refused: a client that does not wait for replies must not fill our memory.
pub(crate) const MOST_WAITING: usize = 10_000;
/// Within this time a request may have been meant for the kernel that had our ports before.
const JUST_BORN: std::time::Duration = std::time::Duration::from_secs(3);

impl Kernel {
    /// Takes one request of any channel.
    pub(crate) fn receive(&mut self, request: Incoming) {
        match (request.channel, request.header.msg_type.as_str()) {
            (Channel::Stdin, "input_reply") => self.input_reply(request.content),
            (Channel::Stdin, kind) => {
                tracing::warn!(kind, "a message on stdin that is no input_reply")
            }
            (_, "kernel_info_request") => self.kernel_info(request),
            (_, "shutdown_request") => self.shutdown(&request),
            (_, "interrupt_request") => {
                self.busy(&request);
                self.interrupt();
                self.reply(&request, "interrupt_reply", &json!({"status": "ok"}));
                self.idle(&request);
            }
            (_, "connect_request") => self.answer(&request, &self.setup.connect.clone()),
            (Channel::Control, "usage_request") => self.ask_usage(request),
            (Channel::Control, "debug_request") => self.debug_request(request),
            (Channel::Control, kind) => {
                let text =
                    format!("{kind:?} is not answered on the control channel by this kernel");
                self.answer(&request, &error("UnknownRequest", &text));
            }
            (Channel::Shell, _) => self.shell_request(request),
        }
    }

    fn shell_request(&mut self, request: Incoming) {
        if let Some(subshell) = request.header.subshell_id.as_deref() {
            let text =
                format!("there is no subshell {subshell:?}: this kernel does not offer subshells");
            self.answer(&request, &error("SubshellNotFound", &text));
            return;
        }
        let is_comm = matches!(
            request.header.msg_type.as_str(),
            "comm_open" | "comm_msg" | "comm_close"
        );
        if is_comm && self.cell.as_ref().is_some_and(Cell::is_waiting_for_events) {
            self.forward(request); // an async cell serves comms while it waits
            return;
        }
        if self.queue.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} requests are waiting already; this one is refused");
            self.answer(&request, &error("QueueFull", &text));
            return;
        }
        self.queue.push_back(request);
    }

    /// Hands the next waiting request to the agent, if it is free.
    pub(crate) async fn pump(&mut self, inbox: &mut Inbox) {
        self.pump_debugger();
        if let Some(closing) = self.closing.take() {
            if closing.aborts_queue() {
                // Only what the client sent before it can have seen the error is aborted: let it arrive, then answer.
                self.let_arrive(inbox).await;
                let doomed = self.take_waiting_cells();
                self.answer_cell(closing);
                for cell in doomed {
                    self.answer(&cell, &self.aborted());
                }
            } else {
                self.answer_cell(closing);
            }
        }
        while self.cell.is_none()
            && self.closing.is_none()
            && self.forwarded.is_empty()
            && self.ending.is_none()
        {
            match &self.life {
                Life::Starting => return,
                Life::Ready => {}
                Life::Broken(why) => {
                    let why = why.clone();
                    let Some(request) = self.queue.pop_front() else {
                        return;
                    };
                    self.refuse(&request, &why);
                    continue;
                }
            }
            let Some(request) = self.queue.pop_front() else {
                return;
            };
            if request.header.msg_type == "execute_request" {
                self.begin_cell(request);
            } else {
                self.forward(request);
            }
        }
    }

    fn begin_cell(&mut self, request: Incoming) {
        match Execute::parse(&request.content) {
            Ok(content) => self.start_cell(request, content),
            Err(text) => {
                let mut reply = error("ValueError", &text);
                reply["execution_count"] = self.execution_count.into();
                reply["user_expressions"] = json!({});
                reply["payload"] = json!([]);
                self.answer(&request, &reply);
            }
        }
    }

    /// Gives a request to the agent; busy now, idle with its reply.
    pub(crate) fn forward(&mut self, request: Incoming) {
        self.last_id += 1;
        let id = self.last_id;
        if self.cell.is_none() {
            self.text_parent = Some(request.origin.header.clone());
        }
        self.hand_over(id, &request, false);
        self.busy(&request);
        self.forwarded.insert(id, request);
    }

    pub(crate) fn hand_over(&mut self, id: u64, request: &Incoming, facts: bool) {
        let channel = if request.channel == Channel::Control {
            "control"
        } else {
            "shell"
        };
        let envelope = json!({"op": "request", "id": id, "type": request.header.msg_type, "channel": channel, "facts": facts});
        let mut sections = vec![
            Bytes::from(envelope.to_string()),
            request.origin.header.clone(),
            request.parent_header.clone(),
            request.metadata.clone(),
            request.content.clone(),
        ];
        sections.extend(request.buffers.iter().cloned());
        if let Some(interpreter) = &mut self.interpreter {
            interpreter.send(&sections);
        }
    }

    async fn let_arrive(&mut self, inbox: &mut Inbox) {
        for _ in 0..4 {
            tokio::task::yield_now().await;
            while let Some(request) = waiting_request(inbox).await {
                self.receive(request);
            }
        }
    }

    fn take_waiting_cells(&mut self) -> Vec<Incoming> {
        let (cells, others) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition::<std::collections::VecDeque<_>, _>(|request| {
                request.header.msg_type == "execute_request"
            });
        self.queue = others;
        cells.into()
    }

    /// Interrupts what the interpreter does for us. Nothing happens while it is idle.
    pub(crate) fn interrupt(&mut self) {
        self.asked_for_input = false;
        if let Some(cell) = &mut self.cell
            && !cell.was_sent()
        {
            cell.interrupt_when_sent();
            return;
        }
        let works = self.cell.as_ref().is_some_and(Cell::is_running) || !self.forwarded.is_empty();
        if works && let Some(interpreter) = &self.interpreter {
            interpreter.interrupt();
        }
    }

    fn shutdown(&mut self, request: &Incoming) {
        let content: Shutdown = serde_json::from_slice(&request.content).unwrap_or_default();
        if content.restart && self.is_older_than_us(request) {
            tracing::info!("a shutdown_request that was meant for the kernel before this one");
            return;
        }
        let reply = json!({"status": "ok", "restart": content.restart});
        self.busy(request);
        self.reply(request, "shutdown_reply", &reply);
        // Clients that did not ask learn it here (messaging specification, "Kernel shutdown").
        let parent = Some(&request.origin.header);
        self.outbox.publish(
            "shutdown_reply",
            parent,
            crate::publish::EMPTY,
            crate::publish::to_bytes(&reply),
            Vec::new(),
        );
        self.idle(request);
        self.ending = Some(Ended::Asked);
    }

    /// A client that restarts a dead kernel has asked the dead one to end, and ZeroMQ delivers that to us.
    fn is_older_than_us(&self, request: &Incoming) -> bool {
        let header: Dated = serde_json::from_slice(&request.origin.header).unwrap_or_default();
        let date = header
            .date
            .as_deref()
            .and_then(|date| date.strip_suffix('Z').or(date.strip_suffix("+00:00")));
        self.born.elapsed() < JUST_BORN
            && date.is_some_and(|date| date < self.born_at.trim_end_matches('Z'))
    }

    /// The reply to a cell that is not run.
    pub(crate) fn aborted(&self) -> serde_json::Value {
        json!({"status": "aborted", "execution_count": self.execution_count.saturating_sub(1)})
    }

    fn input_reply(&mut self, content: Bytes) {
        if !std::mem::take(&mut self.asked_for_input) {
            tracing::debug!("an input_reply that no one asked for");
            return;
        }
        if let Some(interpreter) = &mut self.interpreter {
            interpreter.send(&[Bytes::from_static(br#"{"op":"input_reply"}"#), content]);
        }
    }

    /// There is no interpreter: says why.
    fn refuse(&mut self, request: &Incoming, why: &str) {
        if request.header.msg_type == "execute_request" {
            self.busy(request);
            self.publish_error(Some(&request.origin.header), "InterpreterMissing", why);
            let mut reply = error("InterpreterMissing", why);
            reply["execution_count"] = self.execution_count.into();
            reply["user_expressions"] = json!({});
            reply["payload"] = json!([]);
            self.reply(request, "execute_reply", &reply);
            self.idle(request);
        } else {
            self.answer(request, &error("InterpreterMissing", why));
        }
    }
}

/// The reply's type, for requests whose reply the agent names itself.
pub(crate) fn type_of_reply(request: &Incoming) -> Option<String> {
    let kind = request.header.msg_type.as_str();
    (!kind.starts_with("comm_") || kind == "comm_info_request").then(|| reply_kind(kind))
}

/// A request that has arrived already.
async fn waiting_request(inbox: &mut Inbox) -> Option<Incoming> {
    tokio::select! {
        biased;
        request = inbox.recv() => Some(request),
        () = std::future::ready(()) => None,
    }
}
