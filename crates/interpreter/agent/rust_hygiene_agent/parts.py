"""Which attribute of an object is the container that grew: `run.history` rather than `run`."""

from collections import OrderedDict, defaultdict, deque

from .kinds import module_of, type_name
from .paths import attributes

_CONTAINERS = frozenset(map(id, (list, dict, set, OrderedDict, defaultdict, deque)))
_LEAST = 1 << 20  # bytes of a variable that is worth the look
_REMEMBERED = 200


class Parts:
    """Remembers how long the containers in the attributes of large objects were."""

    def __init__(self):
        """Nothing was seen."""
        self._lengths = {}  # name of a variable -> {attribute: length}

    def grown(self, name, value, size):
        """(expression, class) of the one container in an attribute that is longer than at the last look, or None."""
        if size < _LEAST or module_of(type(value)) != "__main__":
            return None
        known = self._lengths.get(name)
        if known is None and len(self._lengths) >= _REMEMBERED:
            return None
        now = {key: part for key, part in attributes(value) if id(type(part)) in _CONTAINERS}
        self._lengths[name] = {key: len(part) for key, part in now.items()}
        longer = [key for key, part in now.items() if known is not None and len(part) > known.get(key, 0)]
        if len(longer) != 1 or not name.isidentifier() or not longer[0].isidentifier():
            return None
        return f"{name}.{longer[0]}", type_name(type(now[longer[0]]))

    def forget(self, names):
        """These variables are gone."""
        for name in names:
            self._lengths.pop(name, None)
