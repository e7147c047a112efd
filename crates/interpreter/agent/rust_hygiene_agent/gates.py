"""Objects behind which memory is easily forgotten: generators, exceptions, views, caches; those of libraries are in `handles`.

A `Gates` is asked by the walker about every object that is not plain. What lies behind a gate is walked at once, and its bytes go
on the account of the gate as well as on that of the variable. Nothing is called that is the user's.
"""

import functools
import gc
import io
import itertools
import re
import sys
import types
from collections import OrderedDict, defaultdict, deque
from itertools import islice
from weakref import ReferenceType

from .buffers import add_up
from .habits import evicts, fills
from .kinds import attribute, derives, module_of, pairs, type_name

_CODE = {
    types.GeneratorType: types.GeneratorType.gi_code,
    types.CoroutineType: types.CoroutineType.cr_code,
    types.AsyncGeneratorType: types.AsyncGeneratorType.ag_code,
}
# Containers whose length is a field; a subclass may have its own `__len__`.
_CACHES = frozenset(map(id, (list, dict, set, OrderedDict, defaultdict, deque)))
_METHODS = (types.FunctionType, classmethod, staticmethod)
_DEEPEST = 8
_class_dict = type.__dict__["__dict__"].__get__
_defaults = types.FunctionType.__defaults__.__get__
_BYTES_IO_BUFFER = type(memoryview.obj.__get__(io.BytesIO(b"x").getbuffer()))
_size_of_bytes_io = io.BytesIO.__sizeof__
_searched = re.Match.__dict__["string"].__get__
_start, _end = re.Match.start, re.Match.end
_SMALLEST_VIEW = 1 << 16  # bases below are not worth a thought
_MET = 5_000
_TIMES = 8  # a view that is an eighth of its base is a use of it


class Account:
    """What was met behind the gates of one kind within one variable."""

    __slots__ = ("bytes", "count", "detail", "gpu", "met", "of", "sample")

    def __init__(self, of, sample):
        self.bytes, self.count, self.of, self.sample, self.detail = 0, 0, of, sample, ""
        self.met = {id(sample)}  # ids of what was met; the variable keeps it alive until it is asked for
        self.gpu = {}  # bytes by device


class Gates:
    """What was met; `root` is the name of the variable in whose walk it was."""

    def __init__(self):
        """Nothing has been met."""
        self.clear()

    def clear(self):
        """Lets go of everything."""
        self.root = ""
        self.named = frozenset()  # ids of the values of the user's names
        self.databases = False  # SQLite's have been counted
        self.documents = []  # roots of lxml's that were met
        self.accounts = {}  # (kind, label, root) -> Account
        self._bases = {}  # address of a buffer -> _Base
        self._used = set()  # addresses of buffers that something uses more than a small part of
        self._open = []
        self._begun = []  # (walker, its bytes by device) when a gate was entered

    def add(self, kind, label, size, of, sample, detail="", count=1, gpu=None):
        """Puts `size` bytes on an account, unless the outer gate of the same kind gets them.

        `gpu`: bytes by device; if not given, those that the walk has met since the gate was entered.
        """
        if self._open.count(self._open[-1]) > 1:
            return
        if gpu is None:
            walker, before = self._begun[-1]
            gpu = {device: size - before.get(device, 0) for device, size in walker.on_gpu.items()}
        account = self.accounts.get((kind, label, self.root))
        if account is None:
            account = self.accounts[kind, label, self.root] = Account(of, sample)
        account.bytes += size
        account.count += count
        account.detail = detail or account.detail
        add_up(account.gpu, gpu)
        if len(account.met) < _MET:
            account.met.add(id(sample))

    def memo(self, expression, container, size, gpu):
        """Notes what the variable in hand keeps as a cache."""
        of = "memo" if id(type(container)) in _CACHES else "missing"
        if type(next(iter(list(islice(container, 1))), None)) is ReferenceType:
            of = "weak"
        account = self.accounts["cache", expression, self.root] = Account(of, container)
        account.bytes, account.count, account.gpu = size, dict.__len__(container), gpu
        account.detail = type_name(type(container))

    def enter(self, gate, walker, obj):
        """Bytes behind `obj`, all of them walked; None if it is to be walked like any other object."""
        if len(self._open) >= _DEEPEST:
            return None
        self._open.append(gate)
        self._begun.append((walker, dict(walker.on_gpu)))
        try:
            return gate(self, walker, obj)
        except Exception:  # noqa: BLE001 - a library's surprise must not end the walk
            return None
        finally:
            self._open.pop()
            self._begun.pop()

    def view(self, address, whole, held, size, sample, base=None, reference=0, of="view", gpu=None):
        """A view of `size` bytes on a buffer of `whole` bytes, of which `held`, and `gpu` by device, were new to the walk.

        `base` is the object that owns the buffer, if the view refers to one: whoever else refers to it uses all of it.
        `reference` is the id of what refers to the base, if several views share it.
        """
        if whole < _SMALLEST_VIEW:
            return
        if size * _TIMES > whole and base is None:
            self._used.add(address)
            return
        found = self._bases.get(address)
        if found is None:
            found = self._bases[address] = _Base(self.root, sample, base, of)
        found.bytes += held
        add_up(found.gpu, gpu or {})
        found.used += size
        found.references.add(reference or id(sample))
        if len(found.views) < _MET:
            found.views.add(id(sample))

    def views(self):
        """{variable: Account} of the buffers of which only small parts are used."""
        held = {}
        for address, base in self._bases.items():
            whole = base.bytes + sum(base.gpu.values())
            if address in self._used or base.used * _TIMES > whole or not base.root:
                continue
            # Its owner's references less those of views, of ours and of the call.
            if base.owner is not None and sys.getrefcount(base.owner) - len(base.references) - 2 > 0:
                continue
            account = held.get(base.root)
            if account is None:
                account = held[base.root] = Account(base.of, base.sample)
            account.bytes += base.bytes
            add_up(account.gpu, base.gpu)
            account.count += 1
            account.met |= base.views
        return held


class _Base:
    __slots__ = ("bytes", "gpu", "of", "owner", "references", "root", "sample", "used", "views")

    def __init__(self, root, sample, owner, of):
        self.root, self.sample, self.owner, self.of = root, sample, owner, of
        self.bytes, self.used, self.references, self.views = 0, 0, set(), set()
        self.gpu = {}


def _suspended(gates, walker, obj):
    size = walker.below(gc.get_referents(obj)) + 128
    name = _CODE[type(obj)].__get__(obj).co_name
    what = type_name(type(obj))
    gates.add("suspended", what, size, what, obj, name)
    return size


def _tee(gates, walker, obj):
    size = walker.below(gc.get_referents(obj)) + 64
    gates.add("suspended", "tee", size, "tee", obj, "itertools.tee")
    return size


def _traceback(gates, walker, obj):
    sample, frames, size = obj, [], 0
    while obj is not None:
        walker.seen.add(id(obj))
        frames.append(obj.tb_frame)
        size += 64
        obj = obj.tb_next
    size += walker.below(frames)
    gates.add("exceptions", "traceback", size, "traceback", sample, frames[-1].f_code.co_name)
    return size


def _frame(gates, walker, obj):
    """A frame that somebody holds without an exception: `inspect.stack()`, `sys._getframe()`."""
    if len(gates._open) > 1 or not gates.root:
        return None  # of a traceback or of a generator
    size = walker.below(one for one in gc.get_referents(obj) if type(one) is not types.FrameType) + 400
    gates.add("exceptions", "frame", size, "frame", obj, obj.f_code.co_name)
    return size


def _array(gates, walker, obj):
    plain = type(obj)
    base = plain.base.__get__(obj)
    if type(base) is not plain:
        return None
    size = walker.below([base])
    gates.view(id(base), plain.nbytes.__get__(base), size, plain.nbytes.__get__(obj), obj, base)
    return size + 128


def _memoryview(gates, walker, obj):
    try:
        base = memoryview.obj.__get__(obj)
    except ValueError:  # released
        return None
    if type(base) is bytes or type(base) is bytearray:
        whole = len(base)
        (shared,) = gc.get_referents(obj) or (obj,)
    elif type(base) is _BYTES_IO_BUFFER:
        # `getbuffer()` gives a thing of its own for each call, which refers to the file.
        shared = base
        base = gc.get_referents(shared)[-1]  # from Python 3.12 on its class comes first
        whole = _size_of_bytes_io(base)
    else:
        return None
    size = walker.below([base])
    gates.view(id(base), whole, size, memoryview.nbytes.__get__(obj), obj, base, id(shared))
    return size + 200


def _match(gates, walker, obj):
    """A match of a regular expression keeps all of the text that was searched."""
    text = _searched(obj)
    if type(text) is not str and type(text) is not bytes:
        return None
    size = walker.below([text])
    gates.view(id(text), sys.getsizeof(text), size, _end(obj) - _start(obj), obj, text, of="match")
    return size + 200


def _class(gates, walker, obj):
    if module_of(obj) != "__main__":
        return None
    total = 1200
    members = _class_dict(obj)
    bounded = any(
        evicts(getattr(member, "__func__", member)) for member in members.values() if type(member) in _METHODS
    )
    for name, value in pairs(members):
        if id(type(value)) in _CACHES and type(name) is str and not name.startswith("__"):
            if id(value) in gates.named:
                continue  # the user has a name for it
            if bounded:
                continue  # it has a bound of its own
            size = walker.below([value])
            label = f"{type_name(obj)}.{name}"
            gates.add("cache", label, size, "attribute", value, type_name(type(value)), len(value))
            total += size
    return total + walker.below(gc.get_referents(obj))


def _function(gates, walker, obj):
    if module_of_function(obj) != "__main__":
        return None
    total = 160
    if evicts(obj):
        return total + walker.below(gc.get_referents(obj))
    for label, of, value, detail in _kept_by(obj):
        if id(type(value)) in _CACHES and id(value) not in gates.named:
            size = walker.below([value])
            gates.add("cache", label, size, of, value, detail, len(value))
            total += size
    return total + walker.below(gc.get_referents(obj))


def _kept_by(function):
    """(expression, kind, value, what it is called) of what a function keeps from call to call."""
    name = _text(function.__name__)
    for i, value in enumerate(_defaults(function) or ()):
        yield f"{name}.__defaults__[{i}]", "default", value, type_name(type(value))
    free = function.__code__.co_freevars
    for i, cell in enumerate(function.__closure__ or ()):
        for value in gc.get_referents(cell) if fills(function, free[i]) else ():
            yield f"{name}.__closure__[{i}].cell_contents", "closure", value, free[i]
    keywords = function.__kwdefaults__
    for part in gc.get_referents(function):
        if type(part) is dict and part is not function.__globals__:
            for key, value in pairs(part):
                if part is keywords:
                    yield f"{name}.__kwdefaults__[{key!r}]", "default", value, type_name(type(value))
                elif type(key) is str:
                    yield f"{name}.{key}", "attribute", value, type_name(type(value))


def module_of_function(function):
    """The module in which a function was defined, or ''."""
    name = function.__globals__.get("__name__")
    return name if type(name) is str else ""


def _text(name):
    return name if type(name) is str else "function"  # a subclass may have its own `__format__`


_cache_info = functools._lru_cache_wrapper.cache_info


def _lru(gates, walker, obj):
    parts = gc.get_referents(obj)
    wrapped = next((part for part in parts if type(part) is types.FunctionType), None)
    # What the function itself is made of is not the cache's.
    size = walker.below(part for part in parts if part is not wrapped)
    label = (_text(wrapped.__qualname__) if wrapped is not None else "lru_cache").rpartition("<locals>.")[2]
    hits, misses, most, entries = _cache_info(obj)
    bound = "none" if most is None else str(most)
    gates.add("cache", label, size, "lru_cache", obj, f"bound {bound} hits {hits} misses {misses}", entries)
    return size + 200


_GATES = {
    **dict.fromkeys(map(id, _CODE), _suspended),
    id(types.TracebackType): _traceback,
    id(types.FrameType): _frame,
    id(types.FunctionType): _function,
    id(functools._lru_cache_wrapper): _lru,
    id(type(itertools.tee([])[0])): _tee,
    id(memoryview): _memoryview,
    id(re.Match): _match,
}


def gate_of(kind):
    """The gate for objects of a class, or None."""
    gate = _GATES.get(id(kind))  # a metaclass may have its own `__hash__`
    if gate is not None:
        return gate
    if derives(kind, type):
        return _class
    if kind is attribute("numpy", "ndarray"):
        return _array
    from .handles import handle_of

    return handle_of(kind)
