"""What the other modules share: the clock, the shape of a result, and the ways to fail."""

from __future__ import annotations

import time
from collections.abc import Iterator

clock = time.perf_counter

# A figure, a check (rows named ``*_ok``), or a note.
Value = float | bool | str
Rows = Iterator[tuple[str, Value]]


class BenchError(Exception):
    """A kernel failed to do what a metric asks for."""


class KernelTimeout(BenchError):
    """No answer within the time allowed."""


class KernelDied(BenchError):
    """The kernel process ended while an answer was awaited."""
