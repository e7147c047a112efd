"""Metrics: crash, restart and shutdown."""

from __future__ import annotations

import time

from side_by_side.basics import BenchError, Rows, clock
from side_by_side.messages import Exchange
from side_by_side.processes import is_running, process_tree
from side_by_side.registry import Bench, metric


@metric
def crash(bench: Bench, spec: str) -> Rows:
    """A cell kills its own process with SIGKILL.

    noticed_ms: from sending the cell until the client can know, i.e. either a
    reply, an error or a stream message for the cell comes in, or the kernel's
    process is seen to have ended (polled each millisecond; jupyter_server
    polls each 3 s, which adds 1.5 s on average).

    told_ok: the client gets an execute_reply with status error for the cell.
    message (note): what it says.
    kernel_survives_ok: the process that the KernelManager started lives on.

    back_s: until ``1+1`` works again; if the kernel itself ended, with a
    restart through KernelManager as soon as that is noticed.
    """
    with bench.started(spec) as kernel:
        kernel.warm_up(5)
        request = kernel.prepare_execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        run = Exchange(kernel.send(request))
        noticed: float | None = None
        died = False
        deadline = clock() + 30
        while clock() < deadline and not died and not run.complete:
            for message in kernel.messages(deadline, check_alive=False, quiet=0.001):
                kernel.sort_in(run, request, message)
                if noticed is None and (message.channel == "shell" or message.kind in ("error", "stream")):
                    noticed = message.at
            died = kernel.exit_code is not None
        if noticed is None and not died:
            raise BenchError("neither an answer nor the end of the process within 30 s")
        yield "noticed_ms", ((noticed or clock()) - run.sent) * 1e3
        content = run.reply.content if run.reply is not None else {}
        yield "told_ok", content.get("status") == "error"
        told = [
            str(m.content.get("evalue") or m.content.get("text"))
            for m in run.iopub
            if m.kind in ("error", "stream")
        ]
        if content:
            told.insert(0, f"{content.get('ename')}: {content.get('evalue')}")
        yield "message", " / ".join(told)[:300] or f"(none; exit code {kernel.exit_code})"
        yield "kernel_survives_ok", not died
        if died:
            kernel.manager.restart_kernel(now=True)
            kernel.wait_anew()
        kernel.execute("1+1", timeout=30).require_ok()
        yield "back_s", clock() - run.sent


@metric
def restart(bench: Bench, spec: str) -> Rows:
    """KernelManager.restart_kernel() of an idle kernel until ``1+1`` works.

    total_s: polite restart, with ZeroMQ sockets that retry each millisecond.
    """
    with bench.started(spec) as kernel:
        kernel.warm_up(5)
        start = clock()
        kernel.manager.restart_kernel()
        kernel.wait_anew()
        kernel.execute("1+1", timeout=30).require_ok()
        yield "total_s", clock() - start


@metric
def shutdown(bench: Bench, spec: str) -> Rows:
    """The end of an idle kernel.

    reply_ms: from sending shutdown_request on control until its reply is in.
    exit_ms: until the kernel's first process has ended.
    tree_gone_ms: until all processes of its tree and session have ended.
    clean_ok: they ended by themselves, the first one with exit code 0, and
    half a second later there is still none (a child respawned too late).
    stock_s: KernelManager.shutdown_kernel() on another kernel (an interrupt,
    then shutdown_request, then polling each 100 ms).
    """
    with bench.started(spec) as kernel:
        kernel.warm_up(5)
        tree = kernel.remember_tree()
        request = kernel.prepare("shutdown_request", {"restart": False}, channel="control")
        sent = kernel.send(request)
        exited: float | None = None
        deadline = clock() + 15
        while clock() < deadline:
            for message in kernel.messages(deadline + 1, check_alive=False, quiet=0.001):
                if message.channel == "control" and message.parent_id == request.msg_id:
                    yield "reply_ms", (message.at - sent) * 1e3
            if exited is None and kernel.exit_code is not None:
                exited = clock()
                yield "exit_ms", (exited - sent) * 1e3
            if exited is not None and not any(is_running(p) for p in tree):
                if process_tree(kernel.pid):
                    continue
                yield "tree_gone_ms", (clock() - sent) * 1e3
                break
        time.sleep(0.5)
        yield "clean_ok", kernel.exit_code == 0 and not process_tree(kernel.pid)
    with bench.started(spec) as kernel:
        kernel.warm_up(5)
        start = clock()
        kernel.manager.shutdown_kernel()
        yield "stock_s", clock() - start
