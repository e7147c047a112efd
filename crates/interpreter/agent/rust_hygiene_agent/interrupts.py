"""Interrupts: SIGINT ends the person's code, and nothing else."""

import _thread
import os
import signal
import subprocess
import threading
import time

from IPython.core.displaypub import DisplayPublisher
from IPython.core.events import EventManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.lib.pretty import PrettyPrinter
from traitlets import HasTraits

from . import sigint

# A signal that hits IPython's own code between the request and the person's code comes again after this many seconds.
_AGAIN = 0.001
# Code that is not known to run the person's is interrupted all the same after so many seconds and looks: it may be theirs too. (On a
# busy machine the seconds alone pass between two looks.)
PATIENCE = 0.2
LOOKS = 40
_WEAKREFS = ("weakref.py", "_weakrefset.py")  # what they do when an object goes
_ASYNCIO = (os.path.join("asyncio", "base_events.py"), os.path.join("asyncio", "tasks.py"))
_PYDEVD_WAITS = "_do_wait_suspend"  # the method in which a cell stands at a breakpoint

# Frames that are looked at: only the person's code goes deeper, and each look makes an object of a frame.
_DEEP = 1000
_THEIRS, _IN_WHOLE, _NOBODYS = "the person's", "must come to its end", "nobody's"

_MAIN = threading.main_thread().ident
_clock, _sleep, _kill, _pid = time.monotonic, time.sleep, os.kill, os.getpid
_thread_id = _thread.get_ident


_kept = []  # code whose id is known lives, also if someone puts another function in the place of its own


def _codes(*functions):
    """Ids of the functions' code: to hash the code itself takes long. What this Python or IPython does not have is left out."""
    codes = [function.__code__ for function in functions if hasattr(function, "__code__")]
    _kept.extend(codes)
    return set(map(id, codes))


# A lock that a wait gives back and takes again would be taken twice or not at all; a child that is just made would be known to nobody,
# and go on; what IPython calls before and after each cell would be told as an error of its own.
_WHOLE = _codes(
    threading.Condition._acquire_restore,
    threading.Condition._release_save,
    threading.Condition.__exit__,
    subprocess.Popen.__init__,
    subprocess.Popen.__enter__,
    subprocess.Popen._execute_child,
    InteractiveShell._clear_warning_registry,
    getattr(DisplayPublisher, "_on_pre_execute", None),
    getattr(DisplayPublisher, "_on_post_execute", None),
    # their own errors would take the place of the interrupt: what they undo at their end was not all done
    PrettyPrinter.begin_group,
    PrettyPrinter.end_group,
    getattr(HasTraits.hold_trait_notifications, "__wrapped__", None),
)
# A traceback that is being shown comes out whole. Memory is not given time for that: the traceback itself may hold what is too much.
_WHOLE_FOR_INTERRUPTS = _WHOLE | _codes(InteractiveShell.showtraceback)
_CARE_FOR_INTERRUPTS = _codes(InteractiveShell.run_code, InteractiveShell.debugger, EventManager.trigger)


class Interrupts:
    """The part of the kernel that ends cells. `in_user_code` is true while an interrupt may raise.

    Whoever sets it to false calls `drop_interrupt` and catches what that raises. It does nothing, unless another thread has asked Python to
    raise an interrupt in a subshell: perhaps that has not happened yet, and it must happen there. (To take it back would leave a mark in
    Python up to 3.12 that something is to be raised, which slows it down, and with which traced functions hang in 3.11.) It is C code,
    called in place: a function of ours would be traced.
    """

    drop_interrupt = int
    sigint_handler = None

    def _init_interrupts(self):
        self.interrupts = 0
        self.in_user_code = False
        self.cancelled_by_interrupt = False
        self.cell_is_over = False  # the person's code has ended, and the reply has not gone out
        self._interrupt_pending = False
        self._postponed_at = None  # when an interrupt first found IPython's code instead of the person's
        self._looks = 0  # how often since then
        self._comes_again = None  # (cell, `shows_error`) that our own next signal is meant for
        self.shows_error = False  # an error is being shown

    def expect_interrupts(self):
        """A handler of SIGINT that a cell has installed ends with the cell, as in ipykernel."""
        if _thread_id() == _MAIN and self.sigint_handler is not None:
            sigint.put_in_force(self.sigint_handler)

    def is_to_raise(self, signum, frame):
        """SIGINT ends the cell in hand, and nothing else. True if by an error in this frame, now."""
        if frame is None:
            return True  # the person's code has called the handler
        again, self._comes_again = self._comes_again, None
        cell, is_to_end_showing = again or (self._cells, False)
        if again is not None and not (self.in_user_code and cell == self._cells):
            return False
        if is_to_end_showing and not self.shows_error:
            return False
        if self.in_user_code:
            in_user_code = runs_user_code(frame)
            # What a cell awaits is cancelled, where it is not itself what must come to its end.
            cancels = self._cell_task is not None and not in_user_code and not must_come_to_its_end(frame)
            if cancels and self.cancelled_by_interrupt and _is_theirs(frame, self.shell.user_ns):
                return True  # a callback or another task, which lets the loop not go on: the cancellation cannot come through
            if not in_user_code and not cancels and not self._is_overdue():
                _thread.start_new_thread(self._send_again, (self._cells, is_to_end_showing))
                return False
            if self.shows_error:
                # Python and IPython catch all that an error's `str()` raises, and ask again
                _thread.start_new_thread(self._send_again, (self._cells, True))
            if self.debugger is not None:
                self.debugger.interrupted(_MAIN, frame)
            task = self._cell_task if cancels else None
            if not self.channel.is_busy:
                return self._interrupt(task)
            self.channel.guard_signal(lambda: self._interrupt_late(task))
        elif _is_theirs(frame, self.shell.user_ns):
            # Python prints it and drops it, and what we were at goes on: else a finaliser that waits would end all.
            return True
        elif self.cell_is_over:
            pass  # the front does not know yet; the next cell is not meant
        elif self._handling or self._cell_task is not None or self.channel.readable_now():
            # the request is on its way in: it ends as soon as it begins
            self._interrupt_pending = True
        return False

    def on_memory_signal(self, signum, frame):
        """The front says that the session holds too much: `MemoryError` in the cell, under the same rules.

        The front sends it again as long as that is so, hence nothing is done where it would do harm.
        """
        self.guard.stop_others()
        if not self.in_user_code or self.guard.is_telling:
            return
        if self.guard.is_only_asked():
            error = self.guard.depth()
            if error is not None:
                raise error
            return
        in_user_code = runs_user_code(frame, _WHOLE)
        if self._cell_task is not None and not in_user_code:
            self.channel.guard_signal(lambda: self._stop_for_memory(self._cell_task))
        elif in_user_code:
            self.channel.guard_signal(lambda: self._stop_for_memory(None))

    def _stop_for_memory(self, task):
        if not self.in_user_code:
            return
        error = self.guard.breach()
        if error is None:
            return
        if task is None:
            raise error
        self.cancelled_by_interrupt = True
        self.server.loop.call_soon_threadsafe(task.cancel)

    def _is_overdue(self):
        if self._postponed_at is None:
            self._postponed_at, self._looks = _clock(), 0
        self._looks += 1
        return self._looks > LOOKS and _clock() - self._postponed_at > PATIENCE

    def _send_again(self, cell, is_to_end_showing):
        """In a thread: the signal that hit between IPython's own lines hits the person's code instead."""
        _sleep(_AGAIN)
        if self.in_user_code and self._cells == cell and self.shows_error >= is_to_end_showing:
            self._comes_again = cell, is_to_end_showing
            _kill(_pid(), signal.SIGINT)

    def _interrupt_late(self, task):
        if self._interrupt(task):
            raise KeyboardInterrupt

    def _interrupt(self, task):
        """True if it is up to the caller to raise."""
        if not self.in_user_code:
            return False
        self.interrupts += 1
        self._postponed_at = None
        if task is None:
            return True
        # The cell awaits something. It is cancelled there, as asyncio code expects, and shown as KeyboardInterrupt.
        self.cancelled_by_interrupt = True
        self.server.loop.call_soon_threadsafe(
            task.cancel
        )  # and wakes the loop, which a signal alone does not
        return False

    def _enter_user_code(self):
        self._postponed_at = None
        self.in_user_code = True
        if self._interrupt_pending:
            self._interrupt_pending = False
            self.interrupts += 1
            raise KeyboardInterrupt


def cares_for_interrupts(function):
    """Marks a function that runs the person's code and handles whatever that raises."""
    _CARE_FOR_INTERRUPTS.update(_codes(function))
    return function


def comes_out_whole(function):
    """Marks a function that is not interrupted before its time is up."""
    _WHOLE_FOR_INTERRUPTS.update(_codes(function))
    return function


def runs_user_code(frame, whole=_WHOLE_FOR_INTERRUPTS):
    """True if what is interrupted was called by the person's code, or by something that cares for its exceptions.

    Anywhere else - in IPython's steps from one to the next, or in asyncio's loop - an exception would leave a lock taken, a
    coroutine that is never awaited, a task that no loop runs, or a broken loop; in a finaliser Python would print and drop it;
    where a shell command's child is made or its end is noted, the child would be lost. `whole` are the ids of further code that
    must come to its end.
    """
    return not _debugger_is_at_work(frame) and _look(frame, whole) == _THEIRS


def must_come_to_its_end(frame):
    """True if what is interrupted is code that must come to its end, though something that cares has called it."""
    return not _debugger_is_at_work(frame) and _look(frame, _WHOLE_FOR_INTERRUPTS) == _IN_WHOLE


def _look(frame, whole):
    """Whose code is interrupted: the first that says so, from the top."""
    for _ in range(_DEEP):
        code = frame.f_code
        if id(code) in whole or _is_made_whole(code):
            return _IN_WHOLE
        frame = frame.f_back
        if frame is None:
            return _NOBODYS
        if id(frame.f_code) in _CARE_FOR_INTERRUPTS:
            return _THEIRS
    return _THEIRS


def _is_theirs(frame, namespace):
    """Whether a finaliser runs, or a function of the notebook's, where the cell's own code does not: the loop or a collection has called it."""
    for _ in range(_DEEP):
        if frame is None:
            return False
        if frame.f_code.co_name == "__del__" or frame.f_globals is namespace:
            return True
        frame = frame.f_back
    return False


def _is_made_whole(code):
    name, file = code.co_name, code.co_filename
    return (
        name == "__del__"
        or file.endswith("ptyprocess.py")
        or name in ("remove", "_remove")
        and file.endswith(_WEAKREFS)
        or name == "create_task"
        and file.endswith(_ASYNCIO)
    )


def _debugger_is_at_work(frame):
    """True where pydevd does more than wait for the person: its locks, also those inside of queues and events, would stay taken."""
    top = frame.f_code.co_name
    for _ in range(_DEEP):
        code = frame.f_code
        if id(code) in _CARE_FOR_INTERRUPTS:
            return False
        if "pydevd" in code.co_filename:
            return code.co_name != _PYDEVD_WAITS or top not in (_PYDEVD_WAITS, "wait")
        frame = frame.f_back
        if frame is None:
            return False
    return False
