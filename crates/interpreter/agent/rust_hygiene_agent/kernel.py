"""The kernel façade: takes requests from the channel, answers them, and is what libraries find as `get_ipython().kernel`."""

import logging
import os

from .answers import Answers
from .asking import Asking
from .cells import Cells
from .channel import _exit
from .frames import ChannelClosed, dumps
from .replies import Request, error_reply, text_of
from .serve import Server
from .session import Session, Socket

log = logging.getLogger("rust_hygiene")


class IPythonKernel(Cells, Answers, Asking):
    """The façade. Its names are ipykernel's where a library is known to look for them."""

    implementation = "rust-hygiene"
    language = "python"
    eventloop = None
    _supports_kernel_subshells = False

    def __init__(self, channel, config):
        self.channel = channel
        self.pid = os.getpid()
        self.connection_file = config.get("connection_file", "")
        self.implementation_version = config.get("version", "")
        self.ident = config.get("ident", "")
        self.language_info = config.get("language_info", {})
        self.session = Session(self, config.get("session", ""), config.get("key", "").encode())
        self.iopub_socket = Socket(self, "iopub")
        self.shell_socket = self.stdin_socket = self.control_socket = Socket(self, "shell")
        self.later = None
        self.modules_at_start = []
        self.debugger = None
        self.server = Server(channel, self.readable)
        self.shell = None
        self.facts = None
        self.log = log
        self.interrupts = 0
        self._allow_stdin = False
        self._raw_headers = {}
        self._backlog = []
        self._cell_task = None
        self._count_before = 0
        self._comms = None
        self.in_user_code = False
        self.cancelled_by_interrupt = False
        self._interrupt_pending = False
        self._handling = False
        kinds = "execute complete inspect is_complete history kernel_info comm_info connect shutdown interrupt".split()
        self.shell_handlers = {f"{kind}_request": self.handle for kind in kinds}
        self.shell_handlers.update({kind: self.handle for kind in ("comm_open", "comm_msg", "comm_close")})
        self.control_handlers = {
            **self.shell_handlers,
            "debug_request": self.handle,
            "usage_request": self.handle,
        }
        self.msg_types = list(self.shell_handlers)

    # ------------------------------------------------------------------ names of ipykernel's kernel

    @property
    def banner(self):
        """IPython's banner."""
        return self.shell.banner

    @property
    def user_ns(self):
        """The notebook's namespace."""
        return self.shell.user_ns

    @property
    def user_module(self):
        """The notebook's module."""
        return self.shell.user_module

    @property
    def execution_count(self):
        """Number of the cell in hand."""
        return self.shell.execution_count

    @property
    def io_loop(self):
        """Tornado's view of the event loop, for libraries that use tornado."""
        from tornado.ioloop import IOLoop

        return IOLoop.current()

    @property
    def comm_manager(self):
        """The manager of comms; made when first used."""
        if self._comms is None:
            from .comms import comm_manager

            self._comms = comm_manager(self)
        return self._comms

    @property
    def _parent_header(self):
        return self.get_parent()

    @property
    def _parent_ident(self):
        return {"shell": [], "control": []}

    def get_parent(self, channel=None):
        """The whole request that is being answered."""
        return self.shell.get_parent()

    def set_parent(self, ident, parent, channel="shell"):
        """Makes `parent` the request of all outputs from now on."""
        self.shell.set_parent(parent)

    def send_response(
        self,
        stream,
        msg_or_type,
        content=None,
        ident=None,
        buffers=None,
        track=False,
        header=None,
        metadata=None,
        channel=None,
    ):
        """Sends a message on iopub as an output of the request in hand."""
        return self.session.send(
            stream, msg_or_type, content, self.get_parent(), ident, buffers, track, header, metadata
        )

    def do_one_iteration(self):
        """Kept for libraries: the front serves all channels at any time."""

    # ------------------------------------------------------------------ to the front

    def publish(self, kind, content, parent=None, metadata=None, buffers=None):
        """Sends a message on iopub. `parent` is a header; by default the one of the calling context."""
        if parent is None:
            parent = self.shell.get_parent().get("header") or {}
        raw = self._raw_headers.get(parent.get("msg_id"))
        if raw is None and parent:
            raw = dumps(parent)
        self.send_raw(kind, raw or b"", dumps(metadata) if metadata else b"{}", dumps(content), buffers or ())

    def send_raw(self, kind, parent, metadata, content, buffers=()):
        """Sends a message on iopub whose parts are JSON already."""
        self.channel.send({"op": "publish", "type": kind}, parent, metadata, content, *buffers)

    def _reply(self, request_id, kind, content, facts=None, **envelope):
        self.channel.send(
            {"op": "reply", "id": request_id, "type": kind, **envelope},
            b"{}",
            dumps(content),
            dumps(facts) if facts is not None else b"",
        )

    # ------------------------------------------------------------------ from the front

    def readable(self):
        """Takes every frame that has come. Called by the loop."""
        self._handling = True
        try:
            while not self.server.exiting:
                self.take(*self.channel.receive())
                self._take_backlog()
                if not self.channel.has_pending:
                    return
        except ChannelClosed:
            _exit(0)  # the front is gone
        except Exception as error:
            self._give_up(error)
        finally:
            self._handling = False
            if self._cell_task is None and not self.channel.readable_now():
                self._interrupt_pending = False  # it came too late for the request that it was meant for

    def _set_parent(self, parent):
        """Makes `parent` the request of outputs; of all outputs, unless a cell is running that goes on meanwhile."""
        if self._cell_task is None:
            self.shell.set_parent(parent)
        else:
            self.shell.set_thread_parent(parent)

    def _take_backlog(self):
        """What came while a cell waited for an answer."""
        while self._backlog:
            self.take(*self._backlog.pop(0))

    def take(self, envelope, sections):
        """Does what one frame asks for."""
        operation = envelope["op"]
        if operation == "request":
            self.handle_frame(envelope, sections)
        elif operation == "explain":
            self._explain(envelope)
        elif operation == "exit":
            self.server.stop()

    def handle_frame(self, envelope, sections):
        """Answers a request, whatever happens while it is read or handled."""
        kind = envelope["type"]
        reply_kind = kind.replace("_request", "_reply")
        try:
            request = Request(envelope, sections)
            if not isinstance(request.message["content"], dict) or not isinstance(
                request.message["metadata"], dict
            ):
                raise ValueError(f"content and metadata of a {kind} must be JSON objects")
        except (ValueError, RecursionError) as error:
            reply = {
                **error_reply(type(error).__name__, f"bad {kind}: {error}"),
                "payload": [],
                "user_expressions": {},
            }
            count = self.shell.execution_count
            self._reply(envelope["id"], reply_kind, reply, status="error", execution_count=count)
            return
        self._remember(request)
        try:
            if request.channel == "shell":
                # without its buffers, which would stay in memory as long as anything remembers the request
                self._set_parent({**request.message, "buffers": []})
            self.handle(request)
        except ChannelClosed:
            raise
        except BaseException as error:
            self._fail(request, error)

    def _fail(self, request, error):
        """A cell has changed what the kernel's own code needs. The request is answered all the same, or the interpreter ends."""
        try:
            text = f"the kernel's own code failed ({text_of(error)}); if this goes on, restart the kernel"
            reply = {**error_reply(type(error).__name__, text), "payload": [], "user_expressions": {}}
            count = getattr(self.shell, "execution_count", None)
            self.publish("error", error_reply(type(error).__name__, text), parent=request.message["header"])
            self._reply(
                request.id,
                request.type.replace("_request", "_reply"),
                reply,
                status="error",
                execution_count=count,
            )
            if self.channel.forked:
                _exit(0)
        except BaseException:
            self._give_up(error)

    def _give_up(self, error):
        """Nothing can be said any more: the front notices the end and starts a fresh interpreter."""
        try:
            text = f"The kernel's own code failed: {type(error).__name__}: {text_of(error)}\n"
            os.write(2, text.encode("utf-8", "backslashreplace"))
        finally:
            _exit(70)

    def _remember(self, request):
        self._raw_headers[request.message["msg_id"]] = request.raw_header
        if len(self._raw_headers) > 256:
            del self._raw_headers[next(iter(self._raw_headers))]

    def handle(self, request):
        """Answers one request with exactly one reply."""
        kind = request.type
        self._interrupt_pending = self._interrupt_pending and kind == "execute_request"
        if kind == "execute_request":
            self._execute(request)
            return
        if kind.startswith("comm_") and kind != "comm_info_request":
            self._comm(request)
            return
        answer = getattr(self, "do_" + kind.removesuffix("_request"), None)
        reply_kind = kind.replace("_request", "_reply")
        content = request.message["content"]
        try:
            if answer is None:
                raise ValueError(f"unknown request {kind!r}")
            self.in_user_code = True  # repr, __dir__ and properties of the user's objects may run
            try:
                reply = answer(content)
            finally:
                self.in_user_code = self._cell_task is not None
        except KeyboardInterrupt:
            reply = error_reply("KeyboardInterrupt", "")
        except BaseException as error:
            if kind not in ("complete_request", "inspect_request"):
                log.debug("%s failed", kind, exc_info=True)
            reply = error_reply(type(error).__name__, text_of(error))
        self._reply(request.id, reply_kind, reply)
