//! The decision.

use std::collections::BTreeMap;
use std::fmt;

use super::{Backoff, Policy, PolicyName, Step, Steps, Trigger};

/// An allocator keeps less than this for good reason, bytes.
const SLACK: u64 = 32 << 20;
/// Slack below this share of the resident memory is not worth a walk through all arenas: one part in so many.
const SLACK_SHARE: u64 = 10;

/// What there is to decide about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// What brought it about; `None` decides nothing.
    pub trigger: Option<Trigger>,
    /// Of [`Trigger::Finding`]: cause and step of each finding.
    pub findings: Vec<(String, Step)>,
    /// Why the last cell's results are to be left alone.
    pub kept: Option<String>,
    /// The last cell ended with an exception, which the person may want to look at.
    pub last_failed: bool,
    /// Bytes that came, went or were let go so far.
    pub moved: u64,
    /// The same when a step last ran.
    pub moved_when: BTreeMap<Step, u64>,
    /// Resident bytes of the interpreter.
    pub resident: u64,
    /// Steps that ran on this occasion already.
    pub done: Steps,
    /// Steps that the person named; empty means all that there is something for.
    pub asked: Steps,
}

/// What the interpreter says of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// What it would give back, at a guess; unknown is `None`.
    pub bytes: Option<u64>,
    /// How long it would take, at a guess.
    pub seconds: Option<f64>,
    /// Why it cannot be run here and now.
    pub refusal: Option<String>,
}

/// What the interpreter says of every step; one that is missing has nothing to do.
pub type Offers = BTreeMap<Step, Offer>;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is run.
    Run,
    /// It is suggested to the person.
    Suggest,
    /// Nothing.
    No,
}

/// A step, what becomes of it, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The step.
    pub step: Step,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// Why a step is run or not. Printed, it is what a person reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The policy runs nothing at all.
    Observes,
    /// The policy does not list the step for this trigger.
    NotListed(PolicyName, Trigger),
    /// No finding is about it.
    NoFinding,
    /// The finding's cause is not among `policy.causes`.
    CauseNotListed(String),
    /// The person named other steps.
    NotAsked,
    /// It ran on this occasion already.
    Done,
    /// The last cell's results are to be left alone.
    Kept(String),
    /// The exception was just raised.
    JustRaised,
    /// The interpreter has nothing for it.
    Nothing,
    /// The interpreter refuses.
    Refused(String),
    /// It would give back too little: what, and how much is needed.
    TooLittle(u64, u64),
    /// So little has moved that a search is not worth it: what, and how much is needed.
    Still(u64, u64),
    /// It would take too long: seconds, and milliseconds allowed.
    TooLong(f64, u64),
    /// It gave back nothing lately; so many more occasions are passed over.
    BacksOff(u64),
    /// It is run or suggested: by which policy, on what, and what it would give back.
    Due(PolicyName, Trigger, Option<u64>),
}

impl Decision {
    /// True if it is worth a line: the policy could have run the step.
    #[must_use]
    pub fn is_of_interest(&self) -> bool {
        !matches!(
            self.reason,
            Reason::Observes | Reason::NotListed(..) | Reason::NotAsked | Reason::Done
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observes => write!(f, "the policy observe runs nothing"),
            Self::NotListed(PolicyName::Custom, trigger) => {
                write!(f, "`{}` does not list it", trigger.key())
            }
            Self::NotListed(policy, trigger) => {
                write!(f, "the policy {policy} does not run it on {trigger}")
            }
            Self::NoFinding => write!(f, "no finding is about what it frees"),
            Self::CauseNotListed(cause) => write!(f, "`policy.causes` does not list {cause}"),
            Self::NotAsked => write!(f, "it was not asked for"),
            Self::Done => write!(f, "it has run"),
            Self::Kept(how) => write!(f, "the cell is kept by {how}"),
            Self::JustRaised => write!(f, "the exception was just raised; %debug may want it"),
            Self::Nothing => write!(f, "there is nothing for it to do"),
            Self::Refused(why) => f.write_str(why),
            Self::TooLittle(bytes, least) => {
                write!(
                    f,
                    "it would free about {}, less than {}",
                    Mib(*bytes),
                    Mib(*least)
                )
            }
            Self::Still(bytes, least) => write!(
                f,
                "only {} moved since the last time, less than {}",
                Mib(*bytes),
                Mib(*least)
            ),
            Self::TooLong(seconds, most) => {
                write!(
                    f,
                    "it would take about {:.0} ms, more than {most} ms",
                    seconds * 1000.0
                )
            }
            Self::BacksOff(left) => {
                write!(f, "it freed nothing lately; passed over {left} more times")
            }
            Self::Due(policy, trigger, bytes) => {
                match trigger {
                    Trigger::Asked => write!(f, "asked for")?,
                    _ => write!(f, "on {trigger}, by the policy {policy}")?,
                }
                match bytes {
                    Some(bytes) => write!(f, ", about {}", Mib(*bytes)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Decides about every step, in the order of execution. Only the first [`Verdict::Run`] is meant to be carried out: what it gave
/// back may change what is worth doing next, so decide again with a new occasion.
#[must_use]
pub fn decide(
    policy: &Policy,
    occasion: &Occasion,
    offers: &Offers,
    backoff: &Backoff,
) -> Vec<Decision> {
    let Some(trigger) = occasion.trigger else {
        return Vec::new();
    };
    Step::ALL
        .into_iter()
        .map(|step| {
            let refused = refuse(policy, occasion, trigger, step, offers.get(&step), backoff);
            let (verdict, reason) = match refused {
                Some(reason) => (Verdict::No, reason),
                None => {
                    let bytes = offers.get(&step).and_then(|offer| offer.bytes);
                    let suggests = policy.name == PolicyName::Suggest && trigger != Trigger::Asked;
                    (
                        if suggests {
                            Verdict::Suggest
                        } else {
                            Verdict::Run
                        },
                        Reason::Due(policy.name, trigger, bytes),
                    )
                }
            };
            Decision {
                step,
                verdict,
                reason,
            }
        })
        .collect()
}

/// Why the step is not due. What a person can change comes first.
fn refuse(
    policy: &Policy,
    occasion: &Occasion,
    trigger: Trigger,
    step: Step,
    offer: Option<&Offer>,
    backoff: &Backoff,
) -> Option<Reason> {
    let asked = trigger == Trigger::Asked;
    if policy.name == PolicyName::Observe && !asked {
        return Some(Reason::Observes);
    }
    if !policy.steps_on(trigger).has(step) {
        return Some(Reason::NotListed(policy.name, trigger));
    }
    if occasion.done.has(step) {
        return Some(Reason::Done);
    }
    let named = occasion.asked.has(step);
    if asked && !named && !occasion.asked.is_empty() {
        return Some(Reason::NotAsked);
    }
    // What an earlier step of this occasion let go is for these to give back.
    let follows = occasion.done.iter().any(Step::lets_objects_go)
        && matches!(
            step,
            Step::Gc | Step::MallocTrim | Step::ArrowPool | Step::AllocatorPurge
        );
    if trigger == Trigger::Finding && !follows {
        let about: Vec<_> = occasion
            .findings
            .iter()
            .filter(|(_, s)| *s == step)
            .collect();
        let listed =
            |cause: &str| policy.causes.is_empty() || policy.causes.iter().any(|c| c == cause);
        match about.first() {
            None => return Some(Reason::NoFinding),
            Some((cause, _)) if !about.iter().any(|(cause, _)| listed(cause)) => {
                return Some(Reason::CauseNotListed(cause.clone()));
            }
            Some(_) => {}
        }
    }
    if let Some(how) = occasion
        .kept
        .as_ref()
        .filter(|_| !asked && step.lets_objects_go() && step != Step::Gc)
    {
        return Some(Reason::Kept(how.clone()));
    }
    if step == Step::ClearTraceback
        && occasion.last_failed
        && !asked
        && trigger != Trigger::Pressure
    {
        return Some(Reason::JustRaised);
    }
    let Some(offer) = offer else {
        return Some(Reason::Nothing);
    };
    if let Some(why) = &offer.refusal {
        return Some(Reason::Refused(why.clone()));
    }
    if named {
        return None; // the person knows what they want
    }
    let then = occasion.moved_when.get(&step).copied().unwrap_or(0);
    let moved = occasion.moved.saturating_sub(then);
    let left = backoff.left(step, moved);
    if left > 0 && !asked && !follows {
        return Some(Reason::BacksOff(left));
    }
    let slack = step == Step::MallocTrim && !asked;
    let least = if slack {
        policy
            .min_bytes
            .max(SLACK)
            .max(occasion.resident / SLACK_SHARE)
    } else {
        policy.min_bytes
    };
    match offer.bytes {
        Some(bytes) if bytes < least => return Some(Reason::TooLittle(bytes, least)),
        None if moved < policy.min_bytes && !follows && !asked => {
            return Some(Reason::Still(moved, policy.min_bytes));
        }
        _ => {}
    }
    match offer.seconds {
        Some(seconds) if seconds * 1000.0 > policy.time_box_ms as f64 && !trigger.is_urgent() => {
            Some(Reason::TooLong(seconds, policy.time_box_ms))
        }
        _ => None,
    }
}

/// Bytes as a person reads them.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0 as f64 / (1u64 << 20) as f64;
        match mib {
            mib if mib >= 1024.0 => write!(f, "{:.1} GiB", mib / 1024.0),
            mib if mib >= 10.0 => write!(f, "{mib:.0} MiB"),
            mib if mib >= 0.1 => write!(f, "{mib:.1} MiB"),
            _ => write!(f, "{} B", self.0),
        }
    }
}
