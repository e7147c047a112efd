"""The framed channel to the front, and the order between it and file descriptors 1 and 2.

Before a frame is written the output pipes must be empty, so that the front, which empties the channel before it reads a pipe, sees everything in the order in
which it happened. A signal that arrives while a frame is read or written is handled after it, so no frame is ever cut.
"""

import fcntl
import os
import select
import termios
import threading
import time

from .frames import ChannelClosed, Frames, dumps

# Bound here: a cell may replace them in their modules (`time.sleep = …` is common in tests).
_getpid, _close, _exit, _read = os.getpid, os.close, os._exit, os.read
_ioctl, _FIONREAD = fcntl.ioctl, termios.FIONREAD
_new_poll = select.poll
_now, _sleep, _thread_id = time.monotonic, time.sleep, threading.get_ident

_BARRIER_S = 5.0  # only a thread that prints without pause can keep the pipes from being empty


class Channel(Frames):
    """Both directions of the socketpair. Any thread may send; only the main thread receives."""

    def __init__(self, fd, door, passed=None):
        super().__init__(fd)
        os.register_at_fork(after_in_child=self._forked)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._main = threading.main_thread().ident
        self._busy = 0
        self.sender = None  # the thread that is sending
        self.starts_thread = False  # a thread of ours, which is not there yet
        self._deferred = None
        self._fionread = bytearray(4)
        self._c_flush = None
        self.flushers = []
        self.pipes = (1, 2)  # descriptors of the pipes that must be empty
        self.lines = []  # further ways in, of subshells
        self.forked = False
        # Where there is someone in between: from this descriptor a byte is read when an output was passed on to the front.
        # What is printed afterwards must not come before it.
        self._passed = passed
        self._door = door  # of forked children (forks.py)

    def _forked(self):
        # A forked worker must not keep the channel open nor write to it.
        self.forked = True
        if self._main != _thread_id():
            self._main, self._busy = _thread_id(), 0
        for reader in (self, *self.lines):
            try:
                _close(reader.socket.detach())
            except OSError:
                pass
        self._lock = threading.RLock()

    @property
    def has_front(self):
        """False in a forked child."""
        return _getpid() == self._pid

    def adopt(self, connected, passed):
        """In a forked child: whoever is at the other end of this socket is the front from now on; `passed` as above."""
        self.socket = connected
        self._passed = passed
        self._pending = memoryview(b"")
        self._poll = _new_poll()
        self._poll.register(connected.fileno(), select.POLLIN)
        self._pid, self._main, self._busy = _getpid(), _thread_id(), 0
        self.lines = []

    # ------------------------------------------------------------------ signals

    @property
    def is_busy(self):
        """True while the main thread is inside a frame."""
        return self._busy > 0

    def guard_signal(self, action):
        """Runs `action` now, or after the frame in hand if the main thread is inside one."""
        if self._busy:
            self._deferred = action
        else:
            action()

    def _leave(self):
        self._busy -= 1
        if not self._busy and self._deferred is not None:
            action, self._deferred = self._deferred, None
            action()

    # ------------------------------------------------------------------ sending

    def use_c_flush(self, flush):
        """`flush` empties the buffers of C's stdout and stderr; set once ctypes is loaded in idle time."""
        self._c_flush = flush

    def _pipes_empty(self):
        for fd in self.pipes:
            try:
                _ioctl(fd, _FIONREAD, self._fionread, True)
            except OSError:
                continue  # somebody closed it or put something else there
            if any(self._fionread):
                return False
        return True

    def _barrier(self, sync):
        for flush in self.flushers:
            try:
                flush()
            except Exception:
                pass  # the user closed the file or its descriptor
        if self._c_flush is not None and self.has_front:
            self._c_flush()  # in a forked child there may be text of the notebook's process
        if self._pipes_empty():
            return
        sync()
        end = _now() + _BARRIER_S
        pause = 0.0
        while not self._pipes_empty() and _now() < end:
            _sleep(pause)
            pause = min(pause + 0.00002, 0.001)

    def _sync(self):
        self._write([b'{"op":"sync"}'])

    def settle(self):
        """Returns when the front has taken everything that was printed so far."""
        self.guarded(self._barrier, self._sync)

    def send(self, envelope, *sections):
        """Sends one frame. `envelope` is a dict, the sections are bytes-like. Of a forked child only outputs reach the front; False if
        they do not either.
        """
        if self.has_front:
            return self._whole(self._send, envelope, sections)
        if envelope["op"] == "publish":
            return self._whole(self._send_from_fork, envelope, sections)
        return False

    def _send(self, envelope, sections):
        self._barrier(self._sync)
        self._write([dumps(envelope), *sections])
        if self._passed is not None and envelope["op"] == "publish":
            _read(self._passed, 1)
        return True

    def _send_from_fork(self, envelope, sections):
        if envelope["type"] == "execute_result":
            return False  # a cell has one result: the notebook's own process tells it
        line = self._door.line()
        if line is None:
            return False
        try:
            self._barrier(line.sync)
            line.publish(envelope, sections)
            return True
        except ChannelClosed:
            return False  # the front has ended, or does not wait for this child any more
        finally:
            line.socket.close()

    def guarded(self, function, *arguments):
        """Calls it while no other thread sends, and no interrupt raises in this one. Not in a forked child."""
        return self._whole(function, *arguments) if self.has_front else None

    def _whole(self, function, *arguments):
        me = _thread_id()
        main = me == self._main
        if main:
            self._busy += 1
        try:
            with self._lock:
                outer, self.sender = self.sender, me
                try:
                    return function(*arguments)
                finally:
                    self.sender = outer
        finally:
            if main:
                self._leave()

    # ------------------------------------------------------------------ receiving

    def receive(self):
        """The next frame as `(envelope, sections)`; blocks until it is whole. An interrupt may end the wait, never the reading."""
        if not self._pending:
            self._poll.poll()
        self._busy += 1
        try:
            return self.frame()
        finally:
            self._leave()

    def wait(self, timeout):
        """Waits until there is something to read; False if `timeout` seconds (None: for ever) went by."""
        return bool(self._pending or self._poll.poll(None if timeout is None else timeout * 1000))

    def readable_now(self):
        """True if a frame, or the begin of one, waits in the socket. A signal handler may ask while the main thread does."""
        if self._pending:
            return True
        peek = _new_poll()  # each its own: one object is in one call of `poll` at a time
        try:
            peek.register(self.socket.fileno(), select.POLLIN)
        except ValueError:  # closed in a forked child
            return False
        return bool(peek.poll(0))
