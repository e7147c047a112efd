"""Metrics: comms, as widgets use them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

from side_by_side.basics import BenchError, Rows, clock
from side_by_side.figures import latency_rows
from side_by_side.messages import Message
from side_by_side.registry import Bench, metric

COMM_TARGET = """
from comm import create_comm
def _echo(msg):
    bench_comm.send(msg["content"]["data"], buffers=msg.get("buffers") or None)
bench_comm = create_comm(target_name="bench-echo")
bench_comm.on_msg(_echo)
"""

COMM_BY_CLIENT = """
from comm import get_comm_manager
def _opened(comm, msg):
    comm.send({"opened": True})
get_comm_manager().register_target("bench-client", _opened)
"""


@metric
def comm_echo(bench: Bench, spec: str) -> Rows:
    """Comm round trip, as of a widget: the kernel opens a comm, the client
    sends comm_msg, the handler in the kernel sends the data back.

    p50_ms, p99_ms: 200 small messages, from sending until the echo is in.
    buffer_10MB_ms: the echo of a message with a binary buffer of 10 MB.
    buffer_ok: the buffer came back unchanged.
    client_open_ok: a comm opened by the client reaches its target's function.
    """

    def echo(data: dict[str, Any], buffers: Sequence[bytes] = ()) -> tuple[float, Message]:
        content = {"comm_id": comm_id, "data": data}
        request = kernel.prepare("comm_msg", content, buffers=buffers)
        sent = kernel.send(request)
        answer: Message | None = None
        for message in kernel.messages(clock() + 20):
            if message.kind == "comm_msg" and message.content["comm_id"] == comm_id:
                answer = message
            if answer is not None and message.is_idle and message.parent_id == request.msg_id:
                break
        assert answer is not None
        if answer.content["data"] != data:
            raise BenchError("the echo differs")
        return answer.at - sent, answer

    with bench.started(spec) as kernel:
        opened = kernel.execute(COMM_TARGET).require_ok().of_kind("comm_open")
        if not opened:
            raise BenchError("no comm_open")
        comm_id = opened[0].content["comm_id"]
        for i in range(10):
            echo({"n": i})
        times = [echo({"n": i})[0] for i in range(bench.count(200))]
        yield from latency_rows(times)
        payload = random.Random(0).randbytes(bench.count(10_000_000))
        seconds, answer = echo({"n": -1}, [payload])
        yield "buffer_10MB_ms", seconds * 1e3
        yield "buffer_ok", answer.buffers == [payload]

    with bench.started(spec) as kernel:
        kernel.setup(COMM_BY_CLIENT)
        comm_id = uuid.uuid4().hex
        content = {"comm_id": comm_id, "target_name": "bench-client", "data": {}}
        kernel.send(kernel.prepare("comm_open", content))
        yield (
            "client_open_ok",
            any(m.kind == "comm_msg" and m.content["comm_id"] == comm_id for m in kernel.drain(1.0)),
        )
