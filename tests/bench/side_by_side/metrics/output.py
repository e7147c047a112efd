"""Metrics: streams and displays."""

from __future__ import annotations

import hashlib
import uuid

from side_by_side.basics import BenchError, Rows, clock
from side_by_side.kernel import Kernel
from side_by_side.messages import Exchange, Prepared
from side_by_side.registry import Bench, metric


def run_with_late_output(kernel: Kernel, request: Prepared, quiet: float = 0.5) -> Exchange:
    """Run a cell; output that comes after its idle status is kept as well.

    A kernel that publishes faster than its PUB socket drains loses messages,
    even the idle status: five seconds of silence end the wait, too.
    """
    run = Exchange(kernel.send(request))
    for message in kernel.messages(clock() + kernel.timeout, quiet=5.0):
        kernel.sort_in(run, request, message)
        if run.complete:
            break
    if run.reply is None:
        raise BenchError("five seconds of silence, no reply")
    run.require_ok()
    run.iopub += [m for m in kernel.drain(quiet) if m.channel == "iopub"]
    return run


def seconds_until_all(run: Exchange, kind: str) -> float:
    """Until reply, idle and the last message of the kind are in."""
    ends = [m.at for m in (run.reply, run.idle, *run.of_kind(kind)) if m is not None]
    return max(ends) - run.sent


@metric
def stream_lines(bench: Bench, spec: str) -> Rows:
    """Many small writes: ``for i in range(200_000): print(i)``.

    total_s: from sending until reply, idle and all of the text are in.
    loop_s: what the loop took inside the kernel (the rest is the client's
    share, which counts when a kernel sends very many messages).
    first_text_ms: until the first text is in.
    messages: how many stream messages the text came in.
    exact_ok: the text received is the text printed, to the byte.
    idle_ok: the idle status came (without it a front end shows "busy").
    """
    lines = bench.count(200_000)
    expected = "".join(f"{i}\n" for i in range(lines))
    with bench.started(spec) as kernel:
        kernel.setup("from time import perf_counter")
        request = kernel.prepare_execute(
            f"begin = perf_counter()\nfor i in range({lines}): print(i)\nend = perf_counter()"
        )
        run = run_with_late_output(kernel, request)
        yield "idle_ok", run.idle is not None
        took = kernel.execute("end - begin").require_ok().of_kind("execute_result")
        yield "loop_s", float(took[0].content["data"]["text/plain"])
        text = run.stream()
        yield "exact_ok", text == expected
        if not text:
            raise BenchError("no text at all")
        streams = run.of_kind("stream")
        yield "total_s", seconds_until_all(run, "stream")
        yield "first_text_ms", (streams[0].at - run.sent) * 1e3
        yield "messages", float(len(streams))


@metric
def stream_block(bench: Bench, spec: str) -> Rows:
    """One huge write: 50 MB of text with a single ``sys.stdout.write``.

    total_s: from sending until reply, idle and all text are in.
    exact_ok: the text received is the text written, to the byte.
    """
    block = "0123456789abcdefghijklmnopqrstuvwxyz\n"
    repeats = bench.count(50_000_000) // len(block)
    expected = hashlib.sha256((block * repeats).encode()).hexdigest()
    with bench.started(spec) as kernel:
        kernel.setup(f"import sys; text = {block!r} * {repeats}")
        request = kernel.prepare_execute("_ = sys.stdout.write(text)")
        run = run_with_late_output(kernel, request, quiet=1.0)
        yield "exact_ok", hashlib.sha256(run.stream().encode()).hexdigest() == expected
        yield "total_s", seconds_until_all(run, "stream")


@metric
def output_capture(bench: Bench, spec: str) -> Rows:
    """Does output reach the cell, whichever way it is written?

    Each *_ok row writes a marker in one way and checks that it comes back as
    a stream message of the right name whose parent is this cell, at the
    latest half a second after the end.  ``*_in_time_ok``: before the cell's
    idle status (tools such as nbconvert put later text elsewhere or drop it).

    order_ok: print, os.write(1) and a subprocess keep their order.
    background_thread_ok: a thread started in one cell that prints while no
    cell runs still gets its text out.
    """
    cases = {
        "print": ("stdout", "print('{m}')"),
        "os_write_1": ("stdout", "import os; _ = os.write(1, b'{m}\\n')"),
        "os_write_2": ("stderr", "import os; _ = os.write(2, b'{m}\\n')"),
        "shell_escape": ("stdout", "!echo {m}"),
        "subprocess": ("stdout", "import subprocess; _ = subprocess.run(['echo', '{m}'])"),
        "os_system": ("stdout", "import os; _ = os.system('echo {m}')"),
        "c_puts": (
            "stdout",
            "import ctypes; c = ctypes.CDLL(None); _ = c.puts(b'{m}'); _ = c.fflush(None)",
        ),
    }
    with bench.started(spec) as kernel:
        kernel.warm_up(5)
        for name, (stream, code) in cases.items():
            marker = f"mark{uuid.uuid4().hex}"
            request = kernel.prepare_execute(code.replace("{m}", marker))
            run = kernel.exchange(request)
            in_time = marker in run.stream(stream)
            run.iopub += [m for m in kernel.drain(0.5) if m.channel == "iopub"]
            text = "".join(
                m.content["text"]
                for m in run.of_kind("stream")
                if m.content["name"] == stream and m.parent_id == request.msg_id
            )
            yield f"{name}_ok", marker in text
            yield f"{name}_in_time_ok", in_time
        request = kernel.prepare_execute(
            "import os, subprocess\n"
            "print('one')\nos.write(1, b'two\\n')\nprint('three')\n"
            "subprocess.run(['echo', 'four'])\nprint('five')\n"
            "pass"
        )
        run = run_with_late_output(kernel, request)
        yield "order_ok", run.stream().split() == ["one", "two", "three", "four", "five"]
        kernel.setup(
            "import threading, time\n"
            "def later():\n    time.sleep(0.3)\n    print('from the thread')\n"
            "threading.Thread(target=later).start()"
        )
        late = [m for m in kernel.drain(1.0) if m.kind == "stream"]
        yield "background_thread_ok", "from the thread" in "".join(m.content["text"] for m in late)


@metric
def display_many(bench: Bench, spec: str) -> Rows:
    """Many rich outputs: 2,000 times ``display(HTML('x'))`` in one cell.

    total_s: from sending until reply, idle and all display_data are in.
    complete_ok: 2,000 display_data messages came.
    """
    count = bench.count(2000)
    with bench.started(spec) as kernel:
        kernel.setup("from IPython.display import display, HTML\ndisplay(HTML('x'))")
        request = kernel.prepare_execute(f"for i in range({count}): display(HTML('x'))")
        run = run_with_late_output(kernel, request)
        yield "complete_ok", len(run.of_kind("display_data")) == count
        yield "total_s", seconds_until_all(run, "display_data")


@metric
def display_large(bench: Bench, spec: str) -> Rows:
    """One display_data of 20 MB (raw text/html).

    total_s: from sending until reply, idle and the payload are in.
    exact_ok: the payload has the right length and content.
    """
    size = bench.count(20_000_000)
    with bench.started(spec) as kernel:
        kernel.setup(f"from IPython.display import display\npayload = 'x' * {size}")
        request = kernel.prepare_execute("display({'text/html': payload}, raw=True)")
        run = run_with_late_output(kernel, request)
        shown = run.of_kind("display_data")
        text = shown[0].content["data"].get("text/html", "") if shown else ""
        yield "exact_ok", text == "x" * size
        yield "total_s", seconds_until_all(run, "display_data")
