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
/// What the agent answers, on whichever channel it comes.
const IN_TURN: [&str; 6] = [
    "execute_request",
    "complete_request",
    "inspect_request",
    "history_request",
    "is_complete_request",
    "comm_info_request",
];
/// Within this time a request may have been meant for the kernel that had our ports before.
const JUST_BORN: std::time::Duration = std::time::Duration::from_secs(3);

impl Kernel {
    /// Takes one request of any channel.
    pub(crate) fn receive(&mut self, request: Incoming) {
        match (request.channel, request.header.msg_type.as_str()) {
            (Channel::Stdin, "input_reply") => self.input_reply(&request),
            (Channel::Stdin, kind) => {
                tracing::warn!(kind, "a message on stdin that is no input_reply")
            }
            // In turn with the cells before it, as clients that count replies expect; control answers at once.
            (Channel::Shell, "kernel_info_request" | "connect_request")
                if request.header.subshell_id.is_none() && self.works_on_main_shell() =>
            {
                self.shell_request(request);
            }
            (_, "kernel_info_request") => self.kernel_info(request),
            (_, "shutdown_request") => self.shutdown(&request),
            (_, "interrupt_request") if self.is_older_than_us(&request) => {
                tracing::info!(
                    "an interrupt_request that was meant for the kernel before this one"
                );
            }
            (_, "interrupt_request") => {
                self.busy(&request);
                self.interrupt();
                self.reply(&request, "interrupt_reply", &json!({"status": "ok"}));
                self.idle(&request);
            }
            (_, "connect_request") => self.answer(&request, &self.setup.connect.clone()),
            (Channel::Control, "usage_request") => self.ask_usage(request),
            (Channel::Control, "debug_request") => self.debug_request(request),
            (Channel::Control, "create_subshell_request") => self.create_subshell(request),
            (Channel::Control, "delete_subshell_request") => self.delete_subshell(request),
            (Channel::Control, "list_subshell_request") => self.list_subshells(&request),
            (Channel::Control, kind) if !IN_TURN.contains(&kind) => {
                let text =
                    format!("{kind:?} is not answered on the control channel by this kernel");
                self.answer(&request, &error("UnknownRequest", &text));
            }
            // As ipykernel, control takes what shell takes; but one thread of Python serves both, so it waits its turn.
            (Channel::Control | Channel::Shell, _) => self.shell_request(request),
        }
    }

    fn works_on_main_shell(&self) -> bool {
        self.cell.is_some() || self.closing.is_some() || !self.queue.is_empty()
    }

    fn shell_request(&mut self, request: Incoming) {
        if let Some(id) = request.header.subshell_id.clone() {
            self.subshell_request(&id, request);
        } else {
            self.main_request(request);
        }
    }

    pub(crate) fn main_request(&mut self, request: Incoming) {
        if is_comm(&request) && self.cell.as_ref().is_some_and(Cell::is_waiting_for_events) {
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
        if !self.subshells.are_none() {
            self.pump_subshells(inbox).await;
        }
        if let Some(closing) = self.closing.take() {
            if closing.aborts_queue() {
                // Only what the client sent before it can have seen the error is aborted: let it arrive, then answer.
                self.let_arrive(inbox).await;
                self.doomed = self.queue.len();
                self.answer_cell(closing);
            } else {
                self.answer_cell(closing);
            }
        }
        if self.cleanup.is_at_work() && !self.queue.is_empty() {
            self.stop_cleaning(); // what waits comes as soon as the step in hand is over
            return;
        }
        while self.cell.is_none()
            && self.closing.is_none()
            && !self.cleanup.is_at_work()
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
            let is_doomed = self.doomed > 0;
            self.doomed = self.doomed.saturating_sub(1);
            match request.header.msg_type.as_str() {
                "execute_request" if is_doomed => self.answer(&request, &self.aborted()),
                "execute_request" => self.begin_cell(request),
                "kernel_info_request" => self.kernel_info(request),
                "connect_request" => self.answer(&request, &self.setup.connect.clone()),
                _ => self.forward(request),
            }
        }
    }

    pub(crate) fn begin_cell(&mut self, request: Incoming) {
        match Execute::parse(&request.content) {
            Ok(content) => {
                let mut request = Some(request);
                if !self.clean_before(&mut request, &content.code)
                    && let Some(request) = request
                {
                    self.start_cell(request, content);
                }
            }
            Err(text) => {
                self.answer(&request, &self.bad_cell("ValueError", &text));
            }
        }
    }

    /// Begins a cell for which what could be made free is free, whether it fits now or not.
    pub(crate) fn begin_cleaned_cell(&mut self, request: Incoming) {
        match Execute::parse(&request.content) {
            Ok(content) => self.start_cell(request, content),
            Err(text) => {
                self.answer(&request, &self.bad_cell("ValueError", &text));
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
        self.hand_over(id, &request, Extras::default());
        self.begin_busy(&request);
        self.forwarded.insert(id, request);
    }

    pub(crate) fn hand_over(&mut self, id: u64, request: &Incoming, extras: Extras) {
        let channel = if request.channel == Channel::Control {
            "control"
        } else {
            "shell"
        };
        let sections = sections(id, request, channel, extras);
        if let Some(interpreter) = &mut self.interpreter {
            interpreter.send(&sections);
        }
    }

    pub(crate) async fn let_arrive(&mut self, inbox: &mut Inbox) {
        for _ in 0..4 {
            tokio::task::yield_now().await;
            while let Some(request) = waiting_request(inbox).await {
                self.receive(request);
            }
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

    /// A client that restarts a dead kernel has interrupted the dead one and asked it to end, and ZeroMQ delivers
    /// that to us.
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

    /// The content of a reply to a cell that could not be run, or not to its end.
    pub(crate) fn bad_cell(&self, name: &str, value: &str) -> serde_json::Value {
        let mut reply = error(name, value);
        reply["execution_count"] = self.execution_count.into();
        reply["user_expressions"] = json!({});
        reply["payload"] = json!([]);
        reply
    }

    /// There is no interpreter: says why.
    fn refuse(&mut self, request: &Incoming, why: &str) {
        if request.header.msg_type == "execute_request" {
            self.busy(request);
            self.publish_error(Some(&request.origin.header), "InterpreterMissing", why);
            let reply = self.bad_cell("InterpreterMissing", why);
            self.reply(request, "execute_reply", &reply);
            self.idle(request);
        } else {
            self.answer(request, &error("InterpreterMissing", why));
        }
    }
}

/// What the agent is told with a request.
#[derive(Default)]
pub(crate) struct Extras {
    /// Gather facts for this cell.
    pub facts: bool,
    /// The cell's number, if the agent is not to count itself.
    pub count: Option<u64>,
    /// The cell's results are to be left alone.
    pub keep: bool,
    /// An interrupt was sent for an earlier cell a moment ago: what the agent has noted of one is not for this cell.
    pub interrupted_before: bool,
}

/// A request as a frame.
pub(crate) fn sections(id: u64, request: &Incoming, channel: &str, extras: Extras) -> Vec<Bytes> {
    let mut envelope = json!({
        "op": "request", "id": id, "type": request.header.msg_type, "channel": channel, "facts": extras.facts
    });
    if let Some(count) = extras.count {
        envelope["count"] = count.into();
    }
    if extras.keep {
        envelope["keep"] = true.into();
    }
    if extras.interrupted_before {
        envelope["interrupted_before"] = true.into();
    }
    let mut sections = vec![
        Bytes::from(envelope.to_string()),
        request.origin.header.clone(),
        request.parent_header.clone(),
        request.metadata.clone(),
        request.content.clone(),
    ];
    sections.extend(request.buffers.iter().cloned());
    sections
}

/// A message of a comm.
pub(crate) fn is_comm(request: &Incoming) -> bool {
    matches!(
        request.header.msg_type.as_str(),
        "comm_open" | "comm_msg" | "comm_close"
    )
}

/// The reply's type; what is no request, such as a comm message or a stray `input_reply`, has none.
pub(crate) fn type_of_reply(request: &Incoming) -> Option<String> {
    let kind = request.header.msg_type.as_str();
    kind.ends_with("_request").then(|| reply_kind(kind))
}

/// A request that has arrived already.
async fn waiting_request(inbox: &mut Inbox) -> Option<Incoming> {
    tokio::select! {
        biased;
        request = inbox.recv() => Some(request),
        () = std::future::ready(()) => None,
    }
}
