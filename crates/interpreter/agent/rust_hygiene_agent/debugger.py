"""The debugger: answers `debug_request`s, most of them with the help of debugpy.

debugpy's adapter is a process of its own that speaks the Debug Adapter Protocol on a loopback port; the debugger is its client, and
answers itself what the protocol does not know (messaging specification, "Debug requests"). Runs on the thread of `debugging.py`.
debugpy is imported by the first request that needs it.
"""

import logging
import os
import re
import sys
import time

from .compiler import SEED, cell_file, cell_folder
from .dap import Disconnected
from .debug_session import DebugSession, Refused, import_debugpy, require_debugpy
from .replies import error_reply, field, text_of
from .shell import _base64_images

log = logging.getLogger("rust_hygiene")

# What IPython puts into a notebook's namespace, and Python into each module: not the user's variables.
_NOT_THE_USERS = re.compile(
    r"__(name|doc|package|loader|spec|annotations|builtins|builtin|display)__"
    r"|get_ipython|debugpy|exit|quit|In|Out|_oh|_dh|_{1,3}|_\d.*|_i.*",
    re.DOTALL,
)
# Requests that are met only by an adapter that says so when it is initialized; debugpy leaves the others without an answer.
_OPTIONAL = {
    "breakpointLocations": "supportsBreakpointLocationsRequest",
    "cancel": "supportsCancelRequest",
    "dataBreakpointInfo": "supportsDataBreakpoints",
    "disassemble": "supportsDisassembleRequest",
    "loadedSources": "supportsLoadedSourcesRequest",
    "readMemory": "supportsReadMemoryRequest",
    "restart": "supportsRestartRequest",
    "restartFrame": "supportsRestartFrame",
    "reverseContinue": "supportsStepBack",
    "setDataBreakpoints": "supportsDataBreakpoints",
    "setInstructionBreakpoints": "supportsInstructionBreakpoints",
    "stepBack": "supportsStepBack",
    "terminateThreads": "supportsTerminateThreadsRequest",
    "writeMemory": "supportsWriteMemoryRequest",
    # those of an adapter to its client
    "runInTerminal": None,
    "startDebugging": None,
}
_INITIALIZE_S = 30.0  # the adapter answers by itself; one that does not is deaf
_END_S = 1.0  # for the adapter to end a session
_ATTACH_S = 60.0  # debugpy that has ended by a mistake never answers
_PRESENT = f"__import__({__name__!r}, None, None, ['present']).present({{}})"
_presented = []  # what `present` has made for the request in hand


def present(value):
    """Makes the rich form of a value; called by debugpy on the thread that is stopped, in the frame that was asked for."""
    from IPython import get_ipython

    _presented[:] = [get_ipython().display_formatter.format(value)]


class Debugger(DebugSession):
    """Answers one request after the other."""

    # ------------------------------------------------------------------ requests

    def answer(self, message):
        """The content of the reply to a request, whatever happens."""
        try:
            if not isinstance(message, dict):
                raise ValueError("the content of a debug_request must be an object")
            if message.get("type", "request") != "request":
                raise ValueError("the field 'type' must be 'request'")
            field(message, "seq", int)
            command = field(message, "command", str)
            message = {**message, "type": "request", "arguments": message.get("arguments") or {}}
            arguments = field(message, "arguments", dict)
        except ValueError as error:
            return _failure(message, "ValueError", f"bad debug_request: {error}")
        try:
            own = getattr(self, "_do_" + command, None) if command.isidentifier() else None
            return own(message, arguments) if own is not None else self._forward_if_met(message, command)
        except (KeyError, TypeError, ValueError) as error:
            text = f"bad arguments of {command!r}: {type(error).__name__}: {text_of(error)}"
            return _failure(message, "ValueError", text)
        except Refused as error:
            return _failure(message, "DebuggerError", text_of(error))
        except Disconnected as error:
            self.lost()
            return _failure(message, "DebuggerError", f"{text_of(error)}; the debugger has stopped")
        except BaseException as error:
            log.debug("debug_request %s failed", command, exc_info=True)
            return _failure(message, type(error).__name__, text_of(error))

    def _forward_if_met(self, message, command):
        if self.adapter is not None and command in _OPTIONAL and not self._met.get(_OPTIONAL[command]):
            raise Refused(f"debugpy does not know {command!r}")
        return self._forward(message)

    def _do_initialize(self, message, arguments):
        if self.adapter is None:
            self._start()
        self.adapter.send(message)
        reply = self.adapter.answer(message, _INITIALIZE_S)
        if reply.get("success"):
            self._met = reply.get("body") or {}
        return reply

    def _do_attach(self, message, arguments):
        if self.adapter is None:
            return self._forward(message)
        host, port = self._address
        arguments["connect"] = {"host": host, "port": port}
        if not self._setting("debug_just_my_code", False) and arguments.get("justMyCode") is not True:
            arguments["debugOptions"] = ["DebugStdLib"]
        if self._setting("filter_internal_frames", True):
            arguments["rules"] = self._rules()
        self._initialized = False
        self.adapter.send(message)
        # The adapter answers once the configuration is done, which the client, for its part, says before it runs a cell.
        end = time.monotonic() + _ATTACH_S
        while not self._initialized and not self.adapter.is_answered(message):
            self.adapter.receive(end - time.monotonic())
        if self._initialized:
            self.adapter.ask(self.adapter.own("configurationDone"))
        reply = self.adapter.answer(message)
        self._is_attached = self._is_attached or bool(reply.get("success"))
        return reply

    def _do_configurationDone(self, message, arguments):
        if self.adapter is None:
            return self._forward(message)
        return _success(message)  # said to the adapter when it was attached

    def _do_disconnect(self, message, arguments):
        if self.adapter is None:
            return _success(message)
        try:
            reply = self._forward(message)
            self.adapter.wait_for_end(_END_S)
            return reply
        except Disconnected:
            return _success(message)
        finally:
            self.lost()

    def _do_debugInfo(self, message, arguments):
        require_debugpy()
        body = {
            "isStarted": self.adapter is not None,
            "hashMethod": "Murmur2",
            "hashSeed": SEED,
            "tmpFilePrefix": cell_folder() + os.sep,
            "tmpFileSuffix": ".py",
            "breakpoints": [
                {"source": source, "breakpoints": points} for source, (_, points) in self._breakpoints.items()
            ],
            "stoppedThreads": sorted(self._stopped),
            "richRendering": True,
            "exceptionPaths": ["Python Exceptions"],
            "copyToGlobals": True,
        }
        return _success(message, body)

    def _do_dumpCell(self, message, arguments):
        code = field(arguments, "code", str)
        path = cell_file(code)
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            file.write(code)
        return _success(message, {"sourcePath": path})

    def _do_setBreakpoints(self, message, arguments):
        path = field(field(arguments, "source", dict), "path", str)
        wanted = field(arguments, "breakpoints", list)
        for point in wanted:
            field(point, "line", int)  # debugpy ends at the sight of one without
        reply = self._forward(message)
        if reply.get("success"):
            # debugpy may have put them on other lines
            wanted = [{"line": point["line"]} for point in reply["body"]["breakpoints"] if "line" in point]
        self._breakpoints[path] = arguments, wanted
        return reply

    def _require_stop(self):
        """Refuses what debugpy answers only when it has done it with a stopped thread."""
        if self.adapter is not None and not self._stopped:
            raise Refused("no thread is stopped")

    def _do_exceptionInfo(self, message, arguments):
        self._require_stop()
        return self._forward(message)

    def _do_continue(self, message, arguments):
        self._require_stop()
        stopped, self._stopped = (
            self._stopped,
            set(),
        )  # the event that says so may come after the next question
        reply = self._forward(message)
        if not reply.get("success"):
            self._stopped |= stopped
        return reply

    def _do_source(self, message, arguments):
        path = field(field(arguments, "source", dict), "path", str)
        try:
            with open(path, encoding="utf-8", errors="replace", newline="") as file:
                return _success(message, {"content": file.read()})
        except OSError:
            return {**_failure(message, "OSError", "source unavailable"), "body": {}}

    def _do_modules(self, message, arguments):
        modules = list(sys.modules.values())
        first = arguments.get("startModule") or 0
        last = first + (arguments.get("moduleCount") or len(modules))
        found = []
        for number, module in enumerate(modules[first:last], first):
            origin = getattr(getattr(module, "__spec__", None), "origin", None)
            if isinstance(origin, str) and origin.endswith(".py") and not origin.startswith("<"):
                found.append({"id": number, "name": module.__name__, "path": origin})
        return _success(message, {"modules": found, "totalModules": len(modules)})

    # ------------------------------------------------------------------ variables

    def _do_inspectVariables(self, message, arguments):
        import_debugpy()
        from .variables import Variables

        self._variables = Variables(self._kernel.shell.user_ns)
        return _with_users_variables(_success(message, {"variables": self._variables.top()}))

    def _do_variables(self, message, arguments):
        if self._stopped:
            return _with_users_variables(self._forward(message))
        if self._variables is None:
            raise Refused("nothing is stopped and nothing was inspected: 'inspectVariables' comes first")
        reference = field(arguments, "variablesReference", int)
        return _with_users_variables(_success(message, {"variables": self._variables.inside(reference)}))

    def _do_richInspectVariables(self, message, arguments):
        name = field(arguments, "variableName", str)
        nothing = {"data": {}, "metadata": {}}
        if not name.isidentifier():
            if name in ("special variables", "function variables"):
                return _success(message, nothing)  # debugpy's own groups
            return {**_failure(message, "ValueError", f"{name!r} is not a name"), "body": nothing}
        if self._stopped and "frameId" in arguments:
            del _presented[:]
            request = {
                "expression": _PRESENT.format(name),
                "frameId": arguments["frameId"],
                "context": "repl",
            }
            self._forward(self.adapter.own("evaluate", request))
            data, metadata = _presented.pop() if _presented else ({}, {})
        else:
            seen = self._kernel.shell.user_expressions({name: name})[name]
            data, metadata = seen.get("data", {}), seen.get("metadata", {})
        metadata = {kind: value for kind, value in metadata.items() if kind in data}
        return _success(message, {"data": _base64_images(data), "metadata": metadata})

    def _do_copyToGlobals(self, message, arguments):
        source = field(arguments, "srcVariableName", str)
        target = field(arguments, "dstVariableName", str)
        if not (source.isidentifier() and target.isidentifier()):
            return _failure(
                message, "ValueError", "dstVariableName and srcVariableName must be valid identifiers"
            )
        if self.adapter is None:
            return self._forward(message)
        wanted = {
            "expression": f"globals()[{target!r}]",
            "value": source,
            "frameId": arguments["srcFrameId"],
        }
        reply = self._forward(self.adapter.own("setExpression", wanted))
        return {**reply, "request_seq": message["seq"], "command": message["command"]}


def _success(message, body=None):
    reply = {
        "type": "response",
        "seq": message["seq"],
        "request_seq": message["seq"],
        "success": True,
        "command": message["command"],
    }
    if body is not None:
        reply["body"] = body
    return reply


def _failure(message, name, text):
    """A response of the protocol that is an error reply of Jupyter's too."""
    known = message if isinstance(message, dict) else {}
    seq = known.get("seq") if isinstance(known.get("seq"), int) else 0
    command = known.get("command") if isinstance(known.get("command"), str) else ""
    response = {
        "type": "response",
        "seq": seq,
        "request_seq": seq,
        "success": False,
        "command": command,
        "message": text,
    }
    return {**error_reply(name, text), **response}


def _with_users_variables(reply):
    body = reply.get("body") or {}
    if "variables" in body:
        body["variables"] = [
            variable for variable in body["variables"] if not _NOT_THE_USERS.fullmatch(variable["name"])
        ]
    return reply
