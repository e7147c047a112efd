"""Facts about the user's namespace for the front, which judges them.

Tier 0 goes with every reply: which names are new, gone or changed. It costs some C-speed passes over ids and lengths.
Tier 1 is asked for when memory moved notably: what the names hold, and what the shell holds that no name does.

Nothing here keeps a user's object alive: between cells there are only names, ids and sizes.
"""

import atexit
import gc
import sys
from itertools import islice
from time import perf_counter
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from .clock import begin
from .frameworks import counters
from .kinds import derives
from .names import NameWatch
from .unseen import level, resident, young

LISTED = 50  # names a list in tier 0
REPORTED = 40  # variables and holders in tier 1
REMEMBERED = 20_000  # sizes kept between cells
SMALL = 4096  # bytes; smaller holders are not worth a line
COUNTED = ("children", "traces", "models", "autograd")  # but for these, whose number counts
_WORTH_TELLING = 1 << 20  # bytes; where memory is short
_GREW = 1 << 18  # bytes; who grew by so much is asked for the part that did
MODULE = 1 << 20  # bytes; more than any of the modules in `_SMALL` takes
_SMALL = sys.stdlib_module_names | {"IPython"}
NOISE = 64  # bytes; shared small integers change hands all the time
# Parts of the budget after which no walk, and no reading of page maps, goes on.
_FOR_WALKS, _FOR_ALL = 0.7, 0.9
_FIRST_LOOK_S = 0.02
SLOW = 20_000  # objects; a name that cost more is looked at last while it has not changed

_missing = object()


class Facts:
    """Watches one shell's namespace."""

    def __init__(self, shell):
        """Nothing is read yet."""
        self._shell = shell
        self._given = {}  # name -> id of what was there at the start
        self._taken = set()  # names of the shell's that the user has bound anew
        self._names = NameWatch()
        self._sizes = {}  # name -> (bytes, objects walked)
        self._on_gpu = {}  # name -> {device: bytes}
        self._counters = None  # of GPU frameworks before the cell
        self._holders = {}  # (kind, name) -> bytes
        self._error = None  # id of the last exception
        self._census = self._allocators = self._outputs = None  # what else keeps memory
        self._leftovers = None  # what nothing leads to
        self._exits = 0  # functions of `atexit` that are not the user's
        self._frozen = 0  # objects in the permanent generation that are not the user's
        self._parts = None  # containers within objects
        self._modules = 0  # how many were loaded before the cell
        self._collections = 0  # of all garbage, at the last walk
        self._new = self._dropped = self._changed = ()

    def baseline(self):
        """What is in the namespace now is not the user's, while it is not rebound."""
        namespace = self._shell.user_ns
        self._given = dict(zip(namespace, map(id, namespace.values())))
        self._names.look(namespace)
        self._error = _error_id()
        self._exits = atexit._ncallbacks()

    def leftovers(self, stop, collecting=True):
        """Rows of what nothing leads to; None if `stop` answered with true before the end.

        `collecting`: whether the collector is on, but for the time of this look.
        """
        before, size = young(), resident()
        try:
            if self._leftovers is None:
                from .leftovers import Leftovers

                self._leftovers = Leftovers(self._shell, self._exits, self._frozen)
            return self._leftovers.look(stop, collecting)
        finally:
            level(before)
            if self._allocators is not None:
                self._allocators.slack_came(resident() - size)

    def settle(self):
        """What can be read only now, when all of the kernel's own is loaded: the allocators before the first cell."""
        if self._allocators is None:
            from .allocators import Allocators
            from .buffers import PageMap

            self._frozen = gc.get_freeze_count()
            self._allocators = Allocators()
            self._allocators.look(PageMap(begin() + _FIRST_LOOK_S))

    def cleaned(self):
        """Memory was given back between two cells: what the allocators say now is what the next one begins with."""
        if self._allocators is not None:
            from .buffers import PageMap

            self._allocators.look(PageMap(begin() + _FIRST_LOOK_S))

    def names_were_carried(self):
        """The names that are new since the baseline are the user's, and no cell's."""
        self._names.look(self._shell.user_ns)

    def before_cell(self):
        """Forget what the previous cell changed."""
        if self._allocators is None:
            self.settle()
        self._modules = len(sys.modules)
        self._new = self._dropped = self._changed = ()
        self._error = _error_id()
        self._counters = counters()

    def after_cell(self):
        """Facts of tier 0 as plain data."""
        namespace = self._shell.user_ns
        new, dropped, rebound, resized = self._names.look(namespace)
        # Only the names at hand: there are three more of the shell's own with each cell, and this runs after each cell.
        hidden = self._shell.user_ns_hidden
        for name in (*new, *rebound):
            if name in hidden or name in self._given:
                (self._taken.discard if self._is_shells(name) else self._taken.add)(name)
        self._taken.difference_update(dropped)
        new, rebound, resized = (
            [n for n in names if not self._is_shells(n)] for names in (new, rebound, resized)
        )
        changed = rebound + resized
        dropped = [name for name in dropped if not self._is_shells_form(name)]
        self._new, self._changed, self._dropped = set(new), set(changed), set(dropped)
        error = _error_id()
        on_gpu = counters()
        return {
            "names": len(namespace) - self._count_shells(namespace, hidden) + len(self._taken),
            "new": new[:LISTED],
            "dropped": dropped[:LISTED],
            "changed": changed[:LISTED],
            "new_count": len(new),
            "dropped_count": len(dropped),
            "changed_count": len(changed),
            # What was last seen under the names that are gone or rebound: it should be free now.
            "let_go": sum(self._sizes.get(name, (0,))[0] for name in (*dropped, *rebound)),
            "raised": error is not None and error != self._error,
            "segments": self._fresh_segments(),
            "frameworks": on_gpu,
            "frameworks_before": self._counters,
        }

    def _count_shells(self, namespace, hidden):
        """How many names of the namespace are, or were, the shell's. Twenty times as fast as the difference of the sets."""
        given = self._given.keys() - hidden.keys()
        return sum(map(namespace.__contains__, hidden)) + sum(map(namespace.__contains__, given))

    def _fresh_segments(self):
        segments = sys.modules.get("rust_hygiene_agent.segments")
        return 0 if segments is None else segments.fresh_bytes()

    def explain(self, budget_s):
        """Facts of tier 1, gathered within `budget_s` seconds of work."""
        from .buffers import PageMap

        self.settle()
        start, size = perf_counter(), resident()
        collecting = gc.isenabled()
        # A collection during the walk would free the very garbage that someone may want explained.
        gc.disable()
        try:
            facts = self._explain(begin() + budget_s * _FOR_WALKS)
        finally:
            if self._census is not None:
                self._census.gates.clear()
            if collecting:
                gc.enable()
        facts["imported"], facts["imports_at_most"] = self._imported()
        collections = gc.get_stats()[-1]["collections"]
        facts["collections"], self._collections = collections - self._collections, collections
        ours = max(0, resident() - size)
        facts["allocators"] = self._allocators.look(PageMap(budget_s * _FOR_ALL), ours)
        facts["took_s"] = round(perf_counter() - start, 6)
        return facts

    def largest(self, most, budget_s):
        """The variables and outputs that hold most, as `(name, type, bytes)`.

        What was known of a variable where time or memory does not last.
        """
        from .holders import output_history
        from .kinds import type_name
        from .sizing import Walker

        namespace, shells = self._shell.user_ns, self.shell_names()
        walker = Walker(perf_counter() + budget_s, (id(namespace), id(self._shell), id(self)))
        found = []
        for name in list(namespace):
            if type(name) is not str or name in shells:
                continue
            value = namespace.get(name)
            try:
                size = self._sizes.get(name, (0, 0))[0] if walker.out_of_time else walker.size(value)[0]
            except MemoryError:
                size = self._sizes.get(name, (0, 0))[0]
            if size >= _WORTH_TELLING:
                found.append((name, type_name(type(value)), size))
        for name, _, value in output_history(self._shell):
            size = 0 if walker.out_of_time else walker.size(value)[0]
            if size >= _WORTH_TELLING and name.startswith("Out["):
                found.append((name, type_name(type(value)), size))
        found.sort(key=lambda row: -row[2])
        return found[:most]

    def _explain(self, deadline):
        from .habits import Habits
        from .holders import Outputs, traceback_rows
        from .sizing import Walker

        shell = self._shell
        namespace = shell.user_ns
        shells = self.shell_names()
        census = self._census
        if census is None:
            from .census import Census

            census = self._census = Census(shell)
            self._outputs = Outputs()
        walker = Walker(deadline, self.foreign_ids(), census.gates)
        found = census.registered(walker, namespace)
        names = [name for name in list(namespace) if type(name) is str and name not in shells]
        # In the order of the namespace, so that what two names share always counts for the same one.
        names.sort(key=lambda name: self._sizes.get(name, (0, 0))[1] > SLOW and name not in self._changed)
        variables = []
        habits = Habits(namespace)
        census.gates.named = frozenset(id(namespace.get(name)) for name in names)
        for name in names:
            value = namespace.get(name)
            alone = sys.getrefcount(value) == _alone
            walked = walker.objects
            census.gates.root = name
            held_before = self._held_before(walker, name, value)
            size, gpu, at_least = _size(walker, value, habits.memo(name, value), census.gates)
            if walker.out_of_time and walker.objects == walked:
                continue  # not reached: whatever was known of it stands
            if held_before is not None:
                before, on_gpu, more = held_before
                size, at_least = size + before, at_least or more
                gpu = {device: gpu.get(device, 0) + on_gpu.get(device, 0) for device in {**on_gpu, **gpu}}
            row = self._variable(
                name,
                value,
                size,
                gpu,
                at_least,
                walker.objects - walked,
                held_before and held_before[0],
                habits,
            )
            if row is not None:
                if alone and not _is_shared(type(value)):
                    row["alone"] = True
                variables.append(row)
        for name in self._dropped:
            before, on_gpu = self._sizes.pop(name, (0, 0))[0], self._on_gpu.pop(name, {})
            if self._parts is not None:
                self._parts.forget((name,))
            if before or on_gpu:
                variables.append(_row(name, "", "", 0, before, "dropped", False, {}, on_gpu))
        for name in self._sizes.keys() - namespace.keys():
            del self._sizes[name]
            self._on_gpu.pop(name, None)
        census.gates.root = ""
        found += census.behind_gates(namespace, names, self._new | self._changed, deadline)
        found += self._segments()
        # From here on the walker meets only what no name of the user's reaches.
        sampled = walker.sampled
        holders = [
            *self._outputs.rows(shell, walker, sampled, self._holder),
            *traceback_rows(shell, walker, sampled, self._holder),
        ]
        for row in found:
            if row["bytes"] >= SMALL or row.get("gpu") or row["kind"] in COUNTED:
                row["before"] = self._holders.get(_key(row), 0)
                holders.append(row)
        known = {_key(row) for row in holders}
        if not walker.out_of_time:
            holders += [
                self._holder(kind, name, [], "", "", 0, {}, False)
                for kind, name in self._holders.keys() - known
            ]
            self._holders = {}
        self._holders.update({_key(row): row["bytes"] for row in holders if row["bytes"]})
        variables.sort(key=lambda row: (-_moved(row), -row["bytes"]))
        holders.sort(key=lambda row: -row["bytes"] - sum(row.get("gpu", {}).values()))
        return {
            "complete": not walker.out_of_time,
            "variables": variables[:REPORTED],
            "holders": holders[:REPORTED],
        }

    def _segments(self):
        segments = sys.modules.get("rust_hygiene_agent.segments")
        sizes = {} if segments is None else segments.forgotten()
        if not sizes:
            return []
        row = self._holder(
            "segments", "/dev/shm", list(sizes)[:LISTED], "", "", sum(sizes.values()), {}, False
        )
        return [{**row, "count": len(sizes)}]

    def _imported(self):
        """(the packages that were loaded since the cell began, as far as the order of loading tells; bytes that they can have taken, 0
        if there is no saying)."""
        new = [name.partition(".")[0] for name in list(sys.modules)[self._modules :] if type(name) is str]
        new = [name for name in new if name != __package__]
        packages = dict.fromkeys(new)
        is_small = packages.keys() <= _SMALL
        return list(packages)[:LISTED], len(new) * MODULE if is_small else 0

    def _held_before(self, walker, name, value):
        """What a container that was never sized held before the cell made it longer: its first items. None for others."""
        length = self._names.lengths_before.get(name)
        if length is None or name in self._sizes or name in self._new or name not in self._changed:
            return None
        if type(value) is list:
            first = value[:length]
        elif type(value) is dict:
            first = [part for item in islice(value.items(), length) for part in item]
        else:
            return None
        size, gpu, at_least = walker.size(first)
        return max(0, size - sys.getsizeof(first)), gpu, at_least

    def _variable(self, name, value, size, gpu, at_least, objects, held_before, habits):
        known, gpu_before = self._sizes.get(name), self._on_gpu.pop(name, {})
        if gpu and len(self._on_gpu) < REMEMBERED:
            self._on_gpu[name] = gpu
        if known is not None or len(self._sizes) < REMEMBERED:
            self._sizes[name] = (size, objects)
        if name in self._new:
            change, before = "new", 0
        elif known is None:
            # First seen after a cell that moved little: what it held before this cell is not known, but for its items.
            change, before = "grown", (held_before or 0) if name in self._changed else size
            gpu_before = {} if name in self._changed else gpu
            if size < before:
                change = "shrunk"
        else:
            before = known[0]
            change = "grown" if size >= before else "shrunk"
        grew = size - before >= _GREW
        parts = self._grown_parts(name, value, size) if grew else []
        part = _part_that_grew(parts)
        if abs(size - before) < NOISE and gpu == gpu_before:
            return None
        row = _row(name, *_describe(value), size, before, change, at_least, gpu, gpu_before)
        if part is not None:
            of = "private" if part[0] in self._parts.private else type(part[1]).__name__
            row["part"], row["part_type"] = part[0], of if len(parts) == 1 else "registry"
            row["callables"] = _holds_callables(part)
        if grew and all(habits.is_bounded(name, value, one) for one in parts or [None]):
            row["bounded"] = True
        return row

    def _grown_parts(self, name, value, size):
        if self._parts is None:
            from .parts import Parts

            self._parts = Parts()
        return self._parts.grown(name, value, size)

    def _holder(self, kind, name, names, type_name, detail, size, gpu, at_least):
        row = {"kind": kind, "name": name, "names": names, "type": type_name, "detail": detail, "bytes": size}
        row["before"] = self._holders.get((kind, name), 0)
        row["at_least"] = at_least
        row["maybe_shared"] = False
        if gpu:
            row["gpu"] = gpu
        return row

    def foreign_ids(self):
        """Ids of what belongs to nobody: who reaches it does not hold it."""
        shell = self._shell
        namespace = shell.user_ns
        ours = (shell, namespace, shell.user_ns_hidden, shell.history_manager, namespace.get("_oh"), self)
        return set(map(id, ours))

    def shell_names(self):
        """Names of the namespace that are not the user's."""
        from .holders import shell_names

        namespace = self._shell.user_ns
        shells = shell_names(self._shell)
        shells.update(name for name, key in self._given.items() if id(namespace.get(name, _missing)) == key)
        return shells

    def _is_shells(self, name):
        """True for one of `shell_names`."""
        value, hidden = self._shell.user_ns.get(name, _missing), self._shell.user_ns_hidden
        return (name in hidden and hidden[name] is value) or self._given.get(name) == id(value)

    def _is_shells_form(self, name):
        return name in self._given or (
            name[:1] == "_" and (name[1:].lstrip("_i").isdecimal() or not name.strip("_i"))
        )


def _part_that_grew(parts):
    """The only part of an object that grew, or that of several which holds callbacks: the others are a registry's own lists of them.

    Such a part cannot just be emptied.
    """
    if len(parts) > 1:
        parts = [one for one in parts if _holds_callables(one)]
    return parts[0] if len(parts) == 1 else None


def _holds_callables(part):
    from .own_modules import holds_callables

    return holds_callables(part[1])


def _size(walker, value, memo, gates):
    """What the walker says of a variable; a cache within is walked first, so that its size is known."""
    if memo is None:
        return walker.size(value)
    expression, container = memo
    inner, on_gpu, some = walker.size(container)
    gates.memo(expression, container, inner, on_gpu)
    size, gpu, at_least = walker.size(value)
    gpu = {device: gpu.get(device, 0) + on_gpu.get(device, 0) for device in {**on_gpu, **gpu}}
    return size + inner, gpu, at_least or some


def _references():
    """References to a value that only its name and a local variable hold, as `getrefcount` counts them."""
    namespace = {"name": object()}
    value = namespace.get("name")
    return sys.getrefcount(value)


_alone = _references()


def _is_shared(kind):
    """Whether things of this class lead to more than what is theirs: deleting their name frees nothing of that."""
    if any(kind is one for one in (FunctionType, BuiltinFunctionType, MethodType)):
        return True
    return derives(kind, type) or derives(kind, ModuleType)


def _row(name, type_name, detail, size, before, change, at_least, gpu, gpu_before):
    row = {
        "name": name,
        "type": type_name,
        "detail": detail,
        "bytes": size,
        "before": before,
        "change": change,
        "at_least": at_least,
    }
    if gpu or gpu_before:
        row.update(gpu=gpu, gpu_before=gpu_before)
    return row


def _moved(row):
    """Bytes by which a variable changed, wherever they are."""
    gpu, before = row.get("gpu", {}), row.get("gpu_before", {})
    return abs(row["bytes"] - row["before"]) + sum(
        abs(gpu.get(device, 0) - before.get(device, 0)) for device in {**gpu, **before}
    )


def _key(row):
    return row["kind"], row["name"]


def _error_id():
    error = getattr(sys, "last_value", None)
    return None if error is None else id(error)


def _describe(value):
    from .describe import describe

    return describe(value)
