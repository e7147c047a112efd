"""Side-by-side performance measurements of Jupyter kernels.

The script starts each named kernel through ``jupyter_client``, talks to it
over loopback ZeroMQ sockets exactly as a front end does, and compares every
kernel with the first one named::

    python kernel_bench.py --kernels python3 xpython rust-hygiene --rounds 7 \\
        --json out.json --markdown out.md

``--list`` prints what each metric means.  The definitions are the docstrings
of the functions marked ``@metric`` in ``side_by_side/metrics/``.

How the comparison is kept fair
-------------------------------
* Interleaving.  A round runs metric 1 on every kernel, then metric 2 on every
  kernel, and so on.  The order of the kernels is reversed every other round.
  Each (metric, kernel, round) gets a fresh kernel process, so no metric
  inherits the heap, the imports or the history of another.
* Ratios are paired.  The ratio of a kernel to the first kernel is computed
  inside each round and the *median of those ratios* is reported, so a slow
  minute on a shared machine hits both sides.
* Client cost is kept out of the figures.  Requests are serialised and signed
  before the clock starts, replies are timestamped as raw frames and decoded
  afterwards.  What is left is common to all kernels.
* Nothing is lost on the client's side.  The receive high-water mark is
  unlimited, and no measurement starts before the kernel's iopub channel has
  demonstrably reached us (the subscription of a PUB/SUB pair is asynchronous,
  so the first messages may vanish otherwise).
* Reconnect time is not charged to the kernel.  A ZeroMQ socket that connects
  before its peer listens retries after 100-200 ms, which would quantise every
  start time.  The harness retries each millisecond; the figure that a stock
  client sees is reported separately.
* A failing metric is recorded and the run goes on.

Rows ending in ``_ok`` are checks (1 = passed every time).  Rows ending in
``_per_s`` are better when higher, all other rows are better when lower.

Needs Linux (``/proc``), jupyter_client, pyzmq and psutil; Python 3.10 or newer.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import side_by_side.metrics  # noqa: F401  (registers them)
import zmq
from side_by_side.basics import BenchError, clock
from side_by_side.processes import spin
from side_by_side.registry import METRICS, ONLY, Bench
from side_by_side.report import Report


def environment(kernels: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on."""
    versions = {}
    for package in ("ipykernel", "xeus-python", "ipython", "jupyter_client", "pyzmq", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cpu": next(
            (
                line.partition(":")[2].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            "",
        ),
        "libzmq": zmq.zmq_version(),
        "versions": versions,
        "kernels": list(kernels),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def run_bench(args: argparse.Namespace, scratch: Path) -> Report:
    bench = Bench(scratch, args.quick, args.timeout)
    report = Report(args.kernels)
    names = [n for n in METRICS if (not args.only or n in args.only) and n not in args.skip]
    facts = environment(args.kernels)

    for kernel in args.kernels:  # unmeasured: fills caches, makes profiles
        with contextlib.suppress(BenchError), bench.kernel(kernel) as warm:
            warm.start()
            warm.execute("import numpy; 1+1")

    for round_ in range(args.rounds):
        order = list(args.kernels) if round_ % 2 == 0 else list(reversed(args.kernels))
        for name in names:
            for kernel in order:
                if ONLY.get(name, kernel) != kernel:
                    continue
                report.spins.append(spin())
                report.loads.append(os.getloadavg()[0])
                start = clock()
                outcome = "ok"
                try:
                    for row, value in METRICS[name](bench, kernel):
                        report.add(f"{name}.{row}", kernel, round_, value)
                except Exception as error:  # noqa: BLE001  (a kernel may fail in any way)
                    outcome = f"failed: {type(error).__name__}: {str(error)[:100]}"
                    report.add_error(name, kernel, round_, error)
                    if args.verbose:
                        traceback.print_exc()
                print(
                    f"round {round_ + 1}/{args.rounds} {name:24} {kernel:16} "
                    f"{clock() - start:6.1f} s  {outcome}",
                    file=sys.stderr,
                )
        if args.json:
            Path(args.json).write_text(
                json.dumps(report.as_json(environment=facts, rounds=round_ + 1), indent=1)
            )
    return report


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Measure Jupyter kernels side by side.",
        epilog="The first kernel named is the one the others are compared with.",
    )
    parser.add_argument("--kernels", nargs="+", default=["python3"], metavar="SPEC")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--only", nargs="+", default=[], choices=list(METRICS), metavar="METRIC")
    parser.add_argument("--skip", nargs="+", default=[], choices=list(METRICS), metavar="METRIC")
    parser.add_argument("--json", metavar="FILE", help="write all values, after every round")
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one answer")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work (smoke test)")
    parser.add_argument("--verbose", action="store_true", help="print tracebacks of failures")
    parser.add_argument("--list", action="store_true", help="print what each metric means")
    args = parser.parse_args(argv)

    if args.list:
        for name, function in METRICS.items():
            print(f"{name}\n{'-' * len(name)}\n{inspect.getdoc(function)}\n")
        return 0

    scratch = Path(tempfile.mkdtemp(prefix="kernel-bench-"))
    # Kernels inherit these: no metric may read or fill the user's own files.
    os.environ["IPYTHONDIR"] = str(scratch / "ipython")
    os.environ["JUPYTER_RUNTIME_DIR"] = str(scratch / "runtime")
    try:
        report = run_bench(args, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(report.text())
    if args.markdown:
        Path(args.markdown).write_text(report.text(markdown=True) + "\n")
    return 0 if not report.errors else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
