"""Metrics: the round trip of a cell."""

from __future__ import annotations

import gc
import time
from typing import Any

from side_by_side.basics import BenchError, Rows, clock
from side_by_side.figures import latency_rows, percentile
from side_by_side.kernel import Kernel
from side_by_side.processes import tree_cpu_seconds
from side_by_side.registry import Bench, metric


def measure_executes(kernel: Kernel, code: str, count: int, pause: float = 0.0, **fields: Any) -> list[float]:
    """Round-trip times of ``count`` cells, one after the other."""
    requests = [kernel.prepare_execute(code, **fields) for _ in range(count)]
    times = []
    gc.collect()
    gc.disable()
    try:
        for request in requests:
            time.sleep(pause)
            times.append(kernel.exchange(request).require_ok().elapsed)
    finally:
        gc.enable()
    return times


@metric
def execute_pass(bench: Bench, spec: str) -> Rows:
    """Round trip of the cell ``pass``.

    p50_ms, p99_ms: from sending the request until both the reply and the idle
    status are in; 500 cells in sequence after a warm-up, stored in the
    history as front ends do.

    cpu_ms: CPU time of the process tree per cell, which a busy machine
    disturbs less than elapsed time.

    paced_p50_ms: the same with a pause of 50 ms before each cell, so that work
    that a kernel puts off until after the reply (IPython writes its history
    database then) does not delay the next cell, but idle threads and
    processors must wake up.

    silent_p50_ms: the same with silent=True (no history, no counter).

    pipelined_per_s: cells per second when 1,000 requests are sent at once,
    until the last reply and the last idle status are in.
    """
    with bench.started(spec) as kernel:
        kernel.warm_up()
        count = bench.count(500)
        cpu = tree_cpu_seconds(kernel.pid)
        times = measure_executes(kernel, "pass", count)
        cpu = tree_cpu_seconds(kernel.pid) - cpu
        yield from latency_rows(times)
        yield "cpu_ms", cpu / count * 1e3
        times = measure_executes(kernel, "pass", bench.count(50), pause=0.05)
        yield "paced_p50_ms", percentile(times, 50) * 1e3
        times = measure_executes(kernel, "pass", bench.count(200), silent=True, store_history=False)
        yield "silent_p50_ms", percentile(times, 50) * 1e3

        count = bench.count(1000)
        requests = [kernel.prepare_execute("pass") for _ in range(count)]
        unanswered = {request.msg_id for request in requests}
        not_idle = set(unanswered)
        start = clock()
        for request in requests:
            kernel.send(request)
        for message in kernel.messages(clock() + bench.timeout):
            if message.channel == "shell":
                unanswered.discard(message.parent_id)
            elif message.is_idle:
                not_idle.discard(message.parent_id)
            if not unanswered and not not_idle:
                break
        yield "pipelined_per_s", count / (clock() - start)


@metric
def execute_expression(bench: Bench, spec: str) -> Rows:
    """Round trip of the cell ``1+1``.

    p50_ms, p99_ms: as execute_pass, but an execute_result must come as well.

    result_p50_ms: from sending until the execute_result is in (what the user
    waits for).
    """
    with bench.started(spec) as kernel:
        kernel.warm_up()
        requests = [kernel.prepare_execute("1+1") for _ in range(bench.count(300))]
        times, until_result = [], []
        for request in requests:
            run = kernel.exchange(request).require_ok()
            results = run.of_kind("execute_result")
            if len(results) != 1:
                raise BenchError(f"{len(results)} execute_results for one cell")
            times.append(run.elapsed)
            until_result.append(results[0].at - run.sent)
        yield from latency_rows(times)
        yield "result_p50_ms", percentile(until_result, 50) * 1e3


@metric
def execute_error(bench: Bench, spec: str) -> Rows:
    """Round trip of the cell ``1/0``.

    p50_ms: from sending until the error on iopub, the reply with status error
    and the idle status are in (traceback formatting included).
    first_ms: the first one, when the formatter's modules are not yet loaded.
    ename_ok: the reply's ename is exactly ``ZeroDivisionError``.
    """
    with bench.started(spec) as kernel:
        kernel.warm_up()
        times = []
        ename = ""
        for _ in range(bench.count(50)):
            run = kernel.execute("1/0")
            assert run.reply is not None
            ename = str(run.reply.content.get("ename"))
            if "ZeroDivisionError" not in ename or not run.of_kind("error"):
                raise BenchError(f"no ZeroDivisionError: ename {ename!r}")
            times.append(run.elapsed)
        yield "first_ms", times[0] * 1e3
        yield "p50_ms", percentile(times[1:], 50) * 1e3
        yield "ename_ok", ename == "ZeroDivisionError"


@metric
def namespace_growth(bench: Bench, spec: str) -> Rows:
    """How the cost of ``pass`` grows with what the user has defined.

    empty_*: in a fresh namespace.  variables_*: with 5,000 small lists as
    variables.  objects_*: with those and 100,000 live dicts in one list.
    array_*: with those and a 400 MB numpy array as well.

    *_p50_ms: round trip, cells in sequence.  *_cpu_ms: CPU time of the
    process tree per cell, so work put off until after the reply counts too.
    *_growth: quotient of that CPU time to the empty namespace; 1 is ideal.
    """
    steps = [
        ("empty", "pass"),
        ("variables", "globals().update({'v%d' % i: [i] for i in range(5000)})"),
        ("objects", "many = [{'k': i} for i in range(100_000)]"),
        ("array", "import numpy as np; big = np.ones(50_000_000)"),
    ]
    count = bench.count(200)
    empty = float("nan")
    with bench.started(spec) as kernel:
        kernel.warm_up()
        for name, code in steps:
            kernel.setup(code)
            kernel.warm_up(10)
            cpu = tree_cpu_seconds(kernel.pid)
            times = measure_executes(kernel, "pass", count)
            kernel.drain(0.3)
            cpu = (tree_cpu_seconds(kernel.pid) - cpu) / count * 1e3
            yield f"{name}_p50_ms", percentile(times, 50) * 1e3
            yield f"{name}_cpu_ms", cpu
            if name == "empty":
                empty = cpu
            else:
                yield f"{name}_growth", cpu / empty
