"""Frames over a socketpair: what both channels to the front have in common.

A frame is `u32 mark | u32 n | n × u64 lengths | n sections`, little endian; section 0 is a JSON envelope.
"""

import json
import os
import socket
import struct

# Bound here: a cell may replace them in their modules.
_pack, _unpack = struct.pack, struct.unpack
_socket = socket.socket
_from_json = json.loads

_MARK = 0xFE4852FF


def dumps(value, strict=False):
    """JSON as bytes: non-finite floats become strings, lone surrogates stay escapes. An unknown object is its repr or, if that
    is too little, a ValueError."""
    encode = _encode_strictly if strict else _encode
    try:
        text = encode(value)
    except (TypeError, ValueError, RecursionError):
        text = None
    problem = None
    if text is None:
        try:
            text = encode(_clean(value, 0, set()))
        except (TypeError, ValueError, RecursionError) as error:
            problem = error
    if problem is not None:  # not within `except`: the person is shown one error, and no step of ours
        raise problem.with_traceback(None)
    return text.encode("utf-8", "backslashreplace")


def flat(buffer):
    """The bytes of a buffer as they lie in memory: copied only if their shape or format is unusual.

    Checked before a frame is begun: an error in the midst of one would be the channel's end.
    """
    try:
        view = memoryview(buffer)
    except TypeError:
        raise TypeError("Buffer objects must support the buffer protocol.") from None
    if not view.contiguous:
        raise ValueError(f"a buffer that is not contiguous cannot be sent: {buffer!r}")
    try:
        return view.cast("B")
    except (TypeError, ValueError, NotImplementedError):
        return view.tobytes("A")


def _plain(value):
    """What json cannot write: bytes as base64 (images), dates as ISO 8601, numbers as numbers, the rest as its repr."""
    known = _known(value)
    return repr(value) if known is _UNKNOWN else known


def _plain_or_error(value):
    known = _known(value)
    if known is _UNKNOWN:
        raise ValueError(f"Can't clean for JSON: {value!r}")  # what code that catches it may look for
    return known


_UNKNOWN = object()


def _known(value):
    import base64
    import datetime
    import numbers

    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return _clean(float(value), 0, set())
    if isinstance(value, (set, frozenset, tuple)) or hasattr(value, "__iter__"):
        return list(value)
    return _UNKNOWN


def _clean(value, depth, outer):
    """A copy that JSON can hold. `outer` has the ids of the containers around it: one of those within itself is a cycle."""
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else repr(value)
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return value
    if depth > 200 or id(value) in outer:
        return repr(type(value))
    outer.add(id(value))
    try:
        if isinstance(value, dict):
            return {str(key): _clean(item, depth + 1, outer) for key, item in value.items()}
        return [_clean(item, depth + 1, outer) for item in value]
    finally:
        outer.discard(id(value))


def _encoder(default):
    return json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, default=default, separators=(",", ":")
    ).encode


# Made once: `json.dumps` with options makes an encoder for each call.
_encode, _encode_strictly = _encoder(_plain), _encoder(_plain_or_error)


class ChannelClosed(Exception):
    """The front is gone."""


class Frames:
    """One end of a socketpair. Who uses it from several threads keeps them apart."""

    def __init__(self, fd):
        self.socket = _socket(fileno=fd)
        self.socket.setblocking(True)
        os.set_inheritable(fd, False)
        self._pending = memoryview(b"")

    def _write(self, sections):
        sizes = [memoryview(part).nbytes for part in sections]
        parts = [_pack(f"<II{len(sizes)}Q", _MARK, len(sizes), *sizes), *sections]
        try:
            if sum(sizes) <= 65536:
                self.socket.sendall(b"".join(parts))
                return
            for part in parts:
                view = memoryview(part)
                if view.nbytes:
                    self.socket.sendall(view.cast("B") if view.contiguous else view.tobytes())
        except OSError as error:  # the front is gone, or a cell closed the descriptor
            raise ChannelClosed from error

    def frame(self):
        """The next frame as `(envelope, sections)`."""
        mark, count = _unpack("<II", self._exactly(8))
        if mark != _MARK:
            raise ChannelClosed  # the user's code has read from it
        sizes = _unpack(f"<{count}Q", self._exactly(8 * count))
        envelope, *sections = [self._exactly(size) for size in sizes]
        return _from_json(bytes(envelope)), sections

    def _exactly(self, size):
        if size <= len(self._pending):
            out, self._pending = self._pending[:size], self._pending[size:]
            return out
        if size <= 65536:
            have = bytes(self._pending)
            while len(have) < size:
                more = self.socket.recv(65536)
                if not more:
                    raise ChannelClosed
                have += more
            view = memoryview(have)
            self._pending = view[size:]
            return view[:size]
        buffer = bytearray(size)
        got = len(self._pending)
        buffer[:got] = self._pending
        self._pending = memoryview(b"")
        view = memoryview(buffer)
        while got < size:
            count = self.socket.recv_into(view[got:])
            if not count:
                raise ChannelClosed
            got += count
        return view

    @property
    def has_pending(self):
        """True if bytes of a further frame have already been read from the socket."""
        return len(self._pending) > 0
