"""Cleanup steps in a real interpreter: what they give back, measured from outside, and what they leave alone.

Frameworks that need a GPU are stood in for by modules that behave as their documentation says.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

AGENT = Path(__file__).parents[2] / "crates/interpreter/agent"
MIB = 1 << 20

CHILD = """
import json, os, sys, types
sys.path.insert(0, {agent!r})
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
from rust_hygiene_agent.cleaning import Cleaner, Limits, Refused, Stopped
from rust_hygiene_agent.facts import Facts
facts = Facts(shell)
facts.baseline()
import threading
class Kernel:
    subshells = {{}}
    def __init__(self):
        self.shell, self.facts = shell, facts
    def threads_of_the_program(self):
        ours = threading.main_thread(), shell.history_manager.save_thread
        return [t for t in threading.enumerate() if t not in ours]
cleaner = Cleaner(Kernel())
import gc
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    what, argument = json.loads(line)
    if what == "run":
        answer = shell.run_cell(argument, store_history=True).success
    elif what == "probe":
        answer = eval(argument, {{"shell": shell, "sys": sys, "gc": gc}})
    elif what == "survey":
        answer = cleaner.survey(argument)
    else:
        name, given = argument
        given = {{"out_bytes": 1 << 20, "traceback_bytes": 1 << 20, **given}}
        stop = given.pop("stop", False)
        answer = cleaner._run(name, Limits(given, lambda: stop))
    print("\\x00" + json.dumps(answer), flush=True)
"""


class Interpreter:
    """A child with a shell and a cleaner."""

    def __init__(self, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(agent=str(AGENT))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
        )
        assert self._line() == "ready\n"

    def _line(self):
        line = self.process.stdout.readline()
        assert line, f"the interpreter ended: {self.process.wait()}"
        return line

    def _ask(self, what, argument):
        self.process.stdin.write(json.dumps([what, argument]) + "\n")
        self.process.stdin.flush()
        while not (line := self._line()).startswith("\0"):
            pass
        return json.loads(line[1:])

    def run(self, code, fails=False):
        assert self._ask("run", textwrap.dedent(code)) is not fails, code

    def probe(self, code):
        return self._ask("probe", code)

    def offer(self, step):
        return self._ask("survey", [step]).get(step)

    def step(self, name, **limits):
        """(MiB given back, what the step said)."""
        before = self.resident()
        said = self._ask("step", [name, limits])
        return (before - self.resident()) / MIB, said

    def resident(self):
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture
def interpreter():
    child = Interpreter()
    yield child
    child.close()


NODES = """
    import gc
    class Node:
        def __init__(self):
            self.me = self
            self.data = bytearray(10 << 20)
    def build():
        nodes = [Node() for _ in range(4)]
        gc.collect()  # into the oldest generation, which no cell's own garbage has collected
"""


def test_gc_gives_back_dead_cycles(interpreter):
    interpreter.run(NODES)
    interpreter.run("gc.collect(); build()")
    assert interpreter.offer("gc")["seconds"] < 5
    freed, said = interpreter.step("gc")
    assert freed >= 36 and said == {"gpu": None}


def test_gc_gives_back_dead_cycles_of_a_program_that_has_switched_it_off(interpreter):
    interpreter.run(NODES)
    interpreter.run("gc.collect(); gc.disable(); build()")
    freed, said = interpreter.step("gc")
    assert freed >= 36 and said == {"gpu": None}
    assert not interpreter.probe("gc.isenabled()"), "it stays switched off"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class Node(Node):\n    def __del__(self): seen.append(1)\n", "run the finaliser of Node"),
        (
            "import weakref\nold = Node.__init__\ndef init(self):\n    old(self)\n    seen.append(weakref.ref(self))\nNode.__init__ = init\n",
            "end weak references to Node",
        ),
        (
            (
                "def endless(self):\n    try:\n        yield\n    finally:\n        seen.append(1)\nold = Node.__init__\n"
                "def init(self):\n    old(self)\n    self.g = endless(self)\n    next(self.g)\nNode.__init__ = init\n"
            ),
            "run the finaliser of generator",
        ),
        ("gc.callbacks.append(lambda phase, info: seen.append(phase))\n", "listens to it"),
        (
            "import threading\nend = threading.Event()\nthreading.Thread(target=end.wait, name='busy', daemon=True).start()\n",
            "runs threads (busy)",
        ),
    ],
)
def test_where_the_program_has_switched_gc_off_nothing_of_it_runs_or_shows(interpreter, code, reason):
    interpreter.run(NODES)
    interpreter.run("seen = []\ngc.collect(); gc.disable()\n" + code)
    interpreter.run("build()")
    held = interpreter.probe("len(shell.user_ns['seen'])")
    freed, said = interpreter.step("gc")
    assert reason in said["refusal"], said
    assert freed < 5 and interpreter.probe("len(shell.user_ns['seen'])") == held


def test_gc_leaves_the_warning_of_a_coroutine_that_was_never_awaited_to_python(interpreter):
    interpreter.run(NODES)
    interpreter.run("async def add(): pass")
    interpreter.run("build(); gc.disable()")
    interpreter.run("node = Node(); node.itself = node; node.never = add(); del node; gc.enable()")
    freed, said = interpreter.step("gc")
    assert "never awaited" in said["refusal"] and freed < 5
    interpreter.run("gc.collect();")
    freed, said = interpreter.step("gc")
    assert said == {"gpu": None}, "what is not dead is in nobody's way"


def test_gc_gives_up_when_a_request_comes_or_its_time_is_over(interpreter):
    interpreter.run(NODES)
    interpreter.run("gc.disable(); build()")
    assert interpreter.step("gc", stop=True)[1] == {"refusal": "a request came"}
    assert "longer" in interpreter.step("gc", budget_s=0.0)[1]["refusal"]


def test_malloc_trim_gives_back_what_lies_below_a_survivor(interpreter):
    interpreter.run("chunks = [b'x' * 60_000 for _ in range(2000)]; last = chunks[-1]; del chunks")
    offer = interpreter.offer("malloc_trim")
    assert offer["bytes"] >= 100 * MIB and offer["seconds"] < 1
    freed, said = interpreter.step("malloc_trim")
    assert freed >= 100 and said == {"gpu": None}
    assert interpreter.offer("malloc_trim")["bytes"] < 20 * MIB, "what is free is not resident any more"


def test_the_heaps_of_threads_count_as_slack(interpreter):
    interpreter.run("""
        import threading
        def work(keep):
            chunks = [b'x' * (60_000 + i) for i in range(300)]
            keep.append(chunks[-1])
        kept = []
        threads = [threading.Thread(target=work, args=(kept,)) for _ in range(6)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    """)
    slack = interpreter.offer("malloc_trim")["bytes"]
    freed, _ = interpreter.step("malloc_trim")
    assert freed >= 0.8 * slack / MIB


def test_arrow_gives_back_its_pool(interpreter):
    pytest.importorskip("pyarrow")
    interpreter.run("""
        import pyarrow as pa
        warm = pa.array(range(100)); del warm
        table = pa.table({"a": pa.array(range(8_000_000))})
        copies = [pa.concat_tables([table, table]).combine_chunks() for _ in range(2)]
        del table, copies
    """)
    assert interpreter.offer("arrow_pool")["bytes"] >= 60 * MIB
    freed, said = interpreter.step("arrow_pool")
    assert said == {"gpu": None}
    assert interpreter.offer("arrow_pool") in (None, {}), "the highest figure says nothing any more"
    assert interpreter.step("malloc_trim")[0] + freed >= 30


def test_arrow_is_not_imported_to_look(interpreter):
    assert interpreter.offer("arrow_pool") is None
    assert interpreter.step("arrow_pool")[1] == {"gpu": None}
    assert not interpreter.probe("'pyarrow' in sys.modules")


# ---------------------------------------------------------------------- what the shell keeps


BLOB = """
    class Blob:
        def __init__(self, mib):
            self.data = bytearray(mib << 20)
"""


def test_large_outputs_that_no_name_reaches_are_forgotten(interpreter):
    interpreter.run(BLOB)
    interpreter.run("Blob(20)")
    interpreter.run("mine = Blob(20)\nmine")
    interpreter.run("'small'")
    interpreter.run("Blob(30)")
    assert interpreter.offer("clear_out") == {}
    freed, said = interpreter.step("clear_out")
    assert freed >= 48 and said == {"gpu": None}
    assert interpreter.probe("sorted(shell.user_ns['_oh'])") == [3, 4]
    assert interpreter.probe("[shell.user_ns[n] for n in ('_', '__')]") == ["", "small"]
    assert interpreter.probe("'_2' in shell.user_ns or '_2' in shell.user_ns_hidden") is False
    assert interpreter.probe("len(shell.user_ns['mine'].data)") == 20 << 20
    interpreter.run("7")
    assert interpreter.probe("(shell.user_ns['_'], shell.user_ns['__'])") == [7, ""], "the history goes on"


@pytest.mark.parametrize(
    "limits",
    [
        {"keep_names": ["Out[2]"]},
        {"keep_names": ["_2"]},
        {"keep_types": ["Blob"]},
        {"keep_types": ["__main__.Bl*"]},
        {"keep_cells": [2]},
        {"out_bytes": 64 * MIB},
    ],
)
def test_outputs_that_are_excluded_stay(interpreter, limits):
    interpreter.run(BLOB)
    interpreter.run("Blob(20)")
    freed, _ = interpreter.step("clear_out", **limits)
    assert freed < 5 and interpreter.probe("len(shell.user_ns['_oh'][2].data)") == 20 << 20


def test_the_last_exception_is_forgotten_in_every_place(interpreter):
    interpreter.run(
        """
        def f():
            rows = bytearray(40 << 20)
            raise ValueError("no")
        f()
    """,
        fails=True,
    )
    interpreter.run("1")
    freed, said = interpreter.step("clear_traceback")
    # IPython's own frames are in the traceback, and one of them refers to the result that has the exception.
    assert freed + interpreter.step("gc")[0] >= 36 and said == {"gpu": None}
    assert interpreter.offer("clear_traceback") is None or interpreter.step("clear_traceback")[1]["refusal"]
    assert (
        interpreter.probe("any(hasattr(sys, n) for n in ('last_value', 'last_traceback', 'last_exc'))")
        is False
    )


def test_an_exception_that_holds_little_or_is_excluded_stays(interpreter):
    interpreter.run("def f():\n    rows = bytearray(10 << 20)\n    raise KeyError(1)\nf()", fails=True)
    assert "less than" in interpreter.step("clear_traceback", traceback_bytes=64 * MIB)[1]["refusal"]
    assert "keep_types" in interpreter.step("clear_traceback", keep_types=["LookupError"])[1]["refusal"]
    assert interpreter.probe("type(sys.last_value).__name__") == "KeyError"


def test_an_exception_that_the_user_holds_is_the_users(interpreter):
    interpreter.run(
        """
        def f():
            rows = bytearray(40 << 20)
            raise ValueError("no")
        try:
            f()
        except ValueError as error:
            mine = error
        raise mine
    """,
        fails=True,
    )
    freed, said = interpreter.step("clear_traceback")
    assert freed < 5 and "less than" in said["refusal"]
    assert interpreter.probe("shell.user_ns['mine'].__traceback__ is not None")


FIGURES = """
    import matplotlib
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    for i in range(4):
        plt.figure(figsize=(20, 20), label=f"plot{i}")
        plt.plot([1, 2])
        plt.gcf().canvas.draw()
"""


def test_figures_that_no_variable_refers_to_are_closed(interpreter):
    pytest.importorskip("matplotlib")
    interpreter.run(FIGURES)
    interpreter.run(
        "ax = plt.figure(2).gca()\nboxes = {'deep': [plt.figure(3)]}\ndef later(f=plt.figure(4)): pass"
    )
    interpreter.step("figures")
    assert interpreter.probe("shell.user_ns['plt'].get_fignums()") == [2, 3, 4]
    interpreter.run("del later")
    interpreter.step("figures", keep_names=["plot3"])
    assert interpreter.probe("shell.user_ns['plt'].get_fignums()") == [2, 3, 4]
    interpreter.step("figures")
    assert interpreter.probe("shell.user_ns['plt'].get_fignums()") == [2, 3]
    interpreter.run("del ax, boxes")
    interpreter.run("import types; module = types.ModuleType('m'); module.fig = plt.figure(2)")
    interpreter.step("figures")
    assert interpreter.probe("shell.user_ns['plt'].get_fignums()") == [2], (
        "a module of the user's counts as well"
    )


def test_without_pyplot_there_are_no_figures(interpreter):
    assert interpreter.offer("figures") is None
    assert interpreter.step("figures")[1] == {"gpu": None}
    assert not interpreter.probe("'matplotlib' in sys.modules")


# ---------------------------------------------------------------------- stand-ins

TORCH = """
    import sys, types
    class Device:
        started, reserved, allocated, emptied = True, 900 << 20, 100 << 20, 0
    cuda = types.ModuleType("torch.cuda")
    cuda.is_initialized = lambda: Device.started
    cuda.device_count = lambda: 2
    cuda.memory_reserved = lambda d: Device.reserved if d == 0 else 0
    cuda.memory_allocated = lambda d: Device.allocated if d == 0 else 0
    def empty_cache():
        Device.emptied += 1
        Device.reserved = 150 << 20  # a block is in use in part
    cuda.empty_cache = empty_cache
    cuda.host_memory_stats = lambda: {"allocated_bytes.current": Device.pinned, "active_bytes.current": 10 << 20}
    Device.pinned = 60 << 20
    native = types.ModuleType("torch._C")
    def _host_emptyCache():
        Device.pinned = 10 << 20
    native._host_emptyCache = _host_emptyCache
    torch = types.ModuleType("torch")
    sys.modules.update({"torch": torch, "torch.cuda": cuda, "torch._C": native})
"""


def test_torch_gives_back_its_caches_and_says_how_much(interpreter):
    interpreter.run(TORCH)
    assert interpreter.offer("torch_cache") == {"bytes": 800 * MIB}
    assert interpreter.step("torch_cache")[1] == {"gpu": 750 * MIB}
    assert interpreter.offer("torch_cache") == {"bytes": 50 * MIB}
    assert interpreter.offer("pinned_cache") == {"bytes": 50 * MIB}
    interpreter.step("pinned_cache")
    assert interpreter.offer("pinned_cache") is None


def test_where_cuda_was_not_started_torch_is_left_alone(interpreter):
    interpreter.run(TORCH)
    interpreter.run("Device.started = False")
    assert interpreter.offer("torch_cache") is None and interpreter.offer("pinned_cache") is None
    assert interpreter.step("torch_cache")[1] == {"gpu": None}
    assert interpreter.probe("shell.user_ns['Device'].emptied") == 0


def test_cupy_gives_back_its_pools(interpreter):
    interpreter.run("""
        import sys, types
        class Pool:
            total, used, freed = 500 << 20, 100 << 20, 0
            def total_bytes(self): return self.total
            def used_bytes(self): return self.used
            def free_all_blocks(self): Pool.total = self.used
        class Pinned:
            blocks = 3
            def n_free_blocks(self): return self.blocks
            def free_all_blocks(self): Pinned.blocks = 0
        cupy = types.ModuleType("cupy")
        cupy.get_default_memory_pool = Pool
        cupy.get_default_pinned_memory_pool = Pinned
        sys.modules["cupy"] = cupy
    """)
    assert interpreter.offer("cupy_pool") == {"bytes": 400 * MIB}
    assert interpreter.step("cupy_pool")[1] == {"gpu": 400 * MIB}
    assert interpreter.offer("cupy_pool") == {"bytes": 0}
    interpreter.run("Pool.total = 0")
    assert interpreter.offer("cupy_pool") is None, "a pool that was never used is not looked at"


def test_idle_joblib_workers_end_and_busy_ones_do_not(interpreter):
    pytest.importorskip("joblib")
    interpreter.run("""
        import time
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
        Parallel(n_jobs=2)(delayed(abs)(i) for i in range(4))
        task = get_reusable_executor().submit(time.sleep, 60)
    """)
    assert interpreter.offer("idle_workers") == {"refusal": "joblib's workers have work"}
    interpreter.step("idle_workers")
    assert interpreter.probe("len(shell.user_ns['get_reusable_executor']()._processes)") == 2
    interpreter.run("task.cancel(); get_reusable_executor().shutdown(kill_workers=True)")
    interpreter.run("Parallel(n_jobs=2)(delayed(abs)(i) for i in range(4))")
    assert interpreter.offer("idle_workers")["bytes"] > 10 * MIB
    assert interpreter.step("idle_workers", budget_s=30)[1]["host"] > 10 * MIB
    assert interpreter.offer("idle_workers") is None
    interpreter.run("assert Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(4)) == [0, 1, 2, 3]")


# Libraries that stand in for malloc, made with the C compiler: they count what they are asked for.
ALLOCATORS = {
    "libjemalloc.so.2": """
        #include <string.h>
        #include <stddef.h>
        int purged = 0;
        int mallctl(const char *name, void *old, size_t *size, void *new, size_t n) {
            if (!strcmp(name, "epoch")) return 0;
            if (!strcmp(name, "stats.resident")) { *(size_t *)old = purged ? 64 << 20 : 164 << 20; return 0; }
            if (!strcmp(name, "stats.active")) { *(size_t *)old = 64 << 20; return 0; }
            if (!strcmp(name, "arena.4096.purge")) { purged++; return 0; }
            return 2;
        }
    """,
    "libtcmalloc_minimal.so.4": """
        #include <stddef.h>
        int purged = 0;
        void MallocExtension_ReleaseFreeMemory(void) { purged++; }
        int MallocExtension_GetNumericProperty(const char *name, size_t *value) {
            *value = purged ? 0 : 100 << 20;
            return 1;
        }
    """,
    "libmimalloc.so.2": """
        #include <stdbool.h>
        int purged = 0;
        void mi_collect(bool force) { purged += force; }
    """,
}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("preloaded", [True, False])
@pytest.mark.parametrize("library", ALLOCATORS)
def test_other_allocators_are_purged_where_their_functions_are_in_sight(tmp_path, library, preloaded):
    source, built = tmp_path / "a.c", tmp_path / library
    source.write_text(ALLOCATORS[library])
    subprocess.run(["cc", "-shared", "-fPIC", "-o", built, source], check=True)
    child = Interpreter(**({"LD_PRELOAD": str(built)} if preloaded else {}))
    try:
        if not preloaded:
            assert child.offer("allocator_purge") is None
            child.close()
            child = Interpreter()
        child.run(f"import ctypes; loaded = ctypes.CDLL({str(built)!r})")
        expected = {} if "mimalloc" in library else {"bytes": 100 * MIB}
        assert child.offer("allocator_purge") == expected
        child.step("allocator_purge")
        assert (
            child.probe("shell.user_ns['ctypes'].c_int.in_dll(shell.user_ns['loaded'], 'purged').value") == 1
        )
        assert child.offer("allocator_purge") == ({} if "mimalloc" in library else {"bytes": 0})
    finally:
        child.close()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_malloc_trim_refuses_where_another_malloc_serves(tmp_path):
    source, built = tmp_path / "a.c", tmp_path / "libother.so"
    source.write_text("""
        #include <stddef.h>
        extern void *__libc_malloc(size_t);
        void *malloc(size_t n) { return __libc_malloc(n); }
    """)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", built, source], check=True)
    child = Interpreter(LD_PRELOAD=str(built))
    try:
        assert child.offer("malloc_trim") == {"refusal": "malloc is not glibc's but of libother.so"}
        assert child.step("malloc_trim")[1] == {"gpu": None}
    finally:
        child.close()


def test_looking_imports_nothing_and_changes_nothing(interpreter):
    interpreter.run("x = [1, 2, 3]")
    steps = "clear_traceback clear_out figures gc torch_cache pinned_cache cupy_pool idle_workers arrow_pool allocator_purge malloc_trim"
    interpreter._ask("survey", steps.split())
    before = interpreter.probe(
        "[len(sys.modules), sorted(shell.user_ns), gc.isenabled(), gc.get_threshold()]"
    )
    for _ in range(3):
        interpreter._ask("survey", steps.split())
    assert (
        interpreter.probe("[len(sys.modules), sorted(shell.user_ns), gc.isenabled(), gc.get_threshold()]")
        == before
    )
