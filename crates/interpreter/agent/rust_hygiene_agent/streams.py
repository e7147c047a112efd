"""`sys.stdout` and `sys.stderr`: text files on the pipes that the front reads.

What is printed goes straight to file descriptor 1 or 2, where C code and subprocesses write too, so the order is kept. The
names that libraries use of ipykernel's `OutStream` are here.
"""

import io
import os

from .hooks import Hooked


class OutStream(Hooked, io.TextIOWrapper):
    """A line-buffered stream to the front."""

    def __init__(self, fd, name):
        super().__init__(
            io.BufferedWriter(io.FileIO(fd, "w", closefd=False), 65536),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        self._name = name
        self._pid = os.getpid()
        self._shell = None
        self._init_hooks()

    encoding = "UTF-8"
    errors = None

    def read(self, size=-1):
        """Nothing can be read."""
        raise io.UnsupportedOperation("read")

    def readline(self, size=-1):
        """Nothing can be read."""
        raise io.UnsupportedOperation("readline")

    @property
    def name(self):
        """`stdout` or `stderr`, as in the protocol; the plain file calls itself by its descriptor."""
        return self._name

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

    def _is_master_process(self):
        return os.getpid() == self._pid

    @property
    def parent_header(self):
        """Header of the request that output of the calling thread belongs to."""
        return self._shell.parent_header.get("header", {}) if self._shell is not None else {}

    def set_parent(self, parent):
        """Kept for libraries: the parent of all output is the shell's."""

    def register_hook(self, hook):
        """Registers a transformer of stream messages of the calling thread."""
        super().register_hook(hook)
        self.__class__ = HookedOutStream


class HookedOutStream(OutStream):
    """A stream on which a hook was registered: each write becomes a message that the hooks may change or take."""

    def write(self, text):
        """Writes, or hands a message to the hooks of the calling thread."""
        if not self._hooks or self._shell is None:
            return super().write(text)
        content = {"name": self._name, "text": text}
        self._send_through_hooks(self._shell.kernel, "stream", content, self._shell.parent_header)
        return len(text)


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


def pair(settle):
    """stdout and stderr. `settle` returns when the front has taken all that was printed so far."""
    stdout, stderr = OutStream(1, "stdout"), ErrStream(2, "stderr")
    stdout.settle = stderr.settle = settle
    stderr.stdout = stdout
    return stdout, stderr
