//! What this machine has: memory, its limit, a GPU.

use std::fs;
use std::path::{Path, PathBuf};

use super::Check;

/// Bytes that this process group may use, and who says so.
#[derive(Debug, PartialEq, Eq)]
enum Limit {
    /// A control group of this file limits us.
    ControlGroup(u64, PathBuf),
    /// Only the machine's memory does.
    Machine(u64),
}

/// The limit on memory, which the guard and the warnings go by.
pub fn memory() -> Check {
    match limit(Path::new("/proc"), Path::new("/sys/fs/cgroup")) {
        Some(Limit::ControlGroup(bytes, file)) => Check::ok(
            "memory",
            format!("limited to {} by {}", size(bytes), file.display()),
        ),
        Some(Limit::Machine(bytes)) => Check::ok(
            "memory",
            format!("{} in this machine, no limit below that", size(bytes)),
        ),
        None => Check::warn(
            "memory",
            "neither a limit nor the machine's memory can be read; warnings will not know how much is left",
            "check that /proc is mounted",
        ),
    }
}

/// The NVIDIA management library, which is loaded as the kernel loads it.
pub fn gpu() -> Check {
    const NAME: &str = "gpu";
    const LIBRARY: &str = "libnvidia-ml.so.1";
    let advice = "run nvidia-smi; it shows the same error and its cause, often a driver that was updated without a reboot";
    match nvml_wrapper::Nvml::builder()
        .lib_path(LIBRARY.as_ref())
        .init()
    {
        Ok(nvml) => match nvml.device_count() {
            Ok(count) => Check::ok(NAME, format!("NVIDIA driver present, {count} device(s)")),
            Err(error) => Check::warn(
                NAME,
                format!("the NVIDIA driver lists no devices: {error}"),
                advice,
            ),
        },
        Err(nvml_wrapper::error::NvmlError::LibloadingError(_)) => {
            Check::info(NAME, "no NVIDIA driver, GPU figures will be absent")
        }
        Err(error) => Check::warn(
            NAME,
            format!("the NVIDIA driver does not answer: {error}"),
            advice,
        ),
    }
}

/// The tightest limit of the control groups that we are in, else the machine's memory.
fn limit(proc: &Path, groups: &Path) -> Option<Limit> {
    let meminfo = fs::read_to_string(proc.join("meminfo")).ok();
    let total = meminfo.and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    });
    let membership = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let limits = membership.lines().flat_map(|line| limits_of(line, groups));
    let tightest = limits.min_by_key(|(bytes, _)| *bytes);
    match tightest {
        // Version 1 writes "no limit" as a number near 2^63; so what exceeds the machine is none.
        Some((bytes, file)) if total.is_none_or(|total| bytes < total) && bytes < 1 << 62 => {
            Some(Limit::ControlGroup(bytes, file))
        }
        _ => total.map(Limit::Machine),
    }
}

/// The limits along the path of one line of `/proc/self/cgroup`, `ID:CONTROLLERS:PATH` (cgroups(7)).
fn limits_of(line: &str, groups: &Path) -> Vec<(u64, PathBuf)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, file) = if controllers.is_empty() {
        (groups.to_path_buf(), "memory.max")
    } else if controllers
        .split(',')
        .any(|controller| controller == "memory")
    {
        (groups.join("memory"), "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    // Inside a container the path may be one of the host's; then only the root exists, and it is ours.
    let path = Path::new(path.trim_start_matches('/'));
    let files = path.ancestors().map(|folder| root.join(folder).join(file));
    files
        .filter_map(|file| Some((fs::read_to_string(&file).ok()?.trim().parse().ok()?, file)))
        .collect()
}

fn size(bytes: u64) -> String {
    let [mib, gib] = [20, 30].map(|shift| bytes as f64 / (1u64 << shift) as f64);
    if gib >= 1.0 {
        format!("{gib:.1} GiB")
    } else {
        format!("{mib:.0} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 16 GiB whose files are given as (path, text).
    fn limit_of(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("proc/meminfo", "MemTotal:       16777216 kB\n")]
            .iter()
            .chain(files)
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Some(
            match limit(&root.path().join("proc"), &root.path().join("groups"))? {
                Limit::Machine(bytes) => format!("machine {bytes}"),
                Limit::ControlGroup(bytes, file) => {
                    format!(
                        "{} {bytes}",
                        file.strip_prefix(root.path().join("groups"))
                            .unwrap()
                            .display()
                    )
                }
            },
        )
    }

    #[test]
    fn the_tightest_limit_on_the_way_to_the_root_counts() {
        let member = ("proc/self/cgroup", "0::/user/one\n");
        for (files, expected) in [
            (vec![], "machine 17179869184"),
            (
                vec![member, ("groups/user/one/memory.max", "max\n")],
                "machine 17179869184",
            ),
            (
                vec![member, ("groups/user/one/memory.max", "1000\n")],
                "user/one/memory.max 1000",
            ),
            (
                vec![
                    member,
                    ("groups/user/one/memory.max", "1000\n"),
                    ("groups/user/memory.max", "500\n"),
                ],
                "user/memory.max 500",
            ),
            (
                vec![member, ("groups/memory.max", "700\n")],
                "memory.max 700",
            ),
            (
                vec![member, ("groups/memory.max", "99999999999999\n")],
                "machine 17179869184",
            ),
        ] {
            assert_eq!(limit_of(&files).as_deref(), Some(expected), "{files:?}");
        }
    }

    #[test]
    fn the_first_version_of_control_groups_is_understood() {
        let member = (
            "proc/self/cgroup",
            "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
        );
        let file = "groups/memory/memory.limit_in_bytes";
        assert_eq!(
            limit_of(&[member, (file, "2000\n")]).as_deref(),
            Some("memory/memory.limit_in_bytes 2000")
        );
        let unlimited = limit_of(&[member, (file, "9223372036854771712\n")]);
        assert_eq!(unlimited.as_deref(), Some("machine 17179869184"));
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, expected) in [
            (0, "0 MiB"),
            (512 << 20, "512 MiB"),
            (3 << 29, "1.5 GiB"),
            (64 << 30, "64.0 GiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
