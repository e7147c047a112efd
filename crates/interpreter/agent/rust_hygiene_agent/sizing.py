"""How many bytes a name keeps alive, found without running a line of the user's code.

Every object is counted once, for the first root that reaches it. The rules that keep this harmless:

* a type is known by `type(x)` and by identity; `isinstance`, `==`, `hash` and attribute access on a user's object or
  class may run code of a class or metaclass, so they are not used;
* children come from `gc.get_referents` (the C traverse slots), which also leaves an instance's `__dict__` as it is;
* an id is only remembered while the walk holds or can reach its object;
* big containers are read in slices and judged by samples, since a copy of a list of ten million would itself be news.
"""

import array
import collections
import copy
import gc
import io
import itertools
import sys
import types

from .buffers import Buffers, add_up
from .clock import now
from .gates import gate_of
from .kinds import derives, flags_of, module_of, mro_of, type_name

_HAVE_GC = 1 << 14
_MANAGED_DICT = 1 << 4  # from 3.11: attribute values may live in an array of their own
_CHUNK = 2048
_SAMPLE = 2048
_LARGE = 20_000  # longer containers are sampled
_DEPTH = 8  # samples within samples; deeper ones go on the stack, so that nothing recurses without end
_POINTER = 8

# Atoms: immutable, without children, with a size that C code computes.
_ATOMS = frozenset(
    map(id, (int, float, complex, bool, str, bytes, type(None), range, type(...), type(NotImplemented)))
)
_FREE = frozenset(map(id, (bool, type(None), type(...), type(NotImplemented))))
_SEQUENCES = frozenset(map(id, (list, tuple, set, frozenset, collections.deque)))
_SIZEOF = tuple(
    (t, t.__sizeof__)
    for t in (
        *(dict, list, set, frozenset, str, bytes, bytearray, int, memoryview, array.array, collections.deque),
        *(types.CodeType, types.GeneratorType, types.FrameType, io.BytesIO),
    )
)
_PLAIN_SIZEOF = object.__sizeof__
# Shared parts of the interpreter: whoever points at them does not hold them.
_SHARED = (
    *(types.ModuleType, types.CodeType, types.BuiltinFunctionType, types.GetSetDescriptorType),
    *(types.MemberDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType),
)

_ATOM, _SHARED_KIND, _DICT, _LIST, _PLAIN, _TYPE, _FRAME, _LIBRARY, _VIEW, _BYTES = range(10)


def rounded(size):
    """What the allocators really use for `size` bytes: pymalloc and glibc align to 16."""
    return (size + 15) & ~15 if size <= 512 else (size + 8 + 15) & ~15


class Walker:
    """One walk over many roots; `size` is called for one root after the other."""

    def __init__(self, deadline, foreign=(), gates=None, stop=None):
        """Stop at `deadline` (of `clock`); objects whose ids are in `foreign` belong to nobody.

        `gates` keeps accounts of what lies behind certain objects. The walk also stops once `stop` answers with true.
        """
        self.gates = gates
        self.deadline = deadline
        self._stop = stop
        self.seen = set(foreign)
        self.buffers = Buffers(deadline)
        self.out_of_time = False
        self.objects = 0
        self.sampled = False  # some root was not seen in full
        self._kinds = {}
        self._estimated = False
        self.on_gpu = {}  # bytes by device that the root in hand holds
        self._depth = 0
        modules = types.ModuleType.__dict__["__dict__"].__get__
        self.seen.update(
            id(modules(m)) for m in list(sys.modules.values()) if derives(type(m), types.ModuleType)
        )
        self.seen.update((id(sys.modules), id(self.seen), id(self._kinds), id(self)))

    def size(self, root):
        """(host bytes, bytes by GPU, whether it may be more) that `root` holds and no earlier root did."""
        self._estimated = False
        self.on_gpu = {}
        if self.out_of_time or now() > self.deadline:
            self.out_of_time = True
            return 0, {}, True
        total = self._walk([root])
        at_least = self._estimated or self.out_of_time
        self.sampled |= at_least
        return total, self.on_gpu, at_least

    def is_late(self):
        """Whether it is time to stop."""
        return now() > self.deadline or (self._stop is not None and self._stop())

    def below(self, items):
        """Bytes below some objects, walked before anything else."""
        return self._walk(list(items))

    def within(self, deadline, roots):
        """(bytes below each of `roots` that was reached, their number) by an earlier deadline."""
        whole, self.deadline = self.deadline, min(deadline, self.deadline)
        total = reached = 0
        for root in roots:
            if self.is_late():
                break
            size = self._walk([root])
            if self.out_of_time and reached:
                break  # half of it would say too little of one root
            total += size
            reached += 1
        self.deadline = whole
        if self.out_of_time and not self.is_late():
            self.out_of_time = False
            self.sampled = True
        return total, reached

    def fork(self):
        """A walk that has seen what this one has, and goes its own way from here."""
        twin = copy.copy(self)
        twin.on_gpu = {}
        twin.seen = {*self.seen, id(twin)}
        twin.seen.add(id(twin.seen))
        twin.buffers = self.buffers.fork()
        return twin

    def _walk(self, stack):
        seen = self.seen
        total = 0
        steps = 0
        while stack:
            obj = stack.pop()
            key = id(obj)
            if key in seen:
                continue
            seen.add(key)
            steps += 1
            if not steps & 127 and self.is_late():
                self.out_of_time = True
                break
            total += self._one(obj, type(obj), stack)
        self.objects += steps
        return total

    def _one(self, obj, kind, stack):
        known = self._kinds.get(id(kind))
        if known is None:
            gate = None if self.gates is None else gate_of(kind)
            known = self._kinds[id(kind)] = (*self._classify(kind), gate)
        what, sizeof, header, gate = known
        if gate is not None:
            found = self.gates.enter(gate, self, obj)
            if found is not None:
                return found
        if what == _ATOM:
            return 0 if id(kind) in _FREE else rounded(sizeof(obj))
        if what == _SHARED_KIND:
            return 0
        if what == _BYTES:
            return self.buffers.held_bytes(obj, sizeof(obj))
        if what == _LIBRARY:
            found = self.buffers.look(obj, kind)
            if found is not None:
                host, gpu, children = found
                add_up(self.on_gpu, gpu)
                return host + self._batch(children, len(children), stack)
        elif what == _TYPE:
            if module_of(obj) != "__main__":
                return 0
        elif what == _VIEW:
            try:
                stack.append(memoryview.obj.__get__(obj))
            except ValueError:  # released
                pass
            return rounded(sizeof(obj))
        size = rounded(sizeof(obj) + header)
        if what == _LIST:
            return size + self._batch(obj, len(obj), stack)
        if what == _DICT:
            # The traverse slot of a dict leaves out its keys while all of them are text.
            count = dict.__len__(obj)
            size += self._batch(dict.keys(obj), count, stack) + self._batch(dict.values(obj), count, stack)
            if kind is dict:
                return size
        refs = gc.get_referents(obj)
        if what == _FRAME:
            refs = [
                ref for ref in refs if type(ref) is not types.FrameType
            ]  # not the callers: they hold the shell
        elif flags_of(kind) & _MANAGED_DICT and not any(type(ref) is dict for ref in refs):
            size += rounded(_POINTER * len(refs) + 16)
        return size + self._batch(refs, len(refs), stack)

    def _batch(self, items, count, stack):
        """Bytes below the `count` items of a container; small ones only go on the stack."""
        if count <= 32:
            try:
                stack.extend(_slice(items, 0, count))
            except RuntimeError:  # another thread of the user's is changing it
                self._estimated = True
            return 0
        if count > _LARGE:
            return self._sampled(items, count, stack)
        total = 0
        try:
            for start in range(0, count, _CHUNK):
                if now() > self.deadline:
                    self.out_of_time = True
                    break
                total += self._chunk(_slice(items, start, start + _CHUNK), stack)
        except RuntimeError:
            self._estimated = True
        return total

    def _chunk(self, chunk, stack):
        kinds = set(map(id, map(type, chunk)))
        if not kinds & _ATOMS:
            stack.extend(chunk)
            return 0
        if not kinds <= _ATOMS:
            stack.extend(item for item in chunk if id(type(item)) not in _ATOMS)
            chunk = [item for item in chunk if id(type(item)) in _ATOMS]
        fresh = dict(zip(map(id, chunk), chunk))
        for key in fresh.keys() & self.seen:
            del fresh[key]
        self.seen.update(fresh)
        self.objects += len(fresh)
        if kinds == {id(float)}:
            return 32 * len(fresh)
        return sum(rounded(sys.getsizeof(item)) for item in fresh.values() if id(type(item)) not in _FREE)

    def _sampled(self, items, count, stack):
        """Judge a long container by two interleaved samples: the first also pays for what all items share."""
        self._estimated = True
        try:
            sample = _spread(items, count)
        except RuntimeError:
            return 0
        if self._depth >= _DEPTH:
            stack.extend(sample)
            return 0
        first, second = sample[::2], sample[1::2]
        # References that repeat (the same small integer, one default object) are not held once more each.
        distinct = set(map(id, second)) - set(map(id, first))
        total = 0
        self._depth += 1
        for half in (first, second):
            rest = []
            got = self._chunk(half, rest)
            got += self._walk(rest)
            total += got
        self._depth -= 1
        if self.out_of_time or not second:
            return total
        share = len(distinct) / len(second)
        if share < 0.5:
            return total
        return total + got * (count - len(sample)) // len(second)

    def _classify(self, kind):
        """(what to do, how to size it, bytes of the garbage collector's header)."""
        header = 16 if flags_of(kind) & _HAVE_GC else 0
        if id(kind) in _ATOMS:
            return (_BYTES if kind is bytes else _ATOM), kind.__sizeof__, 0
        mro = mro_of(kind)
        sizeof = next((size for cls in mro for base, size in _SIZEOF if cls is base), _PLAIN_SIZEOF)
        if any(cls is base for cls in mro for base in _SHARED):
            return _SHARED_KIND, sizeof, header
        if id(kind) in _SEQUENCES:
            return _LIST, sizeof, header
        if kind is bytearray or kind is array.array:
            return _BYTES, sizeof, 0
        if kind is memoryview:
            return _VIEW, sizeof, header
        if kind is types.FrameType:
            return _FRAME, sizeof, header
        if derives(kind, type):
            return _TYPE, _PLAIN_SIZEOF, header
        if self.buffers.knows(kind):
            return _LIBRARY, sizeof, header
        if derives(kind, dict):
            return _DICT, sizeof, header
        return _PLAIN, sizeof, header


_globals = types.ModuleType.__dict__["__dict__"].__get__


def _is_module(value):
    kind = type(value)
    return kind is types.ModuleType or derives(kind, types.ModuleType)


def _slice(items, start, stop, step=1):
    """Some items of an exact list, tuple, set, deque, dict view or one-dimensional numpy array of objects."""
    kind = type(items)
    if kind is list:
        return items[start:stop:step]
    if kind is tuple:
        return list(items[start:stop:step])
    if type_name(kind) == "ndarray":
        return items[start:stop:step].tolist()
    return list(itertools.islice(iter(items), start, stop, step))


def _spread(items, count):
    """About `_SAMPLE` items from all over the container, the same ones for the same length."""
    step = count // _SAMPLE
    if type(items) is list or type(items) is tuple:
        # An even stride would fall in step with data that alternate.
        return [items[i] for at in range(_SAMPLE) if (i := at * step + at * 7919 % step) < len(items)]
    return _slice(items, 0, count, step | 1)
