"""The cleanup steps that let go of what Python holds; those that speak to allocators are in `pools.py`.

A step has `offer()`, which returns None where there is nothing to do, else any of `bytes`, `seconds` and `refusal`; and `run(limits)`,
which returns the bytes of GPU memory that it gave back, or None, or {"host": bytes that other processes gave back}.
"""

import gc
import sys
import time
import weakref
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType

from . import holders
from .cleaning import Refused
from .kinds import derives, module_of, mro_of, type_name

_clock = time.perf_counter
_bases = type.__dict__["__bases__"].__get__
_PER_BLOCK = 75e-9  # seconds of a full collection for each block of memory, until one has been timed


def all_steps(kernel):
    """{name: step}."""
    from . import pools

    return {
        "clear_traceback": ClearTraceback(kernel),
        "clear_out": ClearOut(kernel),
        "figures": Figures(kernel),
        "gc": Collect(kernel),
        "torch_cache": pools.TorchCache(),
        "pinned_cache": pools.PinnedCache(),
        "cupy_pool": pools.CupyPool(),
        "idle_workers": pools.IdleWorkers(),
        "arrow_pool": pools.ArrowPool(),
        "allocator_purge": pools.AllocatorPurge(),
        "malloc_trim": pools.MallocTrim(),
    }


def matches(text, patterns):
    """Whether one of the patterns, in which `*` stands for any characters, is the text."""
    import re

    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) for pattern in patterns
    )


def is_kept_type(value, limits):
    """Whether the value's class, or one that it derives from, is to be left alone."""
    if not limits.keep_types:
        return False
    return any(
        matches(name, limits.keep_types)
        for kind in mro_of(type(value))
        for name in (type_name(kind), f"{module_of(kind)}.{type_name(kind)}")
    )


# ---------------------------------------------------------------------- dead cycles


class Collect:
    """A full collection.

    Where the program lets Python collect by itself, a collection may come at any moment anyway, and one in an idle moment is
    nothing that it could notice. Where it has switched that off, only a collection is done that runs nothing of the program's:
    no dead object has a finaliser or a weak reference, and nothing is called back.
    """

    def __init__(self, kernel):
        self._kernel = kernel
        self._per_block = _PER_BLOCK

    def offer(self):
        """How long it would take; what it frees is known only afterwards."""
        return {"seconds": self._seconds()}

    def _seconds(self):
        return self._per_block * sys.getallocatedblocks()

    def run(self, limits):
        """Collects the generations one after the other, as long as no request comes."""
        if not limits.collecting:
            self._make_sure(limits)
        if gc.get_debug() & gc.DEBUG_SAVEALL:
            raise Refused("gc.DEBUG_SAVEALL is set: a collection would free nothing")
        self._leave_warnings_to_python(limits)
        blocks = sys.getallocatedblocks()
        for generation in (0, 1):
            gc.collect(generation)
            limits.check()
        began = _clock()
        gc.collect()
        self._per_block = max(_PER_BLOCK / 8, (_clock() - began) / max(blocks, 1))

    def _leave_warnings_to_python(self, limits):
        """Refuses if a dead coroutine was never awaited: a warning of it would be printed, under a cell that has long ended."""
        from .dead import Objects

        coroutines = [obj for obj in gc.get_objects() if type(obj) is CoroutineType]
        waiting = {id(one) for one in coroutines if getcoroutinestate(one) == CORO_CREATED}
        del coroutines
        if waiting and any(id(obj) in waiting for obj in Objects(limits.check).dead()):
            raise Refused("a coroutine that was never awaited would be collected, with a warning")

    def _make_sure(self, limits):
        from .dead import Objects

        if gc.callbacks:
            raise Refused("the program has switched the collector off and listens to it (gc.callbacks)")
        if others := self._kernel.threads_of_the_program():
            names = ", ".join(thread.name for thread in others[:3])
            raise Refused(f"the program has switched the collector off and runs threads ({names})")
        finding = _noticed(Objects(limits.check).dead())
        if finding:
            raise Refused(f"the program has switched the collector off, and collecting would {finding}")


def _of_bases(obj):
    """Weak references to a class that are not the program's: its bases know it, which shows only where a base is the program's."""
    kind = type(obj)
    if not derives(kind, type):
        return 0
    if module_of(obj) != "__main__":
        return sys.maxsize  # of a library, which made it and let it go by itself
    bases = _bases(obj)
    return 0 if any(module_of(base) == "__main__" for base in bases) else 1


def _is_of_shell(kind):
    """Whether a class is IPython's or ours."""
    return module_of(kind).partition(".")[0] in ("IPython", "traitlets", "rust_hygiene_agent")


def _noticed(dead):
    """What of the program would run or show if these objects were freed; None if nothing."""
    kinds = {}
    for obj in dead:
        if _is_of_shell(type(obj)):
            continue  # the shell's own garbage; the program knows nothing of it
        references = weakref.getweakrefcount(obj)
        if references > _of_bases(obj):
            return f"end weak references to {type_name(type(obj))}"
        kinds[type(obj)] = None
    # What they hold that no collector tracks goes with them.
    kinds.update(dict.fromkeys(map(type, gc.get_referents(*dead))))
    for kind in kinds:
        if not _is_of_shell(kind) and any("__del__" in vars(cls) for cls in mro_of(kind)):
            return f"run the finaliser of {type_name(kind)}"
    return None


# ---------------------------------------------------------------------- what the shell and pyplot keep


def _user_names(shell, facts):
    shells = facts.shell_names() if facts is not None else holders.shell_names(shell)
    namespace = shell.user_ns
    return [name for name in list(namespace) if type(name) is str and name not in shells]


def _walked(kernel, limits):
    """A walker that has been through the user's variables: what it meets next, only holders hold."""
    from .clock import begin
    from .sizing import Walker

    shell = kernel.shell
    left = 60 if limits.deadline is None else max(0.0, limits.deadline - _clock())
    deadline = begin() + left
    foreign = map(
        id,
        (shell, shell.user_ns, shell.user_ns_hidden, shell.history_manager, shell.user_ns.get("_oh"), kernel),
    )
    walker = Walker(deadline, foreign)
    for name in _user_names(shell, kernel.facts):
        walker.size(shell.user_ns.get(name))
        limits.check()
    return walker


class ClearOut:
    """Entries of the output history that are large and that no other name reaches."""

    def __init__(self, kernel):
        self._kernel = kernel

    def offer(self):
        """Whether there are any; sizes are for the step."""
        return {} if holders.output_history(self._kernel.shell) else None

    def run(self, limits):
        """Forgets them under all their names."""
        walker = _walked(self._kernel, limits)
        shell = self._kernel.shell
        for name, names, value in holders.output_history(shell):
            limits.check()
            every = [name, *names]
            if matches_any(every, limits) or is_kept_type(value, limits) or _of_kept_cell(every, limits):
                walker.size(value)
                continue
            size, gpu, _ = walker.size(value)
            if size + sum(gpu.values()) >= limits.out_bytes:
                for one in every:
                    _forget(shell, one, value)
                last = getattr(shell, "last_execution_result", None)
                if getattr(last, "result", None) is value:
                    last.result = None


def matches_any(names, limits):
    """Whether one of the names is to be left alone."""
    return any(matches(name, limits.keep_names) for name in names)


def _of_kept_cell(names, limits):
    numbers = [name[4:-1] for name in names if name.startswith("Out[")]
    return any(number.isdecimal() and int(number) in limits.keep_cells for number in numbers)


def _forget(shell, name, value):
    """Takes one name of an output away, if it still is that output's."""
    if name.startswith("Out["):
        outputs, key = shell.user_ns.get("_oh"), int(name[4:-1])
    elif name.startswith("displayhook."):
        key = name.partition(".")[2]
        if getattr(shell.displayhook, key, None) is value:
            setattr(shell.displayhook, key, "")
        return
    elif name.startswith("user_ns_hidden["):
        outputs, key = shell.user_ns_hidden, name[len("user_ns_hidden['") : -2]
    else:
        outputs, key = shell.user_ns, name
    if outputs is None or outputs.get(key) is not value:
        return
    if key in holders.UNDERSCORES:
        outputs[key] = ""  # as it is before the first result
    else:
        del outputs[key]


class ClearTraceback:
    """The last exception, whose frames keep their variables."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._kept = None  # id of the exception of a kept cell
        self._before = None  # and of the one before that cell

    def _last(self):
        found = holders.last_exception(self._kernel.shell)
        return None if found is None else id(found[2])

    def kept_cell_begins(self):
        """Notes which exception is there already."""
        self._before = self._last()

    def kept_cell_is_over(self):
        """Another one is the cell's."""
        last = self._last()
        if last is not None and last != self._before:
            self._kept = last

    def offer(self):
        """Whether there is one."""
        last = self._last()
        if last is None:
            self._kept = None
            return None
        return {"refusal": "the last exception is that of a kept cell"} if last == self._kept else {}

    def run(self, limits):
        """Forgets it in every place, if its frames hold much that no variable does."""
        shell = self._kernel.shell
        found = holders.last_exception(shell)
        if found is None:
            return
        _, _, error, traceback, roots = found
        del found
        if is_kept_type(error, limits):
            raise Refused(f"{type_name(type(error))} is kept by policy.keep_types")
        walker = _walked(self._kernel, limits)
        total = 0
        for root in (*reversed(list(holders.frames(traceback))), *roots):
            size, gpu, _ = walker.size(root)
            total += size + sum(gpu.values())
        del walker, root, roots, traceback, error
        if total < limits.traceback_bytes:
            raise Refused("the last exception holds less than policy.traceback_bytes")
        forget_last_exception(shell)


def forget_last_exception(shell):
    """Takes the last exception out of every place that keeps it."""
    for name in ("last_exc", "last_value", "last_traceback", "last_type"):
        if hasattr(sys, name):
            delattr(sys, name)
    printer = getattr(shell, "InteractiveTB", None)
    for name in ("tb", "etype", "evalue", "value"):
        if getattr(printer, name, None) is not None:
            setattr(printer, name, None)
    if getattr(getattr(printer, "pdb", None), "botframe", None) is not None:
        printer.pdb = None
    result = getattr(shell, "last_execution_result", None)
    if getattr(result, "error_in_exec", None) is not None:
        result.error_in_exec = result.error_in_exec.with_traceback(None)


class Figures:
    """Figures of pyplot that nothing but pyplot's own registry keeps."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._kept = set()  # numbers of figures that kept cells made
        self._there = set()

    def kept_cell_begins(self):
        """Notes which figures are there already."""
        self._there = set(self._registry() or ())

    def kept_cell_is_over(self):
        """The others are the cell's."""
        figures = set(self._registry() or ())
        self._kept = (self._kept & figures) | (figures - self._there)

    @staticmethod
    def _registry():
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        figures = getattr(getattr(helpers, "Gcf", None), "figs", None)
        return figures or None

    def offer(self):
        """Whether there are figures at all."""
        return None if self._registry() is None else {}

    def run(self, limits):
        """Closes those."""
        from .dead import Objects

        figures = self._registry()
        if figures is None:
            return
        pyplot = sys.modules.get("matplotlib.pyplot")
        kept = set()
        for number, manager in list(figures.items()):
            figure = manager.canvas.figure
            names = (figure.get_label(), str(number))
            if matches_any(names, limits) or is_kept_type(figure, limits):
                kept.add(number)
            elif number in self._kept:
                kept.add(number)
            del figure, manager
        alone = Objects(limits.check).only_in(figures)
        numbers = [
            n for n, manager in figures.items() if n not in kept and id(manager.canvas.figure) in alone
        ]
        del alone
        for number in numbers:
            pyplot.close(number)
