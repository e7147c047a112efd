"""Runs a notebook with a stock client and tells what every cell did to memory.

Writes the executed notebook and an HTML page of it.  The table printed at the end is made of the records that the
kernel attaches to its replies; for a kernel that attaches none it only says how the cells went.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

RECORD_MIME = "application/vnd.rust-hygiene.cell+json"


@dataclass
class Row:
    """What is told about one cell."""

    cell: Any
    reply: dict[str, Any]
    seconds: float

    @property
    def record(self) -> dict[str, Any]:
        """The kernel's record of the cell: from the reply, or else from its badge among the outputs."""
        if record := self.reply.get("metadata", {}).get("rust_hygiene"):
            return record
        bundles = (output.get("data", {}) for output in self.cell["outputs"])
        return next((bundle[RECORD_MIME] for bundle in bundles if RECORD_MIME in bundle), {})

    def columns(self) -> tuple[str, ...]:
        record = self.record
        host = record.get("host") or {}
        count = self.reply["content"].get("execution_count")
        return (
            f"[{'' if count is None else count}]",
            shortened(first_line(self.cell["source"]), 40),
            self.reply["content"]["status"],
            f"{record.get('wall_s', self.seconds):.2f} s",
            size(host.get("delta"), signed=True),
            size(host.get("peak")),
            shortened(verdict(record), 44),
        )


HEADINGS = ("", "cell", "", "took", "delta", "peak", "what the kernel says")


def first_line(source: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in source.splitlines() if line.strip()), "")


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def size(count: int | None, *, signed: bool = False) -> str:
    """Bytes in binary units; nothing for what was not measured."""
    if count is None:
        return ""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            break
        amount, unit = amount / 1024, larger
    digits = 1 if unit == "GiB" else 0
    return f"{amount:{'+' if signed else ''}.{digits}f} {unit}"


def verdict(record: dict[str, Any]) -> str:
    """What the worst finding is about, or else the variable that changed most."""
    for finding in record.get("findings") or []:
        return f"! {finding['culprit']['name']} keeps {size(finding['bytes'])}"
    for variable in record.get("variables") or []:
        return f"{variable['name']} {variable['change']}, {size(variable['delta'], signed=True)}"
    return ""


def findings(rows: list[Row]) -> str:
    """Every finding in full, with the line that releases the memory."""
    lines = []
    for row in rows:
        for finding in row.record.get("findings") or []:
            lines.append(f"[{row.reply['content'].get('execution_count')}] {finding['message']}")
            if finding.get("hint"):
                lines.append(f"    → {finding['hint']}")
    return "\n".join(lines)


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    right = {0, 3, 4, 5}
    lines = []
    for row in rows:
        cells = (
            t.rjust(w) if i in right else t.ljust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def execute(notebook: Any, kernel: str, folder: Path, rows: list[Row]) -> None:
    """Runs all cells in place and adds a row for each; the rows stay when a cell fails."""
    began = 0.0

    def starts(**_: Any) -> None:
        nonlocal began
        began = time.perf_counter()

    def executed(cell: Any, cell_index: int, execute_reply: dict[str, Any]) -> None:
        rows.append(Row(cell, execute_reply, time.perf_counter() - began))

    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=120,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=starts,
        on_cell_executed=executed,
    )
    client.execute()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args()

    try:
        spec = KernelSpecManager().get_kernel_spec(args.kernel)
    except NoSuchKernel:
        known = ", ".join(sorted(KernelSpecManager().find_kernel_specs()))
        print(f"no kernel {args.kernel}; there are {known}", file=sys.stderr)
        return 1
    notebook = nbformat.read(args.notebook, as_version=4)
    notebook.metadata.kernelspec = {
        "name": args.kernel,
        "display_name": spec.display_name,
        "language": "python",
    }
    executed = args.output / args.notebook.name
    page = executed.with_suffix(".html")
    failure = None
    rows: list[Row] = []
    start = time.perf_counter()
    try:
        execute(notebook, args.kernel, args.output, rows)
    except CellExecutionError as error:
        failure = error
    took = time.perf_counter() - start
    nbformat.write(notebook, executed)
    html, _ = HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": args.notebook.stem}})
    page.write_text(html, encoding="utf-8")

    print(f"\n{spec.display_name}: {args.notebook} in {took:.1f} s\n")
    print(table([HEADINGS, *(row.columns() for row in rows)]))
    if text := findings(rows):
        print(f"\n{text}")
    print(f"\nnotebook  {executed}\npage      {page}")
    if failure:
        print(f"\nThe notebook failed:\n{failure}", file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
