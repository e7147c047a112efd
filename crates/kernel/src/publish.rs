//! What is sent: replies, outputs, busy and idle.

use crate::Kernel;
use crate::content::Execute;
use crate::content::Printed;
use crate::text_limit::Text;
use bytes::Bytes;
use interpreter::Stream;
use serde_json::Value;
use serde_json::json;
use wire::Incoming;

pub(crate) const EMPTY: Bytes = Bytes::from_static(b"{}");

pub(crate) fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// The content of a reply that says that something went wrong.
pub(crate) fn error(name: &str, value: &str) -> Value {
    json!({"status": "error", "ename": name, "evalue": value, "traceback": [format!("{name}: {value}")]})
}

impl Kernel {
    pub(crate) fn status(&self, state: &'static str, parent: Option<&Bytes>) {
        let content = match state {
            "busy" => Bytes::from_static(br#"{"execution_state":"busy"}"#),
            "idle" => Bytes::from_static(br#"{"execution_state":"idle"}"#),
            "restarting" => Bytes::from_static(br#"{"execution_state":"restarting"}"#),
            _ => Bytes::from_static(br#"{"execution_state":"starting"}"#),
        };
        self.outbox
            .publish("status", parent, EMPTY, content, Vec::new());
    }

    pub(crate) fn busy(&self, request: &Incoming) {
        self.status("busy", Some(&request.origin.header));
    }

    pub(crate) fn idle(&self, request: &Incoming) {
        self.status("idle", Some(&request.origin.header));
    }

    /// Sends a reply on the channel of its request.
    pub(crate) fn reply(&self, request: &Incoming, kind: &str, content: &Value) {
        self.reply_raw(request, kind, EMPTY, to_bytes(content), Vec::new());
    }

    pub(crate) fn reply_raw(
        &self,
        request: &Incoming,
        kind: &str,
        metadata: Bytes,
        content: Bytes,
        buffers: Vec<Bytes>,
    ) {
        self.outbox.reply(
            request.channel,
            &request.origin,
            kind,
            metadata,
            content,
            buffers,
        );
    }

    /// Answers a request as a whole: busy, reply, idle.
    pub(crate) fn answer(&self, request: &Incoming, content: &Value) {
        self.busy(request);
        if let Some(kind) = crate::requests::type_of_reply(request) {
            self.reply(request, &kind, content);
        }
        self.idle(request);
    }

    /// Publishes an error as a cell's output.
    pub(crate) fn publish_error(&self, parent: Option<&Bytes>, name: &str, value: &str) {
        let content = json!({"ename": name, "evalue": value, "traceback": [format!("\u{1b}[0;31m{name}\u{1b}[0m: {value}")]});
        self.outbox
            .publish("error", parent, EMPTY, to_bytes(&content), Vec::new());
    }

    /// Publishes text of the interpreter as output of the request in hand, or of the last one.
    pub(crate) fn publish_text(&mut self, stream: Stream, text: Bytes) {
        if let Some(cell) = &mut self.cell {
            cell.shows_output();
        }
        if stream == Stream::Stderr {
            self.stderr.add(&text);
        }
        let parent = self.text_parent.as_ref();
        match self.limits.of(parent) {
            None => self.show_text(stream, &text, parent),
            Some(limit) => {
                let now = limit.take(stream, text);
                self.show_texts(&now, self.text_parent.as_ref());
            }
        }
    }

    pub(crate) fn show_text(&self, stream: Stream, text: &[u8], parent: Option<&Bytes>) {
        self.outbox.publish_stream(name_of(stream), text, parent);
    }

    fn show_texts(&self, texts: &[Text], parent: Option<&Bytes>) {
        for (stream, text) in texts {
            self.show_text(*stream, text, parent);
        }
    }

    /// The text of a cell begins: from here on it counts.
    pub(crate) fn begin_text(&mut self, request: &Incoming, content: &Execute) {
        let for_a_person = self.setup.someone_looks && content.allows_questions();
        let limit = self.setup.config.stream_limit.of_cell(for_a_person);
        self.limits.begin(&request.origin.header, limit);
    }

    /// A cell has printed its last: what was kept of its text is shown.
    pub(crate) fn end_text(&mut self, header: &Bytes) {
        if let Some(limit) = self.limits.of(Some(header)) {
            let now = limit.end();
            self.show_texts(&now, Some(header));
        }
    }

    /// Holds an output of the agent's against the limit of its cell. True if that is all that is to be done: it is text, and
    /// what may be shown of it has been.
    pub(crate) fn is_held_to_limit(
        &mut self,
        kind: &str,
        content: &Bytes,
        parent: Option<&Bytes>,
    ) -> bool {
        let Some(limit) = self.limits.of(parent) else {
            return false;
        };
        let now = match kind {
            "stream" => {
                let Some((stream, text)) = Printed::parse(content) else {
                    return false;
                };
                let size = text.len();
                let now = limit.take(stream, text);
                if now.len() == 1 && now[0].1.len() == size {
                    return false; // as it came
                }
                self.show_texts(&now, parent);
                return true;
            }
            "error" | "execute_result" => limit.release(),
            "clear_output" => {
                let now = limit.release();
                limit.restart();
                now
            }
            _ => return false,
        };
        self.show_texts(&now, parent);
        false
    }
}

fn name_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// The type of the reply to a request: `x_request` becomes `x_reply`.
pub(crate) fn reply_kind(request: &str) -> String {
    format!(
        "{}_reply",
        request.strip_suffix("_request").unwrap_or(request)
    )
}
