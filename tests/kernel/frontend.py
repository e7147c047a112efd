"""A front end in verbs: starts the kernel under test, talks to it over libzmq, and lets nothing pass unseen.

Every message that arrives is checked against the schema of its type; every answer must carry its request's header; a
message that no test read, and a process that outlives its kernel, are failures.
"""

import os
import re
import signal
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import zmq
from jupyter_client.manager import KernelManager

import schema
from message import build, pack, unpack

KERNEL = os.environ.get("KERNEL_UNDER_TEST", "rust-hygiene")

CHANNELS = {"stdin": zmq.DEALER, "iopub": zmq.SUB, "control": zmq.DEALER, "shell": zmq.DEALER}

# Seconds that a healthy kernel may take before we call it hung; nothing waits this long on success.
PATIENCE = int(os.environ.get("KERNEL_TEST_PATIENCE", "60"))

# What the surroundings of the test run must not decide. ipykernel stops capturing file descriptors under pytest.
FOREIGN = re.compile(r"PYTEST_|JPY_|VSCODE_|RUST_HYGIENE_(?!PYTHON$)|MPLBACKEND$")


@dataclass
class Exchange:
    """A request with everything that the kernel said in answer, up to idle."""

    request: object
    reply: object
    iopub: list

    @property
    def content(self):
        return self.reply.content

    @property
    def status(self):
        return self.reply.content["status"]

    @property
    def stdout(self):
        return self.stream("stdout")

    @property
    def stderr(self):
        return self.stream("stderr")

    def stream(self, name):
        texts = [m.content["text"] for m in self.of("stream") if m.content["name"] == name]
        return "".join(texts)

    def of(self, *types):
        return [m for m in self.iopub if m.type in types]

    @property
    def types(self):
        """What came on IOPub, without status, adjacent pieces of a stream as one."""
        names = []
        for m in self.iopub:
            name = m.content["name"] if m.type == "stream" else m.type
            if m.type != "status" and not (m.type == "stream" and names and names[-1] == name):
                names.append(name)
        return names

    @property
    def outputs(self):
        """`types` without the echo of the input."""
        return [name for name in self.types if name != "execute_input"]

    @property
    def result(self):
        """The text of the one execute_result."""
        (message,) = self.of("execute_result")
        return message.content["data"]["text/plain"]


class Frontend:
    """A kernel of our own and the sockets to it. Use it as a context manager or call `close`."""

    def __init__(self, kernel=KERNEL, env=None, argv=None, wait=True):
        self.tag = uuid.uuid4().hex
        self.session = uuid.uuid4().hex
        self.manager = KernelManager(kernel_name=kernel)
        if argv is not None:
            self.manager.kernel_spec.argv = argv(self.manager.kernel_spec.argv)
        self.home = tempfile.TemporaryDirectory(prefix="frontend-")
        self.log = Path(self.home.name) / "kernel.log"
        self.env = {
            **{k: v for k, v in os.environ.items() if not FOREIGN.match(k)},
            "IPYTHONDIR": str(Path(self.home.name) / "ipython"),
            "XDG_CONFIG_HOME": str(Path(self.home.name) / "config"),
            "JUPYTER_RUNTIME_DIR": str(Path(self.home.name) / "runtime"),
            "FRONTEND_TAG": self.tag,
            **(env or {}),
        }
        self.closed = False
        # a kernel whose interpreter died says, to no request, that a fresh one starts
        self.tolerates = lambda message: (
            message.content.get("execution_state") in ("starting", "restarting") and not message.parent_header
        )
        self.launch(self.manager.start_kernel)
        self.connect()
        if wait:
            self.wait_until_ready()

    def launch(self, start):
        with self.log.open("ab") as log:
            start(env=self.env, cwd=self.home.name, stdout=log, stderr=log)
        self.key = self.manager.session.key
        self.pid = self.manager.provisioner.process.pid

    def restart(self):
        """By the manager, as a server does it; our sockets are made anew."""
        self.disconnect()
        self.launch(self.manager.restart_kernel)
        self.connect()
        self.wait_until_ready()

    # --- sockets

    def connect(self):
        self.sockets = {}
        for channel, kind in CHANNELS.items():
            socket = zmq.Context.instance().socket(kind)
            socket.linger = 0
            if kind == zmq.SUB:
                socket.subscribe(b"")
            else:
                socket.identity = self.session.encode()
            self.sockets[channel] = socket
        self.stdin_events = self.sockets["stdin"].get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        for channel, socket in self.sockets.items():
            socket.connect(f"tcp://{self.manager.ip}:{getattr(self.manager, channel + '_port')}")
        self.unread = {channel: [] for channel in self.sockets}
        self.seen = set()
        self.poller = zmq.Poller()
        for socket in self.sockets.values():
            self.poller.register(socket, zmq.POLLIN)

    def disconnect(self):
        self.sockets["stdin"].disable_monitor()
        for socket in self.sockets.values():
            socket.close(linger=0)

    def wait_until_ready(self):
        """Until the kernel answers and its IOPub reaches us; what it said of its start is forgotten."""
        # A ROUTER drops what it has for a peer that has not yet connected: a question asked now would be lost.
        assert self.stdin_events.poll(PATIENCE * 1000), f"nobody listens on stdin; {self.situation()}"
        deadline = time.monotonic() + PATIENCE
        while not self.is_heard():
            assert time.monotonic() < deadline, f"nothing comes on iopub; {self.situation()}"
        self.unread["iopub"].clear()

    def is_heard(self):
        """Whether the idle of a request comes within a second of its reply: our subscription has arrived."""
        request = self.send("shell", "kernel_info_request")
        self.take("shell", request.is_parent_of, "the first kernel_info_reply")
        try:
            self.take("iopub", lambda m: m.answers(request) and m.is_status("idle"), "idle", timeout=1)
        except TimeoutError:
            return False
        return True

    # --- sending

    def send(self, channel, msg_type, content=None, **parts):
        """Send and do not wait; `parts` as in `message.build`."""
        message = build(channel, msg_type, {} if content is None else content, session=self.session, **parts)
        self.sockets[channel].send_multipart(pack(message, self.key))
        return message

    def start(self, code, *, metadata=None, header=None, **fields):
        """Ask for a cell to be executed and do not wait."""
        return self.send(
            "shell", "execute_request", execute_content(code, **fields), metadata=metadata, header=header
        )

    def answer_input(self, value):
        return self.send("stdin", "input_reply", {"value": value})

    def wait_until_stdin_is_read(self):
        """Until all that we sent on stdin has been read: nothing is answered there, but our kernel logs what it does not know.

        Shell and stdin are two connections; what is sent on the one may be overtaken on the other.
        """
        if KERNEL == "python3":
            self.pump_for(0.2)  # reads nothing there until it asks, and then forgets it
            return
        marker = f"marker_{uuid.uuid4().hex}"
        self.send("stdin", marker)
        deadline = time.monotonic() + PATIENCE
        while marker not in self.kernel_log():
            assert time.monotonic() < deadline, f"stdin is not read; {self.situation()}"
            self.pump(0.01)

    # --- receiving

    def pump(self, timeout):
        """Move what arrives within `timeout` seconds to `unread`."""
        for socket, _ in self.poller.poll(timeout * 1000):
            channel = next(name for name, s in self.sockets.items() if s is socket)
            while True:
                try:
                    frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                message = unpack(channel, frames, self.key)
                schema.check(message)
                assert message.id not in self.seen, f"the same msg_id twice: {message!r}"
                self.seen.add(message.id)
                self.unread[channel].append(message)

    def pump_for(self, seconds):
        """Let time pass without letting messages pile up in the sockets."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.pump(left)

    def take(self, channel, wanted, what, timeout=PATIENCE):
        """The first unread message that is `wanted`; it stops being unread."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        while True:
            unread = self.unread[channel]
            for index in range(looked_at, len(unread)):
                if wanted(unread[index]):
                    return unread.pop(index)
            looked_at = len(unread)
            self.pump(0.05)
            if len(unread) > looked_at:
                continue
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} within {timeout} s; {self.situation()}")
            if self.manager.provisioner.process.poll() is not None:
                self.pump(0.2)
                if len(unread) == looked_at:
                    raise ConnectionError(f"the kernel is gone, no {what}; {self.situation()}")

    def recv(self, channel, msg_type, **options):
        """The next unread message of a channel, which must be of this type."""
        message = self.take(channel, lambda _: True, msg_type, **options)
        assert message.type == msg_type, f"{message!r} instead of {msg_type}"
        return message

    def recv_iopub_busy(self):
        assert self.recv("iopub", "status").is_status("busy")

    def recv_iopub_idle(self):
        assert self.recv("iopub", "status").is_status("idle")

    def recv_stdin_request(self):
        return self.recv("stdin", "input_request")

    def wait_for_stream(self, request, text):
        """Until the cell has printed `text`; what it printed stays unread."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.printed(request):
            assert time.monotonic() < deadline, f"{text!r} was never printed; {self.situation()}"
            self.pump(0.05)

    def printed(self, request):
        texts = [m.content["text"] for m in self.unread["iopub"] if m.answers(request) and m.type == "stream"]
        return "".join(texts)

    def collect(self, request, timeout=PATIENCE):
        """Reply and all of IOPub up to idle, checked for form: busy first, idle last, the request's header on all."""
        reply = self.take(request.channel, request.is_parent_of, f"reply to {request.type}", timeout=timeout)
        iopub = self.take_until_idle(request, timeout)
        assert reply.parent_header == request.header, f"{reply!r} has parent {reply.parent_header}"
        return Exchange(request, reply, iopub)

    def take_until_idle(self, request, timeout=PATIENCE):
        """All IOPub messages of a request, which are no longer unread."""
        iopub = []
        while not (iopub and iopub[-1].is_status("idle")):
            iopub.append(self.take("iopub", request.is_parent_of, "idle", timeout=timeout))
        states = [m.content["execution_state"] for m in iopub if m.type == "status"]
        assert iopub[0].is_status("busy") and states == ["busy", "idle"], f"{states} in {iopub}"
        for message in iopub:
            assert message.parent_header == request.header, f"{message!r} has parent {message.parent_header}"
        return iopub

    def request(self, channel, msg_type, content=None, *, timeout=PATIENCE, **parts):
        return self.collect(self.send(channel, msg_type, content, **parts), timeout)

    def execute(self, code, *, timeout=PATIENCE, **options):
        return self.collect(self.start(code, **options), timeout)

    def execute_ok(self, code, **options):
        exchange = self.execute(code, **options)
        assert exchange.status == "ok", exchange.content
        return exchange

    def evaluate(self, expression):
        """The value of an expression (a literal) in the kernel, without a trace in its history."""
        asked = {"value": f"repr({expression})"}
        reply = self.execute("", silent=True, user_expressions=asked).content["user_expressions"]["value"]
        assert reply["status"] == "ok", reply
        return eval(eval(reply["data"]["text/plain"]))

    # --- interrupting

    def interrupt_by_message(self):
        exchange = self.request("control", "interrupt_request")
        assert exchange.content == {"status": "ok"}

    def interrupt_by_signal(self):
        """As Ctrl-C in a terminal does: SIGINT to the whole process group."""
        os.killpg(self.pid, signal.SIGINT)

    # --- the end

    def processes(self):
        """Pids of everything alive that this kernel started: they inherited our tag, whoever is their parent. Without its warden."""
        return [pid for pid in self.all_processes() if name_of(pid) != "warden"]

    def all_processes(self):
        tag = f"FRONTEND_TAG={self.tag}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and tag in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def assert_nothing_unread(self):
        """Ask something on both channels: whatever was said before has arrived with the answers."""
        self.request("control", "kernel_info_request")
        self.request("shell", "kernel_info_request")
        left = [m for messages in self.unread.values() for m in messages if not self.tolerates(m)]
        of = {m.parent_header.get("msg_type") for m in left}
        assert not left, f"messages that nobody read: {left}, of {of}"

    def assert_all_gone(self, timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        while left := self.all_processes():
            assert time.monotonic() < deadline, f"processes outlive the kernel: {describe(left)}"
            time.sleep(0.02)

    def shut_down(self):
        """Ask the kernel to end; it answers, and ends by itself."""
        request = self.send("control", "shutdown_request", {"restart": False})
        reply = self.take("control", request.is_parent_of, "shutdown_reply")
        assert reply.content == {"status": "ok", "restart": False}
        self.manager.provisioner.process.wait(PATIENCE)
        return reply

    def close(self):
        if self.closed:
            return
        self.assert_nothing_unread()
        self.shut_down()
        self.assert_all_gone()
        self.kill()

    def kill(self):
        """End everything, whatever its state. Says nothing about the kernel."""
        if self.closed:
            return
        self.closed = True
        self.disconnect()
        self.manager.shutdown_kernel(now=True)
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.home.cleanup()

    def situation(self):
        unread = {channel: messages[-5:] for channel, messages in self.unread.items() if messages}
        return f"unread: {unread}; the kernel's own output ends: {self.kernel_log()[-2000:]!r}"

    def kernel_log(self):
        return self.log.read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.kill()


def execute_content(
    code, *, silent=False, store_history=True, user_expressions=None, allow_stdin=False, stop_on_error=True
):
    return {
        "code": code,
        "silent": silent,
        "store_history": store_history,
        "user_expressions": user_expressions or {},
        "allow_stdin": allow_stdin,
        "stop_on_error": stop_on_error,
    }


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def describe(pids):
    lines = []
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            command = "gone meanwhile"
        lines.append(f"{pid}: {command}")
    return lines
