"""Metrics: start and footprint."""

from __future__ import annotations

import time

from side_by_side.basics import BenchError, Rows
from side_by_side.processes import tree_cpu_seconds, tree_memory, tree_wakeups
from side_by_side.registry import Bench, metric


@metric
def start_to_kernel_info(bench: Bench, spec: str) -> Rows:
    """Start latency.

    reply_s: from just before the process is spawned until kernel_info_reply
    is in, with client sockets that are connected beforehand and retry every
    millisecond (so this is the kernel's own time).

    cpu_s: CPU time of the process tree at that moment.

    stock_client_s: from the call of KernelManager.start_kernel until
    kernel_info_reply, with sockets connected after the spawn and ZeroMQ's
    default retry of 100-200 ms, as jupyter_client and jupyter_server do.
    This is what users see.
    """
    with bench.kernel(spec) as kernel:
        request = kernel.prepare("kernel_info_request", {})
        kernel.spawn(request)
        reply = kernel.wait_reply(request)
        cpu = tree_cpu_seconds(kernel.pid)
        kernel.check_signature(reply)
        yield "reply_s", reply.at - kernel.spawned_at
        yield "cpu_s", cpu
    with bench.kernel(spec) as kernel:
        kernel.spawn_stock()
        request = kernel.prepare("kernel_info_request", {})
        kernel.send(request)
        yield "stock_client_s", kernel.wait_reply(request).at - kernel.spawned_at


@metric
def start_to_first_execute(bench: Bench, spec: str) -> Rows:
    """Start until the first result.

    result_s: from just before the spawn until the execute_result ``2``, the
    reply and the idle status of ``1+1`` are in.  The request is sent once
    shell has answered and iopub is known to be connected, as front ends do.

    queued_s: the same, but the execute_request is queued at the spawn without
    waiting for anything, and only its reply is awaited ("Run All" on a
    notebook just opened).
    """
    with bench.kernel(spec) as kernel:
        request = kernel.prepare("kernel_info_request", {})
        kernel.spawn(request)
        kernel.wait_ready(request)
        run = kernel.execute("1+1").require_ok()
        results = run.of_kind("execute_result")
        if not results or results[0].content["data"].get("text/plain") != "2":
            raise BenchError("no execute_result 2")
        yield "result_s", run.sent + run.elapsed - kernel.spawned_at
    with bench.kernel(spec) as kernel:
        request = kernel.prepare_execute("1+1")
        kernel.spawn(request)
        yield "queued_s", kernel.wait_reply(request).at - kernel.spawned_at


@metric
def footprint(bench: Bench, spec: str) -> Rows:
    """Memory and background activity of the kernel's whole process tree.

    pss/uss/anon_MiB: proportional, private and anonymous memory one second
    after the kernel is ready; numpy_*: after ``import numpy``.

    idle_cpu_ms_per_min, idle_wakeups_per_min: CPU time and voluntary context
    switches of an idle kernel, observed for some seconds.  Lower is better.
    """
    with bench.started(spec) as kernel:
        time.sleep(1.0)
        memory = tree_memory(kernel.pid)
        tree = kernel.remember_tree()
        for name, value in memory.items():
            yield f"{name}_MiB", value
        yield "processes", float(len(tree))
        yield "threads", float(sum(p.num_threads() for p in tree))
        watch = bench.count(6, quick=2)
        cpu, wakeups = tree_cpu_seconds(kernel.pid), tree_wakeups(kernel.pid)
        time.sleep(watch)
        per_minute = 60.0 / watch
        yield "idle_cpu_ms_per_min", (tree_cpu_seconds(kernel.pid) - cpu) * 1e3 * per_minute
        yield "idle_wakeups_per_min", (tree_wakeups(kernel.pid) - wakeups) * per_minute
        kernel.setup("import numpy")
        time.sleep(0.5)
        for name, value in tree_memory(kernel.pid).items():
            yield f"numpy_{name}_MiB", value
