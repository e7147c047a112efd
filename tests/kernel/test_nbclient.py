"""Notebooks run headless and save what they save under ipykernel: no badge, no noise."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from frontend import FOREIGN, KERNEL

ours = pytest.mark.ours

DEMO = Path(__file__).parents[2] / "docs" / "demo.ipynb"

CELLS = [
    "import sys\nprint('stdout')\nprint('stderr', file=sys.stderr)",
    "1 + 1",
    "for i in range(1000): print(i)",
    "from IPython.display import HTML, Markdown, clear_output\ndisplay(HTML('<b>bold</b>'), Markdown('*m*'))",
    "handle = display('first', display_id='shown')",
    "handle.update('updated from a later cell')",
    "print('cleared'); clear_output(); print('kept')",
    "display('replaced'); clear_output(wait=True); display('last')",
    "display('kept to the end'); clear_output(wait=True)",
    "import numpy as np\nnp.arange(6).reshape(2, 3)",
    "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);",
    "big = np.ones(20_000_000)\nbig.sum()",
    "big",
    "import asyncio\nawait asyncio.sleep(0)\n'awaited'",
    "%%capture held\nprint('captured')",
    "held.stdout",
    "!echo from the shell",
    "%%bash\necho from bash",
    "from IPython.display import Image, JSON, Latex\ndisplay(JSON({'a': [1]}), Latex('$x$'))",
    "sum(range(10))",
    "class Own:\n    def _repr_html_(self): return '<i>own</i>'\n    def __repr__(self): return 'own'\nOwn()",
    "None",
    "",
]
FAILING = ["def fails():\n    return 1 / 0", "fails()", "print('goes on')"]


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch):
    """As a person's shell: ipykernel captures no file descriptors under pytest."""
    for name in list(os.environ):
        if FOREIGN.match(name):
            monkeypatch.delenv(name)


def run(notebook, kernel, **options):
    """The outputs of each cell after a headless run."""
    copy = nbformat.from_dict(notebook)
    client = NotebookClient(
        copy, kernel_name=kernel, timeout=120, resources={"metadata": {"path": "."}}, **options
    )
    client.execute()
    return [cell.outputs for cell in copy.cells if cell.cell_type == "code"]


# Numbers that differ between two runs of the same kernel, too: addresses, and the process id in a cell's file name.
VOLATILE = [
    (re.compile(r"0x[0-9a-f]{6,}"), "0xADDRESS"),
    (re.compile(r"ipykernel_\d+/\d+"), "ipykernel_PID/HASH"),
]


def steady(value):
    if isinstance(value, str):
        for pattern, name in VOLATILE:
            value = pattern.sub(name, value)
        return value
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items()}
    if isinstance(value, list):
        return joined([steady(item) for item in value])
    return value


def joined(outputs):
    """Neighbouring pieces of one stream as one: where a stream is cut depends on the time."""
    whole = []
    for output in outputs:
        last = whole[-1] if whole else None
        same = isinstance(last, dict) and isinstance(output, dict) and last.get("output_type") == "stream"
        if same and output.get("output_type") == "stream" and last["name"] == output["name"]:
            last["text"] += output["text"]
        else:
            whole.append(output)
    return whole


def notebook_of(sources):
    return new_notebook(cells=[new_markdown_cell("# text"), *(new_code_cell(source) for source in sources)])


def assert_same_outputs(notebook, **options):
    wanted = steady(run(notebook, "python3", **options))
    given = steady(run(notebook, KERNEL, **options))
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for source, ours, theirs in zip(sources, given, wanted, strict=True):
        assert ours == theirs, source


def test_a_notebook_saves_the_outputs_that_ipykernel_saves():
    assert_same_outputs(notebook_of(CELLS))


def test_a_notebook_with_errors_saves_the_tracebacks_that_ipykernel_saves():
    assert_same_outputs(notebook_of(FAILING), allow_errors=True)


def needs_our_kernel(source):
    return "%hygiene" in source or "rust_hygiene" in source


def demo():
    """The demo of the project, or a small notebook where a checkout comes without it."""
    return nbformat.read(DEMO, as_version=4) if DEMO.exists() else notebook_of(CELLS)


def may_fail(cell):
    return "raises-exception" in cell.metadata.get("tags", [])


@ours
def test_the_demo_runs_without_an_error_but_those_it_shows():
    notebook = demo()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, outputs in zip(cells, run(notebook, KERNEL), strict=True):
        errors = [output for output in outputs if output.output_type == "error"]
        assert bool(errors) == may_fail(cell), cell.source


def test_the_demo_saves_the_outputs_that_ipykernel_saves():
    """Leaving out the cells that use what ipykernel does not have."""
    notebook = demo()
    notebook.cells = [cell for cell in notebook.cells if not needs_our_kernel(cell.source)]
    assert_same_outputs(notebook, allow_errors=True)
