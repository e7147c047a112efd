//! What a cell asks of the front by `%hygiene`, and what it is told.

use crate::Kernel;
use crate::agent::Envelope;
use crate::cleanup::Round;
use bytes::Bytes;
use policy::Decision;
use policy::Occasion;
use policy::PolicyName;
use policy::Step;
use policy::Steps;
use policy::Trigger;
use policy::Verdict;
use serde_json::json;
use std::fmt::Write;

/// The word that has `%hygiene clean` only say what it would do.
const DRY_RUN: &str = "--dry-run";

/// Whom a round of cleanup steps is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The policy.
    Policy,
    /// The policy, before a cell that waits.
    BeforeCell,
    /// `%hygiene clean`.
    Clean,
    /// `%hygiene clean --dry-run`.
    DryRun,
    /// `%hygiene policy explain`.
    Explain,
}

impl Purpose {
    pub(crate) fn is_of_policy(self) -> bool {
        matches!(self, Self::Policy | Self::BeforeCell)
    }

    pub(crate) fn does_steps(self) -> bool {
        !matches!(self, Self::DryRun | Self::Explain)
    }
}

impl Kernel {
    /// Does what a cell orders by `%hygiene`, and tells it.
    pub(crate) fn ordered(&mut self, envelope: &Envelope) {
        let words: Vec<&str> = envelope.words.iter().map(String::as_str).collect();
        match (envelope.what.as_str(), &words[..]) {
            ("clean", words) => self.clean_now(words),
            ("rebirth_room", [wanted]) => {
                let said = self.room_for_rebirth(wanted);
                self.told(said);
            }
            ("rebirth", [payload, bytes]) => self.begin_rebirth(payload, bytes),
            ("policy", [] | ["show"]) => self.told(Ok(policy::table(&self.setup.config))),
            ("policy", ["explain"]) => self.begin_asked(Occasion::default(), Purpose::Explain),
            (
                "policy",
                ["set", given @ ..]
                | given @ ["observe" | "suggest" | "tidy" | "strict" | "custom"],
            ) => {
                let said = self.set_policy(given);
                self.told(said);
            }
            ("policy", _) => self.told(Err(
                "use %hygiene policy show, explain, set NAME or set KEY=VALUE, or the NAME alone"
                    .into(),
            )),
            (what, _) => self.told(Err(format!("the kernel does not know the order {what:?}"))),
        }
    }

    pub(crate) fn told(&mut self, text: Result<String, String>) {
        let told = match text {
            Ok(text) => json!({"text": text}),
            Err(error) => json!({"error": error}),
        };
        if let Some(interpreter) = &mut self.interpreter {
            let told = Bytes::from(told.to_string());
            interpreter.send(&[Bytes::from_static(br#"{"op":"told"}"#), told]);
        }
    }

    fn clean_now(&mut self, words: &[&str]) {
        let dry_run = words.contains(&DRY_RUN);
        let named: Vec<&str> = words
            .iter()
            .copied()
            .filter(|&word| word != DRY_RUN)
            .collect();
        let mut asked = Steps::NONE;
        for word in &named {
            match Step::named(word) {
                Some(step) => asked = asked.and(Steps::of(&[step])),
                None => {
                    let all: Vec<&str> = Step::ALL.into_iter().map(Step::word).collect();
                    let text = format!("there is no step {word:?}; use {}", all.join(", "));
                    self.told(Err(text));
                    return;
                }
            }
        }
        if named.is_empty() {
            // Only what the policy would do anyway; anything else is asked for by name.
            let policy = &self.setup.config.policy;
            asked = policy
                .steps_on(Trigger::AfterCell)
                .and(policy.steps_on(Trigger::Idle));
            if policy.name == PolicyName::Suggest || asked.is_empty() {
                asked = policy::Policy::default().steps_on(Trigger::AfterCell);
            }
        }
        let occasion = Occasion {
            trigger: Some(Trigger::Asked),
            asked,
            ..Occasion::default()
        };
        let purpose = if dry_run {
            Purpose::DryRun
        } else {
            Purpose::Clean
        };
        self.begin_asked(occasion, purpose);
    }

    fn begin_asked(&mut self, occasion: Occasion, purpose: Purpose) {
        if self.cleanup.is_in_a_round() {
            self.told(Err("cleanup steps are being done; try again".into()));
        } else {
            self.begin_round(occasion, purpose);
        }
    }

    /// A round that a cell asked for is over.
    pub(crate) fn tell_round(&mut self, round: &Round, decisions: &[Decision]) {
        let text = if round.purpose == Purpose::Explain {
            self.explained_policy(round)
        } else {
            cleaned(round, decisions)
        };
        self.told(Ok(text));
    }

    /// What every trigger would do now, and why.
    fn explained_policy(&self, round: &Round) -> String {
        let name = self.setup.config.policy.name;
        let mut text = format!("policy {name}: what each trigger would do now");
        for trigger in Trigger::OF_POLICIES {
            let decisions = self.decided_on(round, trigger);
            let _ = write!(text, "\n\n{trigger}");
            for decision in decisions
                .iter()
                .filter(|decision| decision.is_of_interest())
            {
                let mark = match decision.verdict {
                    Verdict::Run => "runs",
                    Verdict::Suggest => "told",
                    Verdict::No => "-",
                };
                let _ = write!(
                    text,
                    "\n  {:<16} {mark:<5} {}",
                    decision.step, decision.reason
                );
            }
            let others = decisions
                .iter()
                .filter(|decision| !decision.is_of_interest());
            let others: Vec<&str> = others.map(|decision| decision.step.word()).collect();
            if !others.is_empty() {
                let _ = write!(text, "\n  not listed by the policy: {}", others.join(", "));
            }
        }
        text
    }

    fn set_policy(&mut self, given: &[&str]) -> Result<String, String> {
        if given.is_empty() {
            return Err(
                "set what? A policy (observe, suggest, tidy, strict, custom) or KEY=VALUE".into(),
            );
        }
        let mut config = self.setup.config.clone();
        for setting in given {
            let (key, value) = setting.split_once('=').unwrap_or(("name", setting));
            let key = key.trim();
            let key = key.strip_prefix("policy.").unwrap_or(key);
            policy::set(&mut config, &format!("policy.{key}"), value)?;
        }
        let unread = policy::unread_list(&config);
        let note = unread.map_or(String::new(), |problem| format!("\n{}", problem.message));
        self.setup.config = config;
        Ok(format!("policy {}{note}", self.setup.config.policy.name))
    }
}

/// What `%hygiene clean` prints.
fn cleaned(round: &Round, decisions: &[Decision]) -> String {
    let mut text = String::new();
    for done in &round.done {
        let freed = [
            (done.released.host, ""),
            (done.released.gpu, " of GPU memory"),
        ]
        .into_iter()
        .filter_map(|(bytes, of)| Some((u64::try_from(bytes?).ok()?, of)))
        .filter(|&(bytes, _)| bytes >= 64 << 10) // less is noise: a few pages
        .map(|(bytes, of)| format!("{}{of}", badge::Bytes(bytes)))
        .collect::<Vec<_>>()
        .join(" and ");
        let freed = if freed.is_empty() { "nothing" } else { &freed };
        let _ = writeln!(
            text,
            "{:<16} freed {freed} in {:.0} ms",
            done.step,
            done.took_s * 1000.0
        );
    }
    for (step, why) in &round.refused {
        let _ = writeln!(text, "{step:<16} not done: {why}");
    }
    for decision in decisions {
        match decision.verdict {
            Verdict::No if decision.is_of_interest() => {
                let _ = writeln!(text, "{:<16} not done: {}", decision.step, decision.reason);
            }
            Verdict::Run | Verdict::Suggest => {
                let _ = writeln!(
                    text,
                    "{:<16} would be done: {}",
                    decision.step, decision.reason
                );
            }
            Verdict::No => {}
        }
    }
    text.trim_end().to_owned()
}
