"""Containers of libraries that hold much, whatever it is: tables, registries and caches that nobody empties.

For idle moments. What they hold and no name of the user's leads to is sized. Of those that have grown from look to look it is known
that they grow; of others the front knows whether memory grows that nothing else explains.
"""

from types import ModuleType

from . import lodgers, own_modules
from .clock import now
from .kinds import derives, module_globals, module_of

_LEAST = 2  # looks in which it has grown
_LARGE = 4 << 20  # bytes; less is not worth a word
_MOST = 200_000  # names of modules and classes that are looked at
_EACH_S = 0.03  # what takes longer consists of very many things: it is the library's own
_class_dict = type.__dict__["__dict__"].__get__


class Swollen:
    """Remembers how long the containers of libraries were."""

    def __init__(self):
        """Nothing is known."""
        self._lengths = {}  # expression -> (id of the container, length, looks in which it had grown)

    def look(self, shell, spread, walker, stop):
        """Rows of those that hold much; `spread` and `walker` are those of `leftovers`."""
        found = list(_containers(stop))
        looks = self._looks(found)
        barrier = lodgers.barrier(shell)
        roots = lodgers.named_roots(shell)
        own = {id(container) for _, container in found}
        # What a name leads to by way of the library itself is the library's.
        named = {*barrier, *map(id, roots), *own}
        spread(roots, named, stop, keep=lodgers.passed)
        counter = walker(named - own, stop)
        rows = []
        for name, container in found:
            stop()
            size, reached = counter.within(now() + _EACH_S, [container])
            if reached and size >= _LARGE:
                rows.append(_row(name, container, size, looks[name] >= _LEAST))
        return rows

    def _looks(self, found):
        """{expression: in how many looks it had grown since the one before}."""
        before, self._lengths = self._lengths, {}
        for name, container in found:
            length = len(container)
            key, last, looks = before.get(name, (0, length, 0))
            if key != id(container):
                last, looks = length, 0
            self._lengths[name] = id(container), length, looks + (length > last)
        return {name: known[2] for name, known in self._lengths.items()}


def _containers(stop):
    """(expression, container) of all that modules of libraries, and the classes in them, have under names of theirs."""
    left = _MOST
    for module, own in lodgers.modules():
        stop()
        if module == "__main__" or module.startswith("rust_hygiene_agent"):
            continue
        names = module_globals(own)
        for name, value in list(names.items()):
            left -= 1
            if type(name) is not str or name.startswith("__"):
                continue
            kind = type(value)
            if id(kind) in own_modules.CONTAINERS:
                yield f"{module}.{name}", value
            elif kind is not ModuleType and derives(kind, type) and module_of(value) == module:
                for part, inner in list(_class_dict(value).items()):
                    left -= 1
                    if id(type(inner)) in own_modules.CONTAINERS and type(part) is str and part[:2] != "__":
                        yield f"{module}.{name}.{part}", inner
        if left < 0:
            return


def _row(name, container, size, grows):
    kind = "swollen" if grows else "large"
    detail = "callables" if own_modules.holds_callables(container) else ""
    row = {"kind": "registry", "name": name, "names": [], "type": kind, "detail": detail, "bytes": size}
    return {**row, "before": 0, "count": len(container), "path": name, "shape": type(container).__name__}
