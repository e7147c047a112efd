"""Storms: interrupts at random moments of cells that print, restarts and deaths one after the other. Nothing is lost, torn or left behind.

STORM_INTERRUPTS, STORM_RESTARTS and STORM_DEATHS say how many; the ordinary run has a few of each.
"""

import os
import random
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from frontend import PATIENCE
from test_subshells import create, delete, on

pytestmark = pytest.mark.ours  # ipykernel loses cells here

INTERRUPTS = int(os.environ.get("STORM_INTERRUPTS", "60"))
RESTARTS = int(os.environ.get("STORM_RESTARTS", "8"))
DEATHS = int(os.environ.get("STORM_DEATHS", "8"))
SEED = int(os.environ.get("STORM_SEED", "7"))

# Cells of some 10 ms to 100 ms. What they show are the numbers from 0 on, on one output or on several.
CELLS = {
    "prints": "for n in range(5000): print(n)",
    "prints without line ends": "for n in range(3000): print(n, end=' ')",
    "errors": "import sys\nfor n in range(2000): print(n, file=sys.stderr)",
    "both streams in turn": "import sys\nfor n in range(150): print(n); print(n, file=sys.stderr)",
    "displays": "for n in range(150): display(n)",
    "text and displays": "for n in range(150): print(n); display(n)",
    "a subprocess": "import subprocess\nsubprocess.run('i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done', shell=True);",
    "a shell command": "!i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); done",
    "descriptors": "import os\nfor n in range(3000): os.write(1, b'%d\\n' % n)",
    "awaits": "import asyncio\nfor n in range(150):\n    print(n); await asyncio.sleep(0)",
    "awaits of tasks": "import asyncio\nasync def say(n): print(n)\nfor n in range(100): await asyncio.create_task(say(n))",
    "a question": "for n in range(100): print(n)\n_answer = input('?')",
    "threads": "import threading\nfor n in range(50):\n    t = threading.Thread(target=print, args=(n,)); t.start(); t.join()",
    "what handles it": "try:\n    for n in range(3000): print(n)\nexcept KeyboardInterrupt: handled = True",
}


def numbers(text, separator, gaps=False):
    """How many numbers are in a text of whole lines, where an interrupt may have cut the last."""
    for echo in ("^C\n", "^C"):  # of the terminal in which IPython runs shell commands
        text = text.replace("\r\n", "\n").replace(echo, "")
    *whole, rest = text.split(separator)
    if gaps:
        order = [int(line) for line in whole if line]
        assert order == sorted(set(order)), text[-200:]
        return len(order)
    wrong = [(n, text) for n, text in enumerate(whole) if str(n) != text]
    assert not wrong, (wrong[0], text[-200:])
    assert str(len(whole)).startswith(rest), text[-200:]
    return len(whole)


# What a second interrupt says, of the kernel and of IPython, whose traceback of the first it may end.
SECOND = re.compile(r"Interrupted twice, and the cell goes on.*\n|\n?KeyboardInterrupt\n+")


# Python prints and drops what is raised in a finaliser or in a function that it calls before a fork. In a subshell an exception comes with
# the next step in Python, whatever that is; and IPython has such a function, which each shell command runs.
DROPPED = re.compile(r"Exception ignored in: .*\n(Traceback .*\n(  .*\n)*)?KeyboardInterrupt: *\n")

# Between making a coroutine and giving it to a task an interrupt leaves one that is not awaited; Python says so when it lets go of it,
# with the traceback, in a later cell.
NOT_AWAITED = re.compile(
    r".*RuntimeWarning: coroutine 'say' was never awaited\n(?:  .*\n)?RuntimeWarning: Enable tracemalloc.*\n"
)


def check_outputs(name, exchange, interrupts=0):
    stderr = NOT_AWAITED.sub("", exchange.stderr)
    stderr = SECOND.sub("", stderr) if interrupts > 1 else stderr
    if "subshell_id" in exchange.request.header or name == "a shell command":
        stderr = DROPPED.sub("", stderr)
    separator = " " if "without" in name else "\n"
    counts = []
    if "display" in name:
        shown = [m.content["data"]["text/plain"] for m in exchange.of("display_data")]
        assert shown == [str(n) for n in range(len(shown))], (exchange.reply, exchange.iopub)
        counts.append(len(shown))
    if name != "errors" and name != "displays":
        # IPython passes over what it has read of a shell command and not shown when the interrupt came (`out_size = len(child.before)`).
        counts.append(numbers(exchange.stdout, separator, gaps=interrupts > 0 and name == "a shell command"))
    if name == "errors" or "both" in name:
        counts.append(numbers(stderr, separator))
    else:
        # A further interrupt may leave of IPython's traceback of the first only the empty line before it.
        assert (stderr.strip("\n") if interrupts > 1 else stderr) == "", name
    if len(counts) > 1:
        assert max(counts) - min(counts) <= 1, (name, counts)
        turns = [kind for kind in exchange.outputs if kind != "error"]
        if exchange.stderr and interrupts and turns[-1] == "stderr":
            turns.pop()  # what an interrupt said
        assert all(one != other for one, other in pairwise(turns)), (name, turns)


def is_quiet(kernel):
    """No error of the front's: of the channel, of frames, of replies to nobody."""
    return [line for line in kernel.kernel_log().splitlines() if "ERROR" in line] == []


def answer(kernel, cell):
    """Answers the question of a cell if the interrupt came too early to end it."""
    deadline = time.monotonic() + PATIENCE
    while not any(m.parent_header["msg_id"] == cell.header["msg_id"] for m in kernel.unread["shell"]):
        if any(m.parent_header["msg_id"] == cell.header["msg_id"] for m in kernel.unread["stdin"]):
            kernel.unread["stdin"].clear()
            kernel.answer_input("")
        assert time.monotonic() < deadline, kernel.situation()
        kernel.pump(0.02)


# Until the thread that was just being started has said what it says.
WAIT = """
import threading, time
until = time.monotonic() + 1
while "t" in globals() and (t in threading._limbo or t.is_alive()) and time.monotonic() < until: time.sleep(0.001)
"""


def storm(kernel, count, **where):
    """Interrupts `count` cells, each at a random moment; returns how many of them ended by it."""
    chance = random.Random(SEED)
    lengths, ended, late = {}, 0, {}
    for name, code in CELLS.items():
        if name != "a question":
            begun = time.monotonic()
            check_outputs(name, kernel.execute_ok(code, **where))
            lengths[name] = time.monotonic() - begun
    for number in range(count):
        name = chance.choice(list(CELLS))
        cell = kernel.start(CELLS[name], allow_stdin=True, stop_on_error=False, **where)
        kernel.pump_for(chance.uniform(0, 0.9 * lengths.get(name, 0.02)))
        requests = [
            kernel.send("control", "interrupt_request") for _ in range(chance.choice([1, 1, 1, 2, 5]))
        ]
        for request in requests:
            assert kernel.collect(request).content == {"status": "ok"}
        if name == "a question":
            answer(kernel, cell)
        exchange = kernel.collect(cell)
        kernel.unread["stdin"].clear()
        if exchange.status == "error":
            assert exchange.content["ename"] == "KeyboardInterrupt", (name, exchange.content)
            ended += 1
        else:
            assert exchange.status == "ok"
        check_outputs(name, exchange, len(requests))
        if name in ("threads", "awaits of tasks"):
            # between a number and the end of its line another thread may have had its turn
            is_whole = not exchange.stdout or exchange.stdout.endswith("\n")
            left = f"{len(exchange.stdout.splitlines())}\n" if is_whole else "\n"
            late[cell.header["msg_id"]] = left
            assert kernel.execute_ok(WAIT, **where).stdout in ("", left)
        after = kernel.execute_ok(f"print('after {number}')\n{number}", **where)
        assert (after.stdout, after.result) == (f"after {number}\n", str(number))
        assert NOT_AWAITED.sub("", after.stderr) == ""
    # A thread or a task that was not waited for says its number later.
    for message in [m for m in kernel.unread["iopub"] if m.type == "stream"]:
        assert message.content["text"] == late.pop(message.parent_header["msg_id"], None), (
            message,
            message.parent_header,
        )
        kernel.unread["iopub"].remove(message)
    return ended


@pytest.mark.timeout(120 + INTERRUPTS)
@pytest.mark.parametrize("shell", ["main", "subshell"])
def test_interrupts_at_random_moments_lose_and_tear_nothing(start_kernel, shell):
    kernel = start_kernel()
    where = on(create(kernel)) if shell == "subshell" else {}
    pid = kernel.evaluate("__import__('os').getpid()")
    assert storm(kernel, INTERRUPTS, **where) > INTERRUPTS // 10
    assert kernel.evaluate("__import__('os').getpid()") == pid
    assert is_quiet(kernel)


# --- restarts


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
