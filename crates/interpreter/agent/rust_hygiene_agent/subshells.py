"""Subshells: threads that run cells and answer requests beside the main thread (JEP 91).

A subshell is a kernel that has its own requests, loop and cell in hand, and shares all else with the main one. It reads
requests from a line of its own and answers on the common channel. What it prints names its parent (`routing.py`).
"""

import ctypes
import functools
import os
import select
import sys
import threading
import time

from .channel import _exit
from .frames import ChannelClosed, Frames
from .interrupts import PATIENCE, runs_user_code
from .kernel import IPythonKernel
from .serve import Server

_MISSING = object()
_MAIN = threading.main_thread().ident
_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
_INTERRUPT = ctypes.py_object(KeyboardInterrupt)
_NOT_YET = 0.005  # seconds until the next attempt to interrupt a thread that is sending


class PerThread:
    """An attribute of which each subshell has its own value: what a cell leaves for the end of itself."""

    def __init__(self, name, default):
        self._name = name
        self._default = default
        self.of_main = {}
        self._local = threading.local()

    def __get__(self, owner, cls=None):
        if owner is None:
            return self
        values = self._values()
        if id(owner) not in values:
            values[id(owner)] = self._default()
        return values[id(owner)]

    def __set__(self, owner, value):
        self._values()[id(owner)] = value

    def _values(self):
        if threading.get_ident() == _MAIN:
            return self.of_main
        return self._local.__dict__.setdefault("values", {})


def separate(owner, **defaults):
    """Makes attributes of `owner` separate ones for each thread; the main thread keeps what they are now."""
    for name, default in defaults.items():
        if isinstance(vars(type(owner)).get(name), PerThread):
            return  # by an earlier subshell
        now = getattr(owner, name, _MISSING)
        attribute = PerThread(name, default)
        if now is not _MISSING:
            attribute.of_main[id(owner)] = now
        setattr(type(owner), name, attribute)


class Line(Frames):
    """Requests come down its socket; everything is sent on the main channel."""

    def __init__(self, fd, channel):
        super().__init__(fd)
        self.channel = channel
        self.reading = False  # no interrupt may raise
        self.send, self.settle, self.guarded = channel.send, channel.settle, channel.guarded
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        channel.lines.append(self)

    @property
    def forked(self):
        """True in a forked child."""
        return self.channel.forked

    def receive(self):
        """The next frame; wakes now and then, so that an interrupt can end the wait."""
        while not self.wait(0.1):
            pass
        self.reading = True
        try:
            return self.frame()
        finally:
            self.reading = False

    def wait(self, timeout):
        """Waits until there is something to read; False if `timeout` seconds (None: for ever) went by."""
        return bool(self._pending or self._poll.poll(None if timeout is None else timeout * 1000))

    def readable_now(self):
        """True if a frame, or the begin of one, is there."""
        return self.wait(0)

    def is_closed(self):
        """True if the front has deleted the subshell."""
        poll = select.poll()  # another one: the subshell may be waiting in its own
        try:
            poll.register(self.socket.fileno(), select.POLLIN)
        except ValueError:
            return True
        return any(event & (select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))

    def close(self):
        """The subshell is gone."""
        self.channel.lines.remove(self)
        self.socket.close()


class Subshell(IPythonKernel):
    """One subshell. What it has not of its own is the main kernel's."""

    def __init__(self, kernel, subshell_id, fd):
        # not the main kernel's: that makes what there is one of
        self._kernel = kernel
        self.subshell_id = subshell_id
        self.channel = Line(fd, kernel.channel)
        self.server = Server(self.channel, self.readable)
        self.facts = None
        self._allow_stdin = False
        self._backlog = []
        self._cell_task = None
        self._cells = 0
        self._count_before = 0
        self._init_interrupts()
        self._handling = False
        self.raw_parent = None
        self._request = None
        self._interrupted = False
        self.thread = threading.Thread(target=self._run, name=f"subshell-{subshell_id}", daemon=True)

    def __getattr__(self, name):
        return getattr(self._kernel, name)

    @property
    def comm_manager(self):
        """The main kernel's: comms belong to all."""
        return self._kernel.comm_manager

    def _run(self):
        try:
            self.server.serve()
        except ChannelClosed:
            _exit(0)  # the front is gone
        finally:
            if self.server.loop is not None:
                self.server.loop.close()
            self._kernel.subshells.pop(self.subshell_id, None)
            self.channel.close()

    def readable(self):
        """Takes every frame that has come; at the end of the line, ends."""
        try:
            while not self.server.exiting:
                self.take(*self.channel.receive())
                self._take_backlog()
                if not self.channel.has_pending:
                    return
        except ChannelClosed:
            self.server.stop()
        except KeyboardInterrupt:
            pass  # of a cell that had just ended
        except Exception as error:
            self._give_up(error)

    # ------------------------------------------------------------------ where it differs from the main kernel

    def _set_parent(self, parent):
        """Outputs of this thread belong to `parent`; so do those of nobody, unless the main thread runs a cell."""
        self.shell.set_thread_parent(parent)
        if parent["msg_type"] == "execute_request" and self._kernel.raw_parent is None:
            self.shell._parent_of_last_cell = parent

    def _execute(self, request):
        self._request = request.id
        self._settle_interrupt()
        super()._execute(request)
        self._settle_interrupt()

    def _settle_interrupt(self):
        """After an interrupt: nothing is left to be raised.

        Up to CPython 3.12 dropping an exception that another thread was to raise leaves a mark that something waits, which slows
        the interpreter down and makes tracing hang in 3.11. Only an exception that arrives takes the mark away.
        """
        if not self._interrupted or self.in_user_code:
            return
        self._interrupted = False
        self._drop_interrupt = int
        try:
            _raise_in_thread(ctypes.c_ulong(self.thread.ident), _INTERRUPT)
            for _ in range(1000):
                pass
        except KeyboardInterrupt:
            pass

    def _question(self):
        return {"op": "input_request", "id": self._request}

    def idle_work(self):
        """The main thread's, in its own idle time."""

    def settle(self):
        """What start-up left for later is the main kernel's."""
        self._kernel.settle()

    # ------------------------------------------------------------------ interrupts

    def interrupt(self):
        """Ends the cell in hand. Called by another thread: a signal reaches only the main one.

        An exception is raised in the thread with its next step in Python, so not while it waits in C code.
        """
        ident = self.thread.ident
        thread, line, sending = ctypes.c_ulong(ident), self.channel, self.channel.channel
        # C code all through: what was to be raised is not raised on the way to it
        drop = functools.partial(_raise_in_thread, thread, None)
        overdue_at = time.monotonic() + PATIENCE
        while self.in_user_code:
            task, frame = self._cell_task, sys._current_frames().get(ident)
            in_persons_code = frame is not None and runs_user_code(frame)
            del frame
            if task is not None and not in_persons_code:
                self.interrupts += 1
                self.cancelled_by_interrupt = True
                self.server.loop.call_soon_threadsafe(task.cancel)
                return
            # From the look to the call no other thread runs: Python switches threads where functions begin and loops turn.
            # So it is not raised where a frame is being sent, nor after the cell, which drops what has not been raised.
            may_raise = in_persons_code or time.monotonic() > overdue_at
            if may_raise and self.in_user_code and sending.sender != ident and not line.reading:
                self._drop_interrupt, self._interrupted = drop, True
                _raise_in_thread(thread, _INTERRUPT)
                self.interrupts += 1
                return
            time.sleep(_NOT_YET)


def open_subshell(kernel, subshell_id, fd):
    """Starts a subshell that takes its requests from the descriptor."""
    if not kernel.subshells:
        kernel.be_careful()
        shell = kernel.shell
        separate(
            shell,
            execution_count=lambda: 1,
            _last_traceback=lambda: None,
            _last_traceback_during_displayhook=lambda: False,
        )
        separate(shell.displayhook, msg=lambda: None, exec_result=lambda: None)
        separate(shell.payload_manager, _payload=list)
    subshell = kernel.subshells[subshell_id] = Subshell(kernel, subshell_id, fd)
    subshell.thread.start()  # only now: it takes itself out at its end


def interrupt_subshells(kernel):
    """Ends the cells that they run."""
    for subshell in list(kernel.subshells.values()):
        subshell.interrupt()


def describe(kernel):
    """What `%subshell` prints."""
    living = [key for key, subshell in list(kernel.subshells.items()) if not subshell.channel.is_closed()]
    here = kernel.here
    lines = {
        "subshell id": getattr(here, "subshell_id", None if threading.get_ident() == _MAIN else "unknown"),
        "thread id": threading.get_ident(),
        "main thread id": _MAIN,
        "pid": os.getpid(),
        "thread count": threading.active_count(),
        "subshell list": living,
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items())
