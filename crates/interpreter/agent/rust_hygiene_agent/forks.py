"""How a forked child publishes: over a line of its own for each message, whose other end it hands to the front through the door.

The front answers with one byte when it has taken the message, so what the child does next, and whoever waits for the child, comes after it.
"""

import os
import socket

from .frames import ChannelClosed, Frames, dumps

# Bound here: a cell may replace them in their modules (gevent does).
_socket, _socketpair, _send_fds = socket.socket, socket.socketpair, socket.send_fds
_fstat, _dup = os.fstat, os.dup

_LINE = b"l"


class Door:
    """The door, as forked children know it: they inherit our end, where nobody of theirs reads."""

    def __init__(self, fd):
        os.set_inheritable(fd, False)
        self._fd = fd
        self._is = self._identity()

    def _identity(self):
        known = _fstat(self._fd)
        return known.st_dev, known.st_ino

    def line(self):
        """A line to the front, or None if there is none: the child has closed what it inherited, as daemons do."""
        try:
            if self._identity() != self._is:
                return None
            ours, theirs = _socketpair()
            with theirs, _socket(fileno=_dup(self._fd)) as door:
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
