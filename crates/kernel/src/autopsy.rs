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
mod tests {
    use super::*;
    use Confidence::Certain;
    use Confidence::Likely;

    fn killed<'a>() -> Evidence<'a> {
        Evidence {
            exit: Some(Exit::Signal(libc::SIGKILL)),
            ..Evidence::default()
        }
    }

    fn kills(group: Option<u64>, machine: Option<u64>) -> Kills {
        Kills { group, machine }
    }

    #[test]
    fn a_sigkill_is_told_apart_by_the_systems_counters_and_the_last_readings() {
        use DeathCause::Killed;
        use DeathCause::OutOfMemory;
        let full = (Some(95), Some(100));
        let low = (Some(10), Some(100));
        for (name, kills, (peak, limit), available, expected) in [
            (
                "the group's counter rose",
                kills(Some(1), Some(1)),
                low,
                None,
                (OutOfMemory, Certain),
            ),
            (
                "only the machine's is known, and it rose",
                kills(None, Some(1)),
                low,
                None,
                (OutOfMemory, Likely),
            ),
            (
                "another group lost a process",
                kills(Some(0), Some(1)),
                low,
                None,
                (Killed, Certain),
            ),
            (
                "no counters, near the limit",
                kills(None, None),
                full,
                None,
                (OutOfMemory, Likely),
            ),
            (
                "no counters, the machine was full",
                kills(None, None),
                low,
                Some(2),
                (OutOfMemory, Likely),
            ),
            (
                "near the limit, but nothing was killed",
                kills(Some(0), Some(0)),
                full,
                None,
                (Killed, Certain),
            ),
            (
                "no counters, far from the limit",
                kills(None, None),
                low,
                Some(60),
                (Killed, Certain),
            ),
            (
                "nothing is known",
                kills(None, None),
                (None, None),
                None,
                (Killed, Certain),
            ),
        ] {
            let evidence = Evidence {
                kills,
                peak,
                limit,
                available,
                ..killed()
            };
            let death = evidence.judge();
            assert_eq!((death.cause, death.confidence), expected, "{name}");
            assert!(
                death.message.contains("SIGKILL"),
                "{name}: {}",
                death.message
            );
            assert_eq!(
                death.message.contains("likely"),
                expected.1 == Likely,
                "{name}"
            );
        }
    }

    fn crash<'a>(signal: i32, reason: &str, deep: bool, stderr: &'a str) -> Evidence<'a> {
        let frames = vec!["Cell In[1], line 1, in f".to_owned(); 5];
        Evidence {
            exit: Some(Exit::Signal(signal)),
            fault: Some(Fault {
                reason: reason.into(),
                frames,
                is_deep: deep,
                is_native: false,
            }),
            stderr,
            ..Evidence::default()
        }
    }

    #[test]
    fn crashes_are_told_apart_by_signal_stack_and_last_words() {
        use DeathCause::Abort;
        use DeathCause::AllocationRefused;
        use DeathCause::Segfault;
        use DeathCause::StackOverflow;
        let (segv, abrt) = (libc::SIGSEGV, libc::SIGABRT);
        for (evidence, cause, confidence, said) in [
            (
                crash(segv, "Segmentation fault", false, ""),
                Segfault,
                Certain,
                "SIGSEGV",
            ),
            (
                crash(segv, "Segmentation fault", true, ""),
                StackOverflow,
                Likely,
                "stack overflow",
            ),
            (
                crash(abrt, "Cannot recover from stack overflow.", true, ""),
                StackOverflow,
                Certain,
                "stack overflow",
            ),
            (
                crash(
                    abrt,
                    "Aborted",
                    false,
                    "x\nmemory allocation of 9 bytes failed\n",
                ),
                AllocationRefused,
                Likely,
                "memory allocation of 9 bytes failed",
            ),
            (
                crash(abrt, "Aborted", false, "free(): invalid pointer\n"),
                Abort,
                Certain,
                "free(): invalid pointer",
            ),
            (
                crash(libc::SIGBUS, "Bus error", false, ""),
                Segfault,
                Certain,
                "/dev/shm",
            ),
            (
                crash(libc::SIGFPE, "Floating-point exception", false, ""),
                Abort,
                Certain,
                "SIGFPE",
            ),
            (
                crash(libc::SIGILL, "Illegal instruction", false, ""),
                Abort,
                Certain,
                "SIGILL",
            ),
        ] {
            let death = evidence.judge();
            assert_eq!(
                (death.cause, death.confidence),
                (cause, confidence),
                "{}",
                death.message
            );
            assert!(death.message.contains(said), "{}", death.message);
            assert_eq!(death.stack.len(), 5);
        }
    }

    #[test]
    fn an_end_by_itself_or_by_us_says_so() {
        let exit = |exit| Evidence {
            exit: Some(exit),
            ..Evidence::default()
        };
        for (evidence, cause, said) in [
            (exit(Exit::Code(37)), DeathCause::Exit, "exit code 37"),
            (exit(Exit::Signal(15)), DeathCause::Killed, "SIGTERM"),
            (
                exit(Exit::Unheard),
                DeathCause::Unheard,
                "no longer be heard",
            ),
            (Evidence::default(), DeathCause::Unknown, "not known"),
            (
                Evidence {
                    our_reason: Some("the cap".into()),
                    ..killed()
                },
                DeathCause::Guard,
                "the cap",
            ),
        ] {
            let death = evidence.judge();
            assert_eq!(death.cause, cause);
            assert!(death.message.contains(said), "{}", death.message);
        }
    }

    #[test]
    fn the_story_has_stack_memory_and_what_was_lost() {
        let mut evidence = crash(libc::SIGSEGV, "Segmentation fault", false, "");
        evidence.lost = vec![
            Held {
                name: "df".into(),
                type_name: "DataFrame".into(),
                bytes: Some(3 << 30),
                ..Held::default()
            },
            Held {
                name: "n".into(),
                ..Held::default()
            },
        ];
        evidence.lost_count = 7;
        let memory = readings(Some(1 << 30), Some(2 << 30), Some(4 << 30));
        assert_eq!(
            memory,
            "It held 1.0 GiB, at most 2.0 GiB; the limit is 4.0 GiB."
        );
        let told = story(&evidence.judge(), &memory);
        assert_eq!(told[0], "It was here, innermost call first:");
        assert_eq!(told[1], "  Cell In[1], line 1, in f (5 times)");
        assert_eq!(told[2], memory);
        assert_eq!(told[3], "Lost: df (DataFrame, 3.0 GiB), n and 5 more.");
        assert_eq!(readings(None, None, Some(1)), "");
    }
}
