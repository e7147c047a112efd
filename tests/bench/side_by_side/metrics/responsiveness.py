"""Metrics: interrupts, and answers while a cell runs."""

from __future__ import annotations

import contextlib
import statistics
import time

from side_by_side.basics import BenchError, KernelTimeout, Rows, clock
from side_by_side.figures import percentile
from side_by_side.kernel import Kernel
from side_by_side.messages import Exchange, Prepared
from side_by_side.registry import Bench, metric


def start_cell(kernel: Kernel, request: Prepared, settle: float) -> Exchange:
    """Send a cell, wait for its busy status and ``settle`` seconds more."""
    run = Exchange(kernel.send(request))
    for message in kernel.messages(clock() + kernel.timeout):
        kernel.sort_in(run, request, message)
        if message.kind == "status" and message.parent_id == request.msg_id:
            break
    time.sleep(settle)
    return run


def finish_cell(kernel: Kernel, request: Prepared, run: Exchange, timeout: float = 20) -> Exchange:
    """Wait for the end of a cell begun with start_cell."""
    if not run.complete:
        for message in kernel.messages(clock() + timeout):
            kernel.sort_in(run, request, message)
            if run.complete:
                break
    return run


@metric
def interrupt(bench: Bench, spec: str) -> Rows:
    """From KernelManager.interrupt_kernel until the cell is over.

    loop_p50_ms: a cell running ``while True: pass``.  sleep_p50_ms: a cell in
    ``time.sleep(60)``.  The clock stops when the error reply (with
    KeyboardInterrupt) and the idle status are in.
    loop_ok, sleep_ok: that worked, and the kernel kept its variables.
    """
    cells = {"loop": "while True: pass", "sleep": "import time; time.sleep(60)"}
    for name, code in cells.items():
        with bench.started(spec) as kernel:
            kernel.setup("kept = 41")
            times = []
            try:
                for _ in range(bench.count(5)):
                    request = kernel.prepare_execute(code)
                    run = start_cell(kernel, request, settle=0.3)
                    start = clock()
                    kernel.manager.interrupt_kernel()
                    finish_cell(kernel, request, run)
                    assert run.reply is not None
                    if "KeyboardInterrupt" not in str(run.reply.content.get("ename")):
                        raise BenchError(f"reply {str(run.reply.content)[:200]}")
                    times.append(run.sent + run.elapsed - start)
                    kernel.drain()
                kernel.execute("assert kept == 41").require_ok()
            except BenchError as error:
                yield f"{name}_failure", str(error).partition("; log")[0]
                yield f"{name}_ok", False
            else:
                yield f"{name}_p50_ms", percentile(times, 50) * 1e3
                yield f"{name}_ok", True


@metric
def responsiveness(bench: Bench, spec: str) -> Rows:
    """How the kernel answers while a cell is running.

    idle_*: with no cell running.  loop_*: while a loop of pure Python runs.
    gil_*: while one C call holds the GIL for four seconds
    (``ctypes.PyDLL(None).sleep``), so that no Python thread can run.

    *_control_ms: kernel_info on the control channel, median (for gil_*, one
    request sent soon after the call began; it may have to wait for the end of
    the call).  *_heartbeat_ms: median of 20 pings.
    """
    hold = bench.count(4, quick=2)
    cells = {
        "idle": "pass",
        "loop": f"import time; end = time.time() + {hold}\nwhile time.time() < end: pass",
        # The pause lets the busy status out before the GIL is taken.
        "gil": f"import ctypes, time; time.sleep(0.2); ctypes.PyDLL(None).sleep({hold})",
    }

    def control() -> float:
        info = kernel.prepare("kernel_info_request", {}, channel="control")
        sent = kernel.send(info)
        for message in kernel.messages(clock() + 60):
            kernel.sort_in(run, request, message)
            if message.channel == "control" and message.parent_id == info.msg_id:
                return message.at - sent
        raise AssertionError("unreachable")

    def ping() -> float:
        sent = clock()
        heartbeat.send(b"ping")
        if not heartbeat.poll(60_000):
            raise KernelTimeout("no heartbeat")
        heartbeat.recv()
        return clock() - sent

    with bench.started(spec) as kernel:
        assert kernel.client is not None
        with contextlib.closing(kernel.client.connect_hb()) as heartbeat:
            kernel.warm_up(5)
            request = kernel.prepare_execute("pass")
            run = kernel.exchange(request)
            control()
            ping()
            for name, code in cells.items():
                request = kernel.prepare_execute(code)
                run = start_cell(kernel, request, settle=0.5)
                yield f"{name}_heartbeat_ms", statistics.median(ping() for _ in range(20)) * 1e3
                count = {"idle": 50, "loop": 10, "gil": 1}[name]
                yield f"{name}_control_ms", statistics.median(control() for _ in range(count)) * 1e3
                finish_cell(kernel, request, run)
                kernel.drain()
