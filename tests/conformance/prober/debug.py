"""Debug requests of a probe, and what of their replies and of debug events is a fact.

A text among the arguments may name with `$` what was said before: `$folder`, the probe's; `$NAME`, the file of the cell that was
dumped as NAME; `$thread`, that stopped last; `$frame0`, `$frame1` … of the last `stackTrace`; `$Locals` and `$Globals` of the last
`scopes`; `$in.NAME`, what the variable NAME, of the last that were listed, consists of.
"""

import json
import re
import time

from .talk import PATIENCE, Answer

# Threads and modules come and go as each kernel has them; the rest is what debugpy says of itself, and of a session that is over.
_NOISE = (
    "thread",
    "module",
    "output",
    "debugpySockets",
    "debugpyWaitingForServer",
    "exited",
    "terminated",
)
_NUMBERS = ("id", "threadId", "variablesReference", "systemProcessId", "pointerSize")
_NAME = re.compile(r"\$([A-Za-z_][\w.']*)")


class Debugging:
    """The debugger's side of a talk."""

    def __init__(self, talk):
        self.talk = talk
        self.seq = 0
        self.code = {}
        self.bound = {"folder": str(talk.folder)}
        self.started = None

    def dump(self, name, code):
        """Dumps a cell under a name."""
        self.code[name] = code
        answer = self.ask("dumpCell", {"code": code})
        self.bound[name] = answer.reply["content"]["body"]["sourcePath"]
        return answer

    def start(self, name):
        """Runs a dumped cell; `end` waits for it."""
        content = {"code": self.code[name], "silent": False, "allow_stdin": False}
        self.started = self.talk.send("shell", "execute_request", content)

    def end(self):
        """The answer to the cell that was started."""
        self.talk.wait(self.started)
        return self.started

    def ask(self, command, arguments):
        """A request and its reply. Without arguments if they are null."""
        if command == "initialize":
            self.talk.events.clear()  # of an earlier session
        self.seq += 1
        content = {"type": "request", "seq": self.seq, "command": command}
        try:
            if arguments is not None:
                content["arguments"] = self._with_values(arguments)
        except KeyError as error:
            answer = Answer()
            answer.notes.append(f"not asked: nothing is known as ${error.args[0]}")
            return answer
        answer = self.talk.send("control", "debug_request", content)
        self.talk.wait(answer)
        if answer.reply is not None:
            said = answer.reply["content"]
            if "request_seq" in said:
                said["request_seq"] = said["request_seq"] == self.seq
            self._remember(command, said.get("body") or {})
        return answer

    def wait(self, kind):
        """What happened up to the next event of this kind."""
        answer = Answer()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            while self.talk.events:
                message = self.talk.events.pop(0)
                answer.published.append(message)
                if message["content"]["event"] == kind:
                    self._remember(kind, message["content"].get("body") or {})
                    return answer
            self.talk.pump(0.1)
        answer.notes.append(f"no event {kind}")
        return answer

    def _remember(self, said, body):
        if said == "stopped":
            self.bound["thread"] = body.get("threadId")
        for at, frame in enumerate(body.get("stackFrames", ())):
            self.bound[f"frame{at}"] = frame["id"]
        for scope in body.get("scopes", ()):
            self.bound[scope["name"]] = scope["variablesReference"]
        if "variables" in body:
            self.bound = {name: value for name, value in self.bound.items() if not name.startswith("in.")}
        for variable in body.get("variables", ()):
            self.bound[f"in.{variable['name']}"] = variable["variablesReference"]

    def _with_values(self, value):
        if isinstance(value, dict):
            return {key: self._with_values(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._with_values(item) for item in value]
        if not isinstance(value, str):
            return value
        whole = _NAME.fullmatch(value)
        if whole:
            return self.bound[whole.group(1)]
        return _NAME.sub(lambda found: str(self.bound[found.group(1)]), value)


def is_noise(content):
    """True for an event that says nothing of the program."""
    return content["event"] in _NOISE


def event_line(content, normal):
    """The fact of an event."""
    return f"debug_event {content['event']} {_json(normal.value(_plain(content.get('body') or {})))}"


def reply_content(content, normal):
    """The content of a reply without what differs from run to run; long lists as one text for each item."""
    content = _plain({name: value for name, value in content.items() if name not in ("seq", "traceback")})
    body = content.get("body")
    if isinstance(body, dict):
        if "threads" in body:
            body["threads"] = [each for each in body["threads"] if each["name"] == "MainThread"]
        for name in ("variables", "stackFrames"):
            body[name] = [_json(item) for item in body[name]] if name in body else None
        body = content["body"] = {name: value for name, value in body.items() if value is not None}
        if "modules" in body:
            body["modules"] = _some_modules(body["modules"])
            body["totalModules"] = body["totalModules"] >= len(body["modules"])
    return normal.value(content)


def _some_modules(modules):
    """Of all modules those that every Python has."""
    known = {"json", "json.decoder", "sys"}
    return sorted(_json({**each, "path": each["path"][-15:]}) for each in modules if each["name"] in known)


def _plain(value, name=""):
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if isinstance(value, int) and value and (name in _NUMBERS or name == "stoppedThreads"):
        return "<number>"
    return value


def _json(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
