"""`sys.stdout` and `sys.stderr`: text files on the pipes that the front reads.

What is printed goes straight to the pipe that C code and subprocesses write to, by file descriptor 1 or 2, so the order is kept. Our own
descriptor of it is another one: what is printed reaches the notebook also while those are redirected or closed. The names that
libraries use of ipykernel's `OutStream` are here.
"""

import fcntl
import io
import os
import sys

from .forks import OWN_FDS, Inherited
from .hooks import Hooked
from .routing import Parented, Router, header_of

_write = io.TextIOWrapper.write

# In forked children: which stream has written last.
_turn_of_forks = [None]


def flush_replaced():
    """Flushes what somebody has put into the place of `sys.stdout` or `sys.stderr`; what it raises is its own affair."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if not isinstance(stream, OutStream):
            try:
                stream.flush()
            except Exception:
                pass


class _Raw(io.FileIO):
    """The raw file below a stream. It is lent to whoever asks, and stays open."""

    def close(self):
        """Nothing."""


class _Buffer(io.BufferedWriter):
    """The binary file below a stream: `io.TextIOWrapper(sys.stdout.buffer)` closes it when it is let go of."""

    def __repr__(self):
        return f"<_io.BufferedWriter name={self.name!r}>"

    def close(self):
        """Flushes only."""
        self.flush()

    def detach(self):
        """Refused: the notebook would have no stream left."""
        raise io.UnsupportedOperation("detach")


class OutStream(Parented, Hooked, io.TextIOWrapper):
    """A line-buffered stream to the front. Hooks may be registered and are never called, as in ipykernel, where they are the sending thread's."""

    shell = None

    def __init__(self, fd, name):
        self._fd = fd
        self.own = Inherited(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OWN_FDS))
        raw = _Raw(self.own.fd, "w", closefd=False)
        raw.name = f"<{name}>"
        super().__init__(
            _Buffer(raw, 65536),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        self._name = name
        self._pid = os.getpid()
        self._init_hooks()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self):
        if self.shell is not None:
            ForkedStream.take_over(self)

    encoding = "UTF-8"
    errors = None
    __repr__ = object.__repr__

    def _repr_pretty_(self, printer, cycle):
        kind = type(self)
        printer.text(f"<{kind.__module__}.{kind.__qualname__} at {id(self):#x}>")

    def read(self, size=-1):
        """Nothing can be read."""
        raise io.UnsupportedOperation("read")

    def readline(self, size=-1):
        """Nothing can be read."""
        raise io.UnsupportedOperation("readline")

    def seek(self, cookie, whence=0):
        """There is no place to go to."""
        raise io.UnsupportedOperation("seek")

    def tell(self):
        """Nor a place to be at."""
        raise io.UnsupportedOperation("seek")

    def truncate(self, size=None):
        """What is printed is printed."""
        raise io.UnsupportedOperation("truncate")

    def detach(self):
        """Refused: the notebook would have no stream left."""
        raise io.UnsupportedOperation("detach")

    def fileno(self):
        """1 or 2, for programs that are given this as theirs."""
        return self._fd

    @property
    def name(self):
        """`stdout` or `stderr`, as in the protocol; the plain file calls itself by its descriptor."""
        return self._name

    def reconfigure(
        self, *, encoding=None, errors=None, newline=None, line_buffering=None, write_through=None
    ):
        """Changes when text is written, not how: the front reads UTF-8."""
        super().reconfigure(line_buffering=line_buffering, write_through=write_through)

    def isatty(self):
        """False: a notebook is no terminal."""
        return False

    def close(self):
        """Flushes only: a notebook's streams stay open."""
        try:
            self.flush()
        except ValueError:
            pass

    # ipykernel's names

    echo = None

    @property
    def topic(self):
        """What the messages are called on the wire of ipykernel's."""
        return b"stream." + self._name.encode()

    @property
    def session(self):
        """The façade that libraries use to send messages by hand."""
        return self.shell.kernel.session

    @property
    def pub_thread(self):
        """Who sends."""
        return self.shell.kernel.iopub_thread

    def _is_master_process(self):
        return os.getpid() == self._pid

    def given_parent(self):
        """Each write must look now."""
        self.shell.kernel.be_careful()
        self.__dict__.pop("write", None)


# The two outputs are two pipes, and the front cannot know in which order they were written. So whoever writes to the one
# after the other first waits until the other was read. stderr looks at each write; stdout, which is the busy one, has a class
# of its own only from a write to stderr until its next write.


class ErrStream(OutStream):
    """stderr: comes after what was printed to stdout."""

    stdout = None
    settle = None

    def write(self, text):
        """Writes in turn."""
        if type(self.stdout) is OutStream:
            self.settle()
            self.stdout.__class__ = OutAfterErr
        return super().write(text)


class OutAfterErr(OutStream):
    """stdout after a write to stderr: the next write comes after it."""

    def write(self, text):
        """Writes in turn, and goes back to writing without a look."""
        self.settle()
        self.__class__ = OutStream
        return self.write(text)


class CarefulStream(OutStream):
    """Either stream once text may belong to another request than the one in hand."""

    _turn = None
    _router = None

    def write(self, text):
        """Writes, or sends a message that names its parent."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self._is_raw(self.shell.kernel.raw_parent):
            return self._send(text)
        turn = self._turn
        if turn[0] is not self:
            self.settle()
            turn[0] = self
        return _write(self, text)

    def _use_shortcut(self):
        """Gives this stream a `write` that asks only what has to be asked: nobody has given it a parent yet."""
        shell, kernel, turn = self.shell, self.shell.kernel, self._turn
        parent_of_context, raw, carefully = shell._parent.get, super().write, self.write

        def write(text):
            if parent_of_context(shell._parent_of_last_cell) is kernel.raw_parent and turn[0] is self:
                return raw(text)
            return carefully(text)

        self.write = write

    def _is_raw(self, raw_parent):
        return raw_parent is not None and self.parent_header is raw_parent["header"]

    def _send(self, text):
        if not text:
            return 0  # a message says something
        self._router.write(self._name, self.parent_header, text)
        return len(text)


class ForkedStream(OutStream):
    """Either stream in a forked child. As long as the notebook's process goes on with the request that it had in hand, text goes to the pipe."""

    @classmethod
    def take_over(cls, stream):
        """Called in the child."""
        shell = stream.shell
        shell.kernel.streams = None  # they are careful already
        stream.__dict__.pop("write", None)
        stream.__class__ = cls
        stream._turn = _turn_of_forks
        stream._late = stream._late_header = None
        stream._header_of_pipe = header_of(shell.kernel.raw_parent or shell._parent_of_last_cell)

    def write(self, text):
        """Writes, or publishes whole lines."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        header = self.parent_header
        if header is self._header_of_pipe and not self.shell.kernel.in_hand.has_changed():
            self._write_raw(text)
        else:
            if header is not self._late_header:
                self._publish()
            self._late, self._late_header = (self._late or "") + text, header
            if "\n" in text:
                self._publish()
        return len(text)

    def flush(self):
        """Gives out all that was written."""
        self._look_for_pipe()
        super().flush()
        self._publish()

    def _look_for_pipe(self):
        """A child may close all descriptors that it does not know, as daemons do: then it prints to 1 or 2 as any Python program."""
        if self.own is not None and not self.own.is_there():
            self.own = None
            self.shell.kernel.channel.pipes = (1, 2)
            self.buffer.raw.__init__(self._fd, "w", closefd=False)

    def _write_raw(self, text):
        self._look_for_pipe()
        self._publish()
        if self._turn[0] is not self:
            self.settle()
            self._turn[0] = self
        _write(self, text)

    def _publish(self):
        text, self._late = self._late, None
        if text and not self.shell.kernel.publish(
            "stream", {"name": self._name, "text": text}, parent=self._late_header
        ):
            self._look_for_pipe()
            _write(self, text)


def pair(settle):
    """stdout and stderr. `settle` returns when the front has taken all that was printed so far."""
    stdout, stderr = OutStream(1, "stdout"), ErrStream(2, "stderr")
    stdout.settle = stderr.settle = settle
    stderr.stdout = stdout
    return stdout, stderr


def make_careful(streams, kernel):
    """From now on each write to these streams looks at its parent."""
    router, turn = Router(kernel), [None]
    for stream in streams:
        stream._router, stream._turn = router, turn
        stream.__class__ = CarefulStream
        if stream._own is None:
            stream._use_shortcut()
    kernel.channel.flushers.append(router.flush)
