//! The answer to a `usage_request`, as ipykernel gives it with psutil's names.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::platform::{self, HostTimes, MachineMemory, ProcessTimes};

/// The content of a `usage_reply`. A field that could not be measured is left out, as ipykernel leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// The machine's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The interpreter's process number.
    pub pid: u32,
    /// CPU time of the process tree since the last call, in percent of one processor; 0 at the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_cpu: Option<f64>,
    /// Bytes of the process tree: proportional set sizes, or the resident size of a process without children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_memory: Option<u64>,
    /// Processors that are online.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u64>,
    /// CPU time of the machine since the last call, in percent of all processors; left out at the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_cpu_percent: Option<f64>,
    /// Memory of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_virtual_memory: Option<VirtualMemory>,
}

/// Memory of the machine in bytes, by psutil's names and rules; what the system does not tell is 0, as psutil says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VirtualMemory {
    /// All memory.
    pub total: u64,
    /// What can be given to programs without swapping.
    pub available: u64,
    /// `used` in percent of `total`, with one decimal.
    pub percent: f64,
    /// `total − available`.
    pub used: u64,
    /// Used by nobody, not even as a cache.
    pub free: u64,
    /// Used recently.
    pub active: u64,
    /// Not used recently.
    pub inactive: u64,
    /// Buffers of block devices.
    pub buffers: u64,
    /// Page cache and reclaimable slabs.
    pub cached: u64,
    /// Shared memory.
    pub shared: u64,
    /// The system's own small objects.
    pub slab: u64,
}

impl VirtualMemory {
    /// psutil's arithmetic (7.2, `_pslinux.virtual_memory`).
    pub(crate) fn new(machine: &MachineMemory) -> Option<Self> {
        let (total, free) = (machine.total?, machine.free?);
        // A container's view may claim more available than there is; `free` is then the honest figure.
        let available = machine
            .available
            .filter(|&available| available <= total)
            .unwrap_or(free);
        let used = total.saturating_sub(available);
        let percent = if total == 0 {
            0.0
        } else {
            used as f64 / total as f64 * 100.0
        };
        Some(Self {
            total,
            available,
            percent: one_decimal(percent),
            used,
            free,
            active: machine.active.unwrap_or(0),
            inactive: machine.inactive.unwrap_or(0),
            buffers: machine.buffers.unwrap_or(0),
            cached: machine
                .cached
                .unwrap_or(0)
                .saturating_add(machine.slab_reclaimable.unwrap_or(0)),
            shared: machine.shared.unwrap_or(0),
            slab: machine.slab.unwrap_or(0),
        })
    }
}

/// Remembers CPU times, to tell percentages between two calls.
#[derive(Debug, Default)]
pub(crate) struct CpuClock {
    tree: Option<TreeTimes>,
    host: Option<HostTimes>,
}

/// CPU seconds of each process of a tree at one moment, by number and start.
#[derive(Debug)]
struct TreeTimes {
    at_s: f64,
    busy_s: HashMap<(u32, u64), f64>,
}

impl CpuClock {
    /// Percent of one processor that the processes used since the last call; `now_s` is of any steady clock. A process
    /// that is new in the tree began since then, so all its time counts; the time of one that has ended is lost.
    pub(crate) fn tree_percent(&mut self, now_s: f64, processes: &[ProcessTimes]) -> f64 {
        let now_busy_s: HashMap<_, _> = processes
            .iter()
            .map(|times| (times.identity, times.busy_s))
            .collect();
        let percent = match &self.tree {
            Some(then) if now_s > then.at_s => {
                let busy: f64 = now_busy_s
                    .iter()
                    .map(|(identity, busy)| {
                        (busy - then.busy_s.get(identity).unwrap_or(&0.0)).max(0.0)
                    })
                    .sum();
                busy / (now_s - then.at_s) * 100.0
            }
            _ => 0.0,
        };
        self.tree = Some(TreeTimes {
            at_s: now_s,
            busy_s: now_busy_s,
        });
        one_decimal(percent)
    }

    /// Percent of all processors in use since the last call; `None` at the first one and where no time passed.
    pub(crate) fn host_percent(&mut self, now: HostTimes) -> Option<f64> {
        let then = self.host.replace(now)?;
        let total = now.total.saturating_sub(then.total);
        let busy = now.busy.saturating_sub(then.busy);
        (total > 0).then(|| one_decimal((busy as f64 / total as f64 * 100.0).min(100.0)))
    }
}

/// Reads everything. `descendants` are the processes below `pid`; may take long where there are some.
pub(crate) fn read(pid: u32, descendants: &[u32], now_s: f64, clock: &mut CpuClock) -> Usage {
    let tree = || std::iter::once(&pid).chain(descendants);
    let times: Vec<ProcessTimes> = tree()
        .filter_map(|&pid| platform::process_times(pid))
        .collect();
    let memory: Option<u64> = if descendants.is_empty() {
        platform::Process::open(pid).and_then(|process| process.resident())
    } else {
        // The sum of no process at all is unknown, not nothing.
        tree()
            .filter_map(|&pid| platform::shared_out(pid).map(|share| share.pss))
            .reduce(u64::saturating_add)
    };
    Usage {
        kernel_cpu: (!times.is_empty()).then(|| clock.tree_percent(now_s, &times)),
        kernel_memory: memory,
        host_cpu_percent: platform::host_times().and_then(|times| clock.host_percent(times)),
        host_virtual_memory: VirtualMemory::new(&platform::machine_memory()),
        ..identity(pid)
    }
}

/// What needs no measuring.
pub(crate) fn identity(pid: u32) -> Usage {
    Usage {
        hostname: platform::hostname(),
        pid,
        cpu_count: platform::cpu_count(),
        ..Usage::default()
    }
}

fn one_decimal(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pid: u32, busy_s: f64) -> ProcessTimes {
        ProcessTimes {
            identity: (pid, 1),
            busy_s,
        }
    }

    #[test]
    fn the_tree_is_charged_for_time_since_the_last_call_only() {
        let mut clock = CpuClock::default();
        assert_eq!(clock.tree_percent(10.0, &[times(1, 50.0)]), 0.0);
        // One second of CPU in two seconds; a new child with three; then the child has ended.
        assert_eq!(clock.tree_percent(12.0, &[times(1, 51.0)]), 50.0);
        let both = [times(1, 51.0), times(2, 3.0)];
        assert_eq!(clock.tree_percent(14.0, &both), 150.0);
        assert_eq!(clock.tree_percent(16.0, &[times(1, 51.0)]), 0.0);
        // No time has passed.
        assert_eq!(clock.tree_percent(16.0, &[times(1, 52.0)]), 0.0);
    }

    #[test]
    fn a_number_that_was_given_to_another_process_is_another_process() {
        let mut clock = CpuClock::default();
        clock.tree_percent(0.0, &[times(1, 50.0)]);
        let other = ProcessTimes {
            identity: (1, 2),
            busy_s: 1.0,
        };
        assert_eq!(clock.tree_percent(10.0, &[other]), 10.0);
    }

    #[test]
    fn the_machines_share_is_unknown_at_first_and_never_beyond_its_bounds() {
        let mut clock = CpuClock::default();
        let at = |total, busy| HostTimes { total, busy };
        assert_eq!(clock.host_percent(at(100, 50)), None);
        assert_eq!(clock.host_percent(at(200, 75)), Some(25.0));
        assert_eq!(clock.host_percent(at(200, 75)), None);
        assert_eq!(clock.host_percent(at(100, 10)), None);
        assert_eq!(clock.host_percent(at(110, 50)), Some(100.0));
    }

    #[test]
    fn memory_follows_psutils_arithmetic() {
        let machine = MachineMemory {
            total: Some(1000),
            free: Some(100),
            available: Some(667),
            cached: Some(30),
            slab: Some(20),
            slab_reclaimable: Some(7),
            ..MachineMemory::default()
        };
        let expected = VirtualMemory {
            total: 1000,
            available: 667,
            percent: 33.3,
            used: 333,
            free: 100,
            cached: 37,
            slab: 20,
            ..VirtualMemory::default()
        };
        assert_eq!(VirtualMemory::new(&machine), Some(expected));
        // A container that claims more than there is.
        let odd = MachineMemory {
            available: Some(5000),
            ..machine
        };
        assert_eq!(VirtualMemory::new(&odd).unwrap().available, 100);
        assert_eq!(VirtualMemory::new(&MachineMemory::default()), None);
    }

    #[test]
    fn what_is_unknown_is_left_out_of_the_reply() {
        let usage = Usage {
            pid: 7,
            kernel_cpu: Some(0.0),
            ..Usage::default()
        };
        assert_eq!(
            serde_json::to_value(usage).unwrap(),
            serde_json::json!({"pid": 7, "kernel_cpu": 0.0})
        );
    }
}
