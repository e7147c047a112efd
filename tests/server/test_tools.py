"""Programs that start a kernel by themselves: the console, papermill, nbconvert."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from frontend import FOREIGN, KERNEL, PATIENCE

ours = pytest.mark.ours


def jupyter(module, *arguments, folder, text="", code=0):
    """Runs `python -m module`; what it printed, without colours."""
    environment = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    ended = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        check=False,
        input=text,
        env=environment | {"XDG_CONFIG_HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
    return re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout + ended.stderr)


def console(folder, *lines):
    arguments = ["--kernel", KERNEL, "--simple-prompt"]
    return jupyter("jupyter_console", *arguments, folder=folder, text="\n".join([*lines, "exit", ""]))


def test_the_console_runs_asks_and_ends(tmp_path):
    said = console(
        tmp_path, "print(6 * 7)", "name = input('who? ')", "Ada", "name.upper()", "1 / 0", "'still here'"
    )
    assert re.search(r"In \[1\]: (?:.*\n)*?42\n", said)
    assert "who? " in said and "Out[3]: 'ADA'" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "Out[5]: 'still here'" in said


@ours
def test_the_console_shows_our_name_and_no_badge(tmp_path):
    said = console(tmp_path, "held = bytearray(50_000_000)", "'there'")
    assert "Rust-Hygiene Python" in said and "Out[2]: 'there'" in said
    assert "RAM" not in said


def notebook(path, *sources, **metadata):
    cells = [new_code_cell(source) for source in sources]
    spec = {"name": KERNEL, "display_name": KERNEL, "language": "python"}
    made = new_notebook(cells=cells, metadata={"kernelspec": spec})
    for key, value in metadata.items():
        made.cells[0].metadata[key] = value
    nbformat.write(made, path)
    return path


def outputs(path):
    """The text of each cell's outputs; a badge would be a display_data."""
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        assert not [one for one in cell.outputs if one.output_type == "display_data"]
        texts.append(
            "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs)
        )
    return texts


def test_papermill_sets_parameters(tmp_path):
    source = notebook(
        tmp_path / "in.ipynb", "x = 1", "held = bytearray(50_000_000)\nx * 2", tags=["parameters"]
    )
    result = tmp_path / "out.ipynb"
    jupyter("papermill", source, result, "-p", "x", "21", "-k", KERNEL, folder=tmp_path)
    assert outputs(result) == ["", "", "42"]
    told = json.loads(result.read_text())["metadata"]["papermill"]
    assert told["parameters"] == {"x": 21} and told["exception"] is None


def test_papermill_stops_at_an_error_and_keeps_what_was_done(tmp_path):
    source = notebook(tmp_path / "in.ipynb", "print('done')", "1 / 0", "print('never')")
    result = tmp_path / "out.ipynb"
    said = jupyter("papermill", source, result, folder=tmp_path, code=1)
    assert "ZeroDivisionError" in said
    cells = [
        cell
        for cell in nbformat.read(result, as_version=4).cells
        if "1 / 0" in cell.source or "print" in cell.source
    ]
    assert [bool(cell.outputs) for cell in cells if cell.cell_type == "code"] == [True, True, False]


def test_nbconvert_executes(tmp_path):
    source = notebook(tmp_path / "in.ipynb", "held = bytearray(50_000_000)\nprint('ran')", "6 * 7")
    jupyter("nbconvert", "--execute", "--to", "notebook", "--output", "out.ipynb", source, folder=tmp_path)
    assert outputs(tmp_path / "out.ipynb") == ["ran\n", "42"]


def test_nbconvert_fails_at_an_error_unless_it_is_allowed(tmp_path):
    source = notebook(tmp_path / "in.ipynb", "1 / 0", "print('goes on')")
    arguments = ["--execute", "--to", "html", source]
    assert "ZeroDivisionError" in jupyter("nbconvert", *arguments, folder=tmp_path, code=1)
    jupyter("nbconvert", "--allow-errors", *arguments, folder=tmp_path)
    page = (tmp_path / "in.html").read_text()
    assert "ZeroDivisionError" in page and "goes on" in page
