"""Rebirth: a fresh interpreter with the same variables, or nothing changed at all."""

import os
import re
import time
from pathlib import Path

import pytest

from record import record_of

MIB = 1 << 20
pytestmark = pytest.mark.ours

PID = "__import__('os').getpid()"


@pytest.fixture
def own(start_kernel):
    return start_kernel()


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def until_alone(kernel):
    """Until there are the kernel and its interpreter: the other one is ended after the answer."""
    deadline = time.monotonic() + 20
    while len(kernel.processes()) != 2:
        assert time.monotonic() < deadline, kernel.processes()
        kernel.pump_for(0.1)


def refused(kernel, code):
    """The complaint of a rebirth that must change nothing."""
    before = kernel.evaluate(PID)
    exchange = kernel.execute(code)
    assert exchange.status == "error" and exchange.content["ename"] == "UsageError", exchange.content
    assert kernel.evaluate(PID) == before
    until_alone(kernel)
    return exchange.content["evalue"]


def test_variables_functions_and_imports_come_along_and_memory_goes_back(own):
    kernel = own
    empty = resident(kernel.evaluate(PID))
    kernel.execute_ok("import math as m\nfrom os import path")
    kernel.execute_ok("""
import numpy as np
a = np.arange(4_000_000.0); b = a[10:20]; f_order = np.asfortranarray(np.ones((3, 4)))
a.flags.writeable = True
g = 3
def f(x): return x + g
class Point:
    def __init__(self, x): self.x, self.y = x, f(x)
p = Point(1); shared = {"a": a, "p": p}
junk = [str(i) for i in range(1_500_000)]
""")
    old = kernel.evaluate(PID)
    reborn = kernel.execute_ok("%hygiene rebirth a b f_order g f Point p shared")
    assert re.search(
        r"Reborn: a fresh interpreter with 8 variables \(30\.\d MiB\) and 3 imports\.", reborn.stdout
    )
    assert record_of(reborn)["host"]["delta"] < -100 * MIB
    new = kernel.evaluate(PID)
    assert new != old
    # numpy, which is imported anew, and what was carried; not the strings
    assert resident(new) < empty + 32 * MIB + 60 * MIB
    assert kernel.evaluate("(f(1), p.x, p.y, m.floor(2.5), path.sep, float(a.sum()))") == (
        4,
        1,
        4,
        2,
        "/",
        7999998000000.0,
    )
    checks = "b.base is a, shared['a'] is a, shared['p'] is p, f_order.flags.f_contiguous, a.flags.owndata, type(p) is Point"
    assert kernel.evaluate(f"({checks})") == (True,) * 6
    counted = kernel.execute_ok("g = 10; a[10] = -1")
    assert counted.content["execution_count"] == reborn.content["execution_count"] + 1
    assert kernel.evaluate("(f(1), float(b[0]))") == (11, -1.0), (
        "functions see the notebook, views see their base"
    )
    assert kernel.evaluate("'junk' in globals()") is False
    deadline = time.monotonic() + 20
    while Path(f"/proc/{old}").exists():
        assert time.monotonic() < deadline
        kernel.pump_for(0.1)
    assert len(kernel.processes()) == 2
    again = kernel.execute_ok("%hygiene rebirth a b f g")
    assert "4 variables" in again.stdout and "3 imports" in again.stdout
    assert kernel.evaluate("(f(2), m.floor(1.5))") == (12, 1)


def test_what_cannot_be_carried_is_named_and_nothing_changes(own):
    kernel = own
    kernel.execute_ok(
        "x = 1; lines = (c for c in 'ab'); file = open('/dev/null'); import threading; lock = threading.Lock()"
    )
    said = refused(kernel, "%hygiene rebirth")
    for name in ("lines: cannot pickle 'generator' object", "file: an open file", "lock: "):
        assert name in said
    assert "%hygiene rebirth x threading" in said
    assert "there is no such name" in refused(kernel, "%hygiene rebirth y")
    assert "must stand alone" in refused(kernel, "%hygiene rebirth x\nx = 2")
    dry = kernel.execute_ok("%hygiene rebirth x --dry-run")
    assert "All of these can be carried: x" in dry.stdout
    assert kernel.evaluate("(x, next(lines), file.closed)") == (1, "a", False)


def test_an_import_that_fails_in_the_fresh_interpreter_changes_nothing(own):
    kernel = own
    Path(kernel.home.name, "mod.py").write_text(
        "import os\nif os.path.exists('broken'): raise ValueError('no more')\n"
    )
    kernel.execute_ok("import mod\nx = 5")
    Path(kernel.home.name, "broken").touch()
    assert "`import mod` fails in a fresh interpreter: no more" in refused(kernel, "%hygiene rebirth x")
    assert kernel.evaluate("x") == 5
    Path(kernel.home.name, "broken").unlink()
    kernel.execute_ok("%hygiene rebirth x")
    assert kernel.evaluate("(x, mod.__name__)") == (5, "mod")


def test_a_fresh_interpreter_that_dies_changes_nothing(own):
    kernel = own
    Path(kernel.home.name, "deadly.py").write_text("import os\nif os.path.exists('broken'): os._exit(3)\n")
    kernel.execute_ok("import deadly\nx = 5")
    Path(kernel.home.name, "broken").touch()
    assert "Nothing has changed: the fresh interpreter" in refused(kernel, "%hygiene rebirth x")
    assert kernel.evaluate("x") == 5


def test_an_interrupt_ends_a_rebirth_and_nothing_changes(own):
    kernel = own
    Path(kernel.home.name, "slow.py").write_text(
        "import os, time\nif os.path.exists('slow'): time.sleep(600)\n"
    )
    kernel.execute_ok("import slow\nx = 5")
    Path(kernel.home.name, "slow").touch()
    before = kernel.evaluate(PID)
    cell = kernel.start("%hygiene rebirth x")
    kernel.pump_for(2)
    kernel.interrupt_by_message()
    exchange = kernel.collect(cell)
    assert exchange.content["ename"] == "KeyboardInterrupt"
    assert kernel.evaluate(f"({PID}, x)") == (before, 5)
    until_alone(kernel)
