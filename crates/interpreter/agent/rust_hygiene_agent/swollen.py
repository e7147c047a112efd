"""Containers of libraries that hold much, whatever it is: tables, registries and caches that nobody empties.

For idle moments. What they hold and no name of the user's leads to is sized. Of those that have grown from look to look it is known
that they grow; of others the front knows whether memory grows that nothing else explains.
"""

from collections import deque
from types import ModuleType

from . import lodgers, own_modules
from .clock import now
from .kinds import derives, is_function_of_notebook, module_globals, module_of, referents, type_name

_LEAST = 2  # looks in which it has grown
_LARGE = 4 << 20  # bytes; less is not worth a word
_MOST = 200_000  # names of modules and classes that are looked at
_PARTS = 40
_EACH_S = 0.03  # what takes longer consists of very many things: it is the library's own
_class_dict = type.__dict__["__dict__"].__get__


class Swollen:
    """Remembers how long the containers of libraries were."""

    def __init__(self):
        """Nothing is known."""
        # By expression. Numbers alone: containers that stay would bring the next collection nearer.
        self._ids, self._lengths, self._grew = {}, {}, {}

    def look(self, shell, spread, walker, stop):
        """Rows of those that hold much; `spread` and `walker` are those of `leftovers`."""
        # Pairs of all of them at once would stay in Python's list of free tuples, and bring the next collection nearer.
        names, containers = [], []
        theirs = set(map(id, shell.user_ns.values()))
        for name, container in _containers(stop):
            if id(container) not in theirs:
                names.append(name)
                containers.append(container)
        self._note(names, containers)
        barrier = lodgers.barrier(shell)
        roots = lodgers.named_roots(shell)
        own = set(map(id, containers))
        # What a name leads to by way of the library itself is the library's.
        named = {*barrier, *map(id, roots), *own}
        spread(roots, named, stop, keep=lodgers.passed)
        counter = walker(named - own, stop)
        rows = []
        for name, container in zip(names, containers):
            stop()
            size, reached = counter.within(now() + _EACH_S, [container])
            if reached and size >= _LARGE:
                rows.append(_row(name, container, size, self._grew.get(name, 0) >= _LEAST))
        return rows

    def _note(self, names, containers):
        """Notes lengths, and in how many looks each container had grown since the one before."""
        ids, lengths, grew = {}, {}, {}
        for name, container in zip(names, containers):
            ids[name], lengths[name] = id(container), len(container)
            if self._ids.get(name) == ids[name]:
                grew[name] = self._grew.get(name, 0) + (lengths[name] > self._lengths[name])
        self._ids, self._lengths, self._grew = ids, lengths, grew


def _containers(stop):
    """(expression, container) of all that modules of libraries, and the classes in them, have under names of theirs."""
    left = _MOST
    for module, loaded in lodgers.modules():
        stop()
        if module == "__main__" or module.startswith("rust_hygiene_agent"):
            continue
        names = module_globals(loaded)
        for name in list(names):
            value = names.get(name)
            left -= 1
            if type(name) is not str or name.startswith("__"):
                continue
            kind = type(value)
            if id(kind) in own_modules.CONTAINERS:
                yield f"{module}.{name}", value
            elif kind is not ModuleType and derives(kind, type) and module_of(value) == module:
                own = _class_dict(value)
                for part in list(own):
                    inner = own.get(part)
                    left -= 1
                    if id(type(inner)) in own_modules.CONTAINERS and type(part) is str and part[:2] != "__":
                        yield f"{module}.{name}.{part}", inner
        if left < 0:
            return


def _row(name, container, size, grows):
    items = container.values() if derives(type(container), dict) else container
    last = next(iter(deque(items, 1)), None)
    calls = own_modules.holds_callables(container) or _calls(last)
    return {
        "kind": "registry",
        "name": name,
        "names": [],
        "type": "swollen" if grows else "large",
        "detail": "callables" if calls else "",
        "bytes": size,
        "before": 0,
        "count": len(container),
        "path": name,
        "shape": type(container).__name__,
        "element": type_name(type(last)),
    }


def _calls(entry):
    """Whether something is of the notebook's classes or refers to a function of its, as an entry of a registry does."""
    if module_of(type(entry)) == "__main__":
        return True
    parts = referents([entry]) if entry is not None else []
    parts += [part for one in parts if type(one) is dict for part in list(one.values())[:_PARTS]]
    return any(map(is_function_of_notebook, parts[:_PARTS]))
