"""Things of the notebook's that no name leads to and a library does: what was registered somewhere and is not known as a registry.

For idle moments, like `leftovers`, which has found out what is reachable at all. Known as the notebook's are its functions and instances of
its classes; their number and what they hold is told, with the module that leads to them.
"""

import gc
import sys
import types
from collections import Counter
from itertools import compress
from operator import not_

from . import registries
from .kinds import derives, is_function_of_notebook, module_globals, module_of, pairs, referents, type_name

_STEP = 20_000
_MOST = 5_000  # things of the notebook's
_DEEPEST, _WIDEST = 8, 12  # each of them is compared with every reference that there is
_LARGEST = 50_000  # items; what has more is not gone through
_LEAST = 2  # one may well be meant to be there
_DOWN = 3  # levels below a name of a module
_ENDS = frozenset(map(id, (str, bytes, int, float, bool, type(None), types.CodeType, types.ModuleType)))
_FUNCTION = types.FunctionType


def look(shell, reachable, spread, walker, stop):
    """A row, or None. `reachable`: ids of all that anything leads to; `spread` and `walker` are those of `leftovers`."""
    around = barrier(shell)
    named = set(around)
    roots = named_roots(shell)
    named.update(map(id, roots))
    spread(roots, named, stop, keep=passed)
    found = _of_notebook(reachable, named, stop)
    try:
        if len(found) < _LEAST:
            return None
        size = walker(named, stop).below(found)
        names = Counter(map(_name_of, found))
        label, count = names.most_common(1)[0]
        same = [one for one in found if _name_of(one) == label]
        # One may lie within another, as functions do that wrap each other: so the way up begins at many of them.
        same[_WIDEST // 2 : -_WIDEST // 2] = []
        place, container = _place(same, {*named, id(found)} - around, around, stop)
    finally:
        found.clear()
    if place is None or count < _LEAST:
        return None
    row = {"kind": "registry", "name": place, "names": [], "type": "lodged", "detail": label, "bytes": size}
    return {**row, "before": 0, "count": count, "path": place if container else "", "shape": container}


def modules():
    """(name, module) of all that are loaded."""
    for name, module in pairs(sys.modules):
        if type(name) is str and derives(type(module), types.ModuleType):
            yield name, module


def barrier(shell):
    """Ids of what leads to everything: modules, their namespaces, the shell."""
    found = {id(shell), id(sys.modules), id(shell.user_ns), id(shell.user_ns_hidden)}
    for _, module in modules():
        found |= {id(module), id(module_globals(module))}
    return found


def named_roots(shell):
    """What somebody is known to hold: names, the shell's results, the last exception, registries, functions that run."""
    from . import holders
    from .running import locals_of

    roots = [*shell.user_ns.values(), *shell.user_ns_hidden.values()]
    roots += [value for _, _, value in holders.output_history(shell)]
    found = holders.last_exception(shell)
    roots += found[4] if found is not None else []
    for registered in registries.everything(shell):
        roots += registered.roots
    frames = sys._current_frames()
    for frame in frames.values():
        while frame is not None:
            roots += locals_of(frame) if frame.f_code.co_flags & 1 else []
            frame = frame.f_back
    frames.clear()
    around = barrier(shell)
    through = passed([root for root in roots if id(root) not in around])
    roots.clear()  # our own frame is among those that run: the list would be a cycle
    return through


def passed(objects):
    """Those through which the way from a name goes on: the classes of libraries lead to what is not the name's."""
    kinds = {id(kind): kind for kind in map(type, objects)}
    classes = {key for key, kind in kinds.items() if derives(kind, type)}
    if not classes:
        return objects
    return [one for one in objects if id(type(one)) not in classes or module_of(one) == "__main__"]


def _of_notebook(reachable, named, stop):
    """Functions of the notebook's and instances of its classes that something leads to, but no name."""
    found, users = [], {}
    everything = gc.get_objects()
    for start in range(0, len(everything), _STEP):
        stop()
        step = everything[start : start + _STEP]
        for one in compress(step, map(not_, map(named.__contains__, map(id, step)))):
            kind = type(one)
            if kind is _FUNCTION:
                mine = is_function_of_notebook(one)
            else:
                mine = users.get(id(kind))
                if mine is None:
                    mine = users[id(kind)] = registries.is_users_class(kind) and not derives(kind, type)
            if mine and id(one) in reachable:
                found.append(one)
                if len(found) > _MOST:
                    return found
    return found


def _name_of(one):
    name = one.__name__ if type(one) is _FUNCTION else type_name(type(one))
    return name if type(name) is str else ""


def _place(things, named, around, stop):
    """(expression of what a module leads to one of them by, class of that container if it holds it directly)."""
    spaces = {id(module_globals(module)): name for name, module in modules() if _is_foreign(name)}
    level, seen = things, set(map(id, things))
    for _ in range(_DEEPEST):
        stop()
        above = []
        for holder in gc.get_referrers(*level):
            key = id(holder)
            if holder is level or key in named or type(holder) is types.FrameType:
                continue
            if key in spaces:
                return _way_down(spaces[key], holder, things, seen, set(around), stop)
            if derives(type(holder), type):
                return f"{module_of(holder)}.{type_name(holder)}", ""
            if key not in seen and key not in around:
                seen.add(key)
                above.append(holder)
        level = above[:_WIDEST]
        if not level:
            break
    del level
    # What was there at the start is frozen, and does not show up as a referrer: from there it is looked for downwards.
    behind = set(around)
    for name, module in modules():
        stop()
        if _is_foreign(name):
            place, container = _way_down(name, module_globals(module), things, seen, behind, stop)
            if place is not None:
                return place, container
    return None, ""


def _is_foreign(name):
    return name != "__main__" and not name.startswith("rust_hygiene_agent")


def _way_down(module, names, things, above, behind, stop):
    """The same, for a module that may lead to one of the things, or to what is known to be `above` them."""
    keys, values = [], []
    for key, value in pairs(names):
        if type(key) is str and not _is_large(value):
            keys.append(key)
            values.append(value)
    for key, value in zip(keys, values):
        if id(value) in above:
            return f"{module}.{key}", _shape(value, things)
    for key, value in zip(keys, values):
        level = [value]
        for _ in range(_DOWN):
            stop()
            level = [one for one in referents(level) if gc.is_tracked(one) and id(one) not in behind]
            behind.update(map(id, level))
            if any(id(one) in above for one in level):
                return f"{module}.{key}", _shape(value, things)
            level = passed([one for one in level if id(type(one)) not in _ENDS and not _is_large(one)])
            if len(level) > _LARGEST:
                break
    return None, ""


def _is_large(value):
    kind = type(value)
    return (kind is list or kind is dict or kind is tuple or kind is set) and len(value) > _LARGEST


def _shape(value, things):
    """ "list" or "dict" if the container holds one of the things itself, else ""."""
    kind = type(value)
    if kind is list and not _is_large(value):
        values, name = list(value), "list"
    elif derives(kind, dict):
        values, name = [*dict.values(value)], "dict"
    else:
        return ""
    own = set(map(id, things))
    return name if any(id(one) in own for one in values) else ""
