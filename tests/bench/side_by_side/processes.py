"""What ``/proc`` and psutil say about the processes of a kernel."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import psutil

from side_by_side.basics import clock


def process_tree(pid: int) -> list[psutil.Process]:
    """The live processes of the kernel started as ``pid`` (zombies left out).

    These are its descendants and the members of its session, which
    jupyter_client makes for each kernel: an orphan is no longer a descendant.
    """
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        found = {p.pid: p for p in (root, *root.children(recursive=True))}
    for other in psutil.pids():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if other not in found and os.getsid(other) == pid:
                found[other] = psutil.Process(other)
    return [p for p in found.values() if is_running(p)]


def is_running(process: psutil.Process) -> bool:
    """True while a process exists and is not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tree_memory(pid: int) -> dict[str, float]:
    """Memory of a process tree in MiB, from ``/proc/PID/smaps_rollup``.

    ``pss`` shares out pages mapped by several processes, also by processes
    outside the tree, so it moves with what else runs on the machine; ``uss``
    (private pages) and ``anon`` (proportional anonymous pages) hardly do.
    """
    total = {"pss": 0.0, "uss": 0.0, "anon": 0.0}
    for process in process_tree(pid):
        fields: dict[str, int] = {}
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in rollup.splitlines()[1:]:
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0])
        total["pss"] += fields.get("Pss", 0) / 1024
        total["uss"] += (fields.get("Private_Clean", 0) + fields.get("Private_Dirty", 0)) / 1024
        total["anon"] += fields.get("Pss_Anon", 0) / 1024
    return total


def tree_cpu_seconds(pid: int) -> float:
    """CPU time used so far by the threads of a process tree.

    ``/proc/PID/task/TID/schedstat`` counts nanoseconds; the usual counters
    count ticks of 10 ms.  Threads and processes that have ended are not seen.
    """
    total = 0
    for process in process_tree(pid):
        for task in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def tree_wakeups(pid: int) -> int:
    """Voluntary context switches so far of the threads of a process tree."""
    total = 0
    for process in process_tree(pid):
        for task in Path(f"/proc/{process.pid}/task").glob("*/status"):
            with contextlib.suppress(OSError):
                found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", task.read_text(), re.MULTILINE)
                total += int(found.group(1)) if found else 0
    return total


def spin() -> float:
    """Milliseconds for a fixed amount of work: a gauge of outside noise."""
    start = clock()
    total = 0
    for i in range(300_000):
        total += i
    return (clock() - start) * 1e3
