"""Talks to a kernel: sends requests and collects what comes of each."""

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import zmq
from jupyter_client.manager import KernelManager

# What the surroundings of the run must not decide.
_FOREIGN = re.compile(
    r"PYTEST_|JPY_|VSCODE_|RUST_HYGIENE_(?!PYTHON$)|MPLBACKEND$|PYTHONSTARTUP$|IPYTHON|COLUMNS$|LINES$"
)
# A kernel that says nothing for so long hangs; nothing waits this long on success.
PATIENCE = float(os.environ.get("KERNEL_TEST_PATIENCE", "60"))
# A reply comes before idle, or not at all.
_REPLY_AFTER_IDLE = 1.0


class Answer:
    """What came of one request: everything on IOPub and stdin that names it as parent, and the reply."""

    def __init__(self):
        self.published = []
        self.asked = []
        self.reply = None
        self.idle_at = None
        self.notes = []


class Talk:
    """A kernel in a folder of its own."""

    def __init__(self, kernel, probe, env=None, argv=()):
        self.root = Path(tempfile.mkdtemp(prefix="conformance-"))
        self.folder = self.root / "cwd"
        self.folder.mkdir()
        for name, text in probe.files.items():
            path = self.root / name if name.startswith("ipython/") else self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.log = (self.root / "kernel.log").open("wb")
        self.answers = {}
        self.events = []  # of the debugger, which belong to no request
        self.debugging = None
        self.stdin = probe.json("stdin", [])
        self.settle = probe.json("settle", 0)
        environment = {
            **{name: value for name, value in os.environ.items() if not _FOREIGN.match(name)},
            "HOME": str(self.root),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
            "IPYTHONDIR": str(self.root / "ipython"),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
            "VIRTUAL_ENV": sys.prefix,
            "LC_ALL": "C.UTF-8",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            **probe.json("env", {}),
            **(env or {}),
        }
        self.start(kernel, [*argv, *probe.json("arguments", [])], environment)
        self.sockets = {
            getattr(self.client, f"{name}_channel").socket: name
            for name in ("iopub", "stdin", "shell", "control")
        }
        self.poller = zmq.Poller()
        for socket in self.sockets:
            self.poller.register(socket, zmq.POLLIN)

    def start(self, kernel, arguments, environment):
        """Starts the kernel; anew, if another process took one of its ports before it did."""
        for attempts_left in (2, 1, 0):
            self.manager = KernelManager(kernel_name=kernel)
            self.manager.kernel_spec.argv += arguments
            self.manager.start_kernel(env=environment, cwd=str(self.folder), stdout=self.log, stderr=self.log)
            self.client = self.manager.client()
            self.client.start_channels()
            try:
                self.client.wait_for_ready(timeout=PATIENCE)
                return
            except RuntimeError:
                self.client.stop_channels()
                if not attempts_left:
                    print((self.root / "kernel.log").read_text(errors="replace")[-2000:])
                    raise

    def close(self):
        """Ends the kernel and removes its folder."""
        self.client.stop_channels()
        try:
            self.manager.shutdown_kernel(now=True)
        finally:
            self.manager.cleanup_resources()
            self.log.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def send(self, channel, kind, content, metadata=None):
        """Sends a request; returns the answer, still empty."""
        message = self.client.session.msg(kind, content, metadata=metadata)
        answer = self.answers[message["header"]["msg_id"]] = Answer()
        socket = getattr(self.client, f"{channel}_channel").socket
        self.client.session.send(socket, message)
        return answer

    def wait(self, answer, interrupt=False, needs_reply=True):
        """Waits until the answer is whole, or can no longer become so."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if answer.idle_at is not None:
                if answer.reply is not None or not needs_reply:
                    return
                if time.monotonic() - answer.idle_at > _REPLY_AFTER_IDLE:
                    answer.notes.append("no reply")
                    return
            came = self.pump(0.1)
            if interrupt and any(message["msg_type"] == "stream" for message in answer.published):
                interrupt = False
                time.sleep(0.2)  # from the text to what is to be interrupted
                self.manager.interrupt_kernel()
            if not came and answer.reply is None and not self.manager.is_alive():
                answer.notes.append("the kernel died")
                return
        answer.notes.append("the kernel hangs")

    def linger(self, seconds):
        """Reads what comes in the next `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump(max(0.0, end - time.monotonic()))

    def pump(self, seconds):
        """Reads what is there; waits for it at most so long. False if nothing came."""
        came = self.poller.poll(seconds * 1000)
        for socket, _ in came:
            frames = socket.recv_multipart()
            _, frames = self.client.session.feed_identities(frames)
            self.take(self.sockets[socket], self.client.session.deserialize(frames))
        return bool(came)

    def take(self, channel, message):
        """Puts a message to the request that it names as its parent."""
        if message["msg_type"] == "debug_event":
            self.events.append(message)
            return
        answer = self.answers.get(message["parent_header"].get("msg_id"))
        if answer is None:
            return
        if channel == "stdin":
            answer.asked.append(message)
            value = self.stdin.pop(0) if self.stdin else ""
            reply = self.client.session.msg("input_reply", {"value": value})
            self.client.session.send(self.client.stdin_channel.socket, reply)
        elif channel == "iopub":
            answer.published.append(message)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                answer.idle_at = time.monotonic()
        else:
            answer.reply = message
