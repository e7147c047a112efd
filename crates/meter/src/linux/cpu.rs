//! CPU time of processes and of the machine.

use super::{
    read::{number, read},
    ticks_per_second,
};

/// What `/proc/PID/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The parent's number.
    pub(crate) parent: u32,
    /// The number of the session that it is in: its own if it leads one (setsid(2)).
    pub(crate) session: u32,
    /// CPU time in user and kernel mode, in ticks.
    pub(crate) busy: u64,
    /// When it started, in ticks since boot: tells a process from a later one of the same number.
    pub(crate) started: u64,
}

/// Reads `/proc/PID/stat`. The second field is the command in parentheses and may hold blanks and parentheses itself,
/// so counting starts at the last closing one (proc(5)).
pub(crate) fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&[u8]> = text[end + 1..]
        .trim_ascii()
        .split(|&byte| byte == b' ')
        .collect();
    // Field 3 of the manual, the state, is the first here.
    let field = |of_manual: usize| number(fields.get(of_manual - 3)?);
    Some(Stat {
        parent: field(4)?.try_into().ok()?,
        session: field(6)?.try_into().ok()?,
        busy: field(14)?.saturating_add(field(15)?),
        started: field(22)?,
    })
}

/// CPU time of one process so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProcessTimes {
    /// Its number and its start: together they are unique.
    pub(crate) identity: (u32, u64),
    /// Seconds of CPU.
    pub(crate) busy_s: f64,
}

/// What the system tells of a process; `None` once its parent has been told of its end.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU time of a process; `None` once it has ended.
pub(crate) fn process_times(pid: u32) -> Option<ProcessTimes> {
    let stat = stat(pid)?;
    Some(ProcessTimes {
        identity: (pid, stat.started),
        busy_s: stat.busy as f64 / ticks_per_second() as f64,
    })
}

/// CPU time of the whole machine since boot, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostTimes {
    /// Of all kinds.
    pub(crate) total: u64,
    /// Without idling and waiting for disks.
    pub(crate) busy: u64,
}

/// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, and guest times that
/// are part of the first two.
pub(crate) fn parse_host_times(text: &[u8]) -> Option<HostTimes> {
    let line = text
        .split(|&byte| byte == b'\n')
        .next()?
        .strip_prefix(b"cpu ")?;
    let ticks: Vec<u64> = line
        .split(u8::is_ascii_whitespace)
        .filter_map(number)
        .take(8)
        .collect();
    let idle = ticks
        .get(3)?
        .saturating_add(ticks.get(4).copied().unwrap_or(0));
    let total = ticks
        .iter()
        .fold(0, |sum: u64, &ticks| sum.saturating_add(ticks));
    Some(HostTimes {
        total,
        busy: total.saturating_sub(idle),
    })
}

/// CPU time of the whole machine.
pub(crate) fn host_times() -> Option<HostTimes> {
    parse_host_times(&read("/proc/stat").ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_command_is_called() {
        let rest =
            "S 7 8 9 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 3 0 12345 1000 200 18446744073709551615";
        let expected = Some(Stat {
            parent: 7,
            session: 9,
            busy: 110,
            started: 12345,
        });
        for command in ["python3", "a b", ") S 1 2 (", "", "x) Z 9 9 9"] {
            let text = format!("42 ({command}) {rest}");
            assert_eq!(parse_stat(text.as_bytes()), expected, "{command:?}");
        }
        for text in ["", "42", "42 (x)", "42 (x) S 7", ")"] {
            assert_eq!(parse_stat(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn guest_time_is_not_counted_twice_and_waiting_is_idle() {
        let text = b"cpu  100 10 20 300 40 5 6 7 50 1\ncpu0 1 2 3\n";
        let expected = HostTimes {
            total: 488,
            busy: 148,
        };
        assert_eq!(parse_host_times(text), Some(expected));
        for text in ["", "cpu0 1 2 3 4", "cpu 1 2", "intr 5"] {
            assert_eq!(parse_host_times(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn our_own_time_and_that_of_the_machine_are_read() {
        assert_eq!(
            process_times(std::process::id()).unwrap().identity.0,
            std::process::id()
        );
        assert!(host_times().unwrap().total > 0);
        assert_eq!(process_times(u32::MAX), None);
    }
}
