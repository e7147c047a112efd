"""Who else than the user's names keeps objects alive: the output history and the last exception.

Each holder answers with a kind, the name that a person would type, all names under which it holds the object, and roots
for a `Walker` that has already been through the user's variables, so that its size is what only the holder keeps.
"""

import sys
import types

from .clock import now
from .kinds import type_name

SMALL = 4096  # bytes; smaller holders are not worth a line
_SHARE = 0.8  # of the time that is left, for outputs that are known
UNDERSCORES = ("_", "__", "___")


def shell_names(shell):
    """Names of the user's namespace that the shell made and that still are its own.

    A name counts as the shell's while the namespace and the shell's copy of it hold the same object; `_` that the user has
    assigned is the user's.
    """
    namespace, hidden = shell.user_ns, shell.user_ns_hidden
    return {name for name in namespace.keys() & hidden.keys() if namespace[name] is hidden[name]}


def output_history(shell):
    """Holders of kind `out`: [(name, names, value)], one for each object, oldest first."""
    namespace, hidden, hook = shell.user_ns, shell.user_ns_hidden, shell.displayhook
    held = {}  # id -> (value, names); the values keep the ids valid

    def add(value, name):
        if value is not None and value is not outputs:
            held.setdefault(id(value), (value, []))[1].append(name)

    outputs = namespace.get("_oh")
    if type(outputs) is dict:
        for number, value in list(outputs.items()):
            if type(number) is int:
                add(value, f"Out[{number}]")
    for names, where in ((namespace, ""), (hidden, "user_ns_hidden")):
        for name in [name for name in list(names) if type(name) is str and is_output(name)]:
            value = names.get(name)
            if where:
                add(value, f"{where}[{name!r}]")
            elif hidden.get(name) is value or id(value) in held:
                add(value, name)
    for name in UNDERSCORES:
        add(getattr(hook, name, None), f"displayhook.{name}")
    return [(names[0], names[1:], value) for value, names in held.values()]


def is_output(name):
    """Whether IPython keeps results under this name: `_`, `__`, `___`, `_3`."""
    return name in UNDERSCORES or (name[:1] == "_" and name[1:].isdecimal())


def last_exception(shell):
    """The holder of kind `traceback`: (name, names, exception, traceback, roots) or None."""
    roots = []

    def add(name, value):
        if value is not None:
            roots.append((name, value))

    for name in ("last_exc", "last_value", "last_traceback"):
        add(f"sys.{name}", getattr(sys, name, None))
    printer = getattr(shell, "InteractiveTB", None)
    add("InteractiveTB.tb", getattr(printer, "tb", None))
    debugger = getattr(printer, "pdb", None)
    add("InteractiveTB.pdb", getattr(debugger, "botframe", None))
    result = getattr(shell, "last_execution_result", None)
    add("last_execution_result", getattr(result, "error_in_exec", None))
    if not roots:
        return None
    error = next((value for _, value in roots if is_exception(value)), None)
    traceback = next((value for _, value in roots if type(value) is types.TracebackType), None)
    names = [name for name, _ in roots]
    # %debug and the library's own helpers read `sys.last_traceback`; it is what a person knows.
    name = "sys.last_traceback" if "sys.last_traceback" in names else names[0]
    return name, [other for other in names if other != name], error, traceback, [value for _, value in roots]


def is_exception(value):
    """Whether a value is an exception, by its class alone."""
    return any(cls is BaseException for cls in type.__dict__["__mro__"].__get__(type(value)))


def frames(traceback):
    """The frames of a traceback, from the cell inwards."""
    while type(traceback) is types.TracebackType:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def describe(error):
    """The class of an exception as text."""
    return type_name(type(error)) if error is not None else "exception"


# Where a variable was only sampled, an object among those that were skipped may be the holder's too; a large buffer
# is unlikely to be, since few of them make a variable large.


class Outputs:
    """The rows of the output history. What is known of an output stands where time does not last for it."""

    def __init__(self):
        """Nothing is known."""
        self._known = {}  # name -> (id of the value, bytes, bytes by GPU)

    def rows(self, shell, walker, sampled, row):
        """Rows, made by `row`, of what only the history keeps, oldest first. New outputs are walked first, then those that hold least: a
        name that is gone may have left something to them.
        """
        history = output_history(shell)
        age = {name: number for number, (name, *_) in enumerate(history)}
        known, self._known = self._known, {}
        history.sort(key=lambda held: known.get(held[0], (0, -1))[1])
        until = now() + (walker.deadline - now()) * _SHARE
        found = []
        for name, names, value in history:
            in_buffers = walker.buffers.total
            before = known.get(name, (0,))
            if before[0] == id(value):
                size, gpu, at_least = self._again(walker, value, until, *before[1:])
            else:
                size, gpu, at_least = walker.size(value)
            if size or not walker.out_of_time:
                self._known[name] = id(value), size, gpu
            if size >= SMALL or gpu:
                one = row("out", name, names, *_describe(value), size, gpu, at_least)
                one["maybe_shared"] = sampled and walker.buffers.total - in_buffers < size / 2
                found.append(one)
        found.sort(key=lambda one: age[one["name"]])
        return found

    @staticmethod
    def _again(walker, value, until, size, gpu):
        """What an output holds whose bytes are known, as far as there is time for it."""
        walker.on_gpu = {}
        found, reached = walker.within(until, [value])
        if reached and now() < until:
            return found, walker.on_gpu, False
        return max(found, size), walker.on_gpu or gpu, False


def traceback_rows(shell, walker, sampled, row):
    """The row, made by `row`, of what only the last exception keeps."""
    found = last_exception(shell)
    if found is None:
        return []
    name, names, error, traceback, roots = found
    in_buffers = walker.buffers.total
    total, gpu, at_least, largest, where = 0, {}, False, 0, ""
    # From the innermost frame outwards: the shell's own frame at the outer end reaches all others.
    for frame in [*reversed(list(frames(traceback))), *roots]:
        size, on_gpu, more = walker.size(frame)
        total += size
        at_least |= more
        for device, held in on_gpu.items():
            gpu[device] = gpu.get(device, 0) + held
        if size > largest:
            largest = size
            where = f"in {frame.f_code.co_name}" if type(frame) is types.FrameType else ""
    if total < SMALL and not gpu:
        return []
    one = row("traceback", name, names, describe(error), where, total, gpu, at_least)
    one["maybe_shared"] = sampled and walker.buffers.total - in_buffers < total / 2
    return [one]


def _describe(value):
    from .describe import describe

    return describe(value)
