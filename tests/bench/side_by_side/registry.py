"""What a metric is given, and the list of all metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side.basics import Rows
from side_by_side.kernel import Kernel


class Bench:
    """What a metric function gets: kernels to start, and how much to do."""

    def __init__(self, scratch: Path, quick: bool, timeout: float) -> None:
        self.scratch = scratch
        self.quick = quick
        self.timeout = timeout

    def kernel(self, spec: str, settings: Sequence[str] = ()) -> Kernel:
        """A kernel not yet started; ``settings`` are for our own, as ``key=value``."""
        return Kernel(spec, self.scratch, self.timeout, settings)

    def started(self, spec: str, settings: Sequence[str] = ()) -> Kernel:
        """A kernel that is ready for requests."""
        kernel = self.kernel(spec, settings)
        try:
            return kernel.start()
        except BaseException:
            kernel.close()
            raise

    def count(self, full: int, quick: int | None = None) -> int:
        """How much to do: ``full``, or with --quick less (a tenth)."""
        if not self.quick:
            return full
        return max(3, full // 10) if quick is None else quick


MetricFunction = Callable[[Bench, str], Rows]
METRICS: dict[str, MetricFunction] = {}
ONLY: dict[str, str] = {}
OURS = "rust-hygiene"


def metric(function: MetricFunction | None = None, *, only: str | None = None) -> Any:
    """Register a metric under its function's name; ``only`` names the one kernel that it makes sense for.

    A metric is a generator of rows (name, value), so that the rows measured
    before a failure are kept.  A float is tabulated, a bool (row ``*_ok``) is
    a check, a string is a note.
    """
    if function is None:
        return partial(metric, only=only)
    METRICS[function.__name__] = function
    if only is not None:
        ONLY[function.__name__] = only
    return function
