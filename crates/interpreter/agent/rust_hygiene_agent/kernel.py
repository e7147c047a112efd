"""The kernel: takes requests from the channel and answers them. Libraries find it as `get_ipython().kernel` (facade.py)."""

import logging
import os
import sys
import threading

from .answers import Answers
from .asking import Asking
from .cells import Cells
from .channel import _exit
from .facade import Facade
from .forks import InHand
from .frames import ChannelClosed, dumps, flat
from .interrupts import Interrupts, cares_for_interrupts
from .kernel_log import kernel_log
from .replies import Request, error_reply, text_of
from .routing import header_of
from .serve import Server
from .session import BackgroundSocket, IOPubThread, Session
from .streams import make_careful
from .unseen import unseen

log = logging.getLogger("rust_hygiene")


class IPythonKernel(Facade, Cells, Interrupts, Answers, Asking):
    """The kernel, whole."""

    def __init__(self, channel, config):
        self.channel = channel
        self.pid = os.getpid()
        self.given = config
        self.connection_file = config.get("connection_file", "")
        self.implementation_version = config.get("version", "")
        self.ident = config.get("ident", "")
        self.causes = config.get("causes", [])  # those that the front has a page about
        self.language_info = {**config.get("language_info", {}), "version": sys.version.split()[0]}
        self.session = Session(self, config.get("session", ""), config.get("key", "").encode())
        self.iopub_socket = BackgroundSocket(self, "iopub")
        self.shell_socket = self.stdin_socket = self.control_socket = BackgroundSocket(self, "shell")
        self.later = None
        self.modules_at_start = []
        self.debugger = None
        self.server = Server(channel, self.readable)
        self.shell = None
        self.streams = None
        self.raw_parent = (
            None  # the request that the front takes text of the pipes for, while that is certain
        )
        self.in_hand = InHand()
        self.facts = None
        self.guard = None
        self.log = kernel_log()
        self._init_asking()
        self.thread = threading.main_thread()
        self.iopub_thread = IOPubThread(self)
        self.subshells = {}
        self.ending = set()  # threads of deleted subshells
        self._raw_headers = {}
        self._backlog = []
        self._cell_task = None
        self._look_wanted = False  # for what nothing leads to, in the next idle moment
        self._cells = 0  # how many have begun
        self._count_before = 0
        self._comms = None
        self._app = None
        self._cleaner = None
        self._handling = False
        self._init_interrupts()
        kinds = "execute complete inspect is_complete history kernel_info comm_info connect shutdown interrupt".split()
        self.msg_types = [f"{kind}_request" for kind in kinds]
        self.control_msg_types = [*self.msg_types, "debug_request", "usage_request"]
        self.shell_handlers = {
            kind: self.handle for kind in (*self.msg_types, "comm_open", "comm_msg", "comm_close")
        }
        self.control_handlers = dict.fromkeys(self.control_msg_types, self.handle)

    @property
    def here(self):
        """The subshell whose thread this is, or this."""
        if self.subshells:
            me = threading.get_ident()
            for subshell in list(self.subshells.values()):
                if subshell.thread.ident == me:
                    return subshell
        return self

    @property
    def cleaner(self):
        """What does cleanup steps."""
        if self._cleaner is None:
            self._cleaner = unseen(self._new_cleaner)  # loading it could start a collection
        return self._cleaner

    def _new_cleaner(self):
        from .cleaning import Cleaner

        return Cleaner(self)

    def threads_of_the_program(self):
        """The threads that are neither the main one nor the shell's."""
        ours = {threading.main_thread(), getattr(self.shell.history_manager, "save_thread", None)}
        ours.update(subshell.thread for subshell in list(self.subshells.values()))
        return [thread for thread in threading.enumerate() if thread not in ours]

    # ------------------------------------------------------------------ to the front

    def publish(self, kind, content, parent=None, metadata=None, buffers=None):
        """Sends a message on iopub. `parent` is a header; by default the one of the calling context. False if that is impossible."""
        if parent is None:
            parent = self.shell.get_parent().get("header") or {}
        raw = self._raw_headers.get(parent.get("msg_id"))
        if raw is None and parent:
            raw = dumps(parent)
        data = dumps(content, strict=True)
        buffers = [flat(buffer) for buffer in buffers] if buffers else ()
        return self.send_raw(
            kind, raw or b"", dumps(metadata, strict=True) if metadata else b"{}", data, buffers
        )

    def send_raw(self, kind, parent, metadata, content, buffers=()):
        """Sends a message on iopub whose parts are JSON already."""
        return self.channel.send({"op": "publish", "type": kind}, parent, metadata, content, *buffers)

    def be_careful(self):
        """From now on each print looks at the request that it belongs to."""
        if self.streams:
            streams, self.streams = self.streams, None
            make_careful(streams, self)

    def route_raw_text(self, parent):
        """Tells the front that text of the pipes belongs to `parent` from now on."""
        header = header_of(parent)
        self.in_hand.is_another()
        self.raw_parent = parent if "header" in parent else {"header": header}
        self.channel.send({"op": "parent"}, self._raw_headers.get(header.get("msg_id")) or dumps(header))

    def _reply(self, request_id, kind, content, facts=None, **envelope):
        if self._cell_task is None:
            self.raw_parent = None  # the front may begin with the next request when it has this
        self.channel.send(
            {"op": "reply", "id": request_id, "type": kind, **envelope},
            b"{}",
            dumps(content),
            dumps(facts) if facts is not None else b"",
        )
        self.cell_is_over = False

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
            self.in_hand.is_another()
            self.raw_parent = parent
            self.shell.take_parent(parent)
        else:
            self.shell.set_thread_parent(parent)

    def _take_backlog(self):
        """What came while a cell waited for an answer."""
        while self._backlog:
            self.take(*self._backlog.pop(0))

    def take(self, envelope, sections):
        """Does what one frame asks for."""
        operation = envelope["op"]
        for thread in tuple(self.ending):
            thread.join(1)
            self.ending.discard(thread)
        if operation == "request":
            self.handle_frame(envelope, sections)
        elif operation == "explain":
            self._explain(envelope)
        elif operation == "survey":
            self.cleaner.answer_survey(envelope)
        elif operation == "step":
            self.cleaner.answer_step(envelope, sections)
        elif operation == "bring":
            from .isolate import bring

            bring(self, envelope)
        elif operation == "look":
            self._look_wanted = True
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
            self._raw_headers.pop(next(iter(self._raw_headers)), None)

    def handle(self, request):
        """Answers one request with exactly one reply."""
        kind = request.type
        if self.debugger is not None:
            self.debugger.trace()
        if kind != "execute_request" or request.interrupted_before:
            self._interrupt_pending = False  # it was not meant for this
        if kind == "execute_request":
            self._execute(request)
            return
        if kind.startswith("comm_") and kind != "comm_info_request":
            self._comm(request)
            return
        answer = getattr(self, "answer_" + kind.removesuffix("_request"), None)
        reply_kind = kind.replace("_request", "_reply")
        content = request.message["content"]
        try:
            if answer is None:
                raise ValueError(f"unknown request {kind!r}")
            reply = self._answer(answer, content)
        except KeyboardInterrupt:
            reply = error_reply("KeyboardInterrupt", "")
        except BaseException as error:
            if kind not in ("complete_request", "inspect_request"):
                log.debug("%s failed", kind, exc_info=True)
            reply = error_reply(type(error).__name__, text_of(error))
        self._reply(request.id, reply_kind, reply)

    @cares_for_interrupts
    def _answer(self, answer, content):
        self.in_user_code = True  # repr, __dir__ and properties of the user's objects may run
        try:
            return answer(content)
        finally:
            self.in_user_code = self._cell_task is not None
            try:
                drop, self.drop_interrupt = self.drop_interrupt, int
                drop()
            except KeyboardInterrupt:
                pass
