//! Memory of other processes than the main one, and of the machine.

use super::{
    page_size,
    process::parse_statm,
    read::{field, kilobytes, read},
};

/// A process's share of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Its proportional set size, or its resident size where the system does not give that.
    pub(crate) pss: u64,
    /// What it wrote and shares with nobody: the part that goes when it ends. `None` where the system does not tell.
    pub(crate) own: Option<u64>,
}

/// A process's share of memory. The system does not divide on Linux older than 4.14 and for another user's process.
/// `None` once it has ended.
///
/// The kernel walks all page tables of the process for this: milliseconds a gigabyte.
pub(crate) fn shared_out(pid: u32) -> Option<Share> {
    let share = read(format!("/proc/{pid}/smaps_rollup"))
        .ok()
        .and_then(|text| parse_share(&text));
    share.or_else(|| {
        let text = read(format!("/proc/{pid}/statm")).ok()?;
        // A zombie's statm says 0 everywhere.
        let pss = parse_statm(&text, page_size()).filter(|&bytes| bytes > 0)?;
        Some(Share { pss, own: None })
    })
}

/// Reads the `Pss` and `Private_Dirty` lines of `/proc/PID/smaps_rollup`.
fn parse_share(text: &[u8]) -> Option<Share> {
    let line = |wanted: &[u8]| {
        text.split(|&byte| byte == b'\n')
            .filter_map(field)
            .find_map(|(name, value)| (name == wanted).then(|| kilobytes(value))?)
    };
    Some(Share {
        pss: line(b"Pss")?,
        own: line(b"Private_Dirty"),
    })
}

/// Lines of `/proc/meminfo`, in bytes; one that a kernel does not write is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineMemory {
    pub(crate) total: Option<u64>,
    pub(crate) free: Option<u64>,
    pub(crate) available: Option<u64>,
    pub(crate) buffers: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) active: Option<u64>,
    pub(crate) inactive: Option<u64>,
    pub(crate) shared: Option<u64>,
    pub(crate) slab: Option<u64>,
    pub(crate) slab_reclaimable: Option<u64>,
}

/// Reads `/proc/meminfo`.
pub(crate) fn parse_meminfo(text: &[u8]) -> MachineMemory {
    let mut memory = MachineMemory::default();
    for (name, value) in text.split(|&byte| byte == b'\n').filter_map(field) {
        let slot = match name {
            b"MemTotal" => &mut memory.total,
            b"MemFree" => &mut memory.free,
            b"MemAvailable" => &mut memory.available,
            b"Buffers" => &mut memory.buffers,
            b"Cached" => &mut memory.cached,
            b"Active" => &mut memory.active,
            b"Inactive" => &mut memory.inactive,
            b"Shmem" => &mut memory.shared,
            b"Slab" => &mut memory.slab,
            b"SReclaimable" => &mut memory.slab_reclaimable,
            _ => continue,
        };
        *slot = kilobytes(value);
    }
    memory
}

/// The memory of the machine now.
pub(crate) fn machine_memory() -> MachineMemory {
    read("/proc/meminfo").map_or_else(|_| MachineMemory::default(), |text| parse_meminfo(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_is_the_line_of_that_name_and_not_its_parts() {
        for (text, expected) in [
            (
                "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:    900 kB\nPss:    123 kB\nPss_Anon:  9 kB\n\
                 Private_Clean: 3 kB\nPrivate_Dirty:  7 kB\n",
                Some((123 << 10, Some(7 << 10))),
            ),
            ("Pss: 1 kB\n", Some((1 << 10, None))),
            ("Pss_Anon:  9 kB\nSwapPss: 7 kB\n", None),
            ("Pss: lots kB\n", None),
            ("", None),
        ] {
            let found = parse_share(text.as_bytes()).map(|share| (share.pss, share.own));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn meminfo_is_read_and_what_is_missing_stays_unknown() {
        let text = "MemTotal:       1000 kB\nMemFree:   100 kB\nMemAvailable: 600 kB\nActive(anon): 1 kB\n\
            Active: 2 kB\nCached: 5 kB\nHugePages_Total: 3\n";
        let expected = MachineMemory {
            total: Some(1000 << 10),
            free: Some(100 << 10),
            available: Some(600 << 10),
            active: Some(2 << 10),
            cached: Some(5 << 10),
            ..MachineMemory::default()
        };
        assert_eq!(parse_meminfo(text.as_bytes()), expected);
    }

    #[test]
    fn our_own_share_is_not_more_than_the_machine_has() {
        let share = shared_out(std::process::id()).unwrap();
        assert!(share.own > Some(0) && share.own <= Some(share.pss));
        assert!(Some(share.pss) < machine_memory().total);
        assert_eq!(shared_out(u32::MAX), None);
    }
}
