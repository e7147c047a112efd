"""What the user's variables hold: each alone, how much of that no other one holds, and who else holds the rest.

Asked for by a person (`%hygiene vars`), so it may take longer than the walk after a cell; it has a deadline all the same. What a
variable holds exclusively is found by walking all others first. For many variables that is done by halves: the walk through
one half is the start of the search in the other.
"""

import sys
from time import perf_counter

from .describe import describe
from .holders import last_exception, output_history
from .kinds import pairs
from .sizing import Walker

BUDGET_S = 2.0
LISTED = 20  # variables that are looked at closely
CANDIDATES = 80  # variables of which one may turn out to be among the largest
NOTED = 64 * 1024  # bytes; less is not worth a word about who shares it
SHARERS = 4
_PLAIN = frozenset(
    map(id, (int, float, complex, bool, str, bytes, type(None), type, type(sys), type(lambda: 0)))
)


def holdings(shell, budget_s):
    """The largest variables as plain data, found within about `budget_s` seconds. Call it through `unseen`."""
    return _Survey(shell, perf_counter() + budget_s).result()


class _Survey:
    """One look at all names. Lives only as long as the question: it holds the user's objects."""

    def __init__(self, shell, deadline):
        facts = shell.kernel.facts
        self.deadline = deadline
        self._fresh = Walker(deadline, facts.foreign_ids())
        namespace = shell.user_ns
        shells = facts.shell_names()
        self.roots = {}  # id -> (names, value); names of one object are one root
        count = 0
        for name, value in pairs(namespace):
            if type(name) is str and name not in shells:
                self.roots.setdefault(id(value), ([], value))[0].append(name)
                count += 1
        self.names = count
        self.roots = list(self.roots.values())
        self.holders = [(name, [value]) for name, _, value in output_history(shell)]
        exception = last_exception(shell)
        if exception is not None:
            self.holders.append((exception[0], exception[4]))
        self.complete = True

    def walker(self):
        """A walk that has seen nothing."""
        return self._fresh.fork()

    def result(self):
        total, first = self._in_order()
        largest = self._alone(first)
        base = self.walker()
        listed = {id(value) for _, value, *_ in largest}
        for _, value in self.roots:
            if id(value) not in listed:
                base.size(value)
        for _, values in self.holders:
            for value in values:
                base.size(value)
        self.complete &= not base.out_of_time
        exclusive = {}
        self._exclusive([value for _, value, *_ in largest], base, exclusive)
        rows = []
        for names, value, size, gpu, at_least in largest:
            own = exclusive.get(id(value))
            kind, detail = describe(value)
            row = {"name": names[0], "names": names[1:4], "type": kind, "detail": detail, "bytes": size}
            row.update(exclusive=own, at_least=at_least, gpu=sum(gpu.values()))
            rows.append((row, value, 0 if own is None else max(0, size - own)))
        self._sharers(rows)
        return {
            "names": self.names,
            "total": total,
            "complete": self.complete,
            "variables": [row for row, _, _ in rows],
        }

    def _in_order(self):
        """(bytes of all names together, what each holds that no earlier one does)."""
        walker = self.walker()
        sizes = [walker.size(value)[0] for _, value in self.roots]
        self.complete &= not walker.out_of_time
        return sum(sizes), sizes

    def _alone(self, first):
        """The largest variables, each walked as if it were the only one: [(names, value, bytes, gpu, at_least)]."""
        order = sorted(range(len(self.roots)), key=lambda i: -first[i])
        worth = [i for i in order if first[i] >= NOTED or id(type(self.roots[i][1])) not in _PLAIN]
        found = []
        for i in worth[:CANDIDATES]:
            names, value = self.roots[i]
            size, gpu, at_least = self.walker().size(value)
            if at_least and size < first[i]:
                size = first[i]  # there was no time left: what was seen before counts
            found.append((names, value, size, gpu, at_least))
            if perf_counter() > self.deadline:
                self.complete = False
                break
        found.sort(key=lambda row: -(row[2] + sum(row[3].values())))
        return [row for row in found[:LISTED] if row[2] or row[3]]

    def _exclusive(self, values, walker, found):
        """Notes what each value holds that neither `walker` has seen nor another value holds."""
        if not values or walker.out_of_time:
            return
        if len(values) == 1:
            size, _, at_least = walker.size(values[0])
            if not walker.out_of_time:
                found[id(values[0])] = size
            return
        middle = len(values) // 2
        for mine, others in ((values[:middle], values[middle:]), (values[middle:], values[:middle])):
            after = walker.fork()
            for value in others:
                after.size(value)
            self._exclusive(mine, after, found)

    def _sharers(self, rows):
        """Notes who else holds a part of each variable."""
        shared = [(row, value, size) for row, value, size in rows if size >= NOTED]
        if not shared:
            return
        others = [(row["name"], [value]) for row, value, size in rows if size >= NOTED] + self.holders
        listed = {id(value) for _, value, _ in rows}
        others += [(names[0], [value]) for names, value in self.roots if id(value) not in listed][:CANDIDATES]
        for name, values in others:
            if perf_counter() > self.deadline:
                self.complete = False
                return
            walker = self.walker()
            for value in values:
                walker.size(value)
            for row, value, _ in shared:
                if row["name"] == name or walker.out_of_time:
                    continue
                rest = walker.fork().size(value)[0]
                if row["bytes"] - rest >= NOTED:
                    row.setdefault("shared_with", []).append({"name": name, "bytes": row["bytes"] - rest})
        for row, _, _ in shared:
            sharers = row.get("shared_with", [])
            sharers.sort(key=lambda sharer: -sharer["bytes"])
            del sharers[SHARERS:]
