"""Which names of a namespace appeared, went away, were rebound or grew, at the price of a few passes in C.

Identity is an id, never a reference. A value that was replaced by another one at the same address is missed here; sizing
sees it by its size. Lists and dicts are made by displays: `list(…)` takes its memory past the interpreter's store of freed lists but
gives it back there, which the collector counts as growth.
"""

from collections import OrderedDict, defaultdict, deque
from itertools import compress
from operator import attrgetter, countOf, ne

from .kinds import attribute

# `len` of exactly these types is a field read in C; a subclass may have its own `__len__`.
_CONTAINERS = frozenset(map(id, (list, dict, set, bytearray, deque, defaultdict, OrderedDict)))
_nbytes = attrgetter("nbytes")
# Lengths of at most so many names are compared after a cell, the latest ones; of the others only sizing sees that they grew.
_WATCHED = 1500


class NameWatch:
    """Remembers names and ids between two looks."""

    def __init__(self):
        """Everything is new at the first look."""
        self._names = []
        self._ids = []
        self.lengths_before = {}  # of the containers that were resized at the last look
        self._containers = _Lengths(len)
        self._arrays = _Lengths(_nbytes)

    def look(self, namespace):
        """(new, dropped, rebound, resized): lists of names since the previous look."""
        names, ids = [*namespace], [*map(id, namespace.values())]
        if countOf(map(type, names), str) != len(names):  # a key of another type may have its own `__eq__`
            keep = [type(name) is str for name in names]
            names, ids = [*compress(names, keep)], [*compress(ids, keep)]
        old_names, old_ids = self._names, self._ids
        self._names, self._ids = names, ids
        known = len(old_names)
        dropped, rebound = [], []
        if names[:known] == old_names:  # the usual case: names are only ever added at the end
            new = names[known:]
            if ids[:known] != old_ids:
                rebound = [*compress(old_names, map(ne, ids, old_ids))]
        else:
            old, now = {}, {}
            old.update(zip(old_names, old_ids))
            now.update(zip(names, ids))
            new = [name for name in names if name not in old]
            dropped = [name for name in old_names if name not in now]
            rebound = [name for name, key in now.items() if old.get(name, key) != key]

        array = attribute("numpy", "ndarray")
        arrays = frozenset((id(array),))
        # At the first look all is the shell's own; `In`, for one, grows with each cell.
        for name in (*new, *rebound) if known else ():
            kind = id(type(namespace[name]))
            self._containers.track(name, kind, _CONTAINERS)
            self._arrays.track(name, kind, arrays)
        for name in dropped:
            self._containers.forget(name)
            self._arrays.forget(name)
        resized = self._containers.changed(namespace) + self._arrays.changed(namespace)
        self.lengths_before = self._containers.before
        if resized:
            already = {*new, *rebound}
            resized = [name for name in resized if name not in already]
        return new, dropped, rebound, resized


class _Lengths:
    """Lengths of the values of some names, by a probe that is harmless for their exact types."""

    def __init__(self, probe):
        self._probe = probe
        self._kinds = {}  # name -> id of the type
        self._lengths = {}  # name -> what the probe said
        self._order = []  # the same in the order of the names
        self._steady = False  # no name came or went since then
        self.before = {}  # name -> length before the last look, of those whose length changed

    def track(self, name, kind, kinds):
        if kind in kinds:
            if len(self._kinds) >= _WATCHED and name not in self._kinds:
                self.forget(next(iter(self._kinds)))
            self._kinds[name] = kind
            self._steady = False
        elif name in self._kinds:
            self.forget(name)

    def forget(self, name):
        if self._kinds.pop(name, None) is not None:
            self._steady = False
        self._lengths.pop(name, None)

    def changed(self, namespace):
        self.before = {}
        if not self._kinds:
            return []
        values = [*map(namespace.get, self._kinds)]
        kinds = [*map(id, map(type, values))]
        moved = []
        if kinds != [*self._kinds.values()]:  # another object of another type at the same address
            moved = [*compress(self._kinds, map(ne, kinds, self._kinds.values()))]
            for name in moved:
                self.forget(name)
            values = map(namespace.get, self._kinds)
        lengths = [*map(self._probe, values)]
        if self._steady:
            old = self._order
            if lengths != old:
                for name, before, now in compress(zip(self._kinds, old, lengths), map(ne, old, lengths)):
                    self.before[name] = before
                    self._lengths[name] = now
        else:
            for name, now in zip(self._kinds, lengths):
                before = self._lengths.get(name, now)
                self._lengths[name] = now
                if before != now:
                    self.before[name] = before
            self._steady = True
        self._order = lengths
        return [*moved, *self.before]
