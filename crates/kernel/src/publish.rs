//! What is sent: replies, outputs, busy and idle.

use crate::Kernel;
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
    pub(crate) fn publish_text(&mut self, stream: Stream, text: &[u8]) {
        if let Some(cell) = &mut self.cell {
            cell.shows_output();
        }
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        self.outbox
            .publish_stream(name, text, self.text_parent.as_ref());
    }
}

/// The type of the reply to a request: `x_request` becomes `x_reply`.
pub(crate) fn reply_kind(request: &str) -> String {
    format!(
        "{}_reply",
        request.strip_suffix("_request").unwrap_or(request)
    )
}
