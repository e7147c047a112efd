"""What nothing leads to is found without being touched: dead cycles, also those that the collector cannot see, and what `atexit` keeps."""

import pytest
from shell import MB, Shell


@pytest.fixture
def shell():
    shell = Shell()
    shell.run("import gc; gc.disable()")  # the garbage is there when we look
    yield shell
    shell.close()


def look(shell):
    rows = shell.probe("facts.leftovers(bool)")
    return {row["kind"]: row for row in rows if row["bytes"] > 4 * MB}


CYCLES = {
    "a back reference": "class C: pass\nc = C(); c.d = C(); c.d.up = c; c.big = b'x' * 9_000_000; del c",
    "slots": "class C:\n    __slots__ = 'me', 'big'\nc = C(); c.me = c; c.big = b'x' * 9_000_000; del c",
    "a closure": "def f():\n    big = b'x' * 9_000_000\n    def g(): return g, big\nf()",
    "a list in itself": "c = [b'x' * 9_000_000]; c.append(c); del c",
    "an exception in its frame": (
        "def f():\n    big = b'x' * 9_000_000\n    try: 1 / 0\n    except ZeroDivisionError as e: kept = e\nf()"
    ),
    "a library's classes": (
        "import xml.dom.minidom as m\nd = m.parseString('<a>' + '<b>text</b>' * 17_000 + '</a>'); del d"
    ),
}


@pytest.mark.parametrize("cycle", CYCLES)
def test_dead_cycles_are_sized_and_stay_as_they_are(shell, cycle):
    shell.run(CYCLES[cycle])
    row = look(shell)["cycle"]
    assert row["bytes"] >= (8.9 * MB)
    assert row["type"] != "object array"
    before = shell.anonymous()
    shell.run("gc.collect()")
    assert before - shell.anonymous() > 0.5 * row["bytes"]
    assert "cycle" not in look(shell)


def test_a_cycle_through_an_array_of_objects_is_known_as_one(shell):
    shell.run(
        "import numpy as np\nclass C: pass\nc = C(); c.parts = np.empty(3, dtype=object); c.big = b'x' * 9_000_000\n"
        "c.parts[1] = C(); c.parts[1].up = c; del c; gc.collect()"
    )
    row = look(shell)["cycle"]
    assert row["type"] == "object array"
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.25)


ALIVE = {
    "a name": "x = [b'x' * 9_000_000]; x.append(x)",
    "a function's default": "def f(x=[b'x' * 9_000_000]): pass\nf.me = f",
    "an attribute of a class": "class C: held = [b'x' * 9_000_000]\nC.me = C",
    "a module": "import json; json.extra = [b'x' * 9_000_000]; json.extra.append(json.extra)",
    "a running thread": (
        "import threading\nstop = threading.Event()\n"
        "def work():\n    x = [b'x' * 9_000_000]; x.append(x); stop.wait(60)\n"
        "threading.Thread(target=work, daemon=True).start()"
    ),
    "a running generator": "def g():\n    x = [b'x' * 9_000_000]; x.append(x); yield 1\nh = g(); next(h)",
    "the output": "x = [b'x' * 9_000_000]; x.append(x); x\ndel x",
}


@pytest.mark.parametrize("holder", ALIVE)
def test_what_something_leads_to_is_not_garbage(shell, holder):
    for cell in ALIVE[holder].split("\ndel"):
        shell.run(cell if cell.strip() != "x" else "del x")
    assert "cycle" not in look(shell)


def test_nothing_dies_and_nothing_is_kept_by_looking(shell):
    shell.run(
        "import weakref\nran = []\nclass C:\n    def __del__(self): ran.append(1)\n"
        "c = C(); c.me = c; w = weakref.ref(c); k = C(); del c"
    )
    look(shell)
    assert shell.probe("shell.user_ns['w']() is not None, shell.user_ns['ran']") == [True, []]
    shell.run("del k")
    assert shell.probe("shell.user_ns['ran']") == [1]
    shell.run("gc.collect()")
    assert shell.probe("shell.user_ns['w']() is None, len(shell.user_ns['ran'])") == [True, 2]


def test_what_only_an_exit_function_keeps_is_found_by_its_class(shell):
    shell.run(
        "import atexit\nclass Client:\n    def __init__(self):\n        self.big = b'x' * 9_000_000; atexit.register(self.close)\n"
        "    def close(self): pass\nClient(); Client();"
    )
    found = look(shell)
    row = found["registry"]
    assert (row["name"], row["names"], row["count"]) == ("atexit", ["Client"], 2)
    assert row["bytes"] == pytest.approx(18 * MB, rel=0.02)
    assert row["maybe_shared"] is False
    shell.run("for o in gc.get_objects():\n    if type(o) is Client: atexit.unregister(o.close)\ndel o")
    assert look(shell) == {}


@pytest.mark.parametrize(
    ("register", "what", "name"),
    [
        ("import functools\ndef save(x): pass\natexit.register(functools.partial(save, b'x' * 9_000_000));", "partial", "save"),
        ("def late(x):\n    def write(): return x\n    return write\natexit.register(late(b'x' * 9_000_000));", "function", "write"),
    ],
)  # fmt: skip
def test_what_a_function_of_atexit_holds_is_found_without_a_class(shell, register, what, name):
    shell.run("import atexit\n" + register)
    row = look(shell)["registry"]
    assert (row["detail"], row["names"], row["maybe_shared"]) == (what, [name], False)
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.02)


def test_it_is_told_that_garbage_may_be_frozen(shell):
    assert "gc.freeze" not in [row["name"] for row in shell.probe("facts.leftovers(bool)")]
    shell.run("c = [b'x' * 9_000_000]; c.append(c); del c; gc.freeze()")
    assert "gc.freeze" in [row["name"] for row in shell.probe("facts.leftovers(bool)")]


@pytest.mark.parametrize(("pinned", "what"), [(False, ""), (True, "heap")])
def test_garbage_in_the_heap_goes_alone_unless_something_lives_above_it(shell, pinned, what):
    shell.run("import numpy as np; warm = np.ones(2_000_000); del warm")
    # The garbage of the import goes, and none goes by itself from now on.
    shell.run("import gc; gc.collect(); gc.set_threshold(1_000_000)")
    # What the interpreter asks for by itself goes into the hole, not above the garbage.
    shell.run("hole = np.ones(100_000); between = np.ones(100_000); del hole")
    shell.run("class C: pass\nc = C(); c.me = c; c.big = [np.ones(1_000_000) for _ in range(6)]")
    if pinned:
        shell.run("above = np.ones(200_000)")
    shell.run("del c")
    row = look(shell)["cycle"]
    assert (row["name"], row["type"]) == ("C", what)
    assert row["bytes"] == pytest.approx(48 * MB, rel=0.02)


def test_what_looks_leave_is_no_garbage_that_keeps_the_users_objects(shell):
    shell.run("import gc, numpy as np; kept = [np.ones(10_000)]; gc.collect(); gc.set_threshold(1_000_000)")
    shell.probe("__import__('gc').collect()")
    for _ in range(2):
        look(shell)
        shell.explain()
        assert shell.probe("__import__('gc').collect()") == 0


def test_what_a_look_itself_takes_is_not_among_the_garbage(shell):
    shell.run("import gc; gc.set_threshold(1_000_000); kept = [[i] for i in range(300_000)]; gc.collect()")
    assert "cycle" not in look(shell)
    shell.run("class C: pass\nc = C(); c.me = c; c.big = b'x' * 6_000_000; del c")
    assert look(shell)["cycle"]["bytes"] == pytest.approx(6 * MB, rel=0.01)


def test_it_gives_up_when_something_else_is_to_be_done(shell):
    shell.run("c = [b'x' * 9_000_000]; c.append(c); del c")
    assert shell.probe("facts.leftovers(lambda: True)") is None


LIBRARY = "import sys, types\nlib = types.ModuleType('lib'); sys.modules['lib'] = lib\n{}\ndel lib"
RECORDER = (
    "class Recorder:\n    def __init__(self): self.kept = b'x' * 3_000_000\n    def __call__(self): pass\n"
)
LODGED = {
    "in a list": (f"{RECORDER}lib.hooks = [Recorder() for _ in range(3)]", "lib.hooks", "list", "Recorder", 3),
    "in a dict": (f"{RECORDER}lib.hooks = {{i: Recorder() for i in range(3)}}", "lib.hooks", "dict", "Recorder", 3),
    "methods": (f"{RECORDER}lib.hooks = [Recorder().__call__ for _ in range(3)]", "lib.hooks", "", "Recorder", 3),
    "one within the other": (
        ("lib.call = print\ndef wrap(inner, data):\n    def call(*a): return inner(*a), data\n    return call\n"
        "for i in range(9): lib.call = wrap(lib.call, b'x' * 1_000_000)"),
        "lib.call", "", "call", 9,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LODGED)
def test_what_a_library_keeps_is_told_with_its_place(shell, what):
    source, place, shape, label, count = LODGED[what]
    shell.run(LIBRARY.format(source))
    row = look(shell)["registry"]
    assert (row["type"], row["name"], row["shape"], row["detail"], row["count"]) == (
        "lodged",
        place,
        shape,
        label,
        count,
    )
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.1)


def test_it_is_told_too_where_the_library_is_frozen(shell):
    shell.run(
        "import sys, types\nlib = types.ModuleType('lib'); sys.modules['lib'] = lib\nlib.hub = types.SimpleNamespace(hooks=[])"
    )
    shell.run("gc.freeze()")
    shell.run(f"{RECORDER}lib.hub.hooks += [Recorder() for _ in range(3)]\ndel lib")
    row = next(row for row in shell.probe("facts.leftovers(bool)") if row["type"] == "lodged")
    assert (row["name"], row["count"], row["path"]) == ("lib.hub", 3, "")


NOT_LODGED = {
    "a name leads there": f"{RECORDER}mine = [Recorder() for _ in range(3)]; lib.hooks = mine",
    "there is one": f"{RECORDER}lib.hook = Recorder()",
    "it is data": "lib.tables = [b'x' * 3_000_000 for _ in range(3)]",
}


@pytest.mark.parametrize("what", NOT_LODGED)
def test_what_has_a_name_or_is_a_librarys_own_is_not_told(shell, what):
    shell.run(LIBRARY.format(NOT_LODGED[what]))
    assert not any(row["type"] == "lodged" for row in shell.probe("facts.leftovers(bool)"))


def swollen(shell):
    rows = shell.probe("facts.leftovers(bool)")
    return {row["name"]: row for row in rows if row["type"] in ("large", "swollen")}


ENTRIES = {
    "data": ("b'x' * 3_000_000", ""),
    "functions": ("(lambda data: lambda: data)(b'x' * 3_000_000)", "callables"),
    "things of the notebook's": ("Recorder()", "callables"),
}


@pytest.mark.parametrize("what", ENTRIES)
@pytest.mark.parametrize("place", ["lib.table", "lib.Table.all"])
def test_a_librarys_container_is_told_and_whether_it_grows_from_look_to_look(shell, place, what):
    entry, detail = ENTRIES[what]
    shell.run(
        LIBRARY.format(
            f"{RECORDER}class Table: all = {{}}\nTable.__module__ = 'lib'; lib.Table = Table; lib.table = {{}}\ndel Table"
        )
    )
    sizes, kinds = [], []
    for number in range(4):
        shell.run(f"sys.modules['lib'].{place.partition('.')[2]}[{number}] = {entry}")
        row = swollen(shell).get(place, {"bytes": 0, "type": None})
        sizes.append(row["bytes"])
        kinds.append(row["type"])
    if what == "data":
        assert kinds == [None, "large", "swollen", "swollen"]
        assert sizes[1:] == pytest.approx([6 * MB, 9 * MB, 12 * MB], rel=0.02)
        assert (row["detail"], row["count"], row["shape"], row["element"]) == (detail, 4, "dict", "bytes")
    else:  # told once: by whose they are
        (row,) = [row for row in shell.probe("facts.leftovers(bool)") if row["bytes"] > 9 * MB]
        assert (row["type"], row["count"]) == ("lodged", 4)
        assert place.startswith(row["name"])


def test_what_a_name_leads_to_is_not_a_librarys(shell):
    shell.run(LIBRARY.format("lib.table = mine = [b'x' * 9_000_000]"))
    assert swollen(shell) == {}


def test_functions_that_only_c_code_refers_to_are_told(shell):
    shell.run(
        "import sys\ndef listen(data):\n    def watch(event, args): return data and None\n    sys.addaudithook(watch)\n"
        "for _ in range(3): listen(b'x' * 3_000_000)"
    )
    row = look(shell)["registry"]
    assert (row["name"], row["type"], row["detail"], row["count"]) == (
        "watch",
        "hidden",
        "watch",
        3,
    )
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.02)


def test_a_look_brings_the_next_collection_hardly_nearer(shell):
    shell.run("import numpy, decimal, xml.dom.minidom, email.message, unittest.mock")
    shell.probe("facts.leftovers(bool)")  # what stays is made
    shell.run("gc.collect()")  # empties Python's lists of free objects, which the next look fills
    for most in (500, 50, 50):
        before = shell.probe("__import__('gc').get_count()[0]")
        shell.probe("facts.leftovers(bool)")
        assert shell.probe("__import__('gc').get_count()[0]") - before < most


def test_classes_whose_metaclass_cannot_be_hashed_are_nothing_special(shell):
    shell.run("class M(type):\n    def __eq__(self, other): 1 / 0")
    shell.run("class A(metaclass=M): pass\na = A(); library = [A(), A()]")
    shell.run(CYCLES["a back reference"])
    assert look(shell)["cycle"]["bytes"] >= (8.9 * MB)
