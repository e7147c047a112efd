//! What this system lets us see of a child process. Sandboxes and old kernels hide some of it.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};

use super::Check;

/// Tries on a child of our own what the kernel does to its Python.
pub fn check() -> Vec<Check> {
    let mut child = match waiting_child() {
        Ok(child) => child,
        Err(error) => {
            let advice = "check the limits on processes (ulimit -u)";
            return vec![Check::fail(
                "processes",
                format!("cannot start a child process: {error}"),
                advice,
            )];
        }
    };
    let pid = child.id();
    let checks = vec![peak(pid), shared_pages(pid), children(pid)];
    // It waits for the end of its input and may be killed at any time.
    let _ = child.kill();
    let _ = child.wait();
    checks
}

/// This program itself, waiting for a notebook that never comes: no other program is sure to exist.
fn waiting_child() -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["strip", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn()
}

/// The peak of a cell: writing 5 to `clear_refs` resets the high-water mark that `status` shows (proc_pid_clear_refs(5)).
fn peak(pid: u32) -> Check {
    let outcome = fs::write(format!("/proc/{pid}/clear_refs"), "5").and_then(|()| {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let has_mark = status.lines().any(|line| line.starts_with("VmHWM:"));
        if has_mark {
            Ok(())
        } else {
            Err(io::Error::other("no VmHWM in its status"))
        }
    });
    match outcome {
        Ok(()) => Check::ok(
            "peak",
            "the peak of each cell can be measured exactly (/proc/PID/clear_refs)",
        ),
        Err(error) => Check::warn(
            "peak",
            format!("/proc/PID/clear_refs: {error}; peaks will be sampled or absent"),
            "needs Linux 4.0 or later without a sandbox such as gVisor; nothing to do if you cannot change that",
        ),
    }
}

fn shared_pages(pid: u32) -> Check {
    let outcome = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).and_then(|text| {
        if text.contains("\nPss:") {
            Ok(())
        } else {
            Err(io::Error::other("no Pss in it"))
        }
    });
    match outcome {
        Ok(()) => Check::ok(
            "shared pages",
            "pages shared with child processes can be told apart (smaps_rollup)",
        ),
        Err(error) => Check::warn(
            "shared pages",
            format!("/proc/PID/smaps_rollup: {error}; memory of child processes may count twice"),
            "needs Linux 4.14 or later; nothing to do if you cannot change that",
        ),
    }
}

fn children(pid: u32) -> Check {
    let own = std::process::id();
    let outcome = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).and_then(|text| {
        let listed = text.split_whitespace().any(|word| word.parse() == Ok(pid));
        if listed {
            Ok(())
        } else {
            Err(io::Error::other("our child is not in it"))
        }
    });
    match outcome {
        Ok(()) => Check::ok(
            "process tree",
            "child processes of the Python can be found (/proc/PID/task/TID/children)",
        ),
        Err(error) => Check::warn(
            "process tree",
            format!(
                "/proc/PID/task/TID/children: {error}; child processes will be found more slowly or not at all"
            ),
            "needs a Linux built with CONFIG_PROC_CHILDREN; nothing to do if you cannot change that",
        ),
    }
}
