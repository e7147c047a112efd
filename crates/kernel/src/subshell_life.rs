//! Subshells come and go: created, listed, deleted, interrupted, gone.

use crate::Kernel;
use crate::content::DeleteSubshell;
use crate::death::Life;
use crate::publish::error;
use crate::requests::type_of_reply;
use crate::stdin::Asker;
use crate::subshells::Subshell;
use crate::subshells::unknown;
use interpreter::Ear;
use interpreter::Line;
use interpreter::LineEvent;
use serde_json::json;
use tokio::sync::mpsc;
use wire::Incoming;

/// The subshells there are.
pub(crate) struct Subshells {
    /// Oldest first.
    pub(crate) living: Vec<Subshell>,
    /// The agent has not said yet that they are there: ids, and the requests that wait for them.
    opening: Vec<(String, Line, Incoming)>,
    /// Deleted, and the agent has not said yet that they are gone: ids, and the requests that wait for it.
    closing: Vec<(String, Incoming)>,
    ear: Ear,
    events: mpsc::UnboundedReceiver<(String, LineEvent)>,
}

impl Default for Subshells {
    fn default() -> Self {
        let (ear, events) = mpsc::unbounded_channel();
        Self {
            living: Vec::new(),
            opening: Vec::new(),
            closing: Vec::new(),
            ear,
            events,
        }
    }
}

impl Subshells {
    /// What becomes of a subshell. Cancel-safe.
    pub(crate) async fn heard(&mut self) -> (String, LineEvent) {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await, // not while there is an ear
        }
    }
}

impl Kernel {
    pub(crate) fn create_subshell(&mut self, request: Incoming) {
        let id = wire::new_id();
        let ear = self.subshells.ear.clone();
        let made = match (&self.life, &self.interpreter) {
            (Life::Broken(why), _) => Err(why.clone()),
            (_, Some(interpreter)) => interpreter.open_line(&id, ear).map_err(|error| {
                format!(
                    "the interpreter cannot be reached: {error}; try again when its cell is over"
                )
            }),
            (_, None) => Err("there is no interpreter".to_owned()),
        };
        match made {
            Ok(line) => self.subshells.opening.push((id, line, request)),
            Err(why) => self.answer(&request, &error("SubshellError", &why)),
        }
    }

    /// The agent says what becomes of a subshell.
    pub(crate) fn line_said(&mut self, id: &str, event: LineEvent) {
        let subshells = &mut self.subshells;
        let opening = subshells.opening.iter().position(|opening| opening.0 == id);
        let living = subshells.living.iter().position(|living| living.id == id);
        match (event, opening, living) {
            (LineEvent::Open, Some(at), _) => {
                let (id, line, request) = subshells.opening.remove(at);
                self.answer(&request, &json!({"status": "ok", "subshell_id": id}));
                self.counts_cells = true;
                self.subshells.living.push(Subshell::new(id, line));
            }
            (LineEvent::Ended(why), Some(at), _) => {
                let (_, _, request) = subshells.opening.remove(at);
                let why = if why.is_empty() { OUT_OF_REACH } else { &why };
                let text = format!("the subshell cannot be created: {why}");
                self.answer(&request, &error("SubshellError", &text));
            }
            (LineEvent::Ended(why), _, Some(at)) => {
                let subshell = subshells.living.remove(at);
                let why = if why.is_empty() { CUT } else { &why };
                tracing::error!(id, why, "a subshell has ended");
                self.give_up_subshell(
                    subshell,
                    "SubshellError",
                    &format!("the subshell has ended: {why}"),
                );
            }
            (event, None, None) => {
                tracing::debug!(id, ?event, "of a subshell that was deleted");
                if let Some(at) = subshells.closing.iter().position(|closing| closing.0 == id) {
                    let (_, request) = subshells.closing.remove(at);
                    self.answer(&request, &json!({"status": "ok"}));
                }
            }
            (LineEvent::Open, None, _) => tracing::error!(id, "a subshell that is there twice"),
        }
    }

    /// Deletes a subshell. One that is free is gone when the request is answered; one that is not finishes what it does first, and
    /// that may take long.
    pub(crate) fn delete_subshell(&mut self, request: Incoming) {
        let id = match serde_json::from_slice::<DeleteSubshell>(&request.content) {
            Ok(content) => content.subshell_id,
            Err(problem) => {
                let text = format!("bad delete_subshell_request: {problem}");
                self.answer(&request, &error("ValueError", &text));
                return;
            }
        };
        let Some(subshell) = self.subshells.find(&id) else {
            self.answer(&request, &unknown(&id));
            return;
        };
        subshell.deleted = true;
        let is_free = subshell.is_free();
        let waiting = std::mem::take(&mut subshell.queue);
        for request in waiting {
            self.answer(&request, &unknown(&id));
        }
        if is_free {
            self.subshells.drop_deleted();
            self.subshells.closing.push((id, request));
        } else {
            self.answer(&request, &json!({"status": "ok"}));
        }
    }

    pub(crate) fn list_subshells(&self, request: &Incoming) {
        let living = self.subshells.living.iter();
        let ids: Vec<&str> = living
            .filter(|subshell| !subshell.deleted)
            .map(|subshell| subshell.id.as_str())
            .collect();
        self.answer(request, &json!({"status": "ok", "subshell_id": ids}));
    }

    /// Interrupts what subshells run; for when the main shell runs no cell.
    pub(crate) fn interrupt_subshells(&mut self) {
        let Some(interpreter) = &self.interpreter else {
            return;
        };
        for subshell in &self.subshells.living {
            if let Some(task) = subshell.task.as_ref().filter(|task| task.answer.is_none()) {
                self.questions
                    .retain(|question| question.by != Asker::Subshell(task.number));
                interpreter.interrupt_subshell(&subshell.id, task.number);
            }
        }
    }

    /// The interpreter is gone, and every subshell with it.
    pub(crate) fn bury_subshells(&mut self, why: &str) {
        self.counts_cells = false;
        for (_, _, request) in std::mem::take(&mut self.subshells.opening) {
            self.answer(&request, &error(crate::death::DIED, why));
        }
        for (_, request) in std::mem::take(&mut self.subshells.closing) {
            self.answer(&request, &json!({"status": "ok"}));
        }
        for subshell in std::mem::take(&mut self.subshells.living) {
            self.give_up_subshell(subshell, crate::death::DIED, why);
        }
    }

    /// Answers all that a subshell had and will not answer.
    fn give_up_subshell(&mut self, mut subshell: Subshell, name: &str, why: &str) {
        if let Some(mut task) = subshell.task.take_if(|task| task.answer.is_some())
            && let Some(answer) = task.answer.take()
        {
            self.pass_on(&task, answer);
        }
        let running = subshell.task.map(|task| task.request);
        for request in running.into_iter().chain(subshell.comms.into_values()) {
            let is_cell = request.header.msg_type == "execute_request";
            if is_cell {
                self.end_text(&request.origin.header);
                self.publish_error(Some(&request.origin.header), name, why);
            }
            if let Some(kind) = type_of_reply(&request) {
                let content = if is_cell {
                    self.bad_cell(name, why)
                } else {
                    error(name, why)
                };
                self.reply(&request, &kind, &content);
            }
            self.idle(&request);
        }
        for request in subshell.queue {
            self.answer(&request, &unknown(&subshell.id));
        }
    }
}

const OUT_OF_REACH: &str = "it got no file descriptor; the interpreter may have no more of them open (ulimit -n), so close files and \
                            try again";
const CUT: &str = "something closed its file descriptor";
