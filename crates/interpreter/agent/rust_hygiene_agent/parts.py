"""Which container within an object is the one that grew: `run.history` rather than `run`."""

from collections import OrderedDict, defaultdict, deque
from types import FunctionType

from .clock import now
from .kinds import derives, module_of
from .paths import steps

_CONTAINERS = frozenset(map(id, (list, dict, set, OrderedDict, defaultdict, deque)))
_LEAST = 1 << 20  # bytes of a variable that is worth the look
_REMEMBERED = 200
_DEEPEST, _MOST, _ITEMS = 5, 300, 64
_SECONDS = 0.008  # for one variable


class Parts:
    """Remembers how long the containers within large objects were."""

    def __init__(self):
        """Nothing was seen."""
        self._lengths = {}  # name of a variable -> ({expression: length}, whether all was looked at)

    def grown(self, name, value, size):
        """[(expression, container)] of the containers within that are longer than at the last look."""
        if size < _LEAST or not name.isidentifier() or not _has_parts(type(value)):
            return []
        known = self._lengths.get(name)
        if known is None and len(self._lengths) >= _REMEMBERED:
            return []
        found, whole = _containers(name, value)
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
    """({expression: container} of what is within an object, the nearest first, whether there was time for all of it).

    The contents of long containers are not looked at.
    """
    deadline = now() + _SECONDS
    found, level, seen = {}, [(name, value)], {id(value)}
    for _ in range(_DEEPEST):
        following = []
        for text, one in level:
            if len(seen) > _MOST or now() > deadline:
                return found, False
            if id(type(one)) in _CONTAINERS:
                found[text] = one
                if len(one) > _ITEMS:
                    continue
            _, _, members = steps(one, text) or ("", "", ())
            for expression, part in members:
                if expression and id(part) not in seen and _is_worth_it(type(part)):
                    seen.add(id(part))
                    following.append((expression, part))
        level = following
    return found, True


def _is_worth_it(kind):
    return id(kind) in _CONTAINERS or module_of(kind) not in ("builtins", "")
