//! What is to be done: a pure function of what was read.

use std::time::Duration;

use ledger::human;
use policy::GuardLevel;

const MIB: u64 = 1 << 20;
/// A cell may always take this much more, whatever the cap: or nothing at all could run once the cap is used up.
const FLOOR: u64 = 16 * MIB;
/// What the error path may take beyond the limit.
const ERROR_PATH: u64 = 64 * MIB;
/// A cell that has taken less than this is not to blame.
const INNOCENT: u64 = 8 * MIB;
/// The same where the machine is short of memory, which others may have taken.
const INNOCENT_ON_MACHINE: u64 = 64 * MIB;
/// So far beyond the cap the gentle means have failed.
const HARD: u64 = 64 * MIB;
/// So far, if it is children: they know nothing of what the cell is told.
const HARD_ON_CHILDREN: u64 = 32 * MIB;
/// And so far beyond it the last one is due.
const LAST: u64 = 216 * MIB;
/// Beyond this nobody waits for anything.
const UTMOST: u64 = 232 * MIB;
/// So long the threads of the program have for letting go.
const PATIENCE: Duration = Duration::from_millis(40);
/// A cell that goes on taking memory is told again after this time.
const AGAIN: Duration = Duration::from_millis(250);
/// A limit that differs less is not set again.
const NOTABLE: u64 = MIB;

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The cap that the person has set.
    Cap,
    /// The machine, or the control group.
    Machine,
}

impl Bound {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cap => "cap",
            Self::Machine => "machine",
        }
    }
}

/// How much is held, and what of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// What is short.
    pub bound: Bound,
    /// What all processes of the session hold.
    pub held: u64,
    /// The cap, or the machine's memory.
    pub limit: u64,
    /// What is left of the machine.
    pub room: u64,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = human(self.held);
        match self.bound {
            Bound::Cap => write!(
                f,
                "the session holds {held} of the cap of {}",
                human(self.limit)
            ),
            Bound::Machine => write!(
                f,
                "{} of the machine's {} are left; the session holds {held}",
                human(self.room),
                human(self.limit)
            ),
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick {
    /// Since the cell began.
    pub at: Duration,
    /// What all processes of the session hold, shared memory included.
    pub held: u64,
    /// The interpreter's part of it.
    pub own: u64,
    /// The children and what each holds, the largest first.
    pub children: Vec<(u32, u64)>,
    /// What the interpreter has mapped, as the limit counts it.
    pub data: u64,
    /// What is left of the machine or the control group, and how much there is.
    pub room: u64,
    pub limit: u64,
    /// A library is loaded that aborts if it is refused memory.
    pub aborts: bool,
    /// An error is being shown.
    pub in_error_path: bool,
}

/// What the person wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub level: GuardLevel,
    pub cap: Option<u64>,
    pub may_ask: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Limit(u64),
    Warn(Why),
    /// `MemoryError` in the cell if it is so deep in calls that what is left is needed to leave them.
    AskDepth,
    /// `MemoryError` in the cell.
    Raise(Why),
    Interrupt(Why),
    KillChild(u32, u64, Why),
    /// Stop everything and ask.
    Freeze(Why),
    Kill(Why),
}

/// What was done in the cell in hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    begun_with: Option<u64>,
    limit: Option<u64>,
    /// The last limit without what the error path may take.
    plain: Option<u64>,
    warned: bool,
    /// What was left when the cell began, or when it was asked how deep it is.
    asked_at: Option<i64>,
    raised: Option<(Duration, u64)>,
    /// When the cell was told first.
    told_at: Option<Duration>,
    /// All threads of the program were told.
    others_told: Option<Duration>,
    interrupted: bool,
    /// The person has said to let it go on until then.
    pub grace_until: Option<Duration>,
}

/// What is kept of the machine for others.
pub(crate) fn reserve(limit: u64) -> u64 {
    (limit / 50).clamp(128 * MIB, 512 * MIB)
}

impl State {
    /// What may still be taken before something is short; negative if it is.
    pub(crate) fn left(rules: Rules, tick: &Tick) -> i64 {
        let machine = tick.room as i64 - reserve(tick.limit) as i64;
        match rules.cap {
            Some(cap) => machine.min(cap as i64 - tick.held as i64),
            None => machine,
        }
    }

    /// How long to wait for the next look.
    pub(crate) fn pause(rules: Rules, tick: &Tick) -> Duration {
        let left = Self::left(rules, tick);
        Duration::from_millis(match left {
            left if left < 128 * MIB as i64 => 5,
            left if left < 512 * MIB as i64 => 10,
            _ => 100,
        })
    }

    /// Decides, and remembers what it has decided.
    pub(crate) fn step(&mut self, rules: Rules, tick: &Tick) -> Vec<Action> {
        let mut actions = Vec::new();
        if rules.level == GuardLevel::Off {
            return actions;
        }
        let is_first = self.begun_with.is_none();
        let begun_with = *self.begun_with.get_or_insert(tick.held);
        if rules.level == GuardLevel::Protect {
            actions.extend(self.new_limit(rules, tick, is_first).map(Action::Limit));
        }
        let grown = tick.held.saturating_sub(begun_with);
        actions.extend(self.ask_depth(rules, tick, grown));
        if let Some(why) = warning(rules, tick, grown).filter(|_| !self.warned) {
            self.warned = true;
            actions.push(Action::Warn(why));
        }
        if rules.level == GuardLevel::Protect
            && self.grace_until.is_none_or(|until| tick.at >= until)
            && let Some((why, excess)) = breach(rules, tick, grown)
        {
            actions.extend(self.answer_to_breach(rules, tick, why, excess));
        }
        actions
    }

    /// Each time half of what was left is gone: leaving many calls takes memory too, for the traceback, and without it Python fails.
    fn ask_depth(&mut self, rules: Rules, tick: &Tick, grown: u64) -> Option<Action> {
        let left = Self::left(rules, tick);
        let before = self.asked_at.get_or_insert(left);
        let is_due = rules.level == GuardLevel::Protect
            && grown >= INNOCENT_ON_MACHINE
            && left > FLOOR as i64
            && left <= *before / 2;
        is_due.then(|| {
            *before = left;
            Action::AskDepth
        })
    }

    fn new_limit(&mut self, rules: Rules, tick: &Tick, is_first: bool) -> Option<u64> {
        let machine = tick.room as i64 - reserve(tick.limit) as i64;
        // Where a refusal is the end, only the machine's own end is worth it.
        let left = if tick.aborts {
            machine
        } else {
            Self::left(rules, tick)
        };
        let left = u64::try_from(left).unwrap_or(0);
        let mut limit = if is_first {
            tick.data + left.max(FLOOR)
        } else if left == 0 {
            self.plain.unwrap_or(tick.data)
        } else {
            tick.data + left
        };
        self.plain = Some(limit);
        if tick.in_error_path {
            limit += ERROR_PATH;
        }
        let is_news = self.limit.is_none_or(|old| old.abs_diff(limit) >= NOTABLE);
        is_news.then(|| {
            self.limit = Some(limit);
            limit
        })
    }

    /// Whether `Raise` is for all threads of the program, and not for the cell alone.
    pub(crate) fn are_others_to_stop(&self) -> bool {
        self.others_told.is_some()
    }

    /// Whether the cell was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    fn answer_to_breach(
        &mut self,
        rules: Rules,
        tick: &Tick,
        why: Why,
        excess: u64,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let (hard, hard_on_children, last, utmost) = match why.bound {
            Bound::Cap => (HARD, HARD_ON_CHILDREN, LAST, UTMOST),
            Bound::Machine => {
                let hard = reserve(tick.limit) / 8;
                (hard, hard, 2 * hard, 3 * hard)
            }
        };
        let again = self
            .raised
            .is_none_or(|(at, held)| tick.at >= at + AGAIN && tick.held > held);
        if again {
            self.raised = Some((tick.at, tick.held));
            actions.push(Action::Raise(why));
        }
        let since = *self.told_at.get_or_insert(tick.at);
        // Its compiled code heeds an interrupt, but not what Python is told.
        if tick.aborts && !self.interrupted && tick.at >= since + AGAIN {
            self.interrupted = true;
            actions.push(Action::Interrupt(why));
        }
        if excess >= hard_on_children {
            let guilty = guilty_children(tick, excess);
            let kill = |(pid, held)| Action::KillChild(pid, held, why);
            actions.extend(guilty.into_iter().map(kill));
            if actions
                .iter()
                .any(|action| matches!(action, Action::KillChild(..)))
            {
                return actions;
            }
        }
        if excess < hard {
            return actions;
        }
        let told_at = *self.others_told.get_or_insert_with(|| {
            if !again {
                actions.push(Action::Raise(why));
            }
            tick.at
        });
        let is_late = tick.at >= told_at + PATIENCE;
        if rules.may_ask {
            actions.push(Action::Freeze(why));
        } else if excess >= utmost || (self.interrupted && excess >= last && is_late) {
            actions.push(Action::Kill(why));
        } else if !self.interrupted {
            self.interrupted = true;
            actions.push(Action::Interrupt(why));
        }
        actions
    }
}

/// The largest children, as many as make up for what is too much; none if they are small beside the interpreter.
fn guilty_children(tick: &Tick, excess: u64) -> Vec<(u32, u64)> {
    let mut freed = 0;
    tick.children
        .iter()
        .copied()
        .take_while(|(_, held)| {
            let is_wanted = freed < excess && *held > tick.own / 2;
            freed += held;
            is_wanted
        })
        .collect()
}

fn why(bound: Bound, rules: Rules, tick: &Tick) -> Why {
    Why {
        bound,
        held: tick.held,
        limit: match bound {
            Bound::Cap => rules.cap.unwrap_or(tick.limit),
            Bound::Machine => tick.limit,
        },
        room: tick.room,
    }
}

fn warning(rules: Rules, tick: &Tick, grown: u64) -> Option<Why> {
    if grown < INNOCENT {
        return None;
    }
    if rules.cap.is_some_and(|cap| tick.held > cap / 100 * 85) {
        return Some(why(Bound::Cap, rules, tick));
    }
    let low = tick.room < (tick.limit / 12).max(2 * reserve(tick.limit));
    (low && grown >= INNOCENT_ON_MACHINE).then(|| why(Bound::Machine, rules, tick))
}

/// What is short, and by how much too much is held.
fn breach(rules: Rules, tick: &Tick, grown: u64) -> Option<(Why, u64)> {
    if let Some(cap) = rules.cap
        && tick.held > cap
        && grown >= INNOCENT
    {
        return Some((why(Bound::Cap, rules, tick), tick.held - cap));
    }
    let low = reserve(tick.limit) / 2;
    (tick.room < low && grown >= INNOCENT_ON_MACHINE)
        .then(|| (why(Bound::Machine, rules, tick), low - tick.room))
}

#[cfg(test)]
mod tests;
