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


def until_alone(kernel, count=2):
    """Until there are the kernel and its interpreter: the other one is ended after the answer."""
    deadline = time.monotonic() + 20
    while len(kernel.processes()) != count:
        assert time.monotonic() < deadline, kernel.processes()
        kernel.pump_for(0.1)


def refused(kernel, code):
    """The complaint of a rebirth that must change nothing."""
    before, count = kernel.evaluate(PID), len(kernel.processes())
    exchange = kernel.execute(code)
    assert exchange.status == "error" and exchange.content["ename"] == "UsageError", exchange.content
    assert kernel.evaluate(PID) == before
    until_alone(kernel, count)
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


def test_names_with_an_underscore_come_along_and_the_shells_own_do_not(own):
    kernel = own
    kernel.execute_ok(
        "_secret = 42\ndef _helper(): return 7\ndef f(): return _helper()\n__own = 'x'\nx: int = 1"
    )
    kernel.execute_ok("'a result'")
    dry = kernel.execute_ok("%hygiene rebirth --dry-run")
    assert dry.stdout.strip() == "All of these can be carried: _secret, _helper, f, __own, x"
    kernel.execute_ok("%hygiene rebirth")
    assert kernel.evaluate("(_secret, f(), __own, x)") == (42, 7, "x", 1)
    kernel.execute_ok("for _ in range(3): pass\nOut = 'mine'")
    kernel.execute_ok("%hygiene rebirth")
    assert kernel.evaluate("(_, Out, _secret)") == (2, "mine", 42)


def test_what_ends_with_the_old_interpreter_is_refused(own):
    kernel = own
    kernel.execute_ok("""
import ctypes, mmap, tempfile, weakref
import numpy as np
from multiprocessing import shared_memory
class Thing: pass
folder = tempfile.TemporaryDirectory()
open(folder.name + "/precious", "w").close()
thing = Thing(); final = weakref.finalize(thing, print)
on_disk = np.memmap("numbers", dtype="u1", mode="w+", shape=(10,)); on_disk_too = np.asarray(on_disk)[2:]
mapped = mmap.mmap(-1, 64); over_mapped = np.frombuffer(mapped, "u1")
segment = shared_memory.SharedMemory(create=True, size=64); listed = shared_memory.ShareableList([1])
over_segment = np.ndarray((64,), "u1", segment.buf); view = memoryview(bytearray(3))
foreign = np.ctypeslib.as_array((ctypes.c_double * 3)())
copied = over_segment.copy()
""")
    said = refused(kernel, "%hygiene rebirth")
    for name, why in {
        "folder": "a temporary directory, which is deleted when this interpreter ends",
        "thing": "its finalizer (print) stays with this interpreter",
        "on_disk": "a memmap, which would not reach its file any more",
        "on_disk_too": "an array over memory that is mapped",
        "over_mapped": "an array over memory that is mapped",
        "segment": "shared memory, which is removed when this interpreter ends",
        "listed": "shared memory, which is removed when this interpreter ends",
        "over_segment": "an array over memory that is mapped",
        "view": "a memoryview",
        "foreign": "an array over memory of ctypes",
    }.items():
        assert f"  {name}: {why}" in said, said
    assert "  copied: " not in said
    # What has done its work is no danger, nor is anything to a copy that ends before this interpreter.
    kernel.execute_ok("%%isolate seen --fresh\nimport os\nseen = os.listdir(folder.name)")
    assert kernel.evaluate("seen") == ["precious"]
    kernel.execute_ok("folder.cleanup(); final()")
    assert "All of these" in kernel.execute_ok("%hygiene rebirth folder thing copied --dry-run").stdout
    kernel.execute_ok(
        "del foreign, view, over_segment, over_mapped; segment.close(); segment.unlink(); listed.shm.unlink()"
    )


def test_views_stay_views_whatever_the_order_of_the_array_is(own):
    kernel = own
    kernel.execute_ok("""
import numpy as np, array
c = np.zeros((4, 5)); c_view = c[1:, ::2]
f = np.zeros((4, 5), order="F"); f_view = f[1:]; f_turned = f.T[::-1]
k = np.empty_like(np.zeros((2, 3, 4)).transpose(1, 2, 0)); k[...] = np.arange(24).reshape(k.shape); k_view = k[1]
b = bytearray(range(8)); b_view = np.frombuffer(b, "u2")[1:]; b_other = np.ndarray((2,), "u1", b)
r = array.array("d", [1.0, 2.0, 3.0]); r_view = np.frombuffer(r)
dates = np.zeros(4, "M8[s]"); dates_view = dates[2:]
fields = np.zeros(3, [("x", "i4"), ("y", "f8")]); fields_view = fields["y"]
m = np.matrix([[1.0, 2.0]]); m_view = np.asarray(m)
records = fields.view(np.recarray); records_view = records.y[1:]
locked = np.zeros(4); locked_view = locked[1:]; locked.flags.writeable = False
fixed = np.frombuffer(b"abcd", "u1"); turned = np.arange(6)[::-1]; none = np.zeros((0, 3)); one = np.array(7.0)
cut = np.lib.stride_tricks.sliding_window_view(np.arange(6), 3)
""")
    before = kernel.evaluate(
        "repr([k.tolist(), fixed.tolist(), turned.tolist(), none.shape, float(one), cut.tolist()])"
    )
    strides = "repr([x.strides for x in (c, f, k, c_view, f_view, f_turned, k_view)])"
    strides_before = kernel.evaluate(strides)
    kernel.execute_ok("%hygiene rebirth")
    again = kernel.evaluate(
        "repr([k.tolist(), fixed.tolist(), turned.tolist(), none.shape, float(one), cut.tolist()])"
    )
    assert again == before and kernel.evaluate(strides) == strides_before
    kernel.execute_ok("""
c[1, 2] = 1; f[1, 0] = 2; k[1, 2, 1] = 77; b[2] = 200; r[2] = 9; dates[3] = 5; fields["y"][1] = 4; m[0, 1] = 8
locked_view[0] = 3
""")
    seen = (
        "(c_view[0, 1], f_view[0, 0], f_turned[-1, 1], k_view[2, 1], b_view[0] & 255, r_view[2], dates_view[1].astype(int), "
        "fields_view[1], records_view[0], records.y[1], m_view[0, 1], locked[1], locked.flags.writeable, fixed.flags.writeable)"
    )
    assert kernel.evaluate(f"[float(x) for x in {seen}]") == [1, 2, 2, 77, 200, 9, 5, 4, 4, 4, 8, 3, 0, 0]
    assert kernel.evaluate("(type(m) is np.matrix, type(records).__name__)") == (True, "recarray")
    kernel.execute_ok("b_other[2 - 1] = 99")
    assert kernel.evaluate("b[1]") == 99
    assert kernel.execute("b.append(1)").content["ename"] == "BufferError"


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


def test_what_is_imported_again_finds_itself_in_a_notebook(own):
    kernel = own
    Path(kernel.home.name, "asks.py").write_text("shell = type(get_ipython()).__name__")
    kernel.execute_ok("import asks\nshell = asks.shell")
    kernel.execute_ok("%hygiene rebirth")
    assert kernel.evaluate("asks.shell == shell")


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


def test_where_memory_is_short_the_old_interpreter_stays(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_GUARD_CAP": "600 MiB"})
    kernel.execute_ok("import numpy as np\nlarge = np.ones(300 << 17); small = np.ones(50 << 17)")
    for more in ("", " --dry-run"):
        said = refused(kernel, "%hygiene rebirth" + more)
        assert re.search(
            r"Nothing has changed: .* takes up to \d+ MiB more, and \d+ MiB can be had of the cap", said
        )
    assert kernel.evaluate("(float(large.sum()), large.flags.owndata)") == (300.0 * (1 << 17), True)
    # Small objects are judged by what they take, not by their pickle.
    kernel.execute_ok("del large; words = [str(i) for i in range(3_000_000)]")
    refused(kernel, "%hygiene rebirth words small")
    kernel.execute_ok("del words")
    kernel.execute_ok("%hygiene rebirth small")
    assert kernel.evaluate("float(small.sum())") == 50.0 * (1 << 17)


def test_what_takes_more_than_was_foreseen_is_refused_in_the_fresh_interpreter(start_kernel):
    kernel = start_kernel(env={"RUST_HYGIENE_GUARD_CAP": "400 MiB"})
    kernel.execute_ok(
        "class Grows:\n    def __reduce__(self): return bytearray, (600 << 20,)\ngrows = Grows(); x = 1"
    )
    assert "memory does not suffice" in refused(kernel, "%hygiene rebirth")
    kernel.execute_ok("%hygiene rebirth x")
    assert kernel.evaluate("x") == 1
