"""How a forked child publishes: over a line of its own for each message, whose other end it hands to the front through the door.

The front answers with one byte when it has taken the message, so what the child does next, and whoever waits for the child, comes after it.
What a child prints goes to the pipe as long as the front takes that for output of the cell that has forked it, and is published later.
"""

import fcntl
import os
import socket
import struct

from .frames import ChannelClosed, Frames, dumps

# Bound here: a cell may replace them in their modules (gevent does).
_socket, _socketpair, _send_fds = socket.socket, socket.socketpair, socket.send_fds
_fstat, _dup, _pread, _pwrite = os.fstat, os.dup, os.pread, os.pwrite

_LINE = b"l"
_NUMBER = struct.Struct("<Q")
OWN_FDS = 20  # descriptors that we make have numbers from here on; those of the front are below


class Inherited:
    """A descriptor that forked children use, unless they have closed what they inherited, as daemons do."""

    def __init__(self, fd):
        self.fd = fd
        self._is = self._identity()

    def _identity(self):
        known = _fstat(self.fd)
        return known.st_dev, known.st_ino

    def is_there(self):
        """Whether it still is what it was."""
        try:
            return self._identity() == self._is
        except OSError:
            return False


class InHand:
    """Which request the notebook's process has in hand, as its forked children see it: a number in a file in memory, made at the first fork."""

    def __init__(self):
        self._number = 0
        self._file = None
        os.register_at_fork(before=self._share)

    def _share(self):
        if self._file is not None:
            return
        try:
            low = os.memfd_create("request")
            try:
                fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, OWN_FDS)
            finally:
                os.close(low)
        except OSError:
            return  # no descriptors are left: what children print is taken for output of the request in hand
        _pwrite(fd, _NUMBER.pack(self._number), 0)
        self._file = Inherited(fd)

    def is_another(self):
        """In the notebook's process: there is another request in hand, or newest."""
        self._number += 1
        if self._file is not None:
            _pwrite(self._file.fd, _NUMBER.pack(self._number), 0)

    def has_changed(self):
        """In a forked child: whether there is another than when it was forked."""
        file = self._file
        return file is not None and file.is_there() and _pread(file.fd, 8, 0) != _NUMBER.pack(self._number)


class Door(Inherited):
    """The door: children inherit our end, where nobody of theirs reads."""

    def __init__(self, fd):
        os.set_inheritable(fd, False)
        super().__init__(fd)

    def line(self):
        """A line to the front, or None if there is none."""
        if not self.is_there():
            return None
        try:
            ours, theirs = _socketpair()
            with theirs, _socket(fileno=_dup(self.fd)) as door:
                _send_fds(door, [_LINE], [theirs.fileno()])
        except OSError:
            return None
        return Line(ours.detach())


class Line(Frames):
    """The child's end of a line."""

    def sync(self):
        """Has the front empty the pipes."""
        self._write([b'{"op":"sync"}'])

    def publish(self, envelope, sections):
        """Sends the message; returns when the front has taken it."""
        self._write([dumps(envelope), *sections])
        try:
            self.socket.recv(1)
        except OSError as error:
            raise ChannelClosed from error
