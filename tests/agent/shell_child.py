"""A real IPython shell with the agent's facts, driven by JSON lines on the original standard input and output."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "crates/interpreter/agent"))

requests = os.fdopen(os.dup(0), "r")
answers = os.fdopen(os.dup(1), "w")
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)

from rust_hygiene_agent.facts import Facts

facts = Facts(shell)
facts.baseline()


def run(source):
    """One cell as the agent runs it: the result of the call is not kept."""
    facts.before_cell()
    succeeded = shell.run_cell(source, store_history=True).success
    return {"succeeded": succeeded, **facts.after_cell()}


def probe(source):
    """A look from inside that is not a cell."""
    return eval(source, {"shell": shell, "facts": facts, "sys": sys})


for line in requests:
    request, argument = json.loads(line)
    answer = {"run": run, "explain": facts.explain, "probe": probe}[request](argument)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
