"""All values of a run, and the table made of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from side_by_side.basics import Value
from side_by_side.figures import number, percentile


class Report:
    """All values of a run, and the table made of them."""

    def __init__(self, kernels: Sequence[str]) -> None:
        self.kernels = list(kernels)
        # metric.row -> kernel -> round -> value
        self.values: dict[str, dict[str, dict[int, float]]] = {}
        self.notes: dict[str, dict[str, list[str]]] = {}
        self.errors: list[dict[str, Any]] = []
        self.spins: list[float] = []
        self.loads: list[float] = []

    def add(self, label: str, kernel: str, round_: int, value: Value) -> None:
        if isinstance(value, str):
            notes = self.notes.setdefault(label, {}).setdefault(kernel, [])
            if value not in notes:
                notes.append(value)
        else:
            self.values.setdefault(label, {}).setdefault(kernel, {})[round_] = float(value)

    def add_error(self, name: str, kernel: str, round_: int, error: BaseException) -> None:
        self.errors.append(
            {
                "metric": name,
                "kernel": kernel,
                "round": round_,
                "error": f"{type(error).__name__}: {error}"[:600],
            }
        )

    def ratio(self, label: str, kernel: str) -> float | None:
        """Median over the rounds of kernel / first kernel in that round."""
        base = self.values[label].get(self.kernels[0], {})
        own = self.values[label].get(kernel, {})
        ratios = [own[r] / base[r] for r in own if base.get(r)]
        return statistics.median(ratios) if ratios else None

    def table(self) -> list[list[str]]:
        first = self.kernels[0]
        failures = {(error["metric"], error["kernel"]) for error in self.errors}
        rows = [["metric", *self.kernels, *[f"{k} / {first}" for k in self.kernels[1:]]]]
        for label, per_kernel in self.values.items():
            check = label.endswith("_ok")
            row = [label]
            for kernel in self.kernels:
                values = list(per_kernel.get(kernel, {}).values())
                if not values:
                    failed = (label.partition(".")[0], kernel) in failures
                    row.append("failed" if failed else "")
                elif check:
                    row.append(f"{sum(v == 1 for v in values)}/{len(values)}")
                else:
                    row.append(
                        f"{number(statistics.median(values))} ({number(min(values))}..{number(max(values))})"
                    )
            for kernel in self.kernels[1:]:
                ratio = None if check else self.ratio(label, kernel)
                row.append("" if ratio is None else f"{ratio:.3g}")
            rows.append(row)
        return rows

    def noise(self) -> str:
        if not self.spins:
            return "no measurements"
        return (
            f"noise gauge (fixed loop, ms): min {min(self.spins):.1f}, "
            f"median {statistics.median(self.spins):.1f}, "
            f"p90 {percentile(self.spins, 90):.1f}; "
            f"load average: median {statistics.median(self.loads):.1f}, "
            f"max {max(self.loads):.1f}"
        )

    def text(self, markdown: bool = False) -> str:
        rows = self.table()
        lines = []
        if markdown:
            lines.append("| " + " | ".join(rows[0]) + " |")
            lines.append("|" + "---|" * len(rows[0]))
            lines += ["| " + " | ".join(row) + " |" for row in rows[1:]]
        else:
            widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
            lines += [
                "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
            ]
        lines += ["", self.noise()]
        for label, per_kernel in self.notes.items():
            for kernel, texts in per_kernel.items():
                for text in texts:
                    lines.append(f"note {label} [{kernel}]: {text}")
        for error in self.errors:
            lines.append(
                f"failed {error['metric']} [{error['kernel']}, round {error['round']}]: "
                + " / ".join(error["error"].splitlines())
            )
        return "\n".join(lines)

    def as_json(self, **extra: Any) -> dict[str, Any]:
        return {
            **extra,
            "kernels": self.kernels,
            "values": self.values,
            "ratios": {
                label: {k: self.ratio(label, k) for k in self.kernels[1:]}
                for label in self.values
                if not label.endswith("_ok")
            },
            "notes": self.notes,
            "errors": self.errors,
            "spin_ms": self.spins,
            "load": self.loads,
        }
