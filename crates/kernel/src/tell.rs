//! What a cell asks about memory (`%hygiene`): told at once, or at the end of the cell that asks (`%%hygiene`).

use crate::Kernel;
use crate::agent::Envelope;
use crate::publish::EMPTY;
use crate::publish::to_bytes;
use badge::Bundle;
use bytes::Bytes;
use ledger::Inventory;
use ledger::Which;
use serde_json::json;

/// Most questions that one cell may leave for its end.
const MOST_QUESTIONS: usize = 8;

/// A question about memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Every finding that still holds.
    Findings,
    /// A cell at length.
    Why(Which),
    /// What the ledgers of all cells add up to.
    Account,
    /// The page about a cause.
    Page(&'static str),
    /// What the variables hold.
    Variables,
}

impl Question {
    /// Whether the answer says all that a badge of the cell would.
    pub(crate) fn is_of_the_cell(&self) -> bool {
        matches!(self, Self::Why(_))
    }

    /// The question as the agent puts it; the error is a sentence for the person.
    fn parse(what: &str, words: &[String]) -> Result<Self, String> {
        match (what, words) {
            ("findings", []) => Ok(Self::Findings),
            ("why", []) => Ok(Self::Why(Which::Last)),
            ("why", [number]) => {
                let digits = number.trim_start_matches('[').trim_end_matches(']');
                let number = digits.parse().map_err(|_| {
                    format!(
                        "{number:?} is not the number of a cell: write %hygiene why 3 for cell [3]."
                    )
                })?;
                Ok(Self::Why(Which::Numbered(number)))
            }
            ("account", []) => Ok(Self::Account),
            ("page", [cause]) => {
                let page = ledger::page(cause);
                page.map(Self::Page)
                    .ok_or_else(|| format!("There is no page about {cause:?}."))
            }
            ("variables", []) => Ok(Self::Variables),
            _ => Err(format!(
                "The kernel does not know the question {what:?} with {} words.",
                words.len()
            )),
        }
    }
}

impl Kernel {
    /// Takes a question of the cell in hand, or of the request `by` of a subshell, and lets that go on.
    ///
    /// What only the agent knows comes with the question, or, if it is to be answered later, with the facts about the cell.
    pub(crate) fn asked(&mut self, by: Option<u64>, envelope: &Envelope, known: &[u8]) {
        let refused = match envelope.what.as_str() {
            "cap" if by.is_none() => match self.cap_cell(&envelope.words) {
                Ok(()) => return,
                refused => refused,
            },
            "cap" => Err("Cells of subshells have no cap of their own.".to_owned()),
            _ => self.take_question(by, envelope, known),
        };
        self.let_go_on(by, &refused.err().unwrap_or_default());
    }

    /// Answers the question of a cell: what was asked for is done, or why it is not.
    pub(crate) fn let_go_on(&mut self, by: Option<u64>, refused: &str) {
        let told = Bytes::from_static(br#"{"op":"told"}"#);
        self.send_to(by, &[told, Bytes::copy_from_slice(refused.as_bytes())]);
    }

    fn take_question(
        &mut self,
        by: Option<u64>,
        envelope: &Envelope,
        known: &[u8],
    ) -> Result<(), String> {
        let parent = by
            .and_then(|number| self.subshells.request(number))
            .map(|request| request.origin.header.clone())
            .unwrap_or_default();
        let question = Question::parse(&envelope.what, &envelope.words)?;
        if !self.setup.config.measure && !matches!(question, Question::Page(_)) {
            let why = "Cells are not measured: `measure` is off in the configuration.";
            Err(why.to_owned())
        } else if envelope.afterwards {
            self.answer_later(question)
        } else {
            let bundle = self.answer_to(question, known)?;
            self.show_bundle(parent, bundle);
            Ok(())
        }
    }

    fn answer_later(&mut self, question: Question) -> Result<(), String> {
        let cell = self.cell.as_mut().filter(|cell| cell.is_running());
        let cell = cell.ok_or("No cell is running that could be told of at its end.")?;
        if cell.questions.len() >= MOST_QUESTIONS {
            return Err(format!("A cell can ask {MOST_QUESTIONS} questions."));
        }
        if !cell.questions.contains(&question) {
            cell.questions.push(question);
        }
        Ok(())
    }

    /// Answers what a cell has asked to be told at its end; its record is the newest one.
    pub(crate) fn answer_questions(
        &mut self,
        parent: &Bytes,
        questions: &[Question],
        known: &[u8],
    ) {
        for &question in questions {
            let question = match question {
                Question::Why(Which::Last) => Question::Why(Which::Newest),
                other => other,
            };
            match self.answer_to(question, known) {
                Ok(bundle) => self.show_bundle(parent.clone(), bundle),
                Err(why) => {
                    let content = json!({"name": "stderr", "text": format!("{why}\n")});
                    let content = to_bytes(&content);
                    self.publish("stream", parent.clone(), EMPTY, content, Vec::new());
                }
            }
        }
    }

    fn answer_to(&self, question: Question, known: &[u8]) -> Result<Bundle, String> {
        let options = self.badge_options();
        match question {
            Question::Findings => Ok(badge::findings_bundle(&self.ledger.findings(), &options)),
            Question::Why(which) => {
                let past = self.ledger.past(which)?;
                let findings = self.ledger.findings_of(past);
                let others = self.ledger.findings().len() - findings.len();
                Ok(badge::why_bundle(past, &findings, others, &options))
            }
            Question::Variables => Ok(badge::holdings_bundle(&Inventory::parse(known)?)),
            Question::Page(page) => Ok(badge::page_bundle(page)),
            Question::Account => Ok(badge::account_bundle(self.ledger.account())),
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
        for (number, which) in [("7", Which::Numbered(7)), ("[7]", Which::Numbered(7))] {
            let question = Question::parse("why", &words(&[number]));
            assert_eq!(question, Ok(Question::Why(which)));
        }
        for number in ["seven", "-1", "", "99999999999999999999"] {
            let why = Question::parse("why", &words(&[number])).unwrap_err();
            assert!(why.contains("%hygiene why 3"), "{why}");
        }
        assert!(Question::parse("", &[]).is_err());
    }
}
