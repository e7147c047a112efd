"""Which objects are dead, or would be without a certain container: the collector's own rule, applied without collecting.

An object is alive if something outside of the tracked objects refers to it, or an object that is alive does. What start-up made is
frozen, so it counts as outside. Everything is done in pieces of C calls, between which the caller may end it.
"""

import gc
import sys
from collections import Counter
from itertools import islice

from .cleaning import Refused
from .kinds import referents

_PIECE = 4096
_MOST = 600_000  # objects; more would take longer than an idle moment, and much memory


class Objects:
    """The tracked objects at one moment."""

    def __init__(self, check):
        """`check` is called between the pieces and may raise."""
        self._check = check
        self._objects = gc.get_objects()
        if len(self._objects) > _MOST:
            raise Refused(f"{len(self._objects)} objects are too many to be sure of each")
        self._mine = {id(self), id(self.__dict__), id(self._objects)}

    def dead(self):
        """The objects that nothing alive refers to."""
        alive = self._alive(None)
        return [obj for obj in self._objects if id(obj) not in alive and id(obj) not in self._mine]

    def only_in(self, container):
        """Ids of the objects that would be dead if `container` held nothing."""
        alive = self._alive(container)
        return {id(obj) for obj in self._objects} - alive - self._mine

    def _alive(self, container):
        objects = self._objects
        ids = set(map(id, objects))
        inner = Counter()
        for piece in self._pieces(objects):
            inner.update(filter(ids.__contains__, map(id, referents(piece))))
        frontier = []
        probe = [object()]
        (ours,) = map(sys.getrefcount, probe)  # of an object that only a list like `objects` refers to
        for piece in self._pieces(objects):
            # `piece` refers to each, too. The count is asked first: a pair that has the object already would count.
            pairs = zip(map(sys.getrefcount, piece), piece)
            frontier += [obj for count, obj in pairs if count - ours - 1 > inner[id(obj)]]
        alive = set(map(id, frontier))
        skipped = id(container)
        while frontier:
            following = []
            for piece in self._pieces(frontier):
                known = referents([obj for obj in piece if id(obj) != skipped])
                fresh = [obj for obj in known if id(obj) in ids and id(obj) not in alive]
                alive.update(map(id, fresh))
                following += fresh
            frontier = following
        return alive

    def _pieces(self, objects):
        pieces = iter(objects)
        while piece := list(islice(pieces, _PIECE)):
            yield piece
            self._check()
