"""Storms: restarts and deaths one after the other. Nothing is lost or left behind.

STORM_RESTARTS and STORM_DEATHS say how many; the ordinary run has a few of each.
"""

import os
import random
from pathlib import Path

import pytest

from test_subshells import create, delete, on

pytestmark = pytest.mark.ours  # ipykernel loses cells here

RESTARTS = int(os.environ.get("STORM_RESTARTS", "8"))
DEATHS = int(os.environ.get("STORM_DEATHS", "8"))
SEED = int(os.environ.get("STORM_SEED", "7"))


def is_quiet(kernel):
    """No error of the front's: of the channel, of frames, of replies to nobody."""
    return [line for line in kernel.kernel_log().splitlines() if "ERROR" in line] == []


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid):
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ports(kernel):
    return [getattr(kernel.manager, f"{name}_port") for name in ("shell", "iopub", "stdin", "control", "hb")]


LEAVES = {
    "nothing": "1",
    "a child": "import subprocess; child = subprocess.Popen(['sleep', '1000'])",
    "a daemon": "import subprocess; child = subprocess.Popen(['setsid', 'sleep', '1000'], start_new_session=True)",
    "a pool": "import multiprocessing as m; pool = m.get_context('fork').Pool(2); pool.map(abs, [1])",
    "a thread": "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()",
    "much": "much = bytearray(50_000_000)",
}
BUSY = {
    "idle": None,
    "loops": "while True: pass",
    "sleeps": "import time; time.sleep(1000)",
    "floods": "while True: print('more')",
    "awaits": "import asyncio; await asyncio.sleep(1000)",
    "asks": "input()",
}


def leave_something(kernel, chance):
    """The kernel has something that must not outlive it, or does something."""
    kernel.execute_ok(LEAVES[chance.choice(list(LEAVES))])
    where = on(create(kernel)) if chance.random() < 0.3 else {}
    busy = BUSY[chance.choice(list(BUSY))]
    if busy is not None:
        kernel.start(busy, allow_stdin=True, **where)
        kernel.pump(0.05)


@pytest.mark.timeout(120 + 6 * RESTARTS)
def test_restarts_keep_the_ports_and_leave_nothing_behind(start_kernel):
    kernel = start_kernel()
    chance = random.Random(SEED)
    before = ports(kernel)
    kernel.execute_ok("1")
    sizes = [(descriptors(kernel.pid), resident(kernel.pid))]
    for number in range(RESTARTS):
        leave_something(kernel, chance)
        old = set(kernel.processes())
        kernel.restart()
        assert ports(kernel) == before
        assert kernel.execute_ok(f"print({number}); {number}").result == str(number)
        interpreter = kernel.evaluate("__import__('os').getpid()")
        assert set(kernel.processes()) == {kernel.pid, interpreter}
        assert not old & {kernel.pid, interpreter}
        sizes.append((descriptors(kernel.pid), resident(kernel.pid)))
    assert max(count for count, _ in sizes) <= sizes[0][0] + 4, sizes
    assert max(size for _, size in sizes) <= sizes[0][1] + (16 << 20), sizes
    assert is_quiet(kernel)


@pytest.mark.timeout(120 + 6 * DEATHS)
def test_deaths_of_the_interpreter_leave_the_front_as_it_was(start_kernel):
    kernel = start_kernel()
    chance = random.Random(SEED)
    sizes = []
    for number in range(DEATHS):
        kernel.execute_ok(LEAVES[chance.choice(list(LEAVES))])
        subshell = create(kernel)
        beside = kernel.start("import time; print('up', flush=True); time.sleep(1000)", **on(subshell))
        kernel.wait_for_stream(beside, "up\n")
        end = chance.choice(["os._exit(1)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)"])
        assert kernel.execute(f"import os\n{end}").content["ename"] == "InterpreterDied"
        assert kernel.collect(beside).content["ename"] == "InterpreterDied"
        fresh = create(kernel)
        assert kernel.execute(f"{number} + 1", **on(fresh)).result == str(number + 1)
        delete(kernel, fresh)
        interpreter = kernel.evaluate("__import__('os').getpid()")
        assert set(kernel.processes()) == {kernel.pid, interpreter}
        sizes.append((descriptors(kernel.pid), resident(kernel.pid)))
    first = sizes[min(3, len(sizes) - 1)]
    assert max(count for count, _ in sizes) <= first[0] + 2, sizes
    assert max(size for _, size in sizes) <= first[1] + (8 << 20), sizes
