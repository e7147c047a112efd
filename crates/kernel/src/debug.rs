//! The debugger's requests. A thread of the agent answers them while the main thread is stopped in a cell, so they have a
//! channel and a queue of their own: one is in the air at a time, as control requests are answered in turn.

use crate::Kernel;
use crate::agent::Envelope;
use crate::death::DIED;
use crate::death::Life;
use crate::publish::EMPTY;
use crate::publish::error;
use crate::publish::to_bytes;
use crate::requests::MOST_WAITING;
use bytes::Bytes;
use interpreter::Frame;
use serde_json::Value;
use serde_json::json;
use std::collections::VecDeque;
use wire::Incoming;

/// Debug requests that are not answered yet.
#[derive(Default)]
pub(crate) struct Debug {
    queue: VecDeque<Incoming>,
    in_hand: Option<(u64, Incoming)>,
    /// Header of the last request, which events belong to.
    parent: Option<Bytes>,
}

impl Kernel {
    pub(crate) fn debug_request(&mut self, request: Incoming) {
        if self.debug.queue.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} debug requests are waiting already");
            self.answer(&request, &failure(&request, "QueueFull", &text));
            return;
        }
        self.debug.queue.push_back(request);
    }

    /// Hands the next debug request to the agent's debugger, if it is free.
    pub(crate) fn pump_debugger(&mut self) {
        while self.debug.in_hand.is_none() && !self.debug.queue.is_empty() {
            let problem = match &self.life {
                Life::Starting => return,
                Life::Ready => None,
                Life::Broken(why) => Some(why.clone()),
            };
            let Some(request) = self.debug.queue.pop_front() else {
                return;
            };
            if let Some(why) = problem {
                self.answer(&request, &failure(&request, "InterpreterMissing", &why));
                continue;
            }
            self.last_id += 1;
            let envelope = json!({"op": "request", "id": self.last_id});
            let sections = [Bytes::from(envelope.to_string()), request.content.clone()];
            let sent = self
                .interpreter
                .as_mut()
                .is_some_and(|interpreter| interpreter.send_debug(&sections));
            if sent {
                self.busy(&request);
                self.debug.parent = Some(request.origin.header.clone());
                self.debug.in_hand = Some((self.last_id, request));
            } else {
                self.answer(&request, &failure(&request, "DebuggerError", UNREACHABLE));
            }
        }
    }

    /// Takes a reply or an event of the debugger; `None`: its channel is closed.
    pub(crate) fn debugger_said(&mut self, frame: Option<Frame>) {
        let Some(Frame(sections)) = frame else {
            self.give_up_in_hand("DebuggerError", UNREACHABLE);
            return;
        };
        let mut sections = sections.into_iter();
        let envelope = sections.next().unwrap_or_default();
        let content = sections.next().unwrap_or_default();
        let envelope: Envelope = serde_json::from_slice(&envelope).unwrap_or_default();
        match envelope.op.as_str() {
            "event" => {
                let parent = self.debug.parent.as_ref();
                self.outbox
                    .publish("debug_event", parent, EMPTY, content, Vec::new());
            }
            "reply" => match self.debug.in_hand.take() {
                Some((id, request)) if id == envelope.id => {
                    self.reply_raw(&request, "debug_reply", EMPTY, content, Vec::new());
                    self.idle(&request);
                }
                other => {
                    tracing::error!(id = envelope.id, "a reply to no debug request");
                    self.debug.in_hand = other;
                }
            },
            other => tracing::error!(op = other, "an unknown frame of the debugger"),
        }
    }

    /// The interpreter is gone: so is the debugging session.
    pub(crate) fn debugger_died(&mut self, why: &str) {
        self.give_up_in_hand(DIED, why);
        if let Some(parent) = self.debug.parent.take() {
            let event = json!({"type": "event", "seq": 0, "event": "terminated"});
            self.outbox.publish(
                "debug_event",
                Some(&parent),
                EMPTY,
                to_bytes(&event),
                Vec::new(),
            );
        }
    }

    fn give_up_in_hand(&mut self, name: &str, why: &str) {
        if let Some((_, request)) = self.debug.in_hand.take() {
            self.reply(&request, "debug_reply", &failure(&request, name, why));
            self.idle(&request);
        }
    }
}

const UNREACHABLE: &str =
    "the debugger cannot be reached: something closed its file descriptor; restart the kernel";

/// A failed response of the Debug Adapter Protocol that is an error reply too.
fn failure(request: &Incoming, name: &str, text: &str) -> Value {
    let asked: Value = serde_json::from_slice(&request.content).unwrap_or_default();
    let mut content = error(name, text);
    content["type"] = "response".into();
    content["seq"] = asked["seq"].as_i64().unwrap_or(0).into();
    content["request_seq"] = content["seq"].clone();
    content["command"] = asked["command"].as_str().unwrap_or_default().into();
    content["success"] = false.into();
    content["message"] = text.into();
    content
}
