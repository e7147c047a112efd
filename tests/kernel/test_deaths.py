"""Deaths of the interpreter at random moments under load: the true cause, at once, and nothing is left behind.

`DEATHS=500` makes the full run.
"""

import os
import random
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from frontend import PATIENCE

pytestmark = pytest.mark.ours

DEATHS = int(os.environ.get("DEATHS", "16"))
SEED = int(os.environ.get("DEATHS_SEED", time.time_ns() % 100_000))
WARM_UP = 8
PROMPTLY = 1.0

# A thread prints without pause, and after a while the main thread, which does something else meanwhile, dies.
LOAD = """
import ctypes, os, signal, sys, threading, time
def talk():
    while True:
        print("x" * 200)
        os.write(2, b"y" * 100 + b"\\n")
threading.Thread(target=talk, daemon=True).start()
end = time.monotonic() + {delay}
while time.monotonic() < end: sum(range(1000))
"""
OVERFLOW = """
sys.setrecursionlimit(10**8)
class Endless:
    def __repr__(self): return repr(self)
repr(Endless())
"""
WAYS = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", "killed"),
    "segfault": ("ctypes.string_at(0)", "SIGSEGV", "segfault"),
    "abort": ("os.abort()", "SIGABRT", "abort"),
    "exit": ("os._exit(41)", "exit code 41", "exit"),
    "terminated": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(1000)", "SIGTERM", "killed"),
    "stack overflow": (OVERFLOW, "stack overflow", "stack_overflow"),
    "the group": ("os.killpg(0, signal.SIGKILL)", "SIGKILL", "killed"),
    "with children": (
        "[__import__('subprocess').Popen(['sleep', '1000'], start_new_session=i % 2) for i in range(3)]; os._exit(42)",
        "exit code 42",
        "exit",
    ),
}


def interpreter_pid(kernel):
    return kernel.evaluate("__import__('os').getpid()")


class Watch:
    """Notes when a process ends."""

    def __init__(self, pid):
        self.ended_at = None
        fd = os.pidfd_open(pid)

        def wait():
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(PATIENCE * 1000)
            self.ended_at = time.monotonic()
            os.close(fd)

        self.thread = threading.Thread(target=wait)
        self.thread.start()


def settled(kernel):
    """The front's memory and descriptors, once a fresh interpreter is there."""
    kernel.execute_ok("pass")
    status = Path(f"/proc/{kernel.pid}/status").read_text()
    rss = int(status.split("VmRSS:")[1].split()[0]) << 10
    return rss, len(os.listdir(f"/proc/{kernel.pid}/fd"))


def wait_until_alone(kernel):
    """Until the front and its one interpreter are all that is alive."""
    deadline = time.monotonic() + PATIENCE
    while len(kernel.processes()) > 2:
        assert time.monotonic() < deadline, kernel.processes()
        time.sleep(0.02)


def die(kernel, way, delay):
    code, said, cause = WAYS[way]
    watch = Watch(interpreter_pid(kernel))
    cell = kernel.start(LOAD.format(delay=delay) + code)
    reply = kernel.take("shell", cell.is_parent_of, "the reply to a cell that died")
    answered_at = time.monotonic()
    watch.thread.join()
    assert answered_at - watch.ended_at < PROMPTLY
    iopub = kernel.take_until_idle(cell)
    (error,) = [m for m in iopub if m.type == "error"]
    for content in (error.content, reply.content):
        assert content["ename"] == "InterpreterDied"
        assert said in content["evalue"], content
        assert said in content["traceback"][0]
    death = reply.metadata["rust_hygiene"]["death"]
    assert death["cause"] == cause, death
    if way in ("segfault", "abort", "stack overflow"):
        assert any("Cell In" in frame for frame in death["stack"]), death


def test_deaths_at_random_moments_are_told_truly_and_leave_nothing(start_kernel):
    dice = random.Random(SEED)
    print("seed", SEED)
    kernel = start_kernel()
    begin = None
    for number in range(WARM_UP + DEATHS):
        way = list(WAYS)[number % len(WAYS)]
        die(kernel, way, dice.choice((0, 0.01, dice.random() * 0.3)))
        kernel.execute_ok("print('alive')")
        wait_until_alone(kernel)
        if number == WARM_UP - 1:
            begin = settled(kernel)
    end = settled(kernel)
    assert end[1] == begin[1], "descriptors"
    assert end[0] - begin[0] < 8 << 20, f"the front grew from {begin[0]} to {end[0]} bytes"


def test_what_is_lost_is_named(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_EXPLAIN_BUDGET_MS": "10000"})
    kernel.execute_ok("import numpy; table = numpy.ones(10_000_000); small = 1")
    reply = kernel.execute("import os; os._exit(1)").reply
    told = "\n".join(reply.content["traceback"])
    assert "table (ndarray, 76.3 MiB)" in told and "small" in told
    death = reply.metadata["rust_hygiene"]["death"]
    assert death["lost"][0]["name"] == "table" and death["lost"][0]["bytes"] >= 80_000_000
    assert death["code"] == 1 and death["signal"] is None


def test_the_peak_of_a_cell_that_died_is_known(kernel):
    """Also of one that was too fast for samples."""
    kernel.execute_ok("import numpy, os")
    record = kernel.execute("numpy.ones(40_000_000); os._exit(1)").reply.metadata["rust_hygiene"]
    assert record["cell"]["status"] == "error"
    assert record["host"]["peak"] - record["host"]["before"] > 250 << 20


def test_the_next_cell_hears_of_a_death_between_cells(start_kernel):
    kernel = start_kernel()
    kernel.execute_ok("mine = 1")
    before = interpreter_pid(kernel)
    os.kill(before, signal.SIGKILL)
    kernel.take("iopub", lambda m: m.is_status("restarting"), "the news of the death")
    exchange = kernel.execute_ok("print('alive')")
    assert exchange.stdout == "alive\n"
    assert "SIGKILL" in exchange.stderr and "mine" in exchange.stderr
    assert kernel.execute_ok("1").stderr == ""


def test_a_death_while_someone_waits_for_input(kernel):
    pid = kernel.evaluate("__import__('os').getpid()")
    cell = kernel.start("input('? ')", allow_stdin=True)
    kernel.recv_stdin_request()
    os.kill(pid, signal.SIGKILL)
    assert kernel.collect(cell).content["ename"] == "InterpreterDied"
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


def test_a_death_with_subshells_and_comms_in_the_air(kernel):
    subshell = kernel.request("control", "create_subshell_request").content["subshell_id"]
    header = {"subshell_id": subshell}
    beside = kernel.start("print('beside', flush=True)\nimport time; time.sleep(1000)", header=header)
    kernel.wait_for_stream(beside, "beside")
    cell = kernel.start("import os, time; time.sleep(0.3); os._exit(9)")
    comm = kernel.send("shell", "comm_open", {"comm_id": "x", "target_name": "nobody", "data": {}})
    for request in (cell, beside):
        assert kernel.collect(request).content["ename"] == "InterpreterDied"
    kernel.take_until_idle(comm)
    assert kernel.execute_ok("print('alive')").stdout == "alive\n"


def test_a_worker_that_crashes_leaves_its_stack_in_the_cell(kernel):
    code = "import os\nif not os.fork():\n    import ctypes; ctypes.string_at(0)\nos.wait()"
    exchange = kernel.execute_ok(code)
    assert "Segmentation fault" in exchange.stderr and "string_at" in exchange.stderr


def test_the_users_own_faulthandler_is_left_alone(kernel, tmp_path):
    log = str(tmp_path / "log")
    kernel.execute_ok(f"import faulthandler; log = open({log!r}, 'w'); faulthandler.enable(log)")
    exchange = kernel.execute("import ctypes; ctypes.string_at(0)")
    assert "SIGSEGV" in exchange.content["evalue"]
    assert "Segmentation fault" in Path(log).read_text()


def test_the_kernel_dies_too_if_configured_so(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_RESTART_AFTER_DEATH": "false"})
    exchange = kernel.execute("import os; os._exit(3)")
    assert "exit code 3" in exchange.content["evalue"]
    assert kernel.manager.provisioner.process.wait(PATIENCE) == 1
    kernel.kill()
