"""Every hint of the ledger frees the memory, measured from outside.

`hints.json` is shared with `crates/ledger/tests/hints.rs`: there the ledger makes these hints out of these facts; here a
real shell makes these facts and runs the hints.
"""

import json
from pathlib import Path

import pytest
from shell import Shell

CASES = json.loads(Path(__file__).with_name("hints.json").read_text())


@pytest.fixture
def shell():
    shell = Shell()
    yield shell
    shell.close()


def names_of(holders):
    """What a hint depends on; `sys.last_exc` is there from Python 3.12 on."""
    return [
        (row["kind"], row["name"], set(row["names"]) - {"sys.last_exc"}) for row in holders if row["bytes"]
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_hint_frees_what_is_held(shell, case):
    seen = []
    for number, cell in enumerate(case["cells"]):
        shell.run(cell, fails=number in case.get("fails", []))
        seen.append(shell.explain())
    last, expected = seen[-1], case["runs"][-1]
    assert names_of(last["holders"]) == names_of(expected.get("holders", []))
    for variable in expected.get("variables", []):
        found = next(row for row in last["variables"] if row["name"] == variable["name"])
        assert found["change"] == variable["change"]
        assert found["bytes"] == pytest.approx(variable["bytes"], rel=0.02)
    if expected.get("holders"):
        held = sum(row["bytes"] for row in expected["holders"])
        assert sum(row["bytes"] for row in last["holders"]) == pytest.approx(held, rel=0.02)
    else:
        held = sum(row["bytes"] - row["before"] for run in case["runs"][1:] for row in run["variables"])
    before = shell.anonymous()
    shell.run(case["hint"])
    assert before - shell.anonymous() >= 0.8 * held


def test_results_are_cached_and_reported_as_usual_after_the_hint(shell):
    shell.run("import numpy as np")
    shell.run("x = np.ones(5_000_000); x")
    shell.run("del x")
    shell.run("%xdel _2")
    shell.run("40 + 2")
    assert shell.probe("shell.user_ns['_'], shell.user_ns['_5'], shell.user_ns['Out'][5]") == [42, 42, 42]


def test_the_shell_says_that_there_is_no_traceback_after_the_hint(shell):
    shell.run("1 / 0", fails=True)
    shell.run(next(case["hint"] for case in CASES if case["cause"] == "traceback_refs"))
    shell.run("%tb")
    shell.run("1 / 0", fails=True)
    assert shell.probe("type(sys.last_value).__name__") == "ZeroDivisionError"


@pytest.mark.parametrize("line", ["%reset -f out", "Out.clear()", "del Out[2], _2, _"])
def test_the_usual_advice_does_not_free_a_result(shell, line):
    shell.run("import numpy as np")
    shell.run("x = np.ones(5_000_000); x")
    shell.run("del x")
    before = shell.anonymous()
    shell.run(line)
    assert before - shell.anonymous() < 1_000_000
