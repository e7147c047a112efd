"""The Debug Adapter Protocol over TCP: a conversation with debugpy's adapter.

One thread uses it; `ask_later` alone may be called from another. Events are handed on as they come, also while an answer is awaited.
"""

import json
import select
import socket
import threading
import time

# Numbers of our own requests, beside those of the client, which begin at small ones.
_OWN = 1 << 40
_PATIENCE_S = 30.0  # to connect


class Disconnected(Exception):
    """The adapter is gone."""


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

    def __init__(self, address, on_event):
        self.socket = _connect(address)
        self._on_event = on_event
        self._received = bytearray()
        self._answers = {}  # number of a request that was sent: its answer, or None
        self._callbacks = {}
        self._last = _OWN
        self._writing = threading.Lock()

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
            with self._writing:
                self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError as error:
            raise Disconnected(f"debugpy's adapter takes no requests: {error}") from error

    # ------------------------------------------------------------------ what comes

    def receive(self, patience=None):
        """Waits for bytes and hands on the messages that they make whole."""
        try:
            if patience is not None and not select.select([self.socket], [], [], max(patience, 0))[0]:
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
