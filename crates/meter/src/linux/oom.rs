//! Counters of the system's out-of-memory killer.

use std::fs::File;

use super::{
    cgroup::innermost,
    read::{number, read_kept},
};
use crate::reading::LimitSource;

/// How many processes the out-of-memory killer has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    /// In the control group of the process; `None` where it has none that counts.
    pub group: Option<u64>,
    /// On the machine.
    pub machine: Option<u64>,
}

impl Kills {
    /// What was killed between an earlier count and this one.
    pub fn since(self, earlier: Self) -> Self {
        let more = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self {
            group: more(self.group, earlier.group),
            machine: more(self.machine, earlier.machine),
        }
    }
}

/// The counters that hold for one process, through files that stay open.
#[derive(Debug)]
pub(crate) struct KillCounters {
    groups: Vec<File>,
    machine: Option<File>,
}

impl KillCounters {
    pub(crate) fn of(pid: u32) -> Self {
        let groups = innermost(pid)
            .into_iter()
            .filter_map(|(source, directory)| {
                let name = match source {
                    LimitSource::Cgroup1 => "memory.oom_control",
                    _ => "memory.events",
                };
                File::open(directory.join(name)).ok()
            })
            .collect();
        Self {
            groups,
            machine: File::open("/proc/vmstat").ok(),
        }
    }

    pub(crate) fn read(&self) -> Kills {
        let count = |file: &File| {
            let (mut buffer, mut spill) = ([0; 8192], Vec::new());
            parse(read_kept(file, &mut buffer, &mut spill).ok()?)
        };
        let groups = self.groups.iter().filter_map(count);
        Kills {
            group: groups.reduce(|one, other| one + other),
            machine: self.machine.as_ref().and_then(count),
        }
    }
}

/// The `oom_kill` line of `memory.events`, `memory.oom_control` or `/proc/vmstat`.
fn parse(text: &[u8]) -> Option<u64> {
    text.split(|&byte| byte == b'\n')
        .find_map(|line| number(line.strip_prefix(b"oom_kill ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_line_of_that_name() {
        for (text, expected) in [
            (
                "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n",
                Some(2),
            ),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", Some(5)),
            ("drop_slab 0\noom_kill 0\n", Some(0)),
            ("oom_kill_disable 1\n", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn only_what_is_known_at_both_ends_has_a_difference() {
        let earlier = Kills {
            group: Some(1),
            machine: None,
        };
        let now = Kills {
            group: Some(3),
            machine: Some(4),
        };
        assert_eq!(
            now.since(earlier),
            Kills {
                group: Some(2),
                machine: None
            }
        );
    }

    #[test]
    fn a_living_process_has_counters() {
        assert!(
            KillCounters::of(std::process::id())
                .read()
                .machine
                .is_some()
        );
    }
}
