"""The kernel façade: takes requests from the channel, answers them, and is what libraries find as `get_ipython().kernel`."""

import json
import logging
import os
import sys
import time

from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell

from .channel import ChannelClosed, _exit, dumps
from .serve import Server
from .session import Session, Socket

log = logging.getLogger("rust_hygiene")

# Bound here: a cell may replace them in their modules.
_loads, _clock, _cpu_clock = json.loads, time.perf_counter, time.process_time


class Request:
    """One request from the front: the message as a dictionary, and its header as it came."""

    __slots__ = ("channel", "facts", "id", "message", "raw_header", "type")

    def __init__(self, envelope, sections):
        header, parent, metadata, content, *buffers = sections
        self.type = envelope["type"]
        self.id = envelope["id"]
        self.channel = envelope.get("channel", "shell")
        self.facts = envelope.get("facts", False)
        self.raw_header = bytes(header)
        head = _loads(self.raw_header)
        self.message = {
            "header": head,
            "msg_id": head.get("msg_id"),
            "msg_type": head.get("msg_type"),
            "parent_header": _loads(bytes(parent) or b"{}"),
            "metadata": _loads(bytes(metadata) or b"{}"),
            "content": _loads(bytes(content)),
            "buffers": buffers,
        }


class IPythonKernel:
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
                **_error(type(error).__name__, f"bad {kind}: {error}"),
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
            text = f"the kernel's own code failed ({_text(error)}); if this goes on, restart the kernel"
            reply = {**_error(type(error).__name__, text), "payload": [], "user_expressions": {}}
            count = getattr(self.shell, "execution_count", None)
            self.publish("error", _error(type(error).__name__, text), parent=request.message["header"])
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
            text = f"The kernel's own code failed: {type(error).__name__}: {_text(error)}\n"
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
            reply = _error("KeyboardInterrupt", "")
        except BaseException as error:
            if kind not in ("complete_request", "inspect_request"):
                log.debug("%s failed", kind, exc_info=True)
            reply = _error(type(error).__name__, _text(error))
        self._reply(request.id, reply_kind, reply)

    # ------------------------------------------------------------------ execute

    def _execute(self, request):
        content = request.message["content"]
        problem = _check_execute(content)
        if problem is not None:
            self._reply(
                request.id,
                "execute_reply",
                problem,
                execution_count=self.shell.execution_count,
                status="error",
            )
            return
        self.cancelled_by_interrupt = False
        self._count_before = self.shell.execution_count
        if request.facts:
            self._guarded(self.facts.before_cell)
        self._allow_stdin = bool(content.get("allow_stdin", False))
        clock = _clock(), _cpu_clock()
        shell = self.shell
        code = content["code"]
        silent = bool(content.get("silent", False))
        arguments = {
            "silent": silent,
            "store_history": bool(content.get("store_history", not silent)) and not silent,
        }
        cell_id = request.message["metadata"].get("cellId")
        if "cell_id" in _run_cell_parameters():
            arguments["cell_id"] = cell_id
        if "cell_meta" in _run_cell_parameters():
            arguments["cell_meta"] = request.message["metadata"]
        if self._is_async(code):
            # The loop goes on while it runs, and with it comms and the tasks of earlier cells.
            self.channel.send({"op": "async", "id": request.id})
            self._cell_task = self.server.loop.create_task(
                self._run_async(request, code, arguments, clock, silent)
            )
            return
        result = None
        try:
            try:
                self._enter_user_code()
                result = shell.run_cell(code, **arguments)
            finally:
                self.in_user_code = False
        except (
            BaseException
        ) as error:  # IPython catches what user code raises: this is a late interrupt or a broken hook
            self._finish(request, clock, None, error)
            return
        self._finish(request, clock, result, None)

    def _is_async(self, code):
        """True for a cell with an `await` or its like at top level, if asyncio is to run it."""
        if "await" not in code and "async" not in code:
            return False
        import asyncio  # noqa: F401  (makes the loop)

        from IPython.core.async_helpers import _asyncio_runner

        return self.shell.loop_runner is _asyncio_runner and self.shell.should_run_async(
            code, **self._transformed(code)
        )

    def _transformed(self, code):
        try:
            return {"transformed_cell": self.shell.transform_cell(code), "preprocessing_exc_tuple": None}
        except Exception:
            return {"transformed_cell": code, "preprocessing_exc_tuple": sys.exc_info()}

    async def _run_async(self, request, code, arguments, clock, silent):
        result = failure = None
        shell = self.shell
        shell._last_traceback = None
        shell._last_traceback_during_displayhook = False
        try:
            self._enter_user_code()
            inner = self.server.loop.create_task(
                shell.run_cell_async(code, **self._transformed(code), **arguments)
            )
            self._cell_task = inner
            result = await inner
        except BaseException as error:
            failure = error
        finally:
            self.in_user_code = False
            self._cell_task = None
        if result is not None:
            self._guarded(shell.events.trigger, "post_execute")
            if not silent:
                self._guarded(shell.events.trigger, "post_run_cell", result)
        self._finish(request, clock, result, failure)

    def _finish(self, request, clock, result, failure):
        """Answers a cell, whatever is left of the interpreter."""
        try:
            self._answer_cell(request, clock, result, failure)
            if self.channel.forked:
                sys.stdout.flush()
                _exit(0)  # a child that came back from a cell: there is nothing for it to do
        except BaseException as error:
            self._fail(request, error)
        try:
            self.server.after_cell()
            self.server.when_idle(1.0, self.idle_work)
        except BaseException as error:
            self._give_up(error)

    def _answer_cell(self, request, clock, result, failure):
        wall, cpu = _clock() - clock[0], _cpu_clock() - clock[1]
        shell, content = self.shell, request.message["content"]
        error = failure
        if result is not None:
            error = result.error_before_exec if result.error_before_exec is not None else result.error_in_exec
        if type(error).__name__ == "CancelledError" and self.cancelled_by_interrupt:
            error = KeyboardInterrupt()
        if failure is not None:
            # it ended outside IPython's own care, which has shown nothing and counted nothing
            self.publish("error", {**_error(type(error).__name__, _text(error)), "status": "error"})
            shell._last_traceback = [f"{type(error).__name__}: {_text(error)}"]
        stored = content.get("store_history", True) and not content.get("silent", False)
        if stored and shell.execution_count == self._count_before:
            shell.execution_count += (
                1  # an interrupt kept IPython from counting: no two cells may have one number
            )
        reply = {"status": "ok"}
        if error is not None or getattr(shell, "_last_traceback_during_displayhook", False):
            reply = {
                "status": "error",
                "traceback": shell._last_traceback or [],
                "ename": type(error).__name__,
                "evalue": _text(error),
                "engine_info": {"engine_uuid": self.ident, "engine_id": -1, "method": "execute"},
            }
        del result, error, failure
        reply["execution_count"] = shell.execution_count - 1
        reply["user_expressions"] = {}
        if reply["status"] == "ok":
            reply["user_expressions"] = (
                self._guarded(shell.user_expressions, content.get("user_expressions") or {}) or {}
            )
        reply["payload"] = shell.payload_manager.read_payload()
        shell.payload_manager.clear_payload()
        facts = self._guarded(self.facts.after_cell) if request.facts else None
        self._reply(
            request.id,
            "execute_reply",
            reply,
            facts,
            status=reply["status"],
            execution_count=shell.execution_count,
            wall_s=wall,
            cpu_s=cpu,
            exit=bool(shell.exit_now),
        )
        shell.exit_now = False

    def _guarded(self, function, *arguments):
        """Runs what may call user code, so that an interrupt ends that and nothing else."""
        outer = self.in_user_code
        self.in_user_code = True
        try:
            return function(*arguments)
        except BaseException:
            log.debug("user code failed", exc_info=True)
            return None
        finally:
            self.in_user_code = outer

    def settle(self):
        """Does what start-up left for later; once, in the first idle moment or when something needs it."""
        later, self.later = self.later, None
        if later is not None:
            later()

    def idle_work(self):
        """A second after the last cell: history to disk."""
        self.settle()
        try:
            self.shell.history_manager.writeout_cache()
        except Exception:
            log.debug("history not written", exc_info=True)

    def _explain(self, envelope):
        facts = self._guarded(self.facts.explain, float(envelope.get("budget_s", 0.1)))
        self.channel.send({"op": "facts"}, dumps(facts or {}))

    # ------------------------------------------------------------------ the other requests

    def do_complete(self, content):
        """Completions at a place in the code."""
        from IPython.core.completer import provisionalcompleter, rectify_completions

        code, cursor = _code_and_cursor(content)
        with provisionalcompleter():
            found = list(rectify_completions(code, self.shell.Completer.completions(code, cursor)))
        types = [
            {
                "start": one.start,
                "end": one.end,
                "text": one.text,
                "type": one.type,
                "signature": one.signature,
            }
            for one in found
        ]
        return {
            "status": "ok",
            "matches": [one.text for one in found],
            "cursor_start": found[0].start if found else cursor,
            "cursor_end": found[0].end if found else cursor,
            "metadata": {"_jupyter_types_experimental": types},
        }

    def do_inspect(self, content):
        """Documentation of the object at a place in the code."""
        from IPython.utils.tokenutil import token_at_cursor

        code, cursor = _code_and_cursor(content)
        reply = {"status": "ok", "found": False, "data": {}, "metadata": {}}
        try:
            data = self.shell.object_inspect_mime(
                token_at_cursor(code, cursor),
                detail_level=1 if content.get("detail_level", 0) else 0,
                omit_sections=set(content.get("omit_sections") or ()),
            )
        except KeyError:
            return reply
        if not self.shell.enable_html_pager:
            data.pop("text/html", None)
        return {**reply, "found": True, "data": data}

    def do_is_complete(self, content):
        """Whether the code is ready to run."""
        status, indent = self.shell.input_transformer_manager.check_complete(_field(content, "code", str))
        return (
            {"status": status, "indent": " " * (indent or 0)}
            if status == "incomplete"
            else {"status": status}
        )

    def do_history(self, content):
        """Earlier input: the tail, a range of a session, or what matches a pattern."""
        kind = content.get("hist_access_type", "tail")
        output, raw = bool(content.get("output", False)), bool(content.get("raw", True))
        self.settle()
        history = self.shell.history_manager
        if kind == "tail":
            found = history.get_tail(content.get("n", 10), raw=raw, output=output, include_latest=True)
        elif kind == "range":
            found = history.get_range(
                content.get("session", 0),
                content.get("start", 0) or 0,
                content.get("stop"),
                raw=raw,
                output=output,
            )
        elif kind == "search":
            found = history.search(
                content.get("pattern", "*") or "*",
                raw=raw,
                output=output,
                n=content.get("n"),
                unique=bool(content.get("unique", False)),
            )
        else:
            raise ValueError(f"hist_access_type must be tail, range or search, not {kind!r}")
        return {"status": "ok", "history": list(found)}

    def do_comm_info(self, content):
        """The open comms, all or those of one target."""
        target = content.get("target_name")
        comms = self.comm_manager.comms if self._comms is not None or "comm" in sys.modules else {}
        return {
            "status": "ok",
            "comms": {
                key: {"target_name": one.target_name}
                for key, one in comms.items()
                if target is None or one.target_name == target
            },
        }

    def _comm(self, request):
        content = request.message["content"]
        named = ("comm_id", "target_name") if request.type == "comm_open" else ("comm_id",)
        try:
            if all(isinstance(content.get(name), str) for name in named) and not isinstance(
                content.get("data"), (str, int)
            ):
                self._allow_stdin = self._allow_stdin and self._cell_task is not None
                self._guarded(getattr(self.comm_manager, request.type), None, None, request.message)
            else:
                log.warning("a %s without a text in each of %s", request.type, named)
        finally:
            self._reply(request.id, "", {})

    # ------------------------------------------------------------------ stdin

    def raw_input(self, prompt=""):
        """What `input` is in a notebook: asks the front end."""
        if not self._allow_stdin:
            raise StdinNotImplementedError(
                "raw_input was called, but this frontend does not support input requests."
            )
        return self._input_request(str(prompt), password=False)

    def getpass(self, prompt="Password: ", stream=None, *, echo_char=None):
        """What `getpass.getpass` is in a notebook."""
        if not self._allow_stdin:
            raise StdinNotImplementedError(
                "getpass was called, but this frontend does not support input requests."
            )
        if stream is not None or echo_char is not None:
            import warnings

            warnings.warn(
                "`stream` and `echo_char` of `getpass.getpass` have no effect in a notebook",
                UserWarning,
                stacklevel=2,
            )
        return self._input_request(str(prompt), password=True)

    def _input_request(self, prompt, password):
        self.channel.send({"op": "input_request"}, dumps({"prompt": prompt, "password": password}))
        try:
            sections = self._await("input_reply")
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Interrupted by user") from None
        try:
            value = _loads(bytes(sections[0]))["value"]
        except (ValueError, KeyError, TypeError):
            value = ""
        if value == "\x04":
            raise EOFError
        return value

    def ask(self, what):
        """Asks the front for something that it publishes itself; returns when it has."""
        self.channel.send({"op": "ask", "what": what})
        self._await("told")

    def _await(self, operation):
        """The sections of the next frame of this kind; other frames wait until the cell is over."""
        while True:
            envelope, sections = self.channel.receive()
            if envelope["op"] == operation:
                return sections
            self._backlog.append((envelope, sections))
            if self.server.loop is not None and self._cell_task is not None:
                self.server.loop.call_soon(
                    self._take_backlog
                )  # an async cell goes on: nobody else may wake the loop

    # ------------------------------------------------------------------ interrupts

    def on_sigint(self, signum, frame):
        """SIGINT: ends the cell in hand, and nothing else."""
        if self.in_user_code:
            task = self._cell_task if _is_in_loop(frame) else None
            self.channel.guard_signal(lambda: self._interrupt(task))
        elif self._handling or self._cell_task is not None or self.channel.readable_now():
            # the request is on its way in: it ends as soon as it begins
            self._interrupt_pending = True

    def _interrupt(self, task):
        if not self.in_user_code:
            return
        self.interrupts += 1
        if task is None:
            raise KeyboardInterrupt
        # The cell awaits something. It is cancelled there, as asyncio code expects, and shown as KeyboardInterrupt.
        self.cancelled_by_interrupt = True
        self.server.loop.call_soon_threadsafe(
            task.cancel
        )  # and wakes the loop, which a signal alone does not

    def _enter_user_code(self):
        self.in_user_code = True
        if self._interrupt_pending:
            self._interrupt_pending = False
            self.interrupts += 1
            raise KeyboardInterrupt


def _is_in_loop(frame):
    """True if the main thread is in the event loop's own code: an exception raised there would break the loop."""
    while frame is not None:
        if frame.f_code in _RUNS_USER_CODE:
            return False
        frame = frame.f_back
    return True


def _text(error):
    """`str(error)`, whatever the user's exception class does."""
    try:
        return str(error)
    except BaseException:
        return f"<{type(error).__name__}: its str() failed>"


def _error(name, value):
    return {"status": "error", "ename": name, "evalue": value, "traceback": [f"{name}: {value}"]}


def _field(content, name, kind):
    value = content.get(name)
    if not isinstance(value, kind):
        raise ValueError(f"the field {name!r} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def _code_and_cursor(content):
    """The code and the cursor in it, counted in code points."""
    code = _field(content, "code", str)
    cursor = content.get("cursor_pos")
    if cursor is None:
        return code, len(code)
    return code, min(max(0, _field(content, "cursor_pos", int)), len(code))


def _check_execute(content):
    """None, or the error reply that says which field is wrong."""
    try:
        _field(content, "code", str)
        if not isinstance(content.get("user_expressions") or {}, dict):
            raise ValueError("the field 'user_expressions' must be an object")
    except ValueError as error:
        return {
            **_error("ValueError", f"bad execute_request: {error}"),
            "payload": [],
            "user_expressions": {},
        }
    return None


def _run_cell_parameters():
    """Names of `run_cell`'s parameters, which grew over IPython's versions."""
    code = InteractiveShell._run_cell.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


# While one of these is on the stack, an exception ends in its care.
_RUNS_USER_CODE = (InteractiveShell.run_code.__code__, IPythonKernel._guarded.__code__)
