"""What differs between two runs, and the list of what may: `docs/differences.md`.

The list is read from its indented lines, `PROBE CELL: LINE`. LINE begins with `-` (a fact of ipykernel's) or `+` (one of ours); `*`
stands for any text.
"""

import difflib
import re
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).resolve().parents[3] / "docs" / "differences.md"
_ENTRY = re.compile(r"^    (\w+) (\d+): ([-+].*)$")


def between(reference, ours):
    """{cell: lines}, of the cells that differ."""
    found = {}
    for at in range(max(len(reference), len(ours))):
        theirs = reference[at] if at < len(reference) else ["the cell was not run"]
        own = ours[at] if at < len(ours) else ["the cell was not run"]
        lines = list(difflib.unified_diff(theirs, own, lineterm="", n=0))[2:]
        lines = [line for line in lines if not line.startswith("@@")]
        if lines:
            found[at + 1] = lines
    return found


class Listed:
    """The entries of one probe, and which of them were met."""

    def __init__(self, entries):
        self._entries = [(cell, line, _expression(line)) for cell, line in entries]
        self._met = set()

    def unlisted(self, found):
        """Of what differs, the lines that no entry allows."""
        rest = []
        for cell, lines in found.items():
            for line in lines:
                allowing = {
                    at
                    for at, (where, _, expression) in enumerate(self._entries)
                    if where == cell and expression.fullmatch(line)
                }
                self._met |= allowing
                if not allowing:
                    rest.append(f"cell {cell}: {line}")
        return rest

    def unmet(self):
        """Entries that nothing matched."""
        return [
            f"cell {cell}: {line}" for at, (cell, line, _) in enumerate(self._entries) if at not in self._met
        ]


def _expression(line):
    return re.compile(".*".join(map(re.escape, line.split("*"))), re.DOTALL)


def listed(path=LIST):
    """{probe: its entries}."""
    entries = defaultdict(list)
    for line in path.read_text().splitlines():
        found = _ENTRY.match(line)
        if found:
            probe, cell, text = found.groups()
            entries[probe].append((int(cell), text))
    return entries
