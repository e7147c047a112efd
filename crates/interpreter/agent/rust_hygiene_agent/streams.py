"""`sys.stdout` and `sys.stderr`: text files on the pipes that the front reads.

What is printed goes straight to file descriptor 1 or 2, where C code and subprocesses write too, so the order is kept. The
names that libraries use of ipykernel's `OutStream` are here.
"""

import io
import os
import threading


class OutStream(io.TextIOWrapper):
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
        self._local = threading.local()

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

    @property
    def parent_header(self):
        """Header of the request that output of the calling thread belongs to."""
        return self._shell.parent_header.get("header", {}) if self._shell is not None else {}

    def set_parent(self, parent):
        """Kept for libraries: the parent of all output is the shell's."""

    @property
    def _hooks(self):
        if not hasattr(self._local, "hooks"):
            self._local.hooks = []
        return self._local.hooks

    def register_hook(self, hook):
        """Registers a transformer of stream messages of the calling thread."""
        self._hooks.append(hook)
        if type(self) is OutStream:
            self.__class__ = HookedOutStream

    def unregister_hook(self, hook):
        """Removes it; True if it was there."""
        try:
            self._hooks.remove(hook)
            return True
        except ValueError:
            return False


class HookedOutStream(OutStream):
    """An `OutStream` on which a hook was registered: each write becomes a message that the hooks may change or take."""

    def write(self, text):
        hooks = self._hooks
        if not hooks or self._shell is None:
            return super().write(text)
        message = self._shell.kernel.session.msg("stream", {"name": self._name, "text": text}, parent=self._shell.parent_header)
        for hook in hooks:
            message = hook(message)
            if message is None:
                return len(text)
        self._shell.kernel.session.send(None, message)
        return len(text)
