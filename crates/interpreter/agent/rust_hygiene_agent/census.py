"""Who keeps memory besides the names and the output history: plain rows, one for each holder.

First the registries, since a name often reaches one entry of theirs; then what lies behind gates within the names. Only names and
numbers are kept between two cells.
"""

import gc
from types import TracebackType

from . import registries
from .clock import now
from .gates import Gates
from .habits import Habits
from .kinds import derives, pairs, type_name
from .paths import attributes, locate

_SHARE = 0.4  # of the time left, for what is registered
_LARGE = 1 << 20  # bytes; smaller ones are not located
_SEARCH_S = 0.02
_ITEMS = 1_000
_ALWAYS = ("children", "traces", "autograd")  # however few bytes of theirs are here
_STREAMS = ("generator", "async_generator")
_CONTAINERS = ("list", "tuple", "set", "frozenset", "deque", "dict")


class Census:
    """Counts anew for each notable cell."""

    def __init__(self, shell):
        """Nothing is counted yet."""
        self.gates = Gates()
        self._shell = shell
        self._streams = {}  # name -> (ids of a generator and of what it refers to, whether it is in use)

    def registered(self, walker, namespace):
        """What is registered somewhere. Objects that the user has a name for stay with the name."""
        rows = []
        self.gates.clear()
        named = {id(value) for value in list(namespace.values())}
        habits = Habits(namespace)
        for found in registries.everything(self._shell):
            entries = {id(root) for root in found.roots}
            # A widget that has a name is the name's, and so is what a thread works with; a handler is the logger's even if the last one
            # still has a name.
            of_names = found.of in ("widgets", "thread")
            kept_out = named - walker.seen if of_names else named - entries - walker.seen
            walker.seen |= kept_out
            at = now()
            walker.on_gpu = {}
            until = at + (walker.deadline - at) * _SHARE
            bounded = walker.within(until, _bounded(found, habits))[0]
            size, reached = walker.within(until, found.roots)
            walker.seen -= kept_out
            whole = reached == len(found.roots)
            if reached and not whole:  # those that were not reached are taken to be like the others
                size = size * len(found.roots) // reached
            size += bounded
            row = _row(found.kind, found.name, found.of, size, found.count, found.detail, at_least=not whole)
            if size >= _LARGE:
                row["names"] = _names_of(found.roots, namespace) if found.kind == "suspended" else []
                # What the frames of exceptions hold is worth a word.
                failed = self.gates.accounts.get(("exceptions", "traceback", ""))
                if failed is not None and failed.bytes > size / 2:
                    row["detail"] = row["detail"] or "exceptions"
                row["shape"] = "bounded" if bounded > size / 2 else ""
            self.gates.clear()
            rows.append({**row, "gpu": walker.on_gpu})
        library, alive = registries.children()
        if alive:
            rows.append(_row("children", library, "library", 0, alive))
        self.gates.clear()
        return rows

    def behind_gates(self, namespace, names, fresh, deadline):
        """What was met within the user's `names`, of which the cell has bound `fresh`."""
        rows = []
        accounts = list(self.gates.accounts.items())
        views = [(("view", "view", root), account) for root, account in self.gates.views().items()]
        deadline = min(deadline, now() + _SEARCH_S)
        for (kind, label, root), account in sorted(accounts + views, key=lambda item: -_size(item[1])):
            if not root:
                continue
            name = label if kind == "cache" else root
            detail = account.detail or label  # of handles: what they are
            row = _row(kind, name, account.of, account.bytes, account.count, detail, root)
            row["gpu"] = account.gpu
            if account.of != "lru_cache" and (_size(account) >= _LARGE or kind in _ALWAYS):
                place = locate(root, namespace.get(root), account.sample, deadline)
                if place is not None:
                    many = place.owner_kind in _CONTAINERS
                    row["path"] = place.owner if many else place.element
                    row["shape"] = place.owner_kind if many else ""
                    row["element"] = type_name(type(place.value))
                    if kind == "exceptions" and _is_chained(place.value, account.sample):
                        row["type"] = "chained"
                    row["direct"] = place.value is account.sample or _stands_for(place.value, kind)
                    if (
                        account.of in _STREAMS
                        and account.count == 1
                        and namespace.get(root) is account.sample
                    ):
                        row["shape"] = (
                            "in use" if self._is_in_use(root, account.sample, root in fresh) else ""
                        )
                if (
                    kind == "cache" and row["direct"] and account.of != "weak"
                ):  # a decorated function is not called as it was defined
                    row["name"] = row["path"]
                elif kind != "cache":
                    others = (one for one in names if one != root)
                    row["names"] = [one for one in others if id(namespace.get(one)) in account.met]
            rows.append(row)
        self.gates.clear()
        return rows

    def _is_in_use(self, name, stream, fresh):
        """Whether a generator was asked for an item by another cell than the one that made it."""
        state = id(stream), *map(id, gc.get_referents(stream))
        before, in_use = self._streams.get(name, (None, False))
        if fresh:
            in_use = False
        elif before is None:  # what it holds now came after the cell that made it
            in_use = True
        else:
            in_use = in_use or (before[0] == state[0] and before != state)
        if len(self._streams) >= _ITEMS:
            self._streams.clear()
        self._streams[name] = state, in_use
        return in_use


def _size(account):
    return account.bytes + sum(account.gpu.values())


def _names_of(things, namespace):
    """Names of the user's that hold some of the things, directly or in a container of nothing else."""
    known = set(map(id, things))
    found = []
    for name, value in pairs(namespace):
        kind = type(value)
        if kind is dict:
            value, kind = list(value.values())[:_ITEMS], list
        inside = list(value)[:_ITEMS] if kind is list or kind is tuple or kind is set else [value]
        if (
            inside
            and type(name) is str
            and not name.startswith("_")
            and all(id(one) in known for one in inside)
        ):
            found.append(name)
    return found


def _bounded(found, habits):
    """What a single thing that is registered keeps to a bound, such as the last records of a handler."""
    if found.kind != "registry" or len(found.roots) != 1:
        return []
    (root,) = found.roots
    return [part for name, part in attributes(root) if habits.is_bounded("", root, (f".{name}", part))]


_of_error = {
    name: BaseException.__dict__[name].__get__ for name in ("__traceback__", "__cause__", "__context__")
}


def _is_chained(error, traceback):
    """Whether more than an exception's own traceback keeps frames: those of its cause, or of the members of a group."""
    if not derives(type(error), BaseException):
        return False
    own, *others = (get(error) for get in _of_error.values())
    return (own is not traceback and type(traceback) is TracebackType) or any(
        one is not None and _of_error["__traceback__"](one) is not None for one in others
    )


def _stands_for(value, kind):
    """Whether what can be done to the object behind the gate can be done to the last thing that can be typed."""
    if kind == "exceptions":
        return derives(type(value), BaseException)
    if kind == "view":
        return type_name(type(value)) in ("Series", "DataFrame", "Index")
    return False


def _row(kind, name, of, size, count, detail="", inside="", at_least=False):
    return {
        "kind": kind,
        "name": name,
        "names": [],
        "type": of,
        "detail": detail,
        "bytes": size,
        "count": count,
        "inside": inside,
        "path": "",
        "shape": "",
        "element": "",
        "direct": False,
        "at_least": at_least,
        "maybe_shared": False,
    }
