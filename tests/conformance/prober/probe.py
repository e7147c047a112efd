"""Probes: files of cells to run, in the percent format.

The head has lines `# key: value`:

    about                  what it is about
    requires               modules that must be importable
    order: loose           two outputs of a cell may come in either order
    dies: yes              the kernel is meant to end
    settle                 for all cells, see below
    ignore                 a regular expression whose matches are cut out
    arguments, env         JSON, for the kernel's command line and its environment
    file NAME              JSON text of a file that the kernel finds; `ipython/…` lies in IPYTHONDIR

A cell begins with `# %%`, a verb and options `key=value`:

    execute (the default)  with silent=1, store_history=0, stop_on_error=0, allow_stdin=0, expr='{"name": "expression"}',
                           stdin='["answer"]', sleep=SECONDS to wait before,
                           settle=SECONDS to wait for what comes after idle
    interrupt              as execute; the kernel is interrupted after the first text
    complete, inspect      one request a line; ⟂ marks the cursor; level=1 asks for the source
    complete1, inspect1    one request for all lines together
    is_complete            one request for each block between lines of `---`
    request CHANNEL        each line is a JSON message: ["type", {content}]
    queue                  the same on shell, all sent before anything is read
    dump NAME              the cell is dumped for the debugger
    start NAME             a dumped cell is run, and not waited for
    end                    what came of the cell that was started
    debug                  each line is a JSON message: ["command", {arguments}], see `debug.py`, or ["wait", "event"]
"""

import importlib.util
import json
import re
from pathlib import Path

PROBES = Path(__file__).resolve().parent.parent / "probes"


class Probe:
    """A file of cells."""

    def __init__(self, path):
        self.name = path.stem
        self.head = {}
        self.ignore = []
        self.files = {}
        self.cells = []  # (verb, options, body)
        head, *parts = re.split(r"(?m)^# %%", path.read_text())
        for line in head.splitlines():
            found = re.match(r"#\s*([a-z_]+)(?: (\S+))?:\s*(.*)", line)
            if not found:
                continue
            key, name, value = found.groups()
            if key == "ignore":
                self.ignore.append(re.compile(value))
            elif key == "file":
                self.files[name] = json.loads(value)
            else:
                self.head[key] = value.strip()
        for part in parts:
            first, _, body = part.partition("\n")
            words = re.findall(r"(\w+)=('[^']*'|\S+)|(\S+)", first)
            options = {key: value.strip("'") for key, value, _ in words if key}
            verbs = [word for _, _, word in words if word]
            self.cells.append((verbs or ["execute"], options, body.rstrip("\n")))

    @property
    def is_loose(self):
        """True if the order of a cell's outputs is not compared."""
        return self.head.get("order") == "loose"

    @property
    def dies(self):
        """True if the kernel is meant to end."""
        return self.head.get("dies") == "yes"

    def json(self, key, default):
        """A value of the head."""
        return json.loads(self.head[key]) if key in self.head else default

    @property
    def missing(self):
        """Modules that it needs and that are not installed."""
        names = [name.strip() for name in self.head.get("requires", "").split(",") if name.strip()]
        return [name for name in names if importlib.util.find_spec(name) is None]


def all_probes():
    """Every probe, by name."""
    return [Probe(path) for path in sorted(PROBES.glob("*.ipy"))]
