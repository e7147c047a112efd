//! Memory limits of control groups, as far as our own namespaces show them.
//!
//! A limit of any group above a process holds for it, so all are read from the process's group up to the mount point.
//! Both versions may be mounted at once (systemd's "hybrid" mode); each is asked.

use std::path::{Component, Path, PathBuf};

use super::read::{number, read_text};
use crate::reading::LimitSource;

/// A limit without effect in version 1 is the highest number of pages that fits: anything near it means "none".
const UNLIMITED: u64 = 1 << 62;

/// A limit of one control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Bytes that the group's processes may use together.
    pub(crate) limit: u64,
    /// `Cgroup1` or `Cgroup2`.
    pub(crate) source: LimitSource,
    directory: PathBuf,
}

/// The limits above a process, innermost first; empty where there are none.
pub(crate) fn bounds(pid: u32) -> Vec<Bound> {
    let membership = read_text(format!("/proc/{pid}/cgroup"));
    // Ours, not the process's: we open the files in our own mount namespace.
    let mounts = read_text("/proc/self/mountinfo");
    match (membership, mounts) {
        (Ok(membership), Ok(mounts)) => find_bounds(&membership, &mounts, read_file),
        _ => Vec::new(),
    }
}

/// Bytes that the group uses and cannot give back at once: inactive page cache can be dropped, so it does not count.
pub(crate) fn bytes_in_use(bound: &Bound) -> Option<u64> {
    find_bytes_in_use(bound, read_file)
}

/// The innermost control groups of a process, of each version.
pub(crate) fn innermost(pid: u32) -> Vec<(LimitSource, PathBuf)> {
    let membership = read_text(format!("/proc/{pid}/cgroup"));
    let mountinfo = read_text("/proc/self/mountinfo");
    let (Ok(membership), Ok(mountinfo)) = (membership, mountinfo) else {
        return Vec::new();
    };
    [LimitSource::Cgroup2, LimitSource::Cgroup1]
        .into_iter()
        .filter_map(|source| {
            let group = group_of(&membership, source)?;
            let innermost = directories(group, &mounts(&mountinfo, source))
                .into_iter()
                .next()?;
            Some((source, innermost))
        })
        .collect()
}

fn read_file(path: &Path) -> Option<String> {
    read_text(path).ok()
}

fn find_bounds(
    membership: &str,
    mountinfo: &str,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<Bound> {
    let mut bounds = Vec::new();
    for (source, file) in [
        (LimitSource::Cgroup2, "memory.max"),
        (LimitSource::Cgroup1, "memory.limit_in_bytes"),
    ] {
        let Some(group) = group_of(membership, source) else {
            continue;
        };
        for directory in directories(group, &mounts(mountinfo, source)) {
            let limit = read(&directory.join(file)).and_then(|text| number(text.as_bytes()));
            if let Some(limit) = limit.filter(|&limit| limit < UNLIMITED) {
                bounds.push(Bound {
                    limit,
                    source,
                    directory,
                });
            }
        }
    }
    bounds
}

fn find_bytes_in_use(bound: &Bound, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let (usage, reclaimable) = match bound.source {
        LimitSource::Cgroup1 => ("memory.usage_in_bytes", "total_inactive_file"),
        _ => ("memory.current", "inactive_file"),
    };
    let usage = number(read(&bound.directory.join(usage))?.as_bytes())?;
    let reclaimable = read(&bound.directory.join("memory.stat"))
        .and_then(|text| stat_line(&text, reclaimable))
        .unwrap_or(0);
    Some(usage.saturating_sub(reclaimable))
}

/// A `name value` line of `memory.stat`.
fn stat_line(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find_map(|(found, value)| (found == name).then(|| number(value.as_bytes()))?)
}

/// The process's group in `/proc/PID/cgroup`, whose lines are `hierarchy:controllers:path` (cgroups(7)). Version 2 is
/// hierarchy 0 without controllers.
fn group_of(membership: &str, source: LimitSource) -> Option<&str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let wanted = match source {
            LimitSource::Cgroup2 => hierarchy == "0" && controllers.is_empty(),
            _ => controllers.split(',').any(|name| name == "memory"),
        };
        wanted.then_some(path)
    })
}

/// Where a hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// The group that the mount point shows.
    root: PathBuf,
    point: PathBuf,
}

/// Mounts of the hierarchy that has the memory controller, from `/proc/PID/mountinfo` (proc(5)):
/// `id parent major:minor root point options [optional fields…] - type source super-options`.
fn mounts(mountinfo: &str, source: LimitSource) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let mut mount = mount.split(' ').skip(3);
            let (root, point) = (mount.next()?, mount.next()?);
            let mut filesystem = filesystem.split(' ');
            let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
            let wanted = match source {
                LimitSource::Cgroup2 => kind == "cgroup2",
                _ => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
            };
            wanted.then(|| Mount {
                root: unescape(root).into(),
                point: unescape(point).into(),
            })
        })
        .collect()
}

/// Blanks, line ends and backslashes stand as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The directories of a group and of those above it, up to the mount point. A group that the mount does not show (one
/// of another namespace has `..` in its path) is taken for the mount point itself: its limit holds for all that we see.
fn directories(group: &str, mounts: &[Mount]) -> Vec<PathBuf> {
    let below = mounts.iter().find_map(|mount| {
        let inner = Path::new(group).strip_prefix(&mount.root).ok()?;
        inner
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
            .then_some((mount, inner))
    });
    let Some((mount, inner)) = below.or_else(|| Some((mounts.first()?, Path::new("")))) else {
        return Vec::new();
    };
    inner
        .ancestors()
        .map(|part| {
            if part.as_os_str().is_empty() {
                mount.point.clone()
            } else {
                mount.point.join(part)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
        36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";

    /// Names and contents.
    type Files<'a> = &'a [(&'a str, &'a str)];
    type Limits<'a> = &'a [(u64, LimitSource)];

    /// A reader of a table of files.
    fn files<'a>(table: Files<'a>) -> impl Fn(&Path) -> Option<String> + 'a {
        move |path| {
            let found = table.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(found.1.to_owned())
        }
    }

    fn found(membership: &str, mounts: &str, table: Files) -> Vec<(u64, LimitSource)> {
        find_bounds(membership, mounts, files(table))
            .into_iter()
            .map(|bound| (bound.limit, bound.source))
            .collect()
    }

    #[test]
    fn every_limit_above_a_process_is_found() {
        use LimitSource::{Cgroup1, Cgroup2};
        let container =
            "31 23 0:28 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let cases: &[(&str, &str, &str, Files, Limits)] = &[
            (
                "two levels of version 2, one without a limit",
                "0::/user/a\n",
                V2,
                &[
                    ("/sys/fs/cgroup/user/a/memory.max", "max\n"),
                    ("/sys/fs/cgroup/user/memory.max", "700\n"),
                ],
                &[(700, Cgroup2)],
            ),
            (
                "the root of a namespace has its limit at the mount point",
                "0::/\n",
                V2,
                &[("/sys/fs/cgroup/memory.max", "512\n")],
                &[(512, Cgroup2)],
            ),
            (
                "version 1 without a limit says a huge number",
                "4:memory:/a\n1:cpu,cpuacct:/b\n",
                V1,
                &[
                    (
                        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"),
                ],
                &[(4096, Cgroup1)],
            ),
            (
                "a container that sees its own group only",
                "4:memory:/docker/ab/x\n",
                container,
                &[
                    ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "10\n"),
                    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "20\n"),
                ],
                &[(10, Cgroup1), (20, Cgroup1)],
            ),
            (
                "a group outside our namespace",
                "0::/../other\n",
                V2,
                &[
                    ("/sys/fs/cgroup/memory.max", "30\n"),
                    ("/sys/fs/cgroup/../other/memory.max", "1\n"),
                ],
                &[(30, Cgroup2)],
            ),
            (
                "hybrid: both are asked",
                "4:memory:/a\n0::/s\n",
                &format!(
                    "{V1}{}",
                    V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
                ),
                &[("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "50\n")],
                &[(50, Cgroup1)],
            ),
            ("no control groups", "", "", &[], &[]),
            ("a membership without a mount", "0::/a\n", V1, &[], &[]),
            ("nonsense", "0\n::\n:memory\n", " - \n- cgroup2\n", &[], &[]),
        ];
        for (name, membership, mounts, table, expected) in cases {
            assert_eq!(&found(membership, mounts, table), expected, "{name}");
        }
    }

    #[test]
    fn a_path_with_a_colon_or_a_blank_is_found() {
        let mounts = "31 23 0:28 / /sys/fs/c\\040g rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found("0::/a:b\n", mounts, &[("/sys/fs/c g/a:b/memory.max", "9")]),
            [(9, LimitSource::Cgroup2)]
        );
        assert_eq!(unescape("a\\134b\\0"), "a\\b\\0");
    }

    #[test]
    fn inactive_page_cache_does_not_count_as_used() {
        let bound = |source| Bound {
            limit: 1,
            source,
            directory: "/g".into(),
        };
        let table = [
            ("/g/memory.current", "1000\n"),
            ("/g/memory.usage_in_bytes", "2000\n"),
            (
                "/g/memory.stat",
                "anon 5\ninactive_file 300\ntotal_inactive_file 1500\n",
            ),
        ];
        for (source, table, expected) in [
            (LimitSource::Cgroup2, &table[..], Some(700)),
            (LimitSource::Cgroup1, &table[..], Some(500)),
            (LimitSource::Cgroup2, &table[..1], Some(1000)),
            (LimitSource::Cgroup2, &table[1..], None),
        ] {
            assert_eq!(find_bytes_in_use(&bound(source), files(table)), expected);
        }
    }
}
