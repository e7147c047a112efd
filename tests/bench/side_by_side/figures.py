"""Percentiles, and how a figure is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from side_by_side.basics import Rows


def percentile(values: Sequence[float], q: float) -> float:
    """The nearest-rank percentile, ``q`` in 0..100."""
    ordered = sorted(values)
    rank = round(q / 100.0 * (len(ordered) - 1))
    return ordered[rank]


def latency_rows(seconds: Sequence[float], prefix: str = "") -> Rows:
    """Median and 99th percentile in milliseconds."""
    yield f"{prefix}p50_ms", percentile(seconds, 50) * 1e3
    yield f"{prefix}p99_ms", percentile(seconds, 99) * 1e3


def number(value: float) -> str:
    """A figure with three significant digits, never in exponent form."""
    if math.isnan(value):
        return "nan"
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"
