"""What lies behind gates and in registries: sized, named, with a way to it that a person can type, and left as it was."""

import pytest
from shell import MB, Shell


@pytest.fixture
def shell():
    shell = Shell()
    yield shell
    shell.close()


def rows(shell, kind):
    return [row for row in shell.explain()["holders"] if row["kind"] == kind and row["bytes"] > MB]


def grown(shell, name, cell, times=3):
    """The row of a variable after a cell that was run some times."""
    for _ in range(times):
        shell.run(cell)
        (row,) = [row for row in shell.explain()["variables"] if row["name"] == name]
    return row


BIG = "b'x' * 5_000_000"
ASKED = "def asked(x):\n    try: x.asend(None).send(None)\n    except StopIteration: return x"
PLACES = {
    "in a list": ("v = []", "v.append({})", "v", "list"),
    "in a dict": ("v = {{}}", "v[len(v)] = {}", "v", "dict"),
    "alone": ("", "v = {}", "v", ""),
    "in an attribute": (
        "class C:\n    def __init__(self): self.kept = None\nv = C()",
        "v.kept = {}",
        "v.kept",
        "",
    ),
    "deep inside": ("v = [1, {{'a': []}}]", "v[1]['a'].append({})", "v[1]['a']", "list"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("define", "make", "kind", "of"),
    [
        (f"def g():\n    local = {BIG}\n    yield 1\n    yield local", "(lambda x: (next(x), x)[1])(g())", "suspended", "generator"),
        ("import numpy as np", "np.ones(1_000_000)[:5]", "view", "view"),
        (f"def g():\n    try:\n        local = {BIG}\n        1 / 0\n    except ZeroDivisionError as e:\n        return e", "g()",
         "exceptions", "traceback"),
        (f"import sys\ndef g():\n    local = {BIG}\n    return sys._getframe()", "g()", "exceptions", "frame"),
        ("import itertools\ndef g():\n    a, b = itertools.tee([b'x' * 500_000 for _ in range(10)])\n    list(a)\n    return b", "g()",
         "suspended", "tee"),
        (f"async def g():\n    local = {BIG}\n    yield 1\n    yield local\n{ASKED}", "asked(g())", "suspended", "async_generator"),
        ("import io", f"io.BytesIO({BIG}).getbuffer()[:9]", "view", "view"),
        ("import tempfile\ndef g():\n    file = tempfile.SpooledTemporaryFile()\n    file.write(b'x' * 5_000_000)\n    return file", "g()",
         "resource", "close"),
        ("import re", "re.match('a+', 'aaa' + 'b' * 5_000_000)", "view", "match"),
        ("import numpy as np, pyarrow as pa", "pa.array(np.arange(1_000_000.0)).slice(0, 5)", "view", "arrow"),
        (("import time\nfrom multiprocessing.pool import ThreadPool\npool = ThreadPool(1)\ndef g():\n"
         "    found = pool.imap(b'x'.__mul__, [1_000_000] * 5)\n    while len(found._items) < 5: time.sleep(0.01)\n    return found"), "g()",
         "suspended", "imap"),
    ],
)  # fmt: skip
def test_what_waits_or_lingers_is_sized_and_located(shell, place, define, make, kind, of):
    prepare, add, path, shape = PLACES[place]
    shell.run(define)
    if prepare:
        shell.run(prepare.replace("{{", "{").replace("}}", "}"))
    shell.run(add.format(make))
    (row,) = rows(shell, kind)
    assert (row["inside"], row["type"], row["path"], row["shape"]) == ("v", of, path, shape)
    assert row["direct"] is True
    assert row["bytes"] > 4.9 * MB


def test_a_view_of_data_that_somebody_uses_is_none(shell):
    shell.run(
        "import numpy as np\nbase = np.ones(1_000_000); v = base[:5]; w = [np.ones(1_000_000)]; u = w[0][:3]"
    )
    assert rows(shell, "view") == []
    shell.run("del base, w")
    assert sorted(row["inside"] for row in rows(shell, "view")) == ["u", "v"]


CACHES = [
    ("import functools\n@functools.lru_cache(None)\ndef f(i): return b'x' * 1_000_000", "f", "lru_cache"),
    ("class C:\n    held = {}\ndef f(i): C.held[i] = b'x' * 1_000_000", "C.held", "attribute"),
    ("def f(i, held={}): held[i] = b'x' * 1_000_000", "f.__defaults__[0]", "default"),
    ("def f(i, *, held={}): held[i] = b'x' * 1_000_000", "f.__kwdefaults__['held']", "default"),
    ("def f(i): f.held[i] = b'x' * 1_000_000\nf.held = {}", "f.held", "attribute"),
    ("def cached():\n    held = {}\n    def inner(i): held[i] = b'x' * 1_000_000\n    return inner\nf = cached()",
     "f.__closure__[0].cell_contents", "closure"),
    ("import functools\nclass C:\n    @functools.lru_cache\n    def g(self, i): return b'x' * 1_000_000\nc = C(); f = c.g", "C.g", "lru_cache"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "name", "of"), CACHES)
def test_a_cache_is_known_by_the_function_or_class_that_it_belongs_to(shell, source, name, of):
    shell.run(source)
    shell.run("for i in range(6): f(i)")
    (row,) = rows(shell, "cache")
    assert (row["name"], row["type"], row["count"]) == (name, of, 6)
    assert row["bytes"] > 5.9 * MB


def test_what_a_function_only_reads_is_no_cache_of_its(shell):
    shell.run(
        "def make():\n    table = {i: b'x' * 1_000_000 for i in range(6)}\n    return lambda i: table[i]\nf = make()"
    )
    assert rows(shell, "cache") == []


def test_what_a_name_holds_is_not_the_cache_of_a_function_that_uses_it(shell):
    shell.run(
        "def using(held):\n    def inner(i): held[i] = b'x' * 1_000_000\n    return inner\nmine = {}\nf = using(mine)"
    )
    shell.run("for i in range(6): f(i)")
    assert rows(shell, "cache") == []


WEAK_KEYS = """
import weakref
class Key: pass
class Value:
    def __init__(self, key): self.key, self.big = {}, b'x' * 1_000_000
w = weakref.WeakKeyDictionary()
def f(i):
    key = Key()
    w[key] = Value(key)
    return key
"""
MEMO = "        if k not in {0}: {0}[k] = b'x' * 1_000_000\n        return {0}[k]\n"
MEMOS = [
    ("class C:\n    def __init__(self): self._cache = {}\n    def get(self, k):\n" + MEMO.format("self._cache")
     + "c = C(); f = c.get", "c._cache", "memo"),
    ("my_memo = {}\nif True:\n    def f(k):\n" + MEMO.format("my_memo"), "my_memo", "memo"),
    ("class D(dict):\n    def __missing__(self, k):\n        self[k] = b'x' * 1_000_000\n        return self[k]\nd = D(); f = d.__getitem__",
     "d", "missing"),
    (WEAK_KEYS.format("key"), "w", "weak"),
]  # fmt: skip
NO_MEMOS = [
    WEAK_KEYS.format("None") + "\nkeys = []\ng = f\ndef f(i): keys.append(g(i))",
    "my_cache = {}\ndef f(k): my_cache[k] = b'x' * 1_000_000",
    "tables = {}\nif True:\n    def f(k):\n" + MEMO.format("tables"),
    "class C:\n    def __init__(self): self._cache = {}\n    def get(self, k):\n"
    + MEMO.format("self._cache")
    + "    def forget(self): self._cache.popitem()\nc = C(); f = c.get",
    "class C:\n    def __init__(self): self._cache = {}\n    def get(self, k):\n        if len(self._cache) > 99: self._cache.clear()\n"
    + MEMO.format("self._cache")
    + "c = C(); f = c.get",
    (
        "class T(dict):\n    def __missing__(self, k):\n        self[k] = T()\n        return self[k]\n"
        "t = T()\ndef f(k): t[k][k] = b'x' * 1_000_000"
    ),
]


@pytest.mark.parametrize(("source", "name", "of"), MEMOS)
def test_a_dict_into_which_functions_look_before_they_store_is_a_memo(shell, source, name, of):
    shell.run(source)
    shell.run("for i in range(6): f(i)")
    (row,) = rows(shell, "cache")
    assert (row["name"], row["type"], row["count"]) == (name, of, 6)
    assert row["bytes"] > 5.9 * MB


@pytest.mark.parametrize("source", NO_MEMOS)
def test_data_and_what_is_emptied_are_no_memo(shell, source):
    shell.run(source)
    shell.run("for i in range(6): f(i)")
    assert rows(shell, "cache") == []


def test_an_element_that_keeps_its_document_is_a_view_and_a_document_is_none(shell):
    pytest.importorskip("lxml")
    shell.run(
        "from lxml import etree\ndef parse():\n"
        "    return etree.fromstring('<a><t>title</t>' + '<b c=\"1\"><d>text</d></b>' * 20_000 + '</a>')\n"
        "v = [parse().find('t') for _ in range(3)]; tree = parse(); found = tree.find('t')"
    )
    (row,) = rows(shell, "view")
    assert (row["inside"], row["type"], row["direct"], row["count"]) == ("v", "xml", True, 3)
    size = shell.anonymous()
    shell.run("import copy, ctypes; v[:] = [copy.deepcopy(x) for x in v]; ctypes.CDLL(None).malloc_trim(0)")
    assert size - shell.anonymous() == pytest.approx(row["bytes"], rel=0.3)


FAIL = "def fail(kind=ValueError):\n    local = b'x' * 5_000_000\n    raise kind('no')\n"
CHAINS = {
    "a plain one": ("traceback", "try: fail()\nexcept ValueError as e: v = [e]"),
    "one with a cause": (
        "chained",
        (
            "def load():\n    try: fail()\n    except ValueError as e: raise OSError('load') from e\n"
            "try: load()\nexcept OSError as e: v = [e]"
        ),
    ),
    "one in a class of its own": (
        "chained",
        "class Failed(Exception): pass\ntry: fail()\nexcept ValueError as e:\n    v = Failed('x'); v.__cause__ = e",
    ),
}


@pytest.mark.parametrize("what", CHAINS)
def test_whether_others_than_an_exceptions_own_traceback_keep_frames_is_told(shell, what):
    of, cell = CHAINS[what]
    shell.run(FAIL)
    shell.run(cell)
    (row,) = rows(shell, "exceptions")
    assert (row["inside"], row["type"], row["direct"]) == ("v", of, True)


def test_a_match_of_a_text_that_somebody_holds_is_no_view(shell):
    shell.run(
        "import re; text = 'aaa' + 'b' * 5_000_000; v = re.match('a+', text); w = re.match('.*', 'c' * 5_000_000)"
    )
    assert rows(shell, "view") == []


def test_a_cache_that_throws_things_out_has_a_bound(shell):
    shell.run(
        "class C:\n    held = {}\n    @classmethod\n    def add(cls, i):\n        cls.held[i] = b'x' * 1_000_000\n"
        "        if len(cls.held) > 6: del cls.held[next(iter(cls.held))]\nfor i in range(9): C.add(i)"
    )
    assert rows(shell, "cache") == []


def test_an_lru_cache_in_a_module_of_the_users_own_is_met(shell, tmp_path):
    (tmp_path / "own_loader.py").write_text(
        "import functools\n@functools.lru_cache(None)\ndef load(n): return b'x' * 1_000_000\n"
    )
    shell.run(
        f"import sys; sys.path.append({str(tmp_path)!r}); import own_loader\nfor i in range(6): own_loader.load(i)"
    )
    (row,) = rows(shell, "cache")
    assert (row["name"], row["count"]) == ("own_loader.load", 6)
    assert row["detail"] == "bound none hits 0 misses 6 module own_loader"


def test_other_names_of_what_lies_behind_a_gate_are_told(shell):
    shell.run("import numpy as np\nv = [np.ones(1_000_000)[:5] for _ in range(3)]; last = v[-1]; x = 1")
    (row,) = rows(shell, "view")
    assert row["names"] == ["last"]


HANDLERS = """
import logging, logging.handlers
for _ in range(3):
    h = logging.handlers.MemoryHandler(10**6); h.buffer.append(b'x' * 3_000_000); logging.getLogger('a.b').addHandler(h)
del h
"""
FILTERS = """
import logging
class Tag(logging.Filter):
    def __init__(self): super().__init__(); self.table = b'x' * 3_000_000
log = logging.getLogger('a.b')
for _ in range(3): log.addFilter(Tag())
"""
FINALIZER = "import weakref\nclass C: pass\nc = C(); weakref.finalize(c, print, b'x' * 9_000_000)"
EVENT = """
def note(*a, held=[b'x' * 9_000_000]): pass
get_ipython().events.register('post_execute', note); del note
"""
LOGGERS = """
import logging
class Keep(logging.Handler):
    def __init__(self): super().__init__(); self.lines = [b'x' * 1_800_000]
for i in range(5): logging.getLogger(f'job.{i}').addHandler(Keep())
"""
LAST_RECORDS = """
import collections, logging
class Keep(logging.Handler):
    def __init__(self): super().__init__(); self.lines = collections.deque([b'x' * 3_000_000 for _ in range(3)], maxlen=3)
logging.getLogger('a.b').addHandler(Keep())
"""
CUT = (
    LAST_RECORDS.replace(
        "    def __init__",
        "    def emit(self, one): self.lines.append(one); self.lines.pop(0)\n    def __init__",
    )
    .replace("collections.deque(", "list(")
    .replace(", maxlen=3)", ")")
)
TASK = """
import asyncio
async def wait(e):
    local = b'x' * 9_000_000
    await e
loop = asyncio.new_event_loop(); t = loop.create_task(wait(loop.create_future()))
loop.call_soon(loop.stop); loop.run_forever(); del t
"""
LATER = """
import asyncio
def call(data): pass
loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)
loop.call_later(3600, call, b'x' * 9_000_000)
"""
HOOK = """
import gc, functools
def look(data, *a): pass
gc.callbacks.append(functools.partial(look, b'x' * 9_000_000))
"""
SIGNAL = """
import signal
def install(data):
    signal.signal(signal.SIGUSR1, lambda *a: data)
install(b'x' * 9_000_000)
"""
GARBAGE = """
import gc
gc.collect(); gc.set_debug(gc.DEBUG_SAVEALL)
c = [b'x' * 9_000_000]; c.append(c); del c
gc.collect(); gc.set_debug(0)
"""
READERS = """
import asyncio, socket
loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)
def listen(data):
    ours, theirs = socket.socketpair()
    def arrived(): return ours.recv(9), data
    loop.add_reader(ours, arrived)
    return theirs
kept = [listen(b'x' * 3_000_000) for _ in range(3)]
"""
FORMATTERS = """
def show(shade):
    class Tile: colours = [b'x' * 3_000_000]
    get_ipython().display_formatter.formatters['text/html'].for_type(Tile, lambda tile: shade)
for shade in range(3): show(shade)
"""
REGISTRIES = [
    (READERS, "registry", "asyncio", 3),
    (FORMATTERS, "registry", "IPython's formatter of text/html", 3),
    (LATER, "suspended", "call", 1),
    (HOOK, "registry", "gc.callbacks", 1),
    (SIGNAL, "registry", "signal.SIGUSR1", 1),
    (GARBAGE, "cycle", "gc.garbage", None),
    (HANDLERS, "registry", "a.b", 3),
    (LOGGERS, "registry", "logging", 5),
    (LAST_RECORDS, "registry", "a.b", 1),
    (FILTERS, "registry", "logging filters of a.b", 3),
    (FINALIZER, "registry", "weakref.finalize", None),
    (EVENT, "registry", "post_execute", 1),
    (TASK, "suspended", "wait", 1),
]


@pytest.mark.parametrize(("source", "kind", "name", "count"), REGISTRIES)
def test_what_is_registered_and_forgotten_is_sized(shell, source, kind, name, count):
    shell.run(source)
    (row,) = rows(shell, kind)
    assert (row["name"], row["inside"]) == (name, "")
    assert count is None or row["count"] == count
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.02)


@pytest.mark.parametrize(
    ("source", "shape"), [(LAST_RECORDS, "bounded"), (CUT, "bounded"), (HANDLERS, ""), (LOGGERS, "")]
)
def test_a_handler_that_keeps_the_last_records_only_is_known(shell, source, shape):
    shell.run(source)
    (row,) = rows(shell, "registry")
    assert row["shape"] == shape


def test_a_generator_that_later_cells_advance_is_in_use(shell):
    source = f"def stream():\n    while True:\n        local = {BIG}\n        yield len(local)\nv = stream(); next(v)"

    def shape(cell):
        shell.run(cell)
        (row,) = rows(shell, "suspended")
        return row["shape"]

    assert [shape(cell) for cell in (source, "x = 1", "next(v)", "x = 2")] == ["", "", "in use", "in use"]
    assert shape(source) == ""


def test_what_a_thread_works_with_is_its_names(shell):
    shell.run(
        "import threading\nclass Work:\n    def __init__(self): self.data, self.end = b'x' * 9_000_000, threading.Event()\n"
        "    def run(self): self.end.wait()\nwork = Work(); t = threading.Thread(target=work.run, daemon=True); t.start()"
    )
    assert rows(shell, "suspended") == []
    shell.run("work = Work()")
    (row,) = rows(shell, "suspended")
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.02)


def test_a_task_is_told_with_the_names_that_hold_it(shell):
    shell.run(TASK.replace("; del t", "; ts = [t]; del t; other = [loop]"))
    (row,) = rows(shell, "suspended")
    assert row["names"] == ["ts"]


SIGNALS = """
class Slot:
    __slots__ = ('function',)
    def __init__(self, function): self.function = function
    def __call__(self): return self.function()
class Signals:
    def __init__(self): self.slots, self.numbers = {}, []
    def connect(self, data):
        self.slots[len(self.slots)] = Slot(lambda: data); self.numbers.append(len(data))
v = Signals(); v.connect(b'')
"""


def test_of_the_parts_that_grew_the_one_with_callbacks_is_told(shell):
    shell.run(SIGNALS)
    shell.explain()
    for size in (1_500_000, 1_600_000, 1_700_000):
        shell.run(f"v.connect(b'x' * {size})")
        (row,) = [row for row in shell.explain()["variables"] if row["name"] == "v"]
    assert (row["part"], row["part_type"], row["callables"]) == ("v.slots", "registry", True)


WEAKLY = """
import weakref
class Nodes:
    def __init__(self): self.parents, self.children = {}, []
    def add(self, data):
        node = type('Node', (), {'data': data})()
        self.children.append(node)
        self.parents[len(self.parents)] = weakref.ref(node, lambda _: None)
v = Nodes()
"""


def test_a_container_of_weak_references_is_no_part_that_grew(shell):
    shell.run(WEAKLY)
    shell.explain()
    row = grown(shell, "v", f"v.add({BIG} + bytes([len(v.children)]))")
    assert (row["part"], row["part_type"], row["callables"]) == ("v.children", "list", False)


def test_a_private_container_of_a_library_object_that_can_be_cleared_is_told_as_such(shell):
    shell.run("import http.cookiejar; v = http.cookiejar.CookieJar()")
    shell.explain()
    row = grown(shell, "v", f"v._cookies[len(v._cookies)] = {BIG} + bytes([len(v._cookies)])")
    assert (row["part"], row["part_type"]) == ("v._cookies", "private")


NUMBA = """
import sys, types
class CPUDispatcher: pass
sys.modules['numba'] = types.ModuleType('numba'); sys.modules['numba.core'] = types.ModuleType('numba.core')
registry = sys.modules['numba.core.registry'] = types.ModuleType('numba.core.registry')
CPUDispatcher.__module__, registry.CPUDispatcher = 'numba.core.registry', CPUDispatcher
v, w = CPUDispatcher(), CPUDispatcher()
v.overloads, w.overloads = dict.fromkeys(range(3)), dict.fromkeys(range(9))
"""


def test_versions_that_numba_compiled_are_counted(shell):
    shell.run(NUMBA)
    found = [row for row in shell.explain()["holders"] if row["kind"] == "traces"]
    assert sorted((row["inside"], row["type"], row["count"]) for row in found) == [
        ("v", "numba", 3),
        ("w", "numba", 9),
    ]


def test_long_sources_in_the_history_are_sized(shell):
    shell.run("x = len('" + "x" * 3_000_000 + "')")
    (row,) = rows(shell, "script")
    assert (row["name"], row["type"], row["count"]) == ("In", "history", 1)
    assert row["bytes"] >= 3 * MB


THREAD = """
import threading
stop, ready = threading.Event(), threading.Event()
def work(size):
    local = b'x' * size
    def inner(): return local
    before = locals().keys()
    ready.set()
    stop.wait(60)
    seen.append(sorted(locals()))
seen = []
"""


def test_the_locals_of_a_waiting_thread_are_sized_and_stay_as_they_were(shell):
    shell.run(THREAD)
    shell.run("t = threading.Thread(target=work, args=(9_000_000,), daemon=True); t.start(); ready.wait(9)")
    (row,) = rows(shell, "suspended")
    assert (row["name"], row["type"], row["count"]) == ("work", "thread", 1)
    assert row["bytes"] == pytest.approx(9 * MB, rel=0.02)
    shell.run("stop.set(); t.join()")
    assert shell.probe("shell.user_ns['seen']") == [["before", "inner", "local", "size"]]
    assert rows(shell, "suspended") == []


def test_the_locals_of_a_thread_die_when_it_lets_go_of_them(shell):
    """A snapshot in the frame, such as `f_locals` leaves, would keep them."""
    shell.run(
        "import threading, weakref\nclass C: pass\ngo, dropped, stop = (threading.Event() for _ in range(3))\nrefs = []\n"
        "def work():\n    local = C(); refs.append(weakref.ref(local)); go.wait(60); local = None; dropped.set(); stop.wait(60)\n"
        "t = threading.Thread(target=work, daemon=True); t.start()"
    )
    shell.explain()
    shell.run("go.set(); dropped.wait(9)")
    assert shell.probe("shell.user_ns['refs'][0]() is None") is True
    shell.run("stop.set(); t.join()")


def test_databases_in_memory_are_counted_by_sqlite_itself(shell):
    shell.run(
        "import sqlite3\ndbs = []\nfor _ in range(2):\n    c = sqlite3.connect(':memory:'); c.execute('create table t (b)')\n"
        "    c.executemany('insert into t values (?)', ((bytes(4000),) for _ in range(1000))); dbs.append(c)\ndel c"
    )
    (row,) = rows(shell, "resource")
    assert (row["inside"], row["path"], row["shape"], row["element"]) == ("dbs", "dbs", "list", "Connection")
    assert row["bytes"] == pytest.approx(8 * MB, rel=0.2)
    shell.run("first = sqlite3.connect(':memory:'); dbs.insert(0, first); first.close()")
    (row,) = rows(shell, "resource")
    assert (row["path"], row["count"]) == ("dbs", 2), "one that is closed keeps nothing"


def test_a_private_mapping_counts_by_the_pages_that_were_written(shell):
    shell.run(
        "import mmap, numpy\nm = [mmap.mmap(-1, 8_000_000) for _ in range(2)]\nm[0][:4_000_000] = bytes(4_000_000)"
    )
    (row,) = rows(shell, "resource")
    assert row["path"] == "m"
    assert row["bytes"] == pytest.approx(4 * MB, rel=0.02)
    shell.run("[x.close() for x in m]")  # no view of ours keeps it open
    assert rows(shell, "resource") == []


def test_allocators_tell_what_is_in_use_and_what_is_free(shell):
    shell.run("import numpy as np; warm = np.ones(2_000_000); del warm")
    shell.explain()
    shell.run("rows = [np.ones(50_000) for _ in range(200)]; last = rows[-1]")
    live = {row["name"]: row for row in shell.explain()["allocators"]}["malloc"]
    assert live["live"] - live["live_before"] == pytest.approx(80 * MB, rel=0.05)
    shell.run("del rows")
    free = {row["name"]: row for row in shell.explain()["allocators"]}["malloc"]
    assert free["slack"] - free["slack_before"] == pytest.approx(80 * MB, rel=0.05)
    shell.run("small = [object() for _ in range(1_000_000)]")
    small = {row["name"]: row for row in shell.explain()["allocators"]}["small objects"]
    assert small["live"] - small["live_before"] == pytest.approx(16 * MB, rel=0.05)
