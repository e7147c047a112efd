"""Which container within an object is the one that grew: `run.history` rather than `run`."""

from collections import OrderedDict, defaultdict, deque
from itertools import islice
from types import FunctionType
from weakref import ReferenceType

from .clock import now
from .kinds import derives, module_of, mro_of
from .paths import steps

_CONTAINERS = frozenset(map(id, (list, dict, set, OrderedDict, defaultdict, deque)))
_LEAST = 1 << 20  # bytes of a variable that is worth the look
_REMEMBERED = 200
_DEEPEST, _MOST, _ITEMS = 5, 300, 64
_SECONDS = 0.008  # for one variable
_class_dict = type.__dict__["__dict__"].__get__


class Parts:
    """Remembers how long the containers within large objects were."""

    def __init__(self):
        """Nothing was seen."""
        self._lengths = {}  # name of a variable -> ({expression: length}, whether all was looked at)
        self.private = ()  # expressions of those, of the last answer, that the object around them clears by its own `clear()`

    def grown(self, name, value, size):
        """[(expression, container)] of the containers within that are longer than at the last look."""
        if size < _LEAST or not name.isidentifier() or not _has_parts(type(value)):
            return []
        known = self._lengths.get(name)
        if known is None and len(self._lengths) >= _REMEMBERED:
            return []
        found, whole, self.private = _containers(name, value)
        self._lengths[name] = {text: len(part) for text, part in found.items()}, whole
        if known is None:
            return []
        lengths, whole_before = known
        # What a look that was cut short did not reach may have been as long as it is.
        old = found if whole_before else found.keys() & lengths.keys()
        return [
            (text, part) for text, part in found.items() if text in old and len(part) > lengths.get(text, 0)
        ]

    def forget(self, names):
        """These variables are gone."""
        for name in names:
            self._lengths.pop(name, None)


def _has_parts(kind):
    return (
        kind is FunctionType or derives(kind, type) or module_of(kind) not in ("builtins", "collections", "")
    )


def _containers(name, value):
    """({expression: container} of what is within an object, the nearest first, whether there was time for all of it, the expressions of
    those that are private to an object of a library with a `clear` of its own).

    The contents of long containers are not looked at.
    """
    deadline = now() + _SECONDS
    found, level, seen, private = {}, [(name, value)], {id(value)}, set()
    for _ in range(_DEEPEST):
        following = []
        for text, one in level:
            if len(seen) > _MOST or now() > deadline:
                return found, False, private
            if id(type(one)) in _CONTAINERS:
                if _is_of_weak_references(one):
                    continue
                found[text] = one
                if len(one) > _ITEMS:
                    continue
            _, _, members = steps(one, text) or ("", "", ())
            clears = _clears(type(one))
            for expression, part in members:
                if clears and expression.startswith(f"{text}._"):
                    private.add(expression)
                if expression and id(part) not in seen and _is_worth_it(type(part)):
                    seen.add(id(part))
                    following.append((expression, part))
        level = following
    return found, True, private


def _clears(kind):
    """Whether it is a class of a library's whose objects can be emptied."""
    if module_of(kind) in ("builtins", "__main__", ""):
        return False
    return any("clear" in _class_dict(base) for base in mro_of(kind))


def _is_of_weak_references(container):
    """Whether it holds nothing, as the first thing in it tells."""
    items = container.values() if derives(type(container), dict) else container
    return any(derives(type(one), ReferenceType) for one in list(islice(items, 1)))


def _is_worth_it(kind):
    return id(kind) in _CONTAINERS or module_of(kind) not in ("builtins", "")
