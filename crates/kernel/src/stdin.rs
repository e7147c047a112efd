//! Questions to the person, and who gets the answer.

use crate::Kernel;
use crate::content::InputReply;
use crate::content::Named;
use crate::publish::EMPTY;
use bytes::Bytes;
use wire::Channel;
use wire::Incoming;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The cell in hand.
    Cell,
    /// The request with this number, of a subshell.
    Subshell(u64),
    /// A thread, beside the cell in hand; this is the number of its question.
    Thread(u64),
}

/// A question that waits for its answer.
pub(crate) struct Question {
    pub(crate) by: Asker,
    msg_id: String,
}

impl Kernel {
    /// The person is asked.
    pub(crate) fn input_request(&mut self, by: Asker, content: Bytes) {
        let request = match by {
            Asker::Cell | Asker::Thread(_) => self.cell.as_ref().map(|cell| &cell.request),
            Asker::Subshell(id) => self.subshells.request(id),
        };
        let Some(request) = request else {
            tracing::debug!("input asked for outside a cell");
            self.answer_asker(by, Bytes::new());
            return;
        };
        let header = self.outbox.reply(
            Channel::Stdin,
            &request.origin,
            "input_request",
            EMPTY,
            content,
            Vec::new(),
        );
        let msg_id = Named::of(&header).msg_id;
        self.forget_question(by);
        self.questions.push(Question { by, msg_id });
    }

    /// The answer to a question: the one that it names, or the newest, for some clients name none.
    pub(crate) fn input_reply(&mut self, reply: &Incoming) {
        if InputReply::is_talk_of_the_page(&reply.content) {
            tracing::debug!("an input_reply that answers no question of a person");
            return;
        }
        let named = Named::of(&reply.parent_header).msg_id;
        let value = InputReply::text(&reply.content);
        if self.is_answer_to_guard(&named, &value) {
            return;
        }
        let Some(at) = self
            .questions
            .iter()
            .position(|question| question.msg_id == named)
            .or(self.questions.len().checked_sub(1))
        else {
            tracing::debug!("an input_reply that no one asked for");
            return;
        };
        let question = self.questions.remove(at);
        self.answer_asker(question.by, reply.content.clone());
    }

    /// Gives who asked the content of the answer; if it is empty, nobody can be asked.
    fn answer_asker(&mut self, by: Asker, content: Bytes) {
        let frame = |content| [Bytes::from_static(br#"{"op":"input_reply"}"#), content];
        match by {
            Asker::Cell => self.send_to(None, &frame(content)),
            Asker::Subshell(id) => self.send_to(Some(id), &frame(content)),
            Asker::Thread(number) => {
                if let Some(interpreter) = &self.interpreter {
                    interpreter.answer_thread(number, &content);
                }
            }
        }
    }

    /// Sends a frame to who waits for it: the request `by` of a subshell, or the main shell.
    pub(crate) fn send_to(&mut self, by: Option<u64>, sections: &[Bytes]) {
        match by {
            Some(id) => self.subshells.send(id, sections),
            None => {
                if let Some(interpreter) = &mut self.interpreter {
                    interpreter.send(sections);
                }
            }
        }
    }

    /// Whoever asked no longer waits.
    pub(crate) fn forget_question(&mut self, by: Asker) {
        self.questions.retain(|question| question.by != by);
    }
}
