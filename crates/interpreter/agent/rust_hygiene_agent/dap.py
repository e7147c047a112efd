"""The Debug Adapter Protocol over TCP: a conversation with debugpy's adapter.

One thread uses it. Events are handed on as they come, also while an answer is awaited; and so is what others have left at the bell.
"""

import json
import os
import select
import socket
import time

# Numbers of our own requests, beside those of the client, which begin at small ones.
_OWN = 1 << 40
_PATIENCE_S = 30.0  # to connect


class Disconnected(Exception):
    """The adapter is gone."""


def readable(sources, patience=None):
    """Those of the sources that can be read; waits for one, if need be only for some seconds."""
    poll = select.poll()
    for each in sources:
        poll.register(each, select.POLLIN)
    ready = {fd for fd, _ in poll.poll(None if patience is None else max(patience, 0) * 1000)}
    return [each for each in sources if each.fileno() in ready]


class Bell:
    """Wakes the thread that converses. Whoever rings takes no lock and never waits: a signal handler may, within another."""

    def __init__(self):
        self._left = []
        self._hang_up()

    def _hang_up(self):
        self._read, self._write = os.pipe()
        for fd in (self._read, self._write):
            os.set_blocking(fd, False)

    def fileno(self):
        """What to wait for."""
        return self._read

    def ring(self, thing):
        """Leaves something for the thread that converses."""
        self._left.append(thing)
        try:
            os.write(self._write, b"!")
        except OSError:
            pass  # so many have rung that it cannot be overheard

    def answer(self):
        """What was left."""
        try:
            os.read(self._read, 1 << 16)
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()  # a cell has closed it
        left = []
        while self._left:
            left.append(self._left.pop())
        return left


def _connect(address):
    try:
        connection = socket.create_connection(address, _PATIENCE_S)
        connection.settimeout(None)
        return connection
    except OSError as error:
        raise Disconnected(f"debugpy's adapter cannot be reached: {error}") from error


class Bystander:
    """The adapter's first client, which asks nothing and stays.

    For each new client the adapter tells its oldest one something. If that one is just going, the thread that takes new clients
    ends, and the adapter is deaf for good. So its oldest client must never go.
    """

    def __init__(self, address):
        self._socket = _connect(address)

    def drain(self):
        """Throws away what was told: the adapter waits for those that do not read."""
        try:
            while self._socket.recv(1 << 16, socket.MSG_DONTWAIT):
                pass
        except OSError:
            pass  # nothing more, or the adapter is gone, which the next to ask it is told


class Adapter:
    """A connection to the adapter."""

    def __init__(self, address, on_event, bell, on_bell):
        self.socket = _connect(address)
        self._on_event = on_event
        self._bell = bell
        self._on_bell = on_bell
        self._received = bytearray()
        self._answers = {}  # number of a request that was sent: its answer, or None
        self._callbacks = {}
        self._last = _OWN

    def wait_for_end(self, patience):
        """Waits until the adapter closes the connection."""
        end = time.monotonic() + patience
        try:
            while True:
                self.receive(end - time.monotonic())
        except Disconnected:
            pass

    def close(self):
        """Ends the connection."""
        self.socket.close()

    # ------------------------------------------------------------------ requests

    def own(self, command, arguments=None):
        """A request of ours."""
        self._last += 1
        return {"type": "request", "seq": self._last, "command": command, "arguments": arguments or {}}

    def ask(self, request):
        """Sends a request and waits for its answer."""
        self.send(request)
        return self.answer(request)

    def send(self, request):
        """Sends a request; `answer` waits for its answer."""
        self._answers[request["seq"]] = None
        self._write(request)

    def ask_later(self, request, callback):
        """Sends a request whose answer goes to a function when it comes."""
        self._callbacks[request["seq"]] = callback
        self._write(request)

    def is_answered(self, request):
        """True if the answer has come."""
        return self._answers[request["seq"]] is not None

    def answer(self, request, patience=None):
        """Waits for the answer to a request that was sent, if need be only for some seconds."""
        number = request["seq"]
        end = None if patience is None else time.monotonic() + patience
        while self._answers[number] is None:
            self.receive(None if end is None else end - time.monotonic())
        return self._answers.pop(number)

    def _write(self, message):
        body = json.dumps(message, allow_nan=False).encode()
        try:
            self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError as error:
            raise Disconnected(f"debugpy's adapter takes no requests: {error}") from error

    # ------------------------------------------------------------------ what comes

    def receive(self, patience=None):
        """Waits for bytes and hands on the messages that they make whole, or for the bell."""
        ready = readable([self._bell, self.socket], patience)
        if self._bell in ready:
            self._on_bell()
            return
        try:
            if not ready:
                raise OSError("it does not answer")
            piece = self.socket.recv(1 << 16)
        except OSError as error:
            raise Disconnected(f"debugpy's adapter cannot be heard: {error}") from error
        if not piece:
            raise Disconnected("debugpy's adapter has closed the connection")
        self._received += piece
        while (message := self._next()) is not None:
            self._take(message)

    def _next(self):
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = None
        for line in bytes(self._received[:end]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        if length is None:
            raise Disconnected("debugpy's adapter says something else than the debug adapter protocol")
        begin = end + 4
        if len(self._received) < begin + length:
            return None
        body = bytes(self._received[begin : begin + length])
        del self._received[: begin + length]
        return json.loads(body)

    def _take(self, message):
        if message.get("type") == "event":
            self._on_event(message)
        elif message.get("type") == "response":
            number = message.get("request_seq")
            if number in self._callbacks:
                self._callbacks.pop(number)(message)
            elif number in self._answers:
                self._answers[number] = message
