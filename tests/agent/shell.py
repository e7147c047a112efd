"""Drives `shell_child.py` and measures it from outside."""

import json
import subprocess
import sys
from pathlib import Path

MB = 1_000_000


class Shell:
    """A child process with one IPython shell."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("shell_child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def _ask(self, request, argument):
        self.process.stdin.write(json.dumps([request, argument]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the shell died: {self.process.wait()}"
        return json.loads(line)

    def run(self, source, fails=False):
        """Facts of tier 0 after a cell."""
        facts = self._ask("run", source)
        assert facts["succeeded"] is not fails, source
        return facts

    def explain(self, budget_s=20.0):
        """Facts of tier 1."""
        return self._ask("explain", budget_s)

    def probe(self, source):
        """The value of an expression inside, which may use `shell`, `facts` and `sys`."""
        return self._ask("probe", source)

    def sizes(self):
        """{name: bytes} of the variables that changed."""
        return {row["name"]: row["bytes"] for row in self.explain()["variables"]}

    def anonymous(self):
        """Anonymous resident bytes, read from outside."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
