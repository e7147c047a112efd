"""Which request an output belongs to, and the text of requests other than the one in hand.

What is printed goes raw through a pipe, and the front takes it for output of the request in hand. That is right until code of
another request prints: a task that outlived its cell, a thread that was given a parent, a subshell. Such text is gathered for a
moment and sent as messages that name their parent.
"""

import _thread
import contextvars
import sys
import time

_now, _sleep = time.monotonic, time.sleep  # bound here: a cell may replace them in their module

_PAUSE_S = 0.01  # text that comes within this time is one message
_ROUNDS = 20  # of that length without text, after which the thread that sends the rest ends
_LARGE = 1 << 16  # characters that are sent without waiting for more
# How long a thread that has been started is waited for, at most.
_MOMENT_S, _SOON = 0.0001, 10_000


def header_of(parent):
    """The header of a message, or the header itself."""
    return parent.get("header", parent)


class Parented:
    """An output whose parent is the shell's, unless it is given one of its own.

    Its own parent lasts until the shell gets its next request, as in ipykernel, where that request is then set on every output.
    """

    _own = None  # a context variable, once one was given
    _own_of_all = None

    @property
    def parent_header(self):
        """Header of the request that output of the calling context belongs to."""
        shell = self.shell
        if shell is None:
            return {}
        if self._own is not None:
            of_context = shell._parent.get(None)
            given, base = self._own.get(None), of_context
            if given is None and of_context is None:
                given, base = self._own_of_all, shell._parent_of_last_cell
            if given is not None and given[0] is base:
                return given[1]
        return header_of(shell.parent_header)

    @parent_header.setter
    def parent_header(self, parent):
        self.set_parent(parent)

    def set_parent(self, parent):
        """Routes this output to `parent`, in the calling context and wherever none was set."""
        self.set_thread_parent(parent)
        self._own_of_all = (self.shell._parent_of_last_cell, header_of(parent))

    def set_thread_parent(self, parent):
        """Routes this output to `parent` in the calling context; returns a token for `reset_thread_parent`."""
        if self._own is None:
            self._own = contextvars.ContextVar("own_parent")
            self.given_parent()
        return self._own.set((self.shell._parent.get(None), header_of(parent)))

    def given_parent(self):
        """Called when this output is given a parent of its own."""

    def reset_thread_parent(self, token):
        """Undoes `set_thread_parent`."""
        self._own.reset(token)


class Router:
    """Sends text of other parents than the request in hand, a few messages for many prints."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._channel = kernel.channel
        self._key = None
        self._header = None
        self._texts = []
        self._size = 0
        self._sent = 0.0
        self._ticking = False

    def write(self, name, header, text):
        """Takes text of the stream `name` for the request with this header."""
        self._channel.guarded(self._add, name, header, text)

    def flush(self):
        """Sends what was taken."""
        self._channel.guarded(self._send)

    def _add(self, name, header, text):
        key = (name, header.get("msg_id"))
        if key != self._key:
            self._send()
            self._key, self._header = key, header
        self._texts.append(text)
        self._size += len(text)
        if self._size >= _LARGE or (text.endswith("\n") and _now() - self._sent >= _PAUSE_S):
            self._send()
        elif not self._ticking:
            try:
                self._channel.starts_thread = True
                _thread.start_new_thread(self._tick, ())
                self._ticking = True
                self._wait_until_it_ticks()
            except RuntimeError:
                self._channel.starts_thread = False
                self._send()  # no more threads

    def _wait_until_it_ticks(self):
        """What is raised in the calling thread, a subshell's, would be raised in the new one while that bears its number."""
        if sys.version_info < (3, 12):
            for _ in range(_SOON):
                if not self._channel.starts_thread:
                    return
                _sleep(_MOMENT_S)

    def _send(self):
        if not self._texts:
            return
        text, self._texts, self._size = "".join(self._texts), [], 0
        self._sent = _now()
        self._kernel.publish("stream", {"name": self._key[0], "text": text}, parent=self._header)

    def _tick(self):
        self._channel.starts_thread = False
        quiet = 0
        while True:
            _sleep(_PAUSE_S)
            quiet = 0 if self._texts else quiet + 1
            self.flush()
            if quiet >= _ROUNDS and self._channel.guarded(self._rest):
                return

    def _rest(self):
        self._ticking = bool(self._texts)
        return not self._ticking
