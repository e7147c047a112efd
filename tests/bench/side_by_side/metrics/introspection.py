"""Metrics: completion and inspection."""

from __future__ import annotations

from typing import Any

from side_by_side.basics import BenchError, Rows
from side_by_side.figures import latency_rows, percentile
from side_by_side.kernel import Kernel
from side_by_side.registry import Bench, metric


def ask(kernel: Kernel, kind: str, content: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Send a request on shell; seconds until its reply, and the content."""
    run = kernel.exchange(kernel.prepare(kind, content))
    assert run.reply is not None
    return run.reply.at - run.sent, run.reply.content


@metric
def introspection(bench: Bench, spec: str) -> Rows:
    """Completion and inspection after ``import numpy as np``.

    complete_first_ms: the very first complete_request (``np.li``).
    complete_p50_ms, complete_p99_ms: 100 more with varying prefixes, from
    sending until the reply is in; every reply must hold a known name.
    inspect_p50_ms: inspect_request of ``np.linspace`` and others.
    is_complete_p50_ms: is_complete_request of an open ``for`` statement.
    """
    prefixes = {
        "np.li": "linspace",
        "np.ara": "arange",
        "np.conc": "concatenate",
        "np.random.se": "seed",
        "np.linalg.no": "norm",
    }

    def complete(prefix: str) -> float:
        seconds, content = ask(kernel, "complete_request", {"code": prefix, "cursor_pos": len(prefix)})
        matches = content.get("matches", [])
        if not any(prefixes[prefix] in match for match in matches):
            raise BenchError(f"completing {prefix!r} gave {matches[:5]}")
        return seconds

    def inspect_name(code: str) -> float:
        fields = {"code": code, "cursor_pos": len(code), "detail_level": 0}
        seconds, content = ask(kernel, "inspect_request", fields)
        if not content.get("found"):
            raise BenchError(f"inspecting {code!r} found nothing")
        return seconds

    def is_complete() -> float:
        seconds, content = ask(kernel, "is_complete_request", {"code": "for i in range(3):"})
        if content.get("status") != "incomplete":
            raise BenchError(f"an open for statement is {content.get('status')!r}")
        return seconds

    with bench.started(spec) as kernel:
        kernel.setup("import numpy as np")
        yield "complete_first_ms", complete("np.li") * 1e3
        count = bench.count(100)
        names = list(prefixes)
        times = [complete(names[i % len(names)]) for i in range(count)]
        yield from latency_rows(times, "complete_")
        names = ["np.linspace", "np.arange", "np.concatenate"]
        times = [inspect_name(names[i % len(names)]) for i in range(count)]
        yield "inspect_p50_ms", percentile(times, 50) * 1e3
        times = [is_complete() for _ in range(count)]
        yield "is_complete_p50_ms", percentile(times, 50) * 1e3
