"""What nothing leads to: garbage in cycles, and objects of the notebook's that only C code holds, such as functions of `atexit`.

For idle moments: it goes over the whole heap, in steps, and gives up as soon as something else is to be done. Nothing is collected to find
out, so no weak reference dies and no finaliser runs: the references that an object has are compared with those that come from
other objects that nothing leads to, as the collector does it, but also through arrays of objects, into which it cannot see.
"""

import atexit
import functools
import gc
import sys
import types
from collections import Counter
from itertools import compress, repeat
from operator import is_, is_not, not_

from . import lodgers, registries
from .clock import begin, now
from .kinds import attribute, derives, is_function_of_notebook, referents, type_name
from .running import locals_of
from .swollen import Swollen

_STEP = 2_000  # objects at a time: about a millisecond
_MOST = 3_000_000  # objects of a heap that is gone through
_FEW = 200_000  # objects that nothing leads to
_LODGED_S = 2.0
_FREEZES = 100  # objects; what is frozen by accident is more
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_partial_function = functools.partial.__dict__["func"].__get__
_PINS = 1 << 20  # bytes above in a heap: something lives there
_PLAIN = frozenset(
    ("list", "dict", "tuple", "set", "cell", "method", "function", "frame", "traceback", "generator", "type")
)
_DULL = frozenset(
    map(id, (types.ModuleType, types.CodeType, types.BuiltinFunctionType, types.GetSetDescriptorType))
)
_tracked, _count = gc.is_tracked, sys.getrefcount


class Interrupted(Exception):
    """Something else is to be done."""


class Leftovers:
    """Looks for them in one shell's process."""

    def __init__(self, shell, exits, frozen):
        """The first `exits` functions of `atexit` and `frozen` objects in the permanent generation are not the notebook's."""
        self._shell = shell
        self._exits = exits
        self._frozen = frozen
        self._collecting = True
        self._swollen = Swollen()
        self._garbage = None  # (row, bytes, [(address, size)] of its buffers, whether it has others) while it is to be said where it lies

    def look(self, stop, collecting=True, seconds=5.0):
        """Rows as of holders; None if `stop` answered with true before the end, or after so many seconds of this thread's time."""
        deadline = begin() + seconds
        self._collecting = collecting

        def late():
            return stop() or now() > deadline

        try:
            rows = self._look(late)
            self._say_where_it_lies(late)  # when what we took for the look itself is free again
            return rows
        except Interrupted:
            return None
        finally:
            self._garbage = None

    def _say_where_it_lies(self, stop):
        if self._garbage is not None:
            row, size, buffers, native = self._garbage
            if _pinned(buffers, _heap(), native, stop) > size / 2:
                row["type"] = "heap"

    def _look(self, stop):
        if len(gc.get_objects()) > _MOST:
            return []
        seen = self._reachable(stop)
        members = _unreached(seen, stop)
        lists = [members]
        try:
            rows = self._rows(members, lists, seen, stop)
        finally:
            # A running frame may be among the members: with the lists in its variables it would be a cycle of our own.
            for one in lists:
                one.clear()
        return [*rows, *self._lodged(seen, stop)]

    def _lodged(self, seen, stop):
        """The rows of `lodgers` and of `swollen`, which have a time of their own and fail alone."""
        deadline = begin() + _LODGED_S
        rows = []

        def late():
            return _or_stop(lambda: stop() or now() > deadline)

        for look in (
            lambda: [lodgers.look(self._shell, seen, _spread, _walker, late)],
            lambda: self._swollen.look(self._shell, _spread, _walker, late),
        ):
            try:
                rows += look()
            except Exception:  # noqa: BLE001 - the time is over, too
                continue
        rows = [row for row in rows if row is not None]
        places = tuple(f"{row['name']}." for row in rows if row["type"] == "lodged")
        return [row for row in rows if row["type"] == "lodged" or not f"{row['name']}.".startswith(places)]

    def _rows(self, members, lists, seen, stop):
        frozen = gc.get_freeze_count() - self._frozen
        rows = [_row("cycle", "gc.freeze", "frozen", 0, frozen)] if frozen > _FREEZES else []
        if not members:
            return rows
        dead, living, held = _split(members, stop)
        pinned = [one for one in living if registries.is_users_class(type(one))]
        callables = [one for one in held if _is_users_callable(one)]
        lists += dead, living, held, pinned, callables
        if dead:
            row, buffers, opaque = _cycles(dead, seen, stop)
            rows.append({**row, "detail": "" if self._collecting else "disabled"})
            if not opaque:
                self._garbage = rows[-1], row["bytes"], buffers, row["name"] == "Figure"
        added = atexit._ncallbacks() - self._exits  # it does not say which they are
        if (pinned or callables) and added > 0:
            rows.append(_at_exit(pinned, callables, seen, added, stop))
        elif callables:
            rows.append(_by_c_code(callables, seen, stop))
        return rows

    def _reachable(self, stop):
        """Ids of the containers that modules, the shell and running functions lead to."""
        roots = [self._shell, sys.modules, type, gc.garbage]
        try:
            frames = sys._current_frames()
            for frame in frames.values():
                while frame is not None:
                    roots += (
                        [frame, *locals_of(frame)] if frame.f_code.co_flags & 1 else [frame, frame.f_locals]
                    )
                    frame = frame.f_back
            frames.clear()
            for found in registries.everything(self._shell):
                roots += found.roots
            seen = set(map(id, roots))
            _spread(roots, seen, stop)
            return seen
        finally:
            roots.clear()  # this frame is among them: it would keep itself, and all of them, until a collection


def _or_stop(stop):
    """`stop` as it is, or the end of the look."""
    if stop():
        raise Interrupted
    return False


def _spread(objects, seen, stop, found=None, keep=None):
    """Adds to `seen` the ids of all containers that `objects` lead to, and to `found` the containers themselves.

    The way goes on through those of a step that `keep` answers with.
    """
    stack = objects
    while stack:
        _or_stop(stop)
        step = stack[-_STEP:]
        del stack[-_STEP:]
        fresh = dict(zip(map(id, refs := _containers(step)), refs))
        for key in fresh.keys() & seen:
            del fresh[key]
        seen.update(fresh)
        stack += fresh.values() if keep is None else keep([*fresh.values()])
        if found is not None:
            found += fresh.values()


def _containers(step):
    """What these objects refer to, as far as it may refer to something itself."""
    refs = _referents(step)
    tracked = list(compress(refs, map(_tracked, refs)))
    array = attribute("numpy", "ndarray")
    if array is not None:
        arrays = compress(refs, map(is_, map(type, refs), repeat(array)))
        tracked += [one for one in arrays if _holds_objects(one)]
    return tracked


def _referents(step):
    refs = referents(step)
    array = attribute("numpy", "ndarray")
    if array is not None:
        for one in compress(step, map(is_, map(type, step), repeat(array))):
            refs += array.reshape(one, -1).tolist() if _holds_objects(one) else ()
    return refs


def _holds_objects(array):
    kind = type(array)
    return kind.dtype.__get__(array).kind == "O" and kind.size.__get__(array) <= _FEW


def _unreached(seen, stop):
    """The containers that are not among `seen` but for ours, with the arrays of objects within."""
    everything = gc.get_objects()
    missing = list(compress(everything, map(not_, map(seen.__contains__, map(id, everything)))))
    del everything
    # `seen` is in no comprehension: the cell of a closure would be among the objects, and hold it.
    missing = list(compress(missing, map(is_not, missing, repeat(seen))))
    missing = [one for one in missing if id(type(one)) not in _DULL and not derives(type(one), type)]
    if not missing or len(missing) > _FEW:
        return []
    known = set(map(id, missing))
    _spread(list(missing), known | seen, stop, missing)
    return missing


def _split(members, stop):
    """(dead, living, those of the living that something invisible refers to).

    Dead are those whose references all come from other dead ones.
    """
    inside = Counter()
    for start in range(0, len(members), _STEP):
        if stop():
            raise Interrupted
        inside.update(map(id, _referents(members[start : start + _STEP])))
    counts = list(map(_count, members))
    ours = next(map(_count, [[]]))  # the references of the list and of the call
    within = map(inside.__getitem__, map(id, members))
    outside = [one for one, count, known in zip(members, counts, within) if count - ours > known]
    living = set(map(id, outside))
    _spread(list(outside), living, stop)
    return (
        [one for one in members if id(one) not in living],
        [one for one in members if id(one) in living],
        outside,
    )


def _cycles(dead, seen, stop):
    """(the row of the garbage, [(address, size)] of its buffers, whether the collector cannot free it)."""
    walker = _walker(seen, stop)
    array = attribute("numpy", "ndarray")
    opaque = any(type(one) is array and _holds_objects(one) for one in dead)
    names = Counter(map(type_name, map(type, dead)))
    figures = [one for one in dead if type(one) is attribute("matplotlib.figure", "Figure")]
    theirs = [type_name(type(one)) for one in dead if registries.is_users_class(type(one))]
    theirs = theirs or [name for one in dead if (name := _users_function(one))]
    label = "Figure" if figures else theirs[0] if theirs else _first(names)
    size = walker.below(dead)
    row = _row(
        "cycle",
        label,
        "object array" if opaque else "",
        size,
        len(figures) or names[label] or theirs.count(label),
    )
    return {**row, "direct": bool(figures or theirs)}, [*walker.buffers.counted()], opaque


def _users_function(one):
    """The name of a function of the notebook's, or of one that a frame runs; '' for others."""
    code = None
    if is_function_of_notebook(one):
        code = one.__code__
    elif type(one) is types.FrameType and one.f_globals.get("__name__") == "__main__":
        code = one.f_code
    return code.co_name if code is not None and code.co_name.isidentifier() else ""


def _first(names):
    return next((name for name, _ in names.most_common() if name not in _PLAIN), "objects")


def _heap():
    """(begin, where the free end begins) of the C allocator's main heap; (0, 0) if there is none."""
    from .libc import malloc_top

    with open("/proc/self/maps") as maps:
        parts = [line.split()[0].split("-") for line in maps if line.rstrip().endswith("[heap]")]
    if not parts:
        return 0, 0
    return min(int(part[0], 16) for part in parts), max(int(part[1], 16) for part in parts) - malloc_top()


def _pinned(buffers, heap, native, stop):
    """Bytes of buffers that lie within the C allocator's heap with something alive above them: freed, they stay resident.

    With `native` memory among the garbage, of which no address is known, only what lies far below the end counts.
    """
    from .libc import last_in_use

    start, top = heap
    inside = sorted((address, size) for address, size in buffers if start <= address < top)
    if not inside:
        return 0
    if native:
        pin = top if top - max(address + size for address, size in inside) >= _PINS else 0
    else:
        pin = last_in_use(inside, top, stop)
    return sum(size for address, size in inside if address < pin)


def _at_exit(pinned, callables, seen, added, stop):
    """The row of the objects that the functions of `atexit` keep: callables that only C code refers to."""
    walker = _walker(seen, stop)
    size = walker.below([*pinned, *callables])
    if pinned:
        what, names = "class", Counter(type_name(type(one)) for one in pinned)
    else:
        what = type_name(type(callables[0]))
        names = Counter(map(_name_of, callables))
    label = names.most_common(1)[0][0]
    row = _row("registry", "atexit", "atexit", size, names[label])
    # As many callables as exit functions were added: it is they that keep the objects, and not another C library.
    shared = not 0 < len(callables) <= added
    return {**row, "names": [label], "detail": what, "maybe_shared": shared}


def _by_c_code(callables, seen, stop):
    """The row of callables that only C code refers to, and that are no functions of `atexit`."""
    size = _walker(seen, stop).below(callables)
    label, count = Counter(map(_name_of, callables)).most_common(1)[0]
    return {**_row("registry", label, "hidden", size, count), "detail": label}


def _is_users_callable(one):
    if type(one) is functools.partial:
        return True
    function = one.__func__ if type(one) is types.MethodType else one
    return is_function_of_notebook(function)


def _name_of(one):
    function = _partial_function(one) if type(one) is functools.partial else one
    name = getattr(function, "__name__", "") if type(function) in _FUNCTIONS else type_name(type(function))
    return name if type(name) is str else ""


def _walker(seen, stop):
    from .sizing import Walker

    return Walker(now() + 5.0, seen, stop=stop)


def _row(kind, name, of, size, count):
    return {"kind": kind, "name": name, "names": [], "type": of, "bytes": size, "before": 0, "count": count}
