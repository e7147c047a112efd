"""A Jupyter server of our own, and what a web page does with it: HTTP requests and the WebSocket of a kernel."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import websocket

from frontend import FOREIGN, PATIENCE, Exchange, describe
from message import Message


def free_port():
    """A port that is free now; the server tries no other, so a lost race is an error and not a surprise."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Answer:
    """What the server answered."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Server:
    """A process that serves Jupyter's interface on a port, and everything that it starts. A context manager."""

    def __init__(self, command, folder, port, token, env=None):
        self.port, self.token, self.folder = port, token, Path(folder)
        self.tag = uuid.uuid4().hex
        self.output = self.folder / "server.out"
        self.log = self.folder / "server.log"
        environment = {
            **{k: v for k, v in os.environ.items() if not FOREIGN.match(k) and k != "JUPYTER_TOKEN"},
            "IPYTHONDIR": str(self.folder / "ipython"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "JUPYTER_CONFIG_DIR": str(self.folder / "jupyter-config"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "TMPDIR": str(self.folder / "tmp"),
            "FRONTEND_TAG": self.tag,
            **(env or {}),
        }
        self.work = self.folder / "work"
        for made in (self.work, Path(environment["TMPDIR"])):
            made.mkdir(exist_ok=True)
        with self.output.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    # --- HTTP

    def http(self, method, path, body=None, **headers):
        """One request without a token; names of headers are given with underscores."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=PATIENCE)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), named)
            response = connection.getresponse()
            known = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, known, response.read())
        finally:
            connection.close()

    def api(self, method, path, body=None):
        """A request that must succeed; the JSON of its answer."""
        answer = self.http(method, f"/api/{path}", body, Authorization=f"token {self.token}")
        assert answer.status < 300, (answer, self.situation())
        return answer.json if answer.body else None

    def wait_until_ready(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, f"the server has ended; {self.situation()}"
            try:
                return self.api("GET", "status")
            except OSError:
                assert time.monotonic() < deadline, f"no answer; {self.situation()}"
                time.sleep(0.05)

    def open_session(self, name, kernel):
        """A notebook's session; the model of it, as the server tells it."""
        wanted = {"path": name, "name": name, "type": "notebook", "kernel": {"name": kernel}}
        return self.api("POST", "sessions", wanted)

    # --- processes

    def processes(self):
        """Pids of everything alive that the server started, and the server."""
        tag = f"FRONTEND_TAG={self.tag}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and tag in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def assert_all_gone(self):
        deadline = time.monotonic() + PATIENCE
        while left := self.processes():
            assert time.monotonic() < deadline, (
                f"processes outlive the server: {describe(left)}; {self.situation()}"
            )
            time.sleep(0.02)

    def kill(self):
        """Ends everything, whatever its state."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def situation(self):
        said = self.output.read_text(errors="replace") + self.log.read_text(errors="replace")
        return f"the server said: {said[-4000:]!r}"


def start_server(folder, *options, env=None):
    """An ordinary Jupyter server of the Python that runs the tests, ready."""
    port, token = free_port(), uuid.uuid4().hex
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
    ]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", *options]
    server = Server(command, folder, port, token, {"JUPYTER_TOKEN": token, **(env or {})})
    try:
        server.wait_until_ready()
    except BaseException:
        server.kill()
        raise
    return server


class Channels:
    """The WebSocket of a kernel: one page's conversation with it, all channels in one."""

    def __init__(self, server, kernel_id, origin=None):
        self.session = uuid.uuid4().hex
        self.kernel_id = kernel_id
        url = f"ws://localhost:{server.port}/api/kernels/{kernel_id}/channels"
        self.server = server
        self.socket = websocket.create_connection(
            f"{url}?session_id={self.session}&token={server.token}", timeout=PATIENCE, origin=origin
        )
        self.unread = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, channel, msg_type, content, metadata=None, **fields):
        """Sends and does not wait. `fields` stand beside header and content, as Colab sends some."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": msg_type, "session": self.session}
        header |= {"username": "", "version": "5.3", "date": "2026-01-01T00:00:00.000Z"}
        message = Message(channel, header, {}, metadata or {}, content)
        parts = {name: getattr(message, name) for name in ("header", "parent_header", "metadata", "content")}
        self.socket.send(json.dumps({**parts, "channel": channel, "buffers": [], **fields}))
        return message

    def take(self, wanted, what):
        """The first unread message that is `wanted`; it stops being unread."""
        found = self.wait(wanted, PATIENCE)
        assert found, f"no {what}; unread {self.unread}; {self.server.situation()}"
        self.unread.remove(found)
        return found

    def wait(self, wanted, seconds):
        """The first message that is `wanted`, or None; it stays unread."""
        deadline = time.monotonic() + seconds
        looked_at = 0
        while True:
            for message in self.unread[looked_at:]:
                if wanted(message):
                    return message
            looked_at = len(self.unread)
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                raw = json.loads(self.socket.recv())
            except websocket.WebSocketTimeoutException:
                return None
            names = ("channel", "header", "parent_header", "metadata", "content")
            self.unread.append(Message(*(raw[name] for name in names)))

    def collect(self, request):
        """Reply and IOPub of a request, up to idle."""
        wanted = request.is_parent_of
        reply = self.take(lambda m: wanted(m) and m.channel == "shell", f"reply to {request.type}")
        iopub = []
        while not (iopub and iopub[-1].is_status("idle")):
            iopub.append(self.take(lambda m: wanted(m) and m.channel == "iopub", "idle"))
        return Exchange(request, reply, iopub)

    def execute(self, code, **fields):
        return self.collect(self.send("shell", "execute_request", {"code": code, **fields}))
