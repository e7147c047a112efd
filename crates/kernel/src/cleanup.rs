//! Cleanup steps: when one is due it is done by the agent in an idle moment, and measured from outside.
//!
//! A *round* begins with a trigger: the agent is asked what each step could give back (`survey`), `policy::decide` says what is due,
//! the first such step is done (`step`), and with what the agent then says it is decided again, until nothing is due. A request that
//! comes meanwhile ends the round; it waits for the step in hand, which has a time box.

use crate::Kernel;
use crate::death::Life;
use crate::orders::Purpose;
use bytes::Bytes;
use ledger::CellRecord;
use ledger::Released;
use ledger::StepDone;
use policy::Backoff;
use policy::Decision;
use policy::Occasion;
use policy::Offer;
use policy::Offers;
use policy::Step;
use policy::Trigger;
use policy::Verdict;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use wire::Incoming;

/// A cell is over for so long before steps begin: cells that are run one after the other are not disturbed.
const PAUSE: Duration = Duration::from_millis(150);
/// Steps that are remembered until the next record.
const REMEMBERED: usize = 100;
/// Numbers of cells whose results are left alone.
const KEPT: usize = 10_000;
/// Findings that wait for an idle moment.
const FINDINGS: usize = 16;

/// What is due, what is being done, and what was done.
#[derive(Default)]
pub(crate) struct Cleanup {
    pub(crate) backoff: Backoff,
    /// What the next rounds are about, oldest first, and when they may begin.
    due: VecDeque<Occasion>,
    due_at: Option<Instant>,
    idle_at: Option<Instant>,
    round: Option<Round>,
    /// What the next record tells.
    done: Vec<StepDone>,
    notices: Vec<String>,
    /// Bytes that came, went or were let go so far, and the same when each step last ran, and when rounds after a cell and in idle
    /// time last looked for something to do.
    moved: u64,
    moved_when: BTreeMap<Step, u64>,
    looked: [u64; 2],
    /// A cell that waits for a round.
    held: Option<Incoming>,
    kept: Option<String>,
    kept_cells: VecDeque<u64>,
    last_failed: bool,
}

/// A round.
pub(crate) struct Round {
    pub(crate) occasion: Occasion,
    pub(crate) purpose: Purpose,
    offers: Offers,
    /// The step in hand, and resident bytes before it.
    step: Option<(Step, Option<u64>)>,
    pub(crate) done: Vec<StepDone>,
    /// What was refused while it was being done.
    pub(crate) refused: Vec<(Step, String)>,
}

impl Cleanup {
    /// When the kernel is to look whether something is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.due_at, self.idle_at].into_iter().flatten().min()
    }

    /// True while the agent works on a round that no cell waits for.
    pub(crate) fn is_at_work(&self) -> bool {
        self.round
            .as_ref()
            .is_some_and(|round| round.purpose.is_of_policy())
    }

    /// True while a round is in hand, for whomever.
    pub(crate) fn is_in_a_round(&self) -> bool {
        self.round.is_some()
    }

    /// The interpreter is gone, and with it what was to be cleaned up.
    /// The cell that waited for a round is returned.
    pub(crate) fn forget(&mut self) -> Option<Incoming> {
        let old = std::mem::take(self);
        self.done = old.done;
        old.held
    }

    /// What the record of the cell that ends tells.
    pub(crate) fn take_done(&mut self) -> (Vec<StepDone>, Vec<String>) {
        (
            std::mem::take(&mut self.done),
            std::mem::take(&mut self.notices),
        )
    }

    /// Notes what a cell did that has just been answered. `kept` says why its results are to be left alone.
    pub(crate) fn cell_over(
        &mut self,
        policy: &policy::Policy,
        record: &CellRecord,
        let_go: u64,
        kept: Option<String>,
    ) {
        self.keep_findings();
        (self.due_at, self.idle_at) = (None, None);
        if policy.is_idle() {
            return;
        }
        let delta = record.host.delta.unwrap_or(0).unsigned_abs();
        let rise = crate::cell::peak_rise(record);
        self.moved = self.moved.saturating_add(delta.max(let_go).max(rise));
        self.last_failed = record.cell.status == ledger::Status::Error;
        if let (Some(_), Some(number)) = (&kept, record.cell.execution_count) {
            self.kept_cells.push_back(number);
            self.kept_cells
                .drain(..self.kept_cells.len().saturating_sub(KEPT));
        }
        self.kept = kept;
        let occasion = self.occasion(None, record.host.after.unwrap_or(0));
        let mut add = |trigger| {
            self.due.push_back(Occasion {
                trigger: Some(trigger),
                ..occasion.clone()
            });
        };
        let percent = |share: Option<f64>| share.map_or(0, |share| (share * 100.0) as u64);
        let gpu = record.gpu.iter().map(|gpu| percent(gpu.share)).max();
        if percent(record.limit_share) >= policy.pressure
            || gpu.is_some_and(|gpu| gpu >= policy.gpu_pressure)
        {
            add(Trigger::Pressure);
        }
        let findings: Vec<_> = record.findings.iter().filter_map(step_of).collect();
        let [after_cell, idle] = self
            .looked
            .map(|then| self.moved - then >= policy.min_bytes);
        if self.last_failed && after_cell {
            add(Trigger::Exception);
        } else if after_cell {
            add(Trigger::AfterCell);
        }
        if !findings.is_empty() {
            self.due.push_back(Occasion {
                trigger: Some(Trigger::Finding),
                findings,
                ..occasion.clone()
            });
        }
        self.due
            .retain(|o| o.trigger.is_some_and(|t| !policy.steps_on(t).is_empty()));
        let now = Instant::now();
        self.due_at = (!self.due.is_empty()).then(|| now + PAUSE);
        self.idle_at = (idle && !policy.steps_on(Trigger::Idle).is_empty())
            .then(|| now + Duration::from_secs(policy.idle_s));
    }

    fn occasion(&self, trigger: Option<Trigger>, resident: u64) -> Occasion {
        Occasion {
            trigger,
            kept: self.kept.clone(),
            last_failed: self.last_failed,
            moved: self.moved,
            moved_when: self.moved_when.clone(),
            resident,
            ..Occasion::default()
        }
    }

    /// Another cell has come before what is due. All else is found due again after it; findings are told once.
    fn keep_findings(&mut self) {
        self.due
            .retain(|occasion| occasion.trigger == Some(Trigger::Finding));
        self.due.truncate(FINDINGS);
    }

    fn note(&mut self, done: StepDone) {
        self.done.push(done);
        self.done
            .drain(..self.done.len().saturating_sub(REMEMBERED));
    }
}

impl Kernel {
    /// Begins a round if one is due and nothing else is to be done.
    pub(crate) fn clean_if_due(&mut self) {
        let now = Instant::now();
        let cleanup = &mut self.cleanup;
        if cleanup.due_at.is_some_and(|at| at <= now) {
            cleanup.due_at = None;
        } else if cleanup.idle_at.is_some_and(|at| at <= now) {
            cleanup.idle_at = None;
            let occasion = cleanup.occasion(Some(Trigger::Idle), 0);
            cleanup.due.push_back(occasion);
        } else {
            return;
        }
        self.next_round();
    }

    /// Begins a round before a cell whose last peak does not fit into what is free. False if it need not wait for one.
    pub(crate) fn clean_before(&mut self, request: &mut Option<Incoming>, source: &str) -> bool {
        let policy = &self.setup.config.policy;
        if policy.steps_on(Trigger::BeforeCell).is_empty() {
            return false;
        }
        let Some(rise) = self.peaks.of(source) else {
            return false;
        };
        let free = self.meter.resting().and_then(meter::Meter::available);
        if free.is_none_or(|free| free >= rise) || self.cleanup.round.is_some() {
            return false;
        }
        let occasion = self.cleanup.occasion(Some(Trigger::BeforeCell), 0);
        self.begin_round(occasion, Purpose::BeforeCell);
        if self.cleanup.round.is_some() {
            self.cleanup.held = request.take();
        }
        self.cleanup.held.is_some()
    }

    fn next_round(&mut self) {
        if self.is_busy() || self.cleanup.round.is_some() {
            self.cleanup.keep_findings();
        } else if let Some(occasion) = self.cleanup.due.pop_front() {
            self.begin_round(occasion, Purpose::Policy);
        }
    }

    fn is_busy(&self) -> bool {
        self.cell.is_some()
            || self.closing.is_some()
            || !self.queue.is_empty()
            || !self.forwarded.is_empty()
            || self.subshells.run_a_cell()
            || self.ending.is_some()
            || !matches!(self.life, Life::Ready)
    }

    /// Asks the agent what there is to do on an occasion.
    pub(crate) fn begin_round(&mut self, mut occasion: Occasion, purpose: Purpose) {
        occasion.resident = self.resident().unwrap_or(0);
        let wanted = self.wanted(&occasion);
        if let Some(interpreter) = &mut self.interpreter {
            let ask = json!({"op": "survey", "steps": wanted});
            interpreter.send(&[Bytes::from(ask.to_string())]);
            self.cleanup.round = Some(Round {
                occasion,
                purpose,
                offers: Offers::default(),
                step: None,
                done: Vec::new(),
                refused: Vec::new(),
            });
        }
    }

    /// The steps that an occasion may want.
    fn wanted(&self, occasion: &Occasion) -> Vec<&'static str> {
        let policy = &self.setup.config.policy;
        let listed = occasion.trigger.map(|trigger| policy.steps_on(trigger));
        let listed = listed.unwrap_or(policy::Steps::of(&Step::ALL));
        listed
            .iter()
            .filter(|&step| !occasion.done.has(step))
            .map(Step::word)
            .collect()
    }

    fn resident(&self) -> Option<u64> {
        self.meter.resting().and_then(meter::Meter::resident)
    }

    /// The agent says what there is to do.
    pub(crate) fn surveyed(&mut self, offers: &[u8]) {
        if let Some(round) = &mut self.cleanup.round {
            round.offers = parse_offers(serde_json::from_slice(offers).unwrap_or_default());
            self.go_on_cleaning();
        }
    }

    /// The agent has done a step, or given up.
    pub(crate) fn stepped(&mut self, answer: &[u8]) {
        let after = self.resident();
        let answer: Stepped = serde_json::from_slice(answer).unwrap_or_default();
        let policy = &self.setup.config.policy;
        let Some(round) = &mut self.cleanup.round else {
            return;
        };
        let Some((step, before)) = round.step.take() else {
            return;
        };
        round.offers = parse_offers(answer.offers);
        round.occasion.done = round.occasion.done.and(policy::Steps::of(&[step]));
        if let Some(why) = answer.refusal {
            tracing::info!(%step, why, "cleanup: given up");
            if round.purpose.is_of_policy() && self.queue.is_empty() {
                self.cleanup.backoff.ran(step, false, policy.backoff);
            }
            round.refused.push((step, why));
        } else {
            let host = before
                .zip(after)
                .map(|(before, after)| before as i64 - after as i64 + answer.host);
            let best = host.max(answer.gpu).unwrap_or(0);
            self.ledger
                .step_released(step.word(), u64::try_from(best).unwrap_or(0));
            let useful = best >= i64::try_from(policy.min_bytes / 2).unwrap_or(i64::MAX);
            self.cleanup.backoff.ran(step, useful, policy.backoff);
            let trigger = round.occasion.trigger.map_or("", Trigger::word);
            let took_ms = (answer.took_s * 1000.0).round();
            tracing::info!(%step, trigger, host, gpu = answer.gpu, took_ms, "cleanup: done");
            let done = StepDone {
                step: step.word().to_owned(),
                trigger: trigger.to_owned(),
                released: Released {
                    host,
                    gpu: answer.gpu,
                },
                took_s: answer.took_s,
            };
            round.done.push(done.clone());
            self.cleanup.note(done);
        }
        let moved = self.cleanup.moved;
        self.cleanup.moved_when.insert(step, moved);
        self.go_on_cleaning();
    }

    /// What is decided about the round in hand.
    pub(crate) fn decided(&self, round: &Round) -> Vec<Decision> {
        let policy = &self.setup.config.policy;
        policy::decide(
            policy,
            &round.occasion,
            &round.offers,
            &self.cleanup.backoff,
        )
    }

    /// What would be decided on another trigger, with what the agent said.
    pub(crate) fn decided_on(&self, round: &Round, trigger: Trigger) -> Vec<Decision> {
        let findings = self.ledger.findings();
        let occasion = Occasion {
            findings: findings.iter().filter_map(step_of).collect(),
            resident: round.occasion.resident,
            ..self.cleanup.occasion(Some(trigger), 0)
        };
        policy::decide(
            &self.setup.config.policy,
            &occasion,
            &round.offers,
            &self.cleanup.backoff,
        )
    }

    /// Does the next step that is due, or ends the round.
    fn go_on_cleaning(&mut self) {
        let Some(round) = self.cleanup.round.take() else {
            return;
        };
        let decisions = self.decided(&round);
        let goes_on =
            round.purpose.does_steps() && !(round.purpose == Purpose::Policy && self.is_busy());
        let next = decisions
            .iter()
            .find(|decision| decision.verdict == Verdict::Run);
        if let Some(decision) = next.filter(|_| goes_on) {
            tracing::debug!(step = %decision.step, reason = %decision.reason, "cleanup: due");
            self.do_step(round, decision.step);
            return;
        }
        if round.purpose.is_of_policy() {
            for decision in &decisions {
                self.pass_over(decision);
            }
            // Only what moves from now on is a reason to look again.
            let which = usize::from(round.occasion.trigger == Some(Trigger::Idle));
            self.cleanup.looked[which] = round.occasion.moved;
            if next.is_some() && round.occasion.trigger == Some(Trigger::Finding) {
                self.cleanup.due.push_front(round.occasion.clone());
            }
            match self.cleanup.held.take() {
                Some(request) => self.begin_cleaned_cell(request),
                None => self.next_round(),
            }
        } else {
            self.tell_round(&round, &decisions);
        }
    }

    fn pass_over(&mut self, decision: &Decision) {
        if decision.is_of_interest() {
            tracing::debug!(step = %decision.step, reason = %decision.reason, "cleanup: passed over");
        }
        if let policy::Reason::BacksOff(_) = decision.reason {
            self.cleanup.backoff.passed(decision.step);
        }
        if let (Verdict::Suggest, policy::Reason::Due(.., Some(_))) =
            (decision.verdict, &decision.reason)
        {
            let step = decision.step;
            let begin = format!("%hygiene clean {step} would free memory");
            let text = format!("{begin}: it {}; {}.", step.doc(), decision.reason);
            self.cleanup
                .notices
                .retain(|told| !told.starts_with(&begin));
            self.cleanup.notices.push(text);
            let most = self.setup.config.policy.backoff;
            self.cleanup.backoff.ran(step, false, most); // told, and not again at once
        }
    }

    fn do_step(&mut self, mut round: Round, step: Step) {
        let policy = &self.setup.config.policy;
        let urgent = round.occasion.trigger.is_some_and(Trigger::is_urgent);
        let limits = json!({
            "budget_s": (!urgent).then_some(policy.time_box_ms as f64 / 1000.0),
            "out_bytes": policy.out_bytes,
            "traceback_bytes": policy.traceback_bytes,
            "keep_names": policy.keep_names,
            "keep_types": policy.keep_types,
            "keep_cells": self.cleanup.kept_cells,
        });
        let mut after = round.occasion.clone();
        after.done = after.done.and(policy::Steps::of(&[step]));
        let order = json!({"op": "step", "step": step.word(), "steps": self.wanted(&after)});
        round.step = Some((step, self.resident()));
        if let Some(interpreter) = &mut self.interpreter {
            let frame = [order, limits].map(|part| Bytes::from(part.to_string()));
            interpreter.send(&frame);
            self.cleanup.round = Some(round);
        }
    }

    /// A request waits for the agent: the step in hand gives up as soon as it can.
    pub(crate) fn stop_cleaning(&self) {
        let stepping = self
            .cleanup
            .round
            .as_ref()
            .is_some_and(|round| round.step.is_some() && round.purpose == Purpose::Policy);
        if stepping && let Some(interpreter) = &self.interpreter {
            interpreter.stop_cleaning();
        }
    }
}

/// Cause and step of a finding that a step does something about.
fn step_of(finding: &ledger::Finding) -> Option<(String, Step)> {
    let word = finding.step.as_deref()?;
    let step = Step::named(word);
    if step.is_none() {
        tracing::error!(step = word, "a finding names a step that does not exist");
    }
    let step = step?;
    Some((finding.cause.name().to_owned(), step))
}

/// What the agent says of a step that is over.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Stepped {
    gpu: Option<i64>,
    /// What other processes gave back.
    host: i64,
    refusal: Option<String>,
    took_s: f64,
    offers: serde_json::Map<String, serde_json::Value>,
}

/// Reads offers; one that cannot be read is none.
fn parse_offers(given: serde_json::Map<String, serde_json::Value>) -> Offers {
    given
        .into_iter()
        .filter_map(|(name, offer)| {
            Some((
                Step::named(&name)?,
                Offer {
                    bytes: offer["bytes"].as_u64(),
                    seconds: offer["seconds"].as_f64(),
                    refusal: offer["refusal"].as_str().map(str::to_owned),
                },
            ))
        })
        .collect()
}
