"""The debugger's side of a front end: requests of the Debug Adapter Protocol over the control channel, and its events."""

from frontend import KERNEL, PATIENCE

# As JupyterLab says it.
INITIALIZE = {
    "clientID": "jupyterlab",
    "clientName": "JupyterLab",
    "adapterID": "python",
    "pathFormat": "path",
    "linesStartAt1": True,
    "columnsStartAt1": True,
    "supportsVariableType": True,
    "supportsVariablePaging": True,
    "supportsRunInTerminalRequest": True,
    "locale": "en",
}


def is_noise(message):
    """Threads come and go, and nobody need know of all that is said of them. ipykernel starts debugpy by a hidden cell."""
    return message.type == "debug_event" or (KERNEL == "python3" and message.type == "status")


class Client:
    """A client of a kernel's debugger. Each reply is checked to be the response to its request."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.seq = 0
        self.events = []
        tolerated = kernel.tolerates
        kernel.tolerates = lambda message: is_noise(message) or tolerated(message)

    # ------------------------------------------------------------------ requests

    def send(self, command, **arguments):
        self.seq += 1
        content = {"type": "request", "seq": self.seq, "command": command, "arguments": arguments}
        return self.kernel.send("control", "debug_request", content)

    def collect(self, request):
        exchange = self.kernel.collect(request)
        self.events += exchange.of("debug_event")
        content = exchange.content
        if KERNEL != "python3":
            asked = request.content
            assert content["type"] == "response"
            assert content["request_seq"] == asked["seq"]
            assert content["command"] == asked["command"]
        return content

    def ask(self, command, **arguments):
        return self.collect(self.send(command, **arguments))

    def do(self, command, **arguments):
        """A request that must succeed; returns the body."""
        content = self.ask(command, **arguments)
        assert content.get("success", True) is True, content
        return content.get("body") or {}

    # ------------------------------------------------------------------ events

    def event(self, kind, timeout=PATIENCE):
        """The next event of this kind; those before it are dropped."""
        while self.events:
            message = self.events.pop(0)
            if message.content["event"] == kind:
                return message.content.get("body") or {}

        def wanted(message):
            return message.type == "debug_event" and message.content["event"] == kind

        return self.kernel.take("iopub", wanted, f"event {kind}", timeout=timeout).content.get("body") or {}

    def drop_events(self):
        """Forgets the events that have come."""
        self.events.clear()
        unread = self.kernel.unread["iopub"]
        unread[:] = [message for message in unread if message.type != "debug_event"]

    def stops(self, reason):
        """Waits until a thread is stopped for this reason, and returns the frames of the main thread."""
        body = self.event("stopped")
        assert body["reason"] == reason, body
        return self.frames()

    # ------------------------------------------------------------------ in words

    def start(self, **attach):
        assert self.do("initialize", **INITIALIZE)["supportsConfigurationDoneRequest"]
        self.do("attach", **attach)

    def stop(self):
        self.do("disconnect", restart=False, terminateDebuggee=False)

    def dump(self, code):
        return self.do("dumpCell", code=code)["sourcePath"]

    def break_at(self, path, *lines):
        points = self.do(
            "setBreakpoints",
            source={"path": path},
            breakpoints=[{"line": line} for line in lines],
            sourceModified=False,
        )["breakpoints"]
        assert [point["verified"] for point in points] == [True] * len(lines)
        self.do("configurationDone")
        return points

    def run(self, code, *lines):
        """Starts a cell with breakpoints on these lines."""
        self.break_at(self.dump(code), *lines)
        return self.kernel.start(code)

    def frames(self):
        return self.do("stackTrace", threadId=1)["stackFrames"]

    def scope(self, name, frame):
        scopes = self.do("scopes", frameId=frame["id"])["scopes"]
        return next(scope["variablesReference"] for scope in scopes if scope["name"] == name)

    def variables(self, reference):
        listed = self.do("variables", variablesReference=reference)["variables"]
        return {variable["name"]: variable for variable in listed}

    def values(self, frame, scope="Locals"):
        return {
            name: each["value"]
            for name, each in self.variables(self.scope(scope, frame)).items()
            if "variables" not in name
        }

    def evaluate(self, expression, frame):
        return self.do("evaluate", expression=expression, frameId=frame["id"], context="repl")["result"]

    def go_on(self):
        self.do("continue", threadId=1)


def where(frames):
    """Names and lines of frames, the innermost first."""
    return [(frame["name"], frame["line"]) for frame in frames]
