"""The framed channel to the front, and the order between it and file descriptors 1 and 2.

A frame is `u32 mark | u32 n | n × u64 lengths | n sections`, little endian; section 0 is a JSON envelope. Before a frame is written the
output pipes must be empty, so that the front, which empties the channel before it reads a pipe, sees everything in the order in
which it happened. A signal that arrives while a frame is read or written is handled after it, so no frame is ever cut.
"""

import fcntl
import json
import os
import select
import socket
import struct
import termios
import threading
import time

# Bound here: a cell may replace them in their modules (`time.sleep = …` is common in tests).
_getpid, _close, _exit = os.getpid, os.close, os._exit
_ioctl, _FIONREAD = fcntl.ioctl, termios.FIONREAD
_pack, _unpack = struct.pack, struct.unpack
_from_json = json.loads
_now, _sleep, _thread_id = time.monotonic, time.sleep, threading.get_ident

_BARRIER_S = 5.0  # only a thread that prints without pause can keep the pipes from being empty
_MARK = 0xFE4852FF


def dumps(value, strict=False):
    """JSON as bytes: non-finite floats become strings, lone surrogates stay escapes. An unknown object is its repr or, if that
    is too little, a ValueError."""
    encode = _encode_strictly if strict else _encode
    try:
        text = encode(value)
    except (TypeError, ValueError, RecursionError):
        text = encode(_clean(value, 0, set()))
    return text.encode("utf-8", "backslashreplace")


def flat(buffer):
    """The bytes of a buffer as they lie in memory: copied only if their shape or format is unusual.

    Checked before a frame is begun: an error in the midst of one would be the channel's end.
    """
    view = memoryview(buffer)
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
        raise ValueError(f"an object that cannot be sent as JSON: {value!r}")
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


class Channel:
    """Both directions of the socketpair. Any thread may send; only the main thread receives."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.socket.setblocking(True)
        os.set_inheritable(fd, False)
        os.register_at_fork(after_in_child=self._forked)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._peek = select.poll()  # a signal handler may look while the main thread is inside `_poll`
        self._peek.register(fd, select.POLLIN)
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._main = threading.main_thread().ident
        self._busy = 0
        self._deferred = None
        self._pending = memoryview(b"")
        self._fionread = bytearray(4)
        self._c_flush = None
        self.flushers = []
        self.forked = False

    def _forked(self):
        # A forked worker must not keep the channel open nor write to it.
        self.forked = True
        try:
            _close(self.socket.detach())
        except OSError:
            pass
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ signals

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
        for fd in (1, 2):
            try:
                _ioctl(fd, _FIONREAD, self._fionread, True)
            except OSError:
                continue  # the user closed it or put something else there
            if any(self._fionread):
                return False
        return True

    def _barrier(self):
        for flush in self.flushers:
            try:
                flush()
            except Exception:
                pass  # the user closed the file or its descriptor
        if self._c_flush is not None:
            self._c_flush()
        if self._pipes_empty():
            return
        self._write([b'{"op":"sync"}'])
        end = _now() + _BARRIER_S
        pause = 0.0
        while not self._pipes_empty() and _now() < end:
            _sleep(pause)
            pause = min(pause + 0.00002, 0.001)

    def settle(self):
        """Returns when the front has taken everything that was printed so far."""
        self._guarded(self._barrier)

    def send(self, envelope, *sections):
        """Sends one frame. `envelope` is a dict, the sections are bytes-like."""
        self._guarded(self._send, envelope, sections)

    def _send(self, envelope, sections):
        self._barrier()
        self._write([dumps(envelope), *sections])

    def _guarded(self, function, *arguments):
        if _getpid() != self._pid:
            return  # a forked child has no front
        main = _thread_id() == self._main
        if main:
            self._busy += 1
        try:
            with self._lock:
                function(*arguments)
        finally:
            if main:
                self._leave()

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

    # ------------------------------------------------------------------ receiving

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

    def receive(self):
        """The next frame as `(envelope, sections)`; blocks until it is whole. An interrupt may end the wait, never the reading."""
        if not self._pending:
            self._poll.poll()
        self._busy += 1
        try:
            mark, count = _unpack("<II", self._exactly(8))
            if mark != _MARK:
                raise ChannelClosed  # the user's code has read from it
            sizes = _unpack(f"<{count}Q", self._exactly(8 * count))
            envelope, *sections = [self._exactly(size) for size in sizes]
            return _from_json(bytes(envelope)), sections
        finally:
            self._leave()

    def wait(self, timeout):
        """Waits until there is something to read; False if `timeout` seconds (None: for ever) went by."""
        return bool(self._pending or self._poll.poll(None if timeout is None else timeout * 1000))

    def readable_now(self):
        """True if a frame, or the begin of one, waits in the socket."""
        return bool(self._pending or self._peek.poll(0))

    @property
    def has_pending(self):
        """True if bytes of a further frame have already been read from the socket."""
        return len(self._pending) > 0
