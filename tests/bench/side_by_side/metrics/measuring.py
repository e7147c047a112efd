"""Metric: what measuring costs, beside the same kernel that does not measure."""

from __future__ import annotations

import gc
import statistics

from side_by_side.basics import Rows
from side_by_side.figures import percentile
from side_by_side.kernel import Kernel
from side_by_side.processes import tree_cpu_seconds
from side_by_side.registry import OURS, Bench, metric

VARIABLES = "globals().update({'v%d' % i: [i] for i in range(5000)})"
OBJECTS = "many = [{'k': [float(i)]} for i in range(333_334)]; grown = []"
QUIET = "small = [0] * 10_000"
NOTABLE = "grown.append(bytearray(b'x') * (2 << 20))"


@metric(only=OURS)
def measuring(bench: Bench, spec: str) -> Rows:
    """What measuring adds to a cell: our kernel beside itself with ``measure=false``.

    Both have 5,000 lists as variables and a million other live objects; the same cell runs in the one and in the
    other by turns, each going first every other time.

    quiet_*: a cell that moves less than 1 MiB.  notable_*: a cell that keeps 2 MiB more with each run, so that it is
    explained, as far as the time allowed for that reaches.

    *_cost_ms: median of the differences of the round trips within a pair.  *_ratio: median of the ratios within a pair.
    *_on_p50_ms, *_off_p50_ms: median round trip with and without measuring.

    *_cpu_cost_ms: difference of the CPU time of the process trees per cell, which a busy machine disturbs less.
    """
    with bench.started(spec) as on, bench.started(spec, ("measure=false",)) as off:
        for kernel in (on, off):
            kernel.warm_up()
            for code in (VARIABLES, OBJECTS, "import gc; gc.collect()"):
                kernel.setup(code)
        for name, code, count in (("quiet", QUIET, bench.count(200)), ("notable", NOTABLE, bench.count(30))):
            for kernel in (on, off):
                kernel.execute(code).require_ok()
            cpu = tree_cpu_seconds(on.pid), tree_cpu_seconds(off.pid)
            pairs = paired(on, off, code, count)
            cpu_on, cpu_off = (tree_cpu_seconds(k.pid) - c for k, c in zip((on, off), cpu, strict=True))
            yield f"{name}_cost_ms", statistics.median(a - b for a, b in pairs) * 1e3
            yield f"{name}_ratio", statistics.median(a / b for a, b in pairs)
            yield f"{name}_cpu_cost_ms", (cpu_on - cpu_off) / count * 1e3
            yield f"{name}_on_p50_ms", percentile([a for a, _ in pairs], 50) * 1e3
            yield f"{name}_off_p50_ms", percentile([b for _, b in pairs], 50) * 1e3


def paired(on: Kernel, off: Kernel, code: str, count: int) -> list[tuple[float, float]]:
    """Round trips of the same cell in both kernels, pair by pair."""
    pairs = []
    gc.collect()
    gc.disable()
    try:
        for number in range(count):
            order = (on, off) if number % 2 else (off, on)
            took = {
                kernel: kernel.exchange(kernel.prepare_execute(code)).require_ok().elapsed for kernel in order
            }
            pairs.append((took[on], took[off]))
    finally:
        gc.enable()
    return pairs
