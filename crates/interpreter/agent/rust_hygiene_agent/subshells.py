"""Subshells: threads that run cells and answer requests beside the main thread (JEP 91).

A subshell is a kernel that has its own requests, loop and cell in hand, and shares all else with the main one. It reads
requests from a line of its own and answers on the common channel. What it prints names its parent (`routing.py`).
"""

import ctypes
import functools
import logging
import os
import select
import socket
import sys
import threading
import time

from .channel import _exit
from .debugging import leave_alone
from .frames import ChannelClosed, Frames
from .interrupts import LOOKS, PATIENCE, must_come_to_its_end, runs_user_code
from .kernel import IPythonKernel
from .replies import text_of
from .separate import at_end_of_thread, begin, separate
from .serve import Server

log = logging.getLogger("rust_hygiene")

_MAIN = threading.main_thread().ident
_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
_INTERRUPT = ctypes.py_object(KeyboardInterrupt)
_NOT_YET = 0.005  # seconds until the next attempt to interrupt a thread that is sending


class Line(Frames):
    """Requests come down its socket; everything is sent on the main channel, but for the subshell's own begin and end."""

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

    @property
    def has_front(self):
        """False in a forked child."""
        return self.channel.has_front

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
            poll.register(self.socket.fileno(), select.POLLRDHUP)
        except ValueError:
            return True
        return any(event & (select.POLLRDHUP | select.POLLNVAL) for _, event in poll.poll(0))

    def say(self, text):
        """Tells the front that the subshell is there (`+`), or why it ends."""
        try:
            self.socket.send(text, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            pass  # it has been deleted meanwhile

    def abandon(self):
        """Gives the descriptor back."""
        self.channel.lines.remove(self)
        return self.socket.detach()

    def close(self, ending):
        """The subshell is gone, as soon as this thread is: the front sees the descriptor closed then. The thread stands in `ending`
        from then on: it still has a step to do in C code.
        """
        thread = threading.current_thread()

        def let_go():
            self.channel.lines.remove(self)
            ending.add(thread)
            self.socket.close()

        at_end_of_thread(let_go)


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
        self._begun = 0  # number of the request in hand, or of the last one
        self._interrupts_for = {}  # number of a request: it is to be interrupted, and nobody has done so yet
        self.thread = threading.Thread(target=self._run, name=f"subshell-{subshell_id}", daemon=True)

    def __getattr__(self, name):
        return getattr(self._kernel, name)

    @property
    def comm_manager(self):
        """The main kernel's: comms belong to all."""
        return self._kernel.comm_manager

    def _run(self):
        begin()
        try:
            self.channel.say(b"+")
            self.server.serve()
        except ChannelClosed:
            _exit(0)  # the front is gone
        except BaseException as error:
            log.warning("a subshell has ended", exc_info=True)
            self.channel.say(reason(error))
        finally:
            if self.server.loop is not None:
                self.server.loop.close()
            self._kernel.subshells.pop(self.subshell_id, None)
            self.channel.close(self._kernel.ending)

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
            self._kernel.in_hand.is_another()
            self.shell._parent_of_last_cell = parent

    def take(self, envelope, sections):
        """Does what one frame asks for."""
        if envelope["op"] == "request" and self._cell_task is None:
            self._interrupts_for.pop(self._begun, None)  # it came too late
            self._begun = envelope["id"]
        super().take(envelope, sections)

    def _enter_user_code(self):
        self.in_user_code = True
        if self._interrupts_for.pop(self._begun, False):
            self.interrupts += 1
            raise KeyboardInterrupt

    def _who(self):
        return {"id": self._begun}

    def idle_work(self):
        """The main thread's, in its own idle time."""

    def settle(self):
        """What start-up left for later is the main kernel's."""
        self._kernel.settle()

    # ------------------------------------------------------------------ interrupts

    def interrupt(self, number):
        """Ends the request with this number, be it in hand or still on its way here. Called by another thread: a signal reaches only
        the main one.
        """
        self._interrupts_for[number] = True
        if self._try_to_interrupt(number, False):
            return

        def go_on():
            overdue_at, looks = time.monotonic() + PATIENCE, 1
            while not self._try_to_interrupt(number, looks > LOOKS and time.monotonic() > overdue_at):
                looks += 1
                time.sleep(_NOT_YET)

        # Not here: others have to be interrupted, and this one may take as long as the front does not take what is being sent.
        thread = threading.Thread(target=go_on, name="interrupts a subshell", daemon=True)
        leave_alone(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            go_on()

    def _try_to_interrupt(self, number, is_overdue):
        """False if it is to be tried again.

        An exception is raised in the thread with its next step in Python, so not while it waits in C code.
        """
        if self._begun != number or not self.in_user_code:
            return True  # it is over, or will see for itself when it begins
        ident = self.thread.ident
        thread, line, sending = ctypes.c_ulong(ident), self.channel, self.channel.channel
        raise_there = functools.partial(_raise_in_thread, thread, _INTERRUPT)
        task, frame = self._cell_task, sys._current_frames().get(ident)
        in_persons_code = frame is not None and runs_user_code(frame)
        if task is not None and not in_persons_code and not (frame and must_come_to_its_end(frame)):
            if self._interrupts_for.pop(number, False):
                self.interrupts += 1
                self.cancelled_by_interrupt = True
                self.server.loop.call_soon_threadsafe(task.cancel)
            return True
        if (not in_persons_code or _a_thread_begins(sending)) and not is_overdue:
            return False
        if self._kernel.debugger is not None:
            self._kernel.debugger.interrupted(ident, frame)
        del frame
        if not self._interrupts_for.pop(number, False):
            return True  # it has seen for itself
        # From the look to the call no other thread runs: Python switches threads where functions begin and loops turn.
        # So it is not raised where a frame is being sent, nor after the cell.
        if (
            self.in_user_code
            and self._begun == number
            and sending.sender != ident
            and not line.reading
            and not sending.starts_thread
        ):
            self.drop_interrupt = raise_there
            raise_there()
            self.interrupts += 1
            return True
        self._interrupts_for[number] = True
        return False


def _a_thread_begins(channel):
    """True while what is raised might be raised in a thread that is being started instead.

    Up to CPython 3.11 that bears the number of the thread that starts it, until it is there.
    """
    return sys.version_info < (3, 12) and bool(channel.starts_thread or getattr(threading, "_limbo", None))


def open_subshell(kernel, subshell_id, fd):
    """Starts a subshell that takes its requests from the descriptor, which after an error is the caller's again."""
    if not kernel.subshells:
        kernel.be_careful()
        shell = kernel.shell
        separate(
            shell,
            execution_count=lambda: 1,
            _last_traceback=lambda: None,
            _last_traceback_during_displayhook=lambda: False,
            _showing_was_interrupted=lambda: False,
            _told=lambda: (None, ""),
        )
        separate(shell.displayhook, msg=lambda: None, exec_result=lambda: None)
        separate(shell.payload_manager, _payload=list)
    subshell = kernel.subshells[subshell_id] = Subshell(kernel, subshell_id, fd)
    try:
        subshell.thread.start()  # only now: it takes itself out at its end
    except BaseException:
        del kernel.subshells[subshell_id]
        subshell.channel.abandon()
        raise


def interrupt_subshell(kernel, subshell_id, number):
    """Ends the request with this number, which the front gave to a subshell."""
    subshell = kernel.subshells.get(subshell_id)
    if subshell is not None:
        subshell.interrupt(number)


def reason(error):
    """What the front is told of an error: text of one short message."""
    return f"{type(error).__name__}: {text_of(error)}"[:1000].encode("utf-8", "backslashreplace")


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
