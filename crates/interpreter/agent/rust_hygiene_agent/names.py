"""Which names of a namespace appeared, went away, were rebound or grew, at the price of a few passes in C.

Identity is an address, never a reference. A value that was replaced by another one at the same address is missed here; sizing
sees it by its size. The names themselves are kept, so that theirs are never taken by others.
"""

from collections import OrderedDict, defaultdict, deque
from itertools import compress
from operator import attrgetter, ne

from .kinds import attribute
from .libc import WORD, addresses, words

# `len` of exactly these types is a field read in C; a subclass may have its own `__len__`.
_CONTAINERS = frozenset(map(id, (list, dict, set, bytearray, deque, defaultdict, OrderedDict)))
_nbytes = attrgetter("nbytes")
# Lengths of at most so many names are compared after a cell, the latest ones; of the others only sizing sees that they grew.
_WATCHED = 1500
_BLOCK = 128 * WORD  # bytes of addresses that are compared at once


class NameWatch:
    """Remembers names and addresses between two looks."""

    def __init__(self):
        """Everything is new at the first look."""
        self._names = ()
        self._name_words = self._value_words = b""
        self.lengths_before = {}  # of the containers that were resized at the last look
        self._containers = _Lengths(len)
        self._arrays = _Lengths(_nbytes)

    def look(self, namespace):
        """(new, dropped, rebound, resized): lists of names since the previous look."""
        names, values = (*namespace,), (*namespace.values(),)
        name_words, value_words = addresses(names), addresses(values)
        old_names, old_name_words, old_value_words = self._names, self._name_words, self._value_words
        self._names, self._name_words, self._value_words = names, name_words, value_words
        known = len(old_names)
        if name_words.startswith(old_name_words):  # the usual case: names are only ever added at the end
            new, dropped = _plain(names[known:]), []
            rebound = _plain([names[place] for place in _places(old_value_words, value_words)])
        else:
            old, now = _by_name(old_names, old_value_words), _by_name(names, value_words)
            new = [name for name in now if name not in old]
            dropped = [name for name in old if name not in now]
            rebound = [name for name, word in now.items() if old.get(name, word) != word]

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


def _plain(names):
    """Those that are nothing but text: a key of another type may have its own `__eq__`."""
    return [name for name in names if type(name) is str]


def _by_name(names, words):
    return {name: word for name, word in zip(names, memoryview(words).cast("N")) if type(name) is str}


def _places(old, new):
    """The places of the addresses that differ, as far as both reach."""
    end = min(len(old), len(new))
    if old[:end] == new[:end]:
        return []
    found = []
    for start in range(0, end, _BLOCK):
        stop = min(start + _BLOCK, end)
        before, now = old[start:stop], new[start:stop]
        if before != now:
            differ = map(ne, memoryview(before).cast("N"), memoryview(now).cast("N"))
            found += compress(range(start // WORD, stop // WORD), differ)
    return found


class _Lengths:
    """Lengths of the values of some names, by a probe that is harmless for their exact types."""

    def __init__(self, probe):
        self._probe = probe
        self._kinds = {}  # name -> id of the type
        self._lengths = {}  # name -> what the probe said
        self._order = []  # the same in the order of the names
        self._kind_words = b""  # what `_kinds` says, in that order
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
        kinds = addresses((*map(type, values),))
        moved = []
        if kinds != (self._kind_words if self._steady else words(self._kinds.values())):
            # Another object of another type at the same address.
            moved = [*compress(self._kinds, map(ne, memoryview(kinds).cast("N"), self._kinds.values()))]
            for name in moved:
                self.forget(name)
            values = map(namespace.get, self._kinds)
            kinds = words(self._kinds.values())
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
        self._order, self._kind_words = lengths, kinds
        return [*moved, *self.before]
