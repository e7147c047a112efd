"""Cells for `test_cannot_tell.py`: what happens, and what a program can see of itself and of its surroundings."""

# What happens between two looks. Each moves memory in a way that the kernel has to explain, but for the first two.
EVENTS = {
    "nothing": ["pass"],
    "names": ["fresh = [1]; fresh.append(2)", "del fresh"],
    "kept": ["kept = bytearray(b'x') * 8_000_000"],
    "dropped": ["del kept"],
    "shown": ["Shown(60_000_000)", "pass"],
    "failed": ["fails(60_000_000)", "pass"],
    "grown": ["store.append(bytearray(b'x') * 3_000_000)"] * 6,
    "many": ["many = [[i] for i in range(200_000)]"],
    "cycle": ["loop = [bytearray(b'x') * 8_000_000]; loop.append(loop); del loop"],
}
FAILS = {"fails(60_000_000)"}

START = """
import gc, sys, os, threading, weakref, warnings, signal, random, locale, logging, atexit, builtins, contextvars, itertools
class Shown:
    def __init__(self, size): self.held = b'x' * size
    def __repr__(self): return 'shown'
def fails(size):
    local = b'x' * size
    raise ValueError('with a big local')
store = []
"""

# name -> (cell that sets it up, expression that is printed after each event)
PROBES = {
    "refcounts": (
        (
            "class Plain: pass\nplain = Plain(); plain.text = 'te' + 'xt' * 3; plain.items = [1.5, (2.5, [])]; plain.map = {'a': [3]}\n"
            "alone = object(); pair = (plain, [plain])\ndef function(x, y=[1]): return x\n"
            "refcounted = lambda: [sys.getrefcount(o) for o in"
            " (plain, plain.text, plain.items, plain.items[1], plain.map, plain.map['a'], Plain, alone, pair, function,"
            " function.__defaults__, function.__code__, function.__globals__, store)]"
        ),
        "refcounted()",
    ),
    "the collector": (
        "",
        "gc.isenabled(), gc.get_threshold(), gc.garbage, gc.callbacks, gc.get_debug(), gc.get_freeze_count() > 0",
    ),
    "weak references": (
        (
            "class Weak: pass\nweak_log = []\nweak = [Weak() for _ in range(3)]\n"
            "weak_refs = [weakref.ref(w, lambda r, n=n: weak_log.append(n)) for n, w in enumerate(weak)]\n"
            "lone = Weak(); lone_ref = weakref.ref(lone)"
        ),
        "[r() is None for r in weak_refs], weak_log, weakref.getweakrefcount(lone), lone_ref() is lone",
    ),
    "inline attributes": (
        (
            "class Inline:\n    def __init__(self): self.a = self.b = 1; self.c = [2]\n"
            "inline = [Inline() for _ in range(20)]; inline_of_class = type('Late', (), {})(); inline_of_class.x = 1\n"
            "def bare(): pass"
        ),
        (
            "[sorted(type(r).__name__ for r in gc.get_referents(o)) for o in (inline[0], inline[7], inline_of_class, bare)],"
            " sys.getsizeof(inline[3])"
        ),
    ),
    "what is tracked": (
        "untracked = [(1, 2.5), {'a': 1}, (1, (2, 3)), {}, (), 'x', {'a': (1,)}]",
        "[gc.is_tracked(o) for o in untracked], [sys.getsizeof(o) for o in untracked]",
    ),
    "frames of threads": (
        (
            "parked = threading.Event(); standing = threading.Event()\n"
            "def park(block):\n    number = 1; text = 'local'\n    standing.set()\n    parked.wait()\n"
            "thread = threading.Thread(target=park, args=([0] * 1000,), daemon=True, name='parked'); thread.start()\n"
            "_ = standing.wait(60)\n"
            "def frames_of(thread):\n"
            "    frame = sys._current_frames()[thread.ident]\n"
            "    while frame is not None:\n"
            "        yield frame.f_code.co_name, sum(type(r) is dict for r in gc.get_referents(frame))\n"
            "        frame = frame.f_back"
        ),
        "list(frames_of(thread))",
    ),
    "generators": (
        (
            "def count():\n    block = [0] * 1000\n    for i in range(1000): yield i\n"
            "generator = count(); first = next(generator)\n"
            "async def coroutine():\n    block = [0]\nwaiting = coroutine()\n"
            "iterators = [iter(range(1000)), map(str, range(1000)), zip(range(1000)), iter([1] * 1000), iter({'a': 1, 'b': 2}.items())]\n"
            "ahead, behind = itertools.tee(range(1000)); _ = [next(ahead) for _ in range(500)]"
        ),
        (
            "sys.getrefcount(generator), generator.gi_running, waiting.cr_running,"
            " [sum(type(r) is dict for r in gc.get_referents(o.gi_frame)) for o in (generator,)],"
            " [i.__length_hint__() for i in (iterators[0], iterators[3], iterators[4])], next(generator)"
        ),
    ),
    "caches": (
        (
            "import functools\n@functools.cache\ndef cached(x): return [x]\n_ = [cached(i) for i in range(50)]\n"
            "class Prop:\n    @functools.cached_property\n    def late(self): return 1\nprop = Prop()"
        ),
        "cached.cache_info(), 'late' in [type(r) for r in gc.get_referents(prop)], len(gc.get_referents(prop))",
    ),
    "modules": (
        "",
        "sorted(name for name in sys.modules if not name.startswith('rust_hygiene_agent'))",
    ),
    "threads": ("", "sorted(t.name for t in threading.enumerate()), threading.active_count()"),
    "descriptors": (
        (
            "def descriptors():\n"
            "    found = []\n"
            "    for fd in os.listdir('/proc/self/fd'):\n"
            "        try: found.append((int(fd), os.readlink('/proc/self/fd/' + fd).partition(':')[0].replace(str(os.getpid()), 'PID')))\n"
            "        except OSError: pass\n"
            "    return sorted(what.rpartition('/')[2] for fd, what in found)"
        ),
        "descriptors()",
    ),
    "signals": (
        "",
        (
            "{s.name: getattr(signal.getsignal(s), '__qualname__', str(signal.getsignal(s))) for s in signal.valid_signals()"
            " if isinstance(s, signal.Signals)}, signal.getitimer(signal.ITIMER_REAL), signal.pthread_sigmask(signal.SIG_BLOCK, ())"
        ),
    ),
    "hooks": (
        "",
        (
            "sys.gettrace(), sys.getprofile(), [getattr(sys, n).__name__ for n in ('excepthook', 'unraisablehook')],"
            " threading.excepthook.__name__, type(sys.displayhook).__name__, [type(f).__name__ for f in sys.meta_path],"
            " [getattr(f, '__name__', '') for f in sys.path_hooks], sys.path, sys.getrecursionlimit(), sys.getswitchinterval(),"
            " [type(s).__name__ for s in (sys.stdout, sys.stderr, sys.stdin)], atexit._ncallbacks()"
        ),
    ),
    "warnings": (
        # The completer brings a filter of its own, and is loaded in an idle moment, or here.
        "import IPython.core.completer\nwarnings.warn('once')\nwarnings.simplefilter('error', ResourceWarning)",
        "len(warnings.filters), warnings.filters[0], sorted(map(str, globals().get('__warningregistry__', {})))",
    ),
    "random numbers": (
        "random.seed(1)\nimport numpy; numpy.random.seed(1)",
        "hash(random.getstate()[1]), hash(numpy.random.get_state()[1].tobytes()), numpy.geterr()",
    ),
    "the process": (
        "import resource",
        (
            "locale.setlocale(locale.LC_ALL), sorted(os.environ), os.getpriority(os.PRIO_PROCESS, 0),"
            " sorted(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_DATA),"
            " len(os.listdir('/proc/self/task'))"
        ),
    ),
    "the last exception": (
        "",
        (
            "sys.exc_info(), str(getattr(sys, 'last_value', None)), type(getattr(sys, 'last_traceback', None)).__name__,"
            " sys.getrefcount(getattr(sys, 'last_value', 5)) if hasattr(sys, 'last_value') else 0"
        ),
    ),
    "context": (
        "variable = contextvars.ContextVar('variable', default=0); token = variable.set(7)",
        "variable.get(), sorted(v.name for v in contextvars.copy_context())",
    ),
    "logging": (
        "",
        "logging.root.handlers, logging.root.level, sorted(logging.root.manager.loggerDict), len(logging._handlerList)",
    ),
    "names": (
        "",
        (
            "sorted(vars(builtins)), sorted(globals()), sorted(get_ipython().user_ns_hidden), len(In), sorted(Out),"
            " get_ipython().execution_count, sys.getsizeof(globals())"
        ),
    ),
    "addresses": (
        (
            "class Slot:\n    __slots__ = ('x',)\n"
            "def address_again():\n    a = Slot(); key = id(a); del a; return id(Slot()) == key"
        ),
        "address_again(), id(alone) == id(alone)",
    ),
    "events of IPython": (
        "",
        (
            "{k: len(v) for k, v in get_ipython().events.callbacks.items()}, len(get_ipython().input_transformers_cleanup),"
            " len(get_ipython().ast_transformers), sorted(get_ipython().configurables[0].__class__.__name__ for _ in '1')"
        ),
    ),
    "numpy": (
        (
            "array = numpy.arange(1000.0); view = array[:10]; objects = numpy.array([alone, None], dtype=object)\n"
            "growing = bytearray(b'x') * 1_000_000"
        ),
        (
            "sys.getrefcount(array), sys.getrefcount(view), sys.getrefcount(objects), array.flags.owndata, array.flags.writeable,"
            " growing.append(1), len(growing)"
        ),
    ),
}

FRAMEWORKS = [
    "torch",
    "torch.cuda",
    "torch._C",
    "torch.nn",
    "torch.nn.parameter",
    "tensorflow",
    "tensorflow.python",
    "keras",
    "jax",
    "jax.numpy",
    "jaxlib",
    "cupy",
    "numba",
    "numba.cuda",
    "polars",
    "pyarrow",
    "pyarrow.lib",
    "matplotlib",
    "matplotlib.pyplot",
    "matplotlib._pylab_helpers",
    "ipywidgets",
    "h5py",
    "pandas",
    "sklearn",
    "joblib",
    "dask",
    "distributed",
    "ray",
    "cudf",
    "pynvml",
    "PIL",
    "PIL.Image",
]


FAKES = f"""
import types
touched = []
class Fake(types.ModuleType):
    def __getattribute__(self, name):
        touched.append((types.ModuleType.__getattribute__(self, '__name__'), name))
        raise AttributeError(name)
    __dict__ = property(lambda self: touched.append('__dict__') or {{}})
for name in {FRAMEWORKS}: sys.modules[name] = Fake(name)
lookalikes = []
for module, name in [('torch', 'Tensor'), ('torch.nn.parameter', 'Parameter'), ('numpy', 'ndarray'), ('pandas', 'DataFrame'),
                     ('polars', 'DataFrame'), ('pyarrow', 'Table'), ('pyarrow.lib', 'Buffer'), ('jax', 'Array'), ('cupy', 'ndarray')]:
    body = {{'__module__': module, '__getattr__': lambda self, name: touched.append(name)}}
    lookalikes.append(type(name, (), body)())
alike = lookalikes[0]; alike_too = lookalikes[3]
touched.clear()
"""


LAZY = f"""
import importlib.machinery, importlib.util
loaded = []
class Loader:
    def create_module(self, spec): return None
    def exec_module(self, module): loaded.append(module.__spec__.name)
for name in {FRAMEWORKS}:
    spec = importlib.machinery.ModuleSpec(name, importlib.util.LazyLoader(Loader()))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
"""


HOSTILE = """
ran = []
def note(self, *a, **k):
    ran.append(sys._getframe().f_back.f_code.co_name)
    raise SystemExit("user code ran")
NAMES = ("len sizeof repr str hash eq ne lt bool iter next getattr getattribute dir format contains getitem missing reversed"
         " reduce_ex reduce call enter exit int float index length_hint array array_interface array_struct array_priority dataframe"
         " arrow_c_array arrow_c_stream cuda_array_interface dlpack buffer await aiter del_ set_name fspath complex").split()
body = {f"__{name}__": note for name in NAMES}
class Descriptor:
    def __get__(self, instance, owner): note(self)
    def __set__(self, instance, value): note(self)
body.update({name: Descriptor() for name in
    "__class__ __dict__ __weakref__ nbytes shape base dtype size data itemsize f_locals gi_frame grad grad_fn _fields __wrapped__".split()})
class Meta(type):
    __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = __len__ = __getattribute__ = __call__ = note
    __module__ = __name__ = __mro__ = __dict__ = __flags__ = property(note)
def without(*names): return {k: v for k, v in body.items() if k not in names}
made = []
for base, names in [(object, ()), (list, ()), (dict, ()), (set, ()), (tuple, ()), (int, ()), (bytes, ()), (bytearray, ()),
                    (str, ()), (float, ()), (frozenset, ()), (Exception, ()), (threading.local, ("__dict__",))]:
    made.append(base.__new__(type("Hostile", (base,), without("__weakref__", *names))))
made.append(type.__call__(type.__new__(Meta, "OfMeta", (), {})))
list.append(made[1], made[0]); dict.update(made[2], a=made[0]); bytearray.extend(made[7], b"abc")
class Keyed:
    def __init__(self): self.quiet = True
    def __hash__(self): return 7 if self.quiet else note(self)
    def __eq__(self, other): return self is other if self.quiet else note(self)
keys = [Keyed() for _ in range(50)]
table, pile = dict.fromkeys(keys, 1), set(keys)
import collections, functools
counter, default, ordered, chain = collections.Counter(keys), collections.defaultdict(lambda: ran.append(1)), collections.OrderedDict.fromkeys(keys), collections.ChainMap(table)
default[keys[0]] = 1
partial = functools.partial(note, made[0])
class Stream:
    def __iter__(self): return self
    def __next__(self): ran.append("next"); return 1
stream = Stream(); mapped = map(note, stream); filtered = filter(note, stream); counted = enumerate(stream)
def lazily():
    ran.append("generator"); yield
lazy = lazily(); chained = itertools.chain(stream, lazy)
class Proxy:
    __slots__ = ("target",)
    def __getattribute__(self, name): note(self)
proxy = Proxy()
h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, h11, h12, h13 = made
def hidden(x=made):
    inner = made
    return lambda: inner
closure = hidden()
for key in keys: key.quiet = False
ran.clear()
"""


TRACED = """
import collections
seen = collections.Counter()
def tracer(frame, event, argument):
    seen[frame.f_code.co_filename.rpartition('/')[2]] += 1
def watched(): return [(name, seen[name]) for name in sorted(seen) if name in
    ('facts.py', 'names.py', 'sizing.py', 'buffers.py', 'holders.py', 'describe.py', 'frameworks.py', 'kinds.py')]
"""


MORTALS = """
died = []
cell = 0
class Mortal:
    def __init__(self): self.me = self
    def __del__(self): died.append(cell)
class Counted:
    def __del__(self): died.append(('at once', cell))
def litter(n):
    for _ in range(n): Mortal()
"""
