"""When memory is used up: the cell gets a `MemoryError` that says so, and what it held is let go.

The front keeps the limit (`RLIMIT_DATA`) and writes what it knows to a file in memory, the board. A ballast is mapped and never
touched; it is given back first when an error is to be shown, so that showing it has memory. Where memory is short, what the C
allocator has free goes back to the system before a cell begins, and before a cell is stopped for it.
"""

import gc
import json
import os
import re
import resource
import signal
import sys

from .libc import give_back, mapping, unmap

_loads, _open, _pread, _pwrite = json.loads, open, os.pread, os.pwrite

_getrlimit, _setrlimit = resource.getrlimit, resource.setrlimit
_DATA, _INFINITY = resource.RLIMIT_DATA, resource.RLIM_INFINITY

BALLAST = 48 << 20
ERROR_PATH = 64 << 20  # what showing an error may take beyond the limit; as in the front
SIGNAL = signal.SIGRTMAX - 5  # as in the front
_getframe = sys._getframe
_PAGE = resource.getpagesize()
_FRAME = 320  # bytes that leaving one call takes, for its line in the traceback
_FEW = 50_000  # calls; what leaving them takes is nothing to speak of
_STACK = 16 << 20
_DEEP = 200  # frames; a longer traceback is cut in its middle before it is formatted
_ENDS = 20
_CHAIN = 20
_LISTED = 6
_BUDGET_S = 0.15
_SHORT, _TEXT = 1, 2  # where the board has the flag that memory is short, and where its text begins
_ENOUGH = 8 << 20  # bytes below the cap: a cell that would be stopped goes on
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# How libraries say how much they wanted.
_WANTED = (
    re.compile(r"Unable to allocate ([\d.]+) ?([KMGT]?)i?B", re.I),  # numpy
    re.compile(
        r"(?:tried to allocate|malloc of size|realloc.* to size|allocating) ([\d.]+) ?([KMGT]?)i?B?", re.I
    ),
)
_SAID_BY_LIBRARIES = (
    "can't allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "RESOURCE_EXHAUSTED: Out of memory",
    "Cannot allocate memory",
)


def is_memory_error(error):
    """True if host memory was refused: by Python, or by a library in its own words."""
    if isinstance(error, MemoryError):
        return True
    kind = type(error)
    if kind.__name__ == "ResourceExhaustedError":
        return True
    if isinstance(error, OSError):
        return error.errno == 12
    if not isinstance(error, (RuntimeError, ValueError)) or "cuda" in kind.__name__.lower():
        return False
    try:
        text = str(error)[:2000]
    except Exception:
        return False
    return any(words in text for words in _SAID_BY_LIBRARIES)


class Guard:
    """The agent's part of the guard."""

    def __init__(self, kernel, board_fd):
        self._kernel = kernel
        self._fd = board_fd
        self._ballast = None
        self._is_released = True
        self._is_eased = False  # for the error that is shown the limit is higher
        self.is_telling = False  # an error of memory is being shown
        self._breach = None
        os.set_inheritable(board_fd, False)
        self.arm()

    def arm(self):
        """Before a cell: maps the ballast, if there is room for it, and gives back what is free where memory is short."""
        self._is_eased = self.is_telling = False
        if self._is_short():
            self._make_room()
        self._flag(b"\0")  # also after a forked copy, which has the same board, has shown an error
        if self._is_released:
            self._ballast = mapping(BALLAST)
            self._is_released = self._ballast is None  # the next cell tries again

    def release(self):
        """Gives the ballast back, and tells the front that an error is shown."""
        self._flag(b"\1")
        if not self._is_released:
            self._is_released = True
            unmap(self._ballast, BALLAST)
        if not self._is_eased:
            self._is_eased = True
            _ease(ERROR_PATH)

    def _is_short(self):
        try:
            return _pread(self._fd, 1, _SHORT) == b"\1"
        except OSError:
            return False  # the user closed it

    def _make_room(self):
        """Gives back what the C allocator has free; how many bytes are resident no more."""
        before = _resident()
        give_back()
        freed = max(0, before - _resident())
        if freed:
            _ease(freed)
        return freed

    def _flag(self, value):
        try:
            _pwrite(self._fd, value, 0)
        except OSError:
            pass  # the user closed it

    def board(self):
        """What the front knows; empty before its first look."""
        try:
            return _loads(_pread(self._fd, 4096, _TEXT))
        except (OSError, ValueError, MemoryError):
            return {}

    # ------------------------------------------------------------------ too much memory that no limit sees

    def breach(self):
        """The error to raise in a cell that holds too much; None if it does no more once what is free has gone back."""
        board = self.board()
        if board.get("cap"):
            excess = board.get("held", 0) - board["cap"]
            if 0 < excess + _ENOUGH <= self._make_room():
                return None
        self.release()
        self._breach = MemoryError(_stopped(self.board()))
        return self._breach

    def stop_others(self):
        """Raises `MemoryError` in the program's threads if the front wants it: it is they who take the memory, perhaps."""
        if not self.board().get("others"):
            return
        from ctypes import c_ulong, py_object, pythonapi

        for thread in self._kernel.threads_of_the_program():
            if not getattr(thread, "is_pydev_daemon_thread", False):
                pythonapi.PyThreadState_SetAsyncExc(c_ulong(thread.ident), py_object(MemoryError))

    def is_only_asked(self):
        """Whether the signal asks for no more than to see if the cell can still leave the calls that it is in."""
        return self.board().get("left", 1) > 0

    def depth(self):
        """The error to raise where leaving all calls may take what is left. Without memory for that, Python fails, or dies."""
        depth = _FEW
        try:
            while depth * _FRAME <= self.board().get("left", 0):
                _getframe(depth)
                depth += depth // 4
            _getframe(depth)
        except ValueError:
            return None
        told = f"more than {depth:,} calls are open, and what is left is needed to leave them"
        self.release()
        self._breach = MemoryError(_stopped(self.board(), f"{told}; "))
        return self._breach

    def take_breach(self):
        """The error that was raised and may have become something else on its way; once."""
        breach, self._breach = self._breach, None
        return breach

    def breach_by_interrupt(self):
        """The error that an interrupt of the guard's stands for: compiled code heeds nothing else. None if it has sent none."""
        board = self.board()
        return MemoryError(_stopped(board)) if board.get("interrupted") else None

    # ------------------------------------------------------------------ telling

    def concerns(self, error):
        """Whether an exception is one of memory."""
        if is_memory_error(error):
            return True
        # The stack of a thread is memory too.
        no_thread = type(error) is RuntimeError and error.args == ("can't start new thread",)
        return no_thread and self.board().get("left", _STACK) < _STACK

    def prepare(self, error, trace):
        """Before an error of memory is formatted."""
        self.is_telling = True
        self.release()
        _shorten(trace)
        for shown in _chain(error):
            _shorten(shown.__traceback__)
        if isinstance(error, MemoryError) and not error.args:
            error.args = (describe(self.board()) or "memory is used up",)

    def story(self, error):
        """Lines for the traceback: what the limit is, what was asked for, what holds memory, what would free it."""
        board = self.board()
        lines = [""]
        told = describe(board)
        wanted = _wanted(error)
        if told:
            lines.append(told[0].upper() + told[1:] + ".")
        if wanted:
            left = board.get("left")
            rest = f", {human(max(0, left))} could be had" if left is not None else ""
            lines.append(f"The cell asked for {human(wanted)}{rest}.")
        held = self._largest()
        if held:
            lines.append("Memory is held by")
            width = max(len(name) for name, _, _ in held)
            lines += [f"    {name:<{width}}  {human(size):>9}  {kind}" for name, kind, size in held]
            lines.append(f"To free it: {_to_free([name for name, _, _ in held[:3]])}")
        if board.get("cap"):
            lines.append(
                "To allow a cell more: %%hygiene cap=… above it; for good: guard.cap in the configuration."
            )
        lines.append("What this cell held was let go; all variables are still there.")
        return lines

    def _largest(self):
        facts = self._kernel.facts
        if facts is None:
            return []
        try:
            return facts.largest(_LISTED, _BUDGET_S)
        except Exception:
            return []

    def cut(self, error):
        """Lets go of what the frames of an error hold, which has been shown."""
        try:
            self._cut(error)
        finally:
            self.is_telling = False

    def _cut(self, error):
        for shown in _chain(error):
            trace = shown.__traceback__
            if trace is not None:
                trace.tb_next = None
            shown.__traceback__ = None
        trace = getattr(sys, "last_traceback", None)
        if trace is not None:
            trace.tb_next = None
        presenter = getattr(self._kernel.shell, "InteractiveTB", None)
        if getattr(presenter, "tb", None) is not None:
            presenter.tb.tb_next = None
        gc.collect()  # whoever formatted the frames has left cycles with them
        give_back()  # or the next cell could not have what this one held


def _chain(error):
    """An error and those that it came from, as far as they are shown."""
    for _ in range(_CHAIN):
        if error is None:
            return
        yield error
        error = error.__context__ if error.__cause__ is None else error.__cause__


def _shorten(trace):
    """A recursion that used up the memory has millions of frames: the first and the last tell enough."""
    if trace is None:
        return
    first, count = trace, 0
    last = []
    while trace is not None:
        count += 1
        last.append(trace)
        if len(last) > 2 * _ENDS:
            del last[:_ENDS]
        trace = trace.tb_next
    if count <= _DEEP:
        return
    for _ in range(_ENDS):
        first = first.tb_next
    first.tb_next = last[-_ENDS]


def _to_free(names):
    """What to type for that: variables go with `del`, outputs with a step."""
    variables = [name for name in names if not name.startswith("Out[")]
    ways = [f"del {', '.join(variables)}"] if variables else []
    if len(variables) < len(names):
        ways.append("%hygiene clean clear_out")
    return "; ".join(ways)


def _ease(size):
    """Raises the limit. The front does the same with its next look, which may be too late."""
    try:
        soft, hard = _getrlimit(_DATA)
        if soft != _INFINITY:
            _setrlimit(_DATA, (soft + size, hard))
    except (OSError, ValueError):
        pass


def _resident():
    """Bytes of the process that are resident; 0 where that cannot be read."""
    try:
        with _open("/proc/self/statm", "rb", 0) as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError):
        return 0


def _stopped(board, more=""):
    return f"the cell was stopped: {more}{describe(board)}"


def describe(board):
    """The state of memory as a part of a sentence; empty if it is not known."""
    held, cap, room, limit = (board.get(key) for key in ("held", "cap", "room", "limit"))
    if held is None:
        return ""
    if cap and (room is None or cap - held <= room):
        return f"the session holds {human(held)} of the cap of {human(cap)}"
    return f"the session holds {human(held)}, and {human(room)} of {human(limit)} are left on the machine"


def _wanted(error):
    try:
        text = str(error)[:2000]
    except Exception:
        return None
    for pattern in _WANTED:
        found = pattern.search(text)
        if found:
            return int(float(found[1]) * _UNITS[found[2].lower()])
    return None


def human(size):
    """A size as a person reads it."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1000 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1024
    return ""
