//! Why an interpreter died: a pure judgement of what is left of it.

use crate::fault::Fault;
use interpreter::Exit;
use ledger::Confidence;
use ledger::Death;
use ledger::DeathCause;
use ledger::Held;
use ledger::human;
use meter::Kills;

/// A peak of this share of the limit makes a kill for want of memory likely.
const NEAR_THE_LIMIT: f64 = 0.8;
/// So many of the lost names are listed.
pub(crate) const LISTED: usize = 10;

/// All that is known of a death.
#[derive(Debug, Default)]
pub(crate) struct Evidence<'a> {
    pub exit: Option<Exit>,
    /// What the out-of-memory killer has ended lately.
    pub kills: Kills,
    /// The most resident bytes of the cell, and the last.
    pub peak: Option<u64>,
    pub last: Option<u64>,
    pub limit: Option<u64>,
    /// What was left of the machine's and the control group's memory shortly before.
    pub available: Option<u64>,
    pub fault: Option<Fault>,
    /// The last lines of standard error.
    pub stderr: &'a str,
    /// We ended it ourselves, and this is why.
    pub our_reason: Option<String>,
    pub lost: Vec<Held>,
    pub lost_count: u64,
}

impl Evidence<'_> {
    /// The verdict.
    pub(crate) fn judge(self) -> Death {
        let (cause, confidence, message) = self.cause();
        let exit = self.exit.unwrap_or(Exit::Unknown);
        let is_crash = matches!(exit, Exit::Signal(number) if CRASHES.contains(&number));
        Death {
            cause,
            confidence,
            message,
            signal: match exit {
                Exit::Signal(number) => Some(number),
                _ => None,
            },
            code: match exit {
                Exit::Code(code) => Some(code),
                _ => None,
            },
            stack: self
                .fault
                .filter(|_| is_crash)
                .map(|fault| fault.frames)
                .unwrap_or_default(),
            lost_count: self.lost_count,
            lost: self.lost,
        }
    }

    fn cause(&self) -> (DeathCause, Confidence, String) {
        use Confidence::Certain;
        let exit = self.exit.unwrap_or(Exit::Unknown);
        if let Some(reason) = &self.our_reason {
            return (DeathCause::Guard, Certain, reason.clone());
        }
        match exit {
            Exit::Signal(libc::SIGKILL) => self.killed_outright(),
            Exit::Signal(number) if CRASHES.contains(&number) => self.crashed(number),
            Exit::Signal(_) => (
                DeathCause::Killed,
                Certain,
                format!(
                    "The interpreter {exit}, which the cell itself or another program has sent"
                ),
            ),
            Exit::Code(code) => (
                DeathCause::Exit,
                Certain,
                format!(
                    "The interpreter {exit}: something called os._exit({code}) or exit() of a C library"
                ),
            ),
            Exit::Unheard => (
                DeathCause::Unheard,
                Certain,
                format!("The interpreter {exit}"),
            ),
            Exit::Unknown => (
                DeathCause::Unknown,
                Certain,
                format!("The interpreter {exit}"),
            ),
        }
    }

    /// SIGKILL says nothing of who sent it.
    fn killed_outright(&self) -> (DeathCause, Confidence, String) {
        let oom = |confidence, why: String| {
            let message = format!(
                "The interpreter was ended by signal 9 (SIGKILL): the system ran out of memory and killed it{why}"
            );
            (DeathCause::OutOfMemory, confidence, message)
        };
        if self.kills.group.is_some_and(|killed| killed > 0) {
            return oom(Confidence::Certain, String::new());
        }
        if self.kills.group.is_none() && self.kills.machine.is_some_and(|killed| killed > 0) {
            return oom(
                Confidence::Likely,
                " (likely: it has just killed a process)".into(),
            );
        }
        let peak = self.peak.max(self.last);
        let near = match (peak, self.limit) {
            (Some(peak), Some(limit)) => peak as f64 >= limit as f64 * NEAR_THE_LIMIT,
            _ => false,
        };
        let exhausted = match (self.available, self.limit) {
            (Some(available), Some(limit)) => (available as f64) < limit as f64 * 0.03,
            _ => false,
        };
        // A counter that stands still is an alibi, unless it is another group's.
        let alibi = self.kills.group == Some(0) && self.kills.machine.unwrap_or(0) == 0;
        if !alibi && (near || exhausted) {
            return oom(
                Confidence::Likely,
                " (likely: it was near the limit)".into(),
            );
        }
        let alibi = if alibi {
            "; the system's out-of-memory killer was not it"
        } else {
            ""
        };
        (
            DeathCause::Killed,
            Confidence::Certain,
            format!(
                "The interpreter was ended by signal 9 (SIGKILL), which the cell itself, a person or another program has \
                 sent{alibi}"
            ),
        )
    }

    fn crashed(&self, number: i32) -> (DeathCause, Confidence, String) {
        use Confidence::Certain;
        use Confidence::Likely;
        let exit = Exit::Signal(number);
        let says_overflow = self
            .fault
            .as_ref()
            .is_some_and(|fault| fault.reason.contains("stack overflow"));
        let recursion = self.fault.as_ref().is_some_and(Fault::is_recursion);
        if says_overflow || (number == libc::SIGSEGV && recursion) {
            let (confidence, likely) = if says_overflow {
                (Certain, "")
            } else {
                (Likely, "likely ")
            };
            return (
                DeathCause::StackOverflow,
                confidence,
                format!(
                    "The interpreter {exit}: {likely}a stack overflow, calls that are nested too deeply"
                ),
            );
        }
        if number == libc::SIGABRT
            && let Some(line) = self
                .stderr
                .lines()
                .rev()
                .find(|line| REFUSED.iter().any(|words| line.contains(words)))
        {
            return (
                DeathCause::AllocationRefused,
                Likely,
                format!(
                    "The interpreter {exit}: a library was refused memory and aborted ({})",
                    line.trim()
                ),
            );
        }
        let (cause, what) = match number {
            libc::SIGSEGV => (DeathCause::Segfault, "a segmentation fault".to_owned()),
            libc::SIGBUS => (
                DeathCause::Segfault,
                "a bus error; often the shared memory in /dev/shm is full, or a mapped file was cut".to_owned(),
            ),
            libc::SIGABRT => (DeathCause::Abort, self.last_words()),
            libc::SIGFPE => (DeathCause::Abort, "an arithmetic error in compiled code".to_owned()),
            _ => (DeathCause::Abort, "compiled code that cannot run on this machine".to_owned()),
        };
        let native = self.fault.as_ref().is_some_and(|fault| fault.is_native);
        let native = if native {
            ", in a thread of compiled code"
        } else {
            ""
        };
        (
            cause,
            Certain,
            format!("The interpreter {exit}: {what}{native}"),
        )
    }

    /// Who aborts mostly says why.
    fn last_words(&self) -> String {
        let aborted = "compiled code gave up and called abort()";
        match self
            .stderr
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
        {
            Some(line) if line.len() < 200 => format!("{aborted}; its last words: {}", line.trim()),
            _ => aborted.to_owned(),
        }
    }
}

/// Signals of a crash, of which `faulthandler` writes.
const CRASHES: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGFPE,
    libc::SIGILL,
];
/// What libraries write before they abort for want of memory.
const REFUSED: [&str; 4] = [
    "memory allocation of",
    "std::bad_alloc",
    "out of memory",
    "Cannot allocate memory",
];

/// The whole story as lines of a traceback, after the name and the sentence.
pub(crate) fn story(death: &Death, evidence: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if !death.stack.is_empty() {
        lines.push("It was here, innermost call first:".to_owned());
        for run in death.stack.chunk_by(|one, next| one == next) {
            let times = match run.len() {
                1 => String::new(),
                times => format!(" ({times} times)"),
            };
            lines.push(format!("  {}{times}", run[0]));
        }
    }
    if !evidence.is_empty() {
        lines.push(evidence.to_owned());
    }
    if death.lost_count > 0 {
        lines.push(lost(death));
    }
    lines
}

/// Memory at the end: `It held 1.2 GiB, 1.4 GiB at the most; the limit is 2.0 GiB.`
pub(crate) fn readings(last: Option<u64>, peak: Option<u64>, limit: Option<u64>) -> String {
    let held = match (last, peak) {
        (Some(last), Some(peak)) if peak > last => {
            format!("It held {}, at most {}", human(last), human(peak))
        }
        (Some(held), _) | (None, Some(held)) => format!("It held {}", human(held)),
        (None, None) => return String::new(),
    };
    match limit {
        Some(limit) => format!("{held}; the limit is {}.", human(limit)),
        None => format!("{held}."),
    }
}

fn lost(death: &Death) -> String {
    let names: Vec<String> = death
        .lost
        .iter()
        .map(|held| match held.bytes {
            Some(bytes) => format!("{} ({}, {})", held.name, held.type_name, human(bytes)),
            None => held.name.clone(),
        })
        .collect();
    let more = death.lost_count.saturating_sub(death.lost.len() as u64);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("Lost: {}{more}.", names.join(", "))
}

#[cfg(test)]
mod tests;
