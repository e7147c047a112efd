//! What the agent says.

use crate::Ended;
use crate::Kernel;
use crate::cell::CellReply;
use crate::content::ClearOutput;
use crate::death::Greeting;
use crate::death::Life;
use crate::requests::type_of_reply;
use crate::stdin::Asker;
use bytes::Bytes;
use interpreter::Event;
use interpreter::Frame;
use serde::Deserialize;

/// The JSON before the sections of a frame. Each `op` uses some of the fields; one of another type than it should have,
/// which user code can bring about, counts as absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Envelope {
    #[serde(deserialize_with = "or_default")]
    pub op: String,
    #[serde(deserialize_with = "or_default")]
    pub id: u64,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub status: String,
    #[serde(deserialize_with = "or_default")]
    pub execution_count: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    pub wall_s: Option<f64>,
    #[serde(deserialize_with = "or_default")]
    pub cpu_s: Option<f64>,
    #[serde(deserialize_with = "or_default")]
    pub exit: bool,
    #[serde(deserialize_with = "or_default")]
    pub what: String,
    #[serde(deserialize_with = "or_default")]
    pub words: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub afterwards: bool,
    #[serde(deserialize_with = "or_default")]
    thread: u64,
    #[serde(deserialize_with = "or_default")]
    python: String,
    #[serde(deserialize_with = "or_default")]
    version: String,
    #[serde(deserialize_with = "or_default")]
    executable: String,
    #[serde(deserialize_with = "or_default")]
    error: String,
    #[serde(deserialize_with = "or_default")]
    debugger: bool,
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl Kernel {
    /// Takes one event of the interpreter.
    pub(crate) fn happened(&mut self, event: Event) {
        match event {
            Event::Text(stream, text) => self.publish_text(stream, text),
            Event::Frame(frame) => self.frame(frame),
            Event::OfFork(frame) => self.frame_of_fork(frame),
            Event::Debug(frame) => self.debugger_said(frame),
            Event::Exit(end) => self.died(end),
        }
    }

    fn frame(&mut self, Frame(sections): Frame) {
        let mut sections = sections.into_iter();
        let envelope: Envelope = match serde_json::from_slice(&sections.next().unwrap_or_default())
        {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(%error, "a frame of the agent that cannot be read");
                return;
            }
        };
        let mut next = || sections.next().unwrap_or_default();
        match envelope.op.as_str() {
            "publish" => {
                let (parent, metadata, content) = (next(), next(), next());
                self.publish(
                    &envelope.kind,
                    parent,
                    metadata,
                    content,
                    sections.collect(),
                );
            }
            "reply" => {
                let (metadata, content, facts) = (next(), next(), next());
                self.replied(envelope, metadata, content, &facts, sections.collect());
            }
            "parent" => self.text_parent = Some(next()),
            "facts" => {
                let (facts, holdings) = (next(), next());
                self.explained(&facts, holdings);
            }
            "late" => self.learnt(&next()),
            "input_request" => self.input_request(asker(&envelope), next()),
            "elsewhere" => self.move_comm(envelope.id, &envelope.what),
            "where" => self.tell_why_it_goes_on(&envelope.what),
            "ask" => self.asked(of_subshell(&envelope), &envelope, &next()),
            "do" => self.ordered(&envelope),
            "surveyed" => self.surveyed(&next()),
            "stepped" => self.stepped(&next()),
            "async" => {
                if !self.subshells.waits_for_events(envelope.id)
                    && let Some(cell) = &mut self.cell
                {
                    cell.waits_for_events();
                }
            }
            "hello" => {
                self.greeting = Some(Greeting {
                    python: envelope.python,
                    version: envelope.version,
                    debugger: envelope.debugger,
                });
                self.satisfy_curiosity();
            }
            "ready" => {
                self.execution_count = envelope.execution_count.unwrap_or(self.execution_count);
                self.life = Life::Ready;
                self.start_guard();
            }
            "no_ipython" => {
                self.life = Life::Broken(no_ipython(&envelope.executable, &envelope.error))
            }
            other => tracing::error!(op = other, "an unknown frame of the agent"),
        }
    }

    /// A forked child may publish, and nothing else.
    pub(crate) fn frame_of_fork(&mut self, frame: Frame) {
        let first = frame.0.first().map_or(&[][..], |envelope| envelope);
        match serde_json::from_slice::<Envelope>(first) {
            Ok(envelope) if envelope.op == "publish" => self.frame(frame),
            _ => tracing::warn!("a forked child said what is not its to say"),
        }
    }

    pub(crate) fn publish(
        &mut self,
        kind: &str,
        parent: Bytes,
        metadata: Bytes,
        content: Bytes,
        buffers: Vec<Bytes>,
    ) {
        if let Some(cell) = &mut self.cell
            && (parent.is_empty() || parent == cell.request.origin.header)
        {
            match kind {
                "clear_output" => {
                    let clear: ClearOutput = serde_json::from_slice(&content).unwrap_or_default();
                    cell.clears_output(clear.wait);
                }
                "display_data" | "execute_result" | "error" | "stream" => cell.shows_output(),
                _ => {}
            }
        }
        let parent = if parent.is_empty() {
            self.text_parent.clone()
        } else {
            Some(parent)
        };
        if !self.is_held_to_limit(kind, &content, parent.as_ref()) {
            self.outbox
                .publish(kind, parent.as_ref(), metadata, content, buffers);
        }
    }

    fn replied(
        &mut self,
        envelope: Envelope,
        metadata: Bytes,
        content: Bytes,
        facts: &[u8],
        buffers: Vec<Bytes>,
    ) {
        if self.subshells.have(envelope.id) {
            self.subshell_replied(envelope, metadata, content, buffers);
            return;
        }
        self.forget_question(Asker::Cell);
        if self
            .cell
            .as_ref()
            .is_some_and(|cell| cell.id == envelope.id && cell.is_running())
        {
            self.flush_unfinished_text();
            if let Some(header) = self
                .cell
                .as_ref()
                .map(|cell| cell.request.origin.header.clone())
            {
                self.end_text(&header);
            }
            self.cell_replied(CellReply::new(envelope, content, facts));
            return;
        }
        let Some(request) = self.forwarded.remove(&envelope.id) else {
            tracing::error!(id = envelope.id, "a reply to no request");
            return;
        };
        self.flush_unfinished_text();
        if let Some(kind) = type_of_reply(&request) {
            self.reply_raw(&request, &kind, metadata, content, buffers);
        }
        self.idle(&request);
        if envelope.exit {
            self.ending = Some(Ended::Asked);
        }
    }

    pub(crate) fn flush_unfinished_text(&mut self) {
        let rest = self
            .interpreter
            .as_mut()
            .map(interpreter::Interpreter::unfinished_text)
            .unwrap_or_default();
        for (stream, text) in rest {
            self.publish_text(stream, text);
        }
    }
}

/// The request of a subshell that a frame names; the main shell's names none.
fn of_subshell(envelope: &Envelope) -> Option<u64> {
    (envelope.id > 0).then_some(envelope.id)
}

/// Who asks the person.
fn asker(envelope: &Envelope) -> Asker {
    match (envelope.thread, envelope.id) {
        (0, 0) => Asker::Cell,
        (0, id) => Asker::Subshell(id),
        (number, _) => Asker::Thread(number),
    }
}

fn no_ipython(executable: &str, error: &str) -> String {
    format!(
        "The Python interpreter {executable} cannot run notebooks: {error}. Install IPython for it with\n    \
         {executable} -m pip install 'ipython>=8.12'\nand restart the kernel, or choose another interpreter \
         (rust-hygiene install --python PATH; rust-hygiene doctor shows which one is used and why)."
    )
}
