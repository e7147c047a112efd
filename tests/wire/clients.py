"""Real clients (libzmq through pyzmq) and raw sockets for the tests of the wire."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import zmq
from jupyter_client.session import Session

ROOT = Path(__file__).resolve().parents[2]
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
KEY = "a secret key"
MIB = 1 << 20
TIMEOUT = 20_000  # milliseconds that a test waits for something that must come


def echo_binary() -> str:
    """The echo kernel: WIRE_ECHO names one, otherwise cargo builds it."""
    if path := os.environ.get("WIRE_ECHO"):
        return path
    command = ["cargo", "build", "-q", "-p", "wire", "--example", "echo"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "debug" / "examples" / "echo")


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Kernel:
    """An echo kernel in its own process."""

    def __init__(self, directory: Path, transport: str = "tcp", key: str = KEY, **environment: str):
        ports = free_ports(5) if transport == "tcp" else [1, 2, 3, 4, 5]
        self.connection = {f"{name}_port": port for name, port in zip(CHANNELS, ports)}
        ip = "127.0.0.1" if transport == "tcp" else str(directory / "k")
        self.connection |= {"transport": transport, "ip": ip, "key": key, "signature_scheme": "hmac-sha256"}
        self.key = key
        self.file = directory / "connection.json"
        self.file.write_text(json.dumps(self.connection))
        self.log = directory / "log"
        self.environment = environment
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [echo_binary(), str(self.file)]
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **self.environment})
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.raw("hb").close()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(self.log.read_text())

    def url(self, channel: str) -> str:
        port, ip = self.connection[f"{channel}_port"], self.connection["ip"]
        return f"tcp://{ip}:{port}" if self.connection["transport"] == "tcp" else f"ipc://{ip}-{port}"

    def raw(self, channel: str) -> socket.socket:
        port, ip = self.connection[f"{channel}_port"], self.connection["ip"]
        if self.connection["transport"] == "tcp":
            return socket.create_connection((ip, port), timeout=20)
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(20)
        raw.connect(f"{ip}-{port}")
        return raw

    def rss(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Client:
    """A frontend: one `Session`, sockets made on demand, methods that wait for what must come."""

    def __init__(self, kernel: Kernel, key: str | None = None, heartbeat_ms: int = 0):
        self.kernel = kernel
        self.context = zmq.Context()
        self.session = Session(key=(kernel.key if key is None else key).encode())
        self.heartbeat_ms = heartbeat_ms
        self.sockets: dict[str, zmq.Socket] = {}

    def socket(self, channel: str) -> zmq.Socket:
        if channel not in self.sockets:
            kind = {"iopub": zmq.SUB, "hb": zmq.REQ}.get(channel, zmq.DEALER)
            new = self.context.socket(kind)
            new.linger = 0
            new.rcvtimeo = TIMEOUT
            if kind == zmq.DEALER:
                new.identity = self.session.bsession
            if self.heartbeat_ms:
                new.heartbeat_ivl = self.heartbeat_ms
            new.connect(self.kernel.url(channel))
            self.sockets[channel] = new
        return self.sockets[channel]

    def subscribe(self, topic: bytes = b"") -> dict:
        """Subscribes and returns the welcome."""
        self.socket("iopub").subscribe(topic)
        welcome = self.published()
        assert welcome["msg_type"] == "iopub_welcome", welcome
        return welcome

    def send(self, kind: str, content: dict | None = None, channel: str = "shell", buffers=None) -> dict:
        return self.session.send(self.socket(channel), kind, content or {}, buffers=buffers)

    def receive(self, channel: str = "shell") -> dict:
        _, frames = self.session.feed_identities(self.socket(channel).recv_multipart())
        return self.session.deserialize(frames)

    def published(self) -> dict:
        return self.receive("iopub")

    def ask(self, kind: str, content: dict | None = None, channel: str = "shell", buffers=None) -> dict:
        """Sends a request and returns its reply."""
        request = self.send(kind, content, channel, buffers)
        reply = self.receive(channel)
        assert reply["parent_header"]["msg_id"] == request["header"]["msg_id"]
        return reply

    def until_idle(self) -> list[dict]:
        """What was published up to the next idle."""
        messages = []
        while True:
            messages.append(self.published())
            if messages[-1]["content"].get("execution_state") == "idle":
                return messages

    def beat(self, payload: bytes = b"beat") -> bytes:
        self.socket("hb").send(payload)
        return self.socket("hb").recv()

    def close(self) -> None:
        self.context.destroy(linger=0)


def greeting(mechanism: bytes = b"NULL", major: int = 3) -> bytes:
    head = b"\xff" + bytes(8) + b"\x7f" + bytes([major, 0])
    return head + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body: bytes, flags: int = 0) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body


def multipart(frames: list[bytes]) -> bytes:
    last = len(frames) - 1
    return b"".join(frame(body, 1 if index < last else 0) for index, body in enumerate(frames))


def ready(kind: bytes, identity: bytes = b"") -> bytes:
    body = b"\x05READY"
    for name, value in ((b"Socket-Type", kind), (b"Identity", identity)):
        body += bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
    return frame(body, 4)


def socket_type(channel: str) -> bytes:
    return {"iopub": b"SUB", "hb": b"REQ"}.get(channel, b"DEALER")


def closed_by_peer(raw: socket.socket) -> bool:
    """Whether the other side ends the connection within the socket's timeout."""
    try:
        while raw.recv(65536):
            pass
        return True
    except (ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        return False


def eventually(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def assert_serves(client: Client) -> None:
    """The kernel answers on every channel."""
    assert client.ask("probe_request")["msg_type"] == "probe_reply"
    assert client.ask("probe_request", channel="control")["msg_type"] == "probe_reply"
    assert client.beat() == b"beat"
