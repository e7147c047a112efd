"""A kernel under measurement: started through jupyter_client, spoken to over raw sockets."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import zmq
from jupyter_client import KernelManager
from jupyter_client.blocking import BlockingKernelClient

from side_by_side.basics import BenchError, KernelDied, KernelTimeout, clock
from side_by_side.messages import Exchange, Message, Prepared
from side_by_side.processes import is_running, process_tree


class HookedKernelManager(KernelManager):
    """A KernelManager that calls a function just before it spawns the process.

    By then the connection file is written and the ports are known.
    """

    before_launch: Callable[[], None] = staticmethod(lambda: None)

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        self.before_launch()
        await super()._async_launch_kernel(kernel_cmd, **kw)


class Kernel(contextlib.AbstractContextManager):
    """One kernel process with connected client sockets; a context manager."""

    def __init__(self, spec: str, scratch: Path, timeout: float, settings: Sequence[str] = ()) -> None:
        self.spec = spec
        self.timeout = timeout
        name = f"{spec}-{uuid.uuid4().hex[:8]}"
        self.log_path = scratch / f"{name}.log"
        self.log = self.log_path.open("wb")
        self.context = zmq.Context()
        # Defaults of all sockets that this context makes from here on.
        self.context.setsockopt(zmq.RCVHWM, 0)
        self.context.setsockopt(zmq.SNDHWM, 0)
        self.context.setsockopt(zmq.LINGER, 0)
        self.manager = HookedKernelManager(kernel_name=spec, connection_file=str(scratch / f"{name}.json"))
        self.manager.kernel_spec.argv += [word for setting in settings for word in ("--set", setting)]
        self.client: BlockingKernelClient | None = None
        self.sockets: dict[str, zmq.Socket] = {}
        self.channel_of: dict[zmq.Socket, str] = {}
        self.poller = zmq.Poller()
        self.iopub_heard = False
        self.spawned_at = 0.0
        self.starter = threading.Thread()
        self.start_error: Exception | None = None
        self._seen: dict[int, psutil.Process] = {}

    # ------------------------------------------------------------- lifecycle

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> Kernel:
        """Start and wait until shell answers and iopub is known to reach us."""
        request = self.prepare("kernel_info_request", {})
        self.spawn(request)
        self.wait_ready(request)
        self.drain()
        self.remember_tree()
        return self

    def spawn(self, first: Prepared) -> None:
        """Connect eagerly retrying sockets, queue a request, start the process.

        KernelManager.start_kernel returns 10 ms after the launch at the
        earliest (it sleeps), so it runs in a thread while we listen.
        """
        self.context.setsockopt(zmq.RECONNECT_IVL, 1)
        launching = threading.Event()

        def before_launch() -> None:
            if not self.sockets:  # a restart keeps the sockets
                self.connect()
                self.send(first)
            self.spawned_at = clock()
            launching.set()

        def start() -> None:
            try:
                self.manager.start_kernel(stdout=self.log, stderr=self.log)
            except Exception as error:  # noqa: BLE001  (told in join_starter)
                self.start_error = error
                launching.set()

        self.manager.before_launch = before_launch
        self.starter = threading.Thread(target=start, daemon=True)
        self.starter.start()
        launching.wait()

    def join_starter(self) -> None:
        """Wait until KernelManager.start_kernel has returned."""
        self.starter.join()
        if self.start_error is not None:
            raise BenchError(f"start_kernel failed: {self.start_error}")

    def spawn_stock(self) -> None:
        """Start as stock clients do: spawn, then connect with default retry."""
        self.spawned_at = clock()
        self.manager.start_kernel(stdout=self.log, stderr=self.log)
        self.connect()

    def connect(self) -> None:
        info = self.manager.get_connection_info(session=True)
        self.client = BlockingKernelClient(context=self.context, **info)
        self.sockets = {
            "shell": self.client.connect_shell(),
            "control": self.client.connect_control(),
            "iopub": self.client.connect_iopub(),
        }
        for channel, socket in self.sockets.items():
            self.channel_of[socket] = channel
            self.poller.register(socket, zmq.POLLIN)

    @property
    def pid(self) -> int:
        """The process id of the kernel's first process, also when it is gone."""
        if self.starter.ident is not None:
            self.join_starter()
        return self.manager.provisioner.pid  # type: ignore[union-attr]

    @property
    def exit_code(self) -> int | None:
        """None while the kernel's first process lives."""
        if self.starter.ident is not None:
            self.join_starter()
        process = self.manager.provisioner.process  # type: ignore[union-attr]
        return process.poll() if process is not None else -1

    def remember_tree(self) -> list[psutil.Process]:
        """Note the tree's processes, so that none can outlive the bench."""
        tree = process_tree(self.pid)
        for process in tree:
            self._seen[process.pid] = process
        return tree

    def close(self) -> None:
        """Kill whatever is left of the kernel and release the sockets."""
        if self.starter.ident is not None:
            self.starter.join()
        with contextlib.suppress(Exception):
            self.remember_tree()
        with contextlib.suppress(Exception):
            if self.manager.has_kernel:
                self.manager.shutdown_kernel(now=True)
        with contextlib.suppress(Exception):
            self.remember_tree()  # orphans, if any
        for process in self._seen.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_running(process):
                    process.kill()
        with contextlib.suppress(Exception):
            self.manager.cleanup_resources()
        for socket in self.sockets.values():
            socket.close(linger=0)
        self.context.destroy(linger=0)
        self.log.close()

    def log_tail(self, lines: int = 5) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        return ""

    # -------------------------------------------------------------- messages

    def prepare(
        self,
        msg_type: str,
        content: dict[str, Any],
        channel: str = "shell",
        buffers: Sequence[bytes] = (),
    ) -> Prepared:
        session = self.manager.session
        msg = session.msg(msg_type, content)
        frames = [*session.serialize(msg), *buffers]
        return Prepared(channel, msg["header"]["msg_id"], frames)

    def prepare_execute(self, code: str, **fields: Any) -> Prepared:
        """An execute_request as front ends send it (stored in the history)."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        content.update(fields)
        return self.prepare("execute_request", content)

    def send(self, request: Prepared) -> float:
        """Send; return the time just before."""
        at = clock()
        self.sockets[request.channel].send_multipart(request.frames)
        return at

    def messages(
        self, deadline: float, *, check_alive: bool = True, quiet: float | None = None
    ) -> Iterator[Message]:
        """Yield messages as they come in, until the deadline (an error).

        With ``quiet``, end without error once nothing has come for so long.
        """
        last = clock()
        while True:
            now = clock()
            if now >= deadline:
                raise KernelTimeout(f"no answer in time; log: {self.log_tail()}")
            wait = min(deadline - now, 0.25)
            if quiet is not None:
                if now - last >= quiet:
                    return
                wait = min(wait, quiet - (now - last))
            events = self.poller.poll(max(1, int(wait * 1e3)))
            if not events and check_alive and self.exit_code is not None:
                raise KernelDied(f"exit code {self.exit_code}; log: {self.log_tail()}")
            for socket, _ in events:
                for _ in range(64):
                    try:
                        frames = socket.recv_multipart(zmq.NOBLOCK)
                    except zmq.Again:
                        break
                    last = clock()
                    channel = self.channel_of[socket]
                    self.iopub_heard |= channel == "iopub"
                    yield Message(channel, last, frames)

    def exchange(self, request: Prepared, timeout: float | None = None) -> Exchange:
        """Send a request, wait for its reply and for its idle status."""
        deadline = clock() + (self.timeout if timeout is None else timeout)
        result = Exchange(self.send(request))
        for message in self.messages(deadline):
            self.sort_in(result, request, message)
            if result.complete:
                break
        return result

    @staticmethod
    def sort_in(result: Exchange, request: Prepared, message: Message) -> None:
        """File a message under the request that it answers."""
        if message.channel == "iopub":
            # Under a flood the parent is decoded later: only one request runs.
            result.iopub.append(message)
            if message.is_idle and message.parent_id == request.msg_id:
                result.idle = message
        elif message.parent_id == request.msg_id:
            result.reply = message
        else:
            result.strays.append(message)

    def execute(self, code: str, timeout: float | None = None) -> Exchange:
        return self.exchange(self.prepare_execute(code), timeout)

    def setup(self, code: str) -> None:
        """Run code that a metric depends on."""
        self.execute(code).require_ok()
        self.drain()

    def drain(self, quiet: float = 0.05) -> list[Message]:
        """Take what is still under way, until nothing comes for ``quiet`` s."""
        return list(self.messages(clock() + self.timeout, quiet=quiet))

    def warm_up(self, count: int = 30) -> None:
        for _ in range(count):
            self.execute("pass").require_ok()

    def wait_reply(self, request: Prepared) -> Message:
        """Wait for the reply to a request that was sent."""
        for message in self.messages(clock() + self.timeout):
            if message.channel == request.channel and message.parent_id == request.msg_id:
                return message
        raise AssertionError("unreachable")

    def wait_ready(self, request: Prepared) -> None:
        """Wait until shell answers the request sent, and iopub reaches us.

        Asks for kernel_info until something comes in on iopub, as
        jupyter_server does, because a subscription has no acknowledgement
        (but for the iopub_welcome that some kernels send).
        """
        deadline = clock() + self.timeout
        self.check_signature(self.wait_reply(request))
        while not self.iopub_heard:
            if clock() > deadline:
                raise KernelTimeout(f"iopub never became ready; log: {self.log_tail()}")
            self.send(self.prepare("kernel_info_request", {}))
            for _ in self.messages(deadline, quiet=0.02):
                if self.iopub_heard:
                    break

    def wait_anew(self) -> None:
        """Wait until a restarted kernel is ready."""
        self.drain(0.002)  # what the old process still had to say
        self.iopub_heard = False
        request = self.prepare("kernel_info_request", {})
        self.send(request)
        self.wait_ready(request)

    def check_signature(self, message: Message) -> None:
        """Let jupyter_client verify a message that was received raw."""
        self.manager.session.deserialize(list(message.frames))
