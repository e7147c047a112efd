"""What a session leaves: workers, orphans, processes in sessions of their own, shared memory. All of it ends with the session."""

import os
import signal
import time
from pathlib import Path

import pytest

from frontend import PATIENCE

pytestmark = pytest.mark.ours

DOUBLE_FORK = """
import os, time
r, w = os.pipe()
if not (child := os.fork()):
    if not os.fork():
        os.setsid()
        os.write(w, str(os.getpid()).encode())
        os.close(w)
        time.sleep(1000)
    os._exit(0)
os.waitpid(child, 0)
int(os.read(r, 20))
"""
SESSION = "import subprocess\np = subprocess.Popen(['sleep', '1000'], start_new_session=True)\np.pid"
WORKERS = """
import multiprocessing, time
workers = [multiprocessing.get_context({method!r}).Process(target=time.sleep, args=(1000,)) for _ in range(2)]
for worker in workers: worker.start()
[worker.pid for worker in workers]
"""
SEGMENT = """
from multiprocessing.shared_memory import SharedMemory
segment = SharedMemory(create=True, size=1 << 20)
segment.name
"""
# A tracker that the worker starts would end with it and remove the segment.
FORKED_SEGMENT = """
import multiprocessing
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
resource_tracker.ensure_running()
def make(names):
    segment = SharedMemory(create=True, size=1 << 20)
    names.put(segment.name)
context = multiprocessing.get_context("fork")
names = context.Queue()
worker = context.Process(target=make, args=(names,)); worker.start()
name = names.get(); worker.join()
name
"""
ENDS = {
    "shutdown": lambda kernel: kernel.close(),
    "death": lambda kernel: kernel.execute("import os; os._exit(1)"),
    "killed": lambda kernel: kernel.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
}


def is_alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def result_of(kernel, code):
    return eval(kernel.execute_ok(code).result)


def left(exchange):
    return exchange.reply.metadata["rust_hygiene"]["host"]["children"].get("left", [])


def notices(exchange):
    return " ".join(exchange.reply.metadata["rust_hygiene"]["notices"])


@pytest.mark.parametrize("end", ENDS)
def test_all_that_descends_from_the_interpreter_ends_with_it(start_kernel, end):
    kernel = start_kernel()
    pids = [
        result_of(kernel, DOUBLE_FORK),
        result_of(kernel, SESSION),
        *result_of(kernel, WORKERS.format(method="fork")),
        *result_of(kernel, WORKERS.format(method="spawn")),
    ]
    assert all(is_alive(pid) for pid in pids) and len(pids) == 6
    ENDS[end](kernel)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("made", [SEGMENT, FORKED_SEGMENT], ids=["own", "of a worker"])
def test_shared_memory_of_the_session_goes_with_it(start_kernel, end, made):
    kernel = start_kernel()
    path = Path("/dev/shm", result_of(kernel, made))
    others = Path("/dev/shm", f"others-{os.getpid()}")
    others.write_bytes(b"x")
    try:
        kernel.execute_ok(f"other = open({str(others)!r}, 'rb')")
        assert path.exists()
        ENDS[end](kernel)
        wait_until(lambda: not path.exists())
        assert others.exists()
    finally:
        others.unlink()


def test_shared_memory_goes_also_if_pythons_own_tracker_was_killed(start_kernel):
    kernel = start_kernel()
    path = Path("/dev/shm", result_of(kernel, SEGMENT))
    tracker = kernel.evaluate(
        "__import__('multiprocessing.resource_tracker').resource_tracker._resource_tracker._pid"
    )
    os.kill(tracker, signal.SIGKILL)
    kernel.execute("import os; os._exit(1)")
    wait_until(lambda: not path.exists())


def test_what_a_cell_leaves_is_told(start_kernel):
    kernel = start_kernel()
    exchange = kernel.execute_ok(DOUBLE_FORK)
    pid = int(exchange.result)
    assert [(one["pid"], one["bond"]) for one in left(exchange)] == [(pid, "orphan")]
    assert f"({pid})" in notices(exchange) and "end of the kernel ends" in notices(exchange)
    record = exchange.reply.metadata["rust_hygiene"]["host"]["children"]
    assert record["count"] == 1 and record["pss"] > 0

    again = kernel.execute_ok("pass")
    assert left(again) == [] and notices(again) == ""

    exchange = kernel.execute_ok(SESSION)
    assert [(one["name"], one["bond"]) for one in left(exchange)] == [("sleep", "session")]
    exchange = kernel.execute_ok(WORKERS.format(method="fork"))
    assert [one["bond"] for one in left(exchange)] == ["worker", "worker"] and notices(exchange) == ""
    exchange = kernel.execute_ok("import os; os.system('sleep 1000 &')")
    assert [(one["name"], one["bond"]) for one in left(exchange)] == [("sleep", "orphan")]
    assert "sleep" in notices(exchange)


def test_orphans_that_end_leave_no_zombies(start_kernel):
    kernel = start_kernel()
    pid = result_of(kernel, DOUBLE_FORK)
    kernel.execute_ok(f"import os, signal; os.kill({pid}, signal.SIGKILL)")
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_orphans_count_under_a_cap_also_between_cells(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_GUARD_CAP": "500 MiB"})
    code = """
import os, time
if not (child := os.fork()):
    for _ in range(3):
        if not os.fork():
            hoard = []
            while True: hoard.append(b'x' * 1_000_000); time.sleep(0.001)
    os._exit(0)
os.waitpid(child, 0)
time.sleep(100)
"""
    exchange = kernel.execute(code)
    assert "of the cap of 500 MiB" in exchange.content["evalue"]
    if "guard ended the child" not in exchange.stderr:
        told = kernel.take(
            "iopub", lambda m: m.type == "stream" and "guard ended" in m.content["text"], "the end of a child"
        )
        assert "of the cap of 500 MiB" in told.content["text"]
    kernel.execute_ok("pass")
    kernel.kill()
