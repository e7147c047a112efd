//! What a cell asks about memory (`%hygiene`): told at once, or at the end of the cell that asks (`%%hygiene`).

use crate::Kernel;
use crate::agent::Envelope;
use crate::publish::EMPTY;
use crate::publish::to_bytes;
use badge::Bundle;
use bytes::Bytes;
use serde_json::json;

/// Most questions that one cell may leave for its end.
const MOST_QUESTIONS: usize = 8;

/// A question about memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Every finding that still holds.
    Findings,
}

impl Question {
    /// The question as the agent puts it; the error is a sentence for the person.
    fn parse(what: &str, words: &[String]) -> Result<Self, String> {
        match (what, words) {
            ("findings", []) => Ok(Self::Findings),
            _ => Err(format!(
                "The kernel does not know the question {what:?} with {} words.",
                words.len()
            )),
        }
    }
}

impl Kernel {
    /// Takes a question of the cell in hand, or of the request `by` of a subshell, and lets that go on.
    pub(crate) fn asked(&mut self, by: Option<u64>, envelope: &Envelope) {
        let refused = match envelope.what.as_str() {
            "cap" if by.is_none() => self.cap_cell(&envelope.words),
            "cap" => Err("Cells of subshells have no cap of their own.".to_owned()),
            _ => self.take_question(by, envelope),
        };
        let told = Bytes::from_static(br#"{"op":"told"}"#);
        self.send_to(by, &[told, Bytes::from(refused.err().unwrap_or_default())]);
    }

    fn take_question(&mut self, by: Option<u64>, envelope: &Envelope) -> Result<(), String> {
        let parent = by
            .and_then(|number| self.subshells.request(number))
            .map(|request| request.origin.header.clone())
            .unwrap_or_default();
        Question::parse(&envelope.what, &envelope.words).and_then(|question| {
            if envelope.afterwards {
                self.answer_later(question)
            } else {
                let bundle = self.answer_to(question)?;
                self.show_bundle(parent, bundle);
                Ok(())
            }
        })
    }

    fn answer_later(&mut self, question: Question) -> Result<(), String> {
        let cell = self.cell.as_mut().filter(|cell| cell.is_running());
        let cell = cell.ok_or("No cell is running that could be told of at its end.")?;
        if !self.setup.config.measure {
            return Err("Cells are not measured: `measure` is off in the configuration.".into());
        }
        if cell.questions.len() >= MOST_QUESTIONS {
            return Err(format!("A cell can ask {MOST_QUESTIONS} questions."));
        }
        if !cell.questions.contains(&question) {
            cell.questions.push(question);
        }
        Ok(())
    }

    /// Answers what a cell has asked to be told at its end.
    pub(crate) fn answer_questions(&mut self, parent: &Bytes, questions: &[Question]) {
        for &question in questions {
            match self.answer_to(question) {
                Ok(bundle) => self.show_bundle(parent.clone(), bundle),
                Err(why) => tracing::warn!(?question, %why, "a question without an answer"),
            }
        }
    }

    fn answer_to(&self, question: Question) -> Result<Bundle, String> {
        let options = self.badge_options();
        match question {
            Question::Findings => Ok(badge::findings_bundle(&self.ledger.findings(), &options)),
        }
    }

    fn show_bundle(&mut self, parent: Bytes, bundle: Bundle) {
        let content = json!({"data": bundle.data, "metadata": bundle.metadata, "transient": {}});
        let content = to_bytes(&content);
        self.publish("display_data", parent, EMPTY, content, Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_question_is_refused() {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(Question::parse("findings", &[]), Ok(Question::Findings));
        assert!(Question::parse("findings", &words(&["x"])).is_err());
        assert!(Question::parse("", &[]).is_err());
    }
}
