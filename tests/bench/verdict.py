"""Does the kernel reach its targets?  Reads what ``kernel_bench.py --json`` wrote.

A target is met by the median over the rounds: of the ratio to the first kernel within the same round, of the
kernel's own value where an absolute bound is meant, or, for a check, by every round.  What the run did not
measure is said to be so, and is neither met nor missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "rust-hygiene"


@dataclass(frozen=True)
class Target:
    """The bound of one row; ``unit`` is empty for a ratio to the first kernel."""

    row: str
    what: str
    at_most: float
    unit: str = ""


TARGETS = (
    Target("start_to_kernel_info.stock_client_s", "kernel_info, stock client", 0.10),
    Target("start_to_first_execute.result_s", "first result", 0.42),
    Target("footprint.anon_MiB", "idle anonymous memory, whole tree", 0.60),
    Target("execute_pass.p50_ms", "`pass`, median", 0.25),
    Target("execute_pass.cpu_ms", "`pass`, CPU", 0.30),
    Target("stream_lines.total_s", "200,000 prints", 0.60),
    Target("stream_lines.first_text_ms", "first text of a flood", 0.06),
    Target("display_many.total_s", "2,000 displays", 0.30),
    Target("responsiveness.gil_control_ms", "control while the GIL is held", 5.0, "ms"),
    Target("measuring.quiet_cost_ms", "measuring a cell that moves little", 1.0, "ms"),
    Target("measuring.notable_cost_ms", "measuring a notable cell", 100.0, "ms"),
)
WAKEUPS = "footprint.idle_wakeups_per_min"


@dataclass(frozen=True)
class Verdict:
    """One line of the table; ``met`` is None for what was not measured."""

    what: str
    target: str
    measured: str
    met: bool | None


def judge(results: dict[str, Any], ours: str = OURS) -> list[Verdict]:
    """All targets, then every check, then the metrics that failed altogether."""
    first = results["kernels"][0]
    verdicts = [judge_target(results, target, ours) for target in TARGETS]
    verdicts.append(judge_wakeups(results, ours, first))
    for row, per_kernel in results["values"].items():
        if row.endswith("_ok"):
            passed = list(per_kernel.get(ours, {}).values())
            good = sum(value == 1 for value in passed)
            met = good == len(passed) if passed else None
            verdicts.append(Verdict(row, "every round", f"{good}/{len(passed)}", met))
    for error in results["errors"]:
        if error["kernel"] == ours:
            round_ = error["round"] + 1
            verdicts.append(
                Verdict(error["metric"], "no failure", f"round {round_}: {error['error']}", False)
            )
    return verdicts


def judge_target(results: dict[str, Any], target: Target, ours: str) -> Verdict:
    if target.unit:
        values = list(results["values"].get(target.row, {}).get(ours, {}).values())
        measured = statistics.median(values) if values else None
    else:
        measured = results["ratios"].get(target.row, {}).get(ours)
    bound = f"≤ {target.at_most:g} {target.unit}".rstrip()
    if measured is None:
        return Verdict(target.what, bound, "not measured", None)
    return Verdict(target.what, bound, f"{measured:.3g} {target.unit}".rstrip(), measured <= target.at_most)


def judge_wakeups(results: dict[str, Any], ours: str, first: str) -> Verdict:
    """Wake-ups may be none at all, where a ratio has no meaning: the medians are compared."""
    medians = {}
    for kernel in (ours, first):
        values = list(results["values"].get(WAKEUPS, {}).get(kernel, {}).values())
        if not values:
            return Verdict("idle wake-ups a minute", f"≤ {first}", "not measured", None)
        medians[kernel] = statistics.median(values)
    met = medians[ours] <= medians[first]
    return Verdict("idle wake-ups a minute", f"≤ {medians[first]:g} ({first})", f"{medians[ours]:g}", met)


def table(verdicts: list[Verdict]) -> str:
    """The verdicts as text; checks that hold are only counted."""
    marks = {True: "met", False: "MISSED", None: "-"}
    shown = [v for v in verdicts if not (v.what.endswith("_ok") and v.met)]
    held = len(verdicts) - len(shown)
    rows = [("target", "bound", "measured", "")]
    rows += [(v.what, v.target, v.measured, marks[v.met]) for v in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join((*(row[i].ljust(widths[i]) for i in range(3)), row[3])).rstrip() for row in rows]
    checks = sum(v.what.endswith("_ok") for v in verdicts)
    return "\n".join([*lines, f"checks that held in every round: {held} of {checks}"])


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge a run of kernel_bench.py by the targets.")
    parser.add_argument("results", type=Path, help="the file that kernel_bench.py --json wrote")
    parser.add_argument("--kernel", default=OURS, help="the kernel to judge")
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    if args.kernel not in results["kernels"][1:]:
        print(f"{args.kernel} was not measured beside another kernel: no verdict.")
        return 0
    verdicts = judge(results, args.kernel)
    print(
        f"{args.kernel}, medians of ratios to {results['kernels'][0]} within a round, unless a unit is given"
    )
    print(table(verdicts))
    missed = [v for v in verdicts if v.met is False]
    if missed:
        print(f"{len(missed)} missed.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
