"""What a cell asks of the front: input from the person, or something that the front knows."""

import json

from IPython.core.error import StdinNotImplementedError, UsageError

from .frames import dumps

_loads = json.loads  # bound here: a cell may replace it in its module


class Asking:
    """The part of the kernel that waits for an answer while a cell runs."""

    def raw_input(self, prompt=""):
        """What `input` is in a notebook: asks the front end."""
        here = self.here
        if not here._allow_stdin:
            raise StdinNotImplementedError(
                "raw_input was called, but this frontend does not support input requests."
            )
        return here._input_request(str(prompt), password=False)

    def getpass(self, prompt="", stream=None, *, echo_char=None):
        """What `getpass.getpass` is in a notebook."""
        here = self.here
        if not here._allow_stdin:
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
        return here._input_request(str(prompt), password=True)

    def _input_request(self, prompt, password):
        self.channel.send(
            {"op": "input_request", **self._who()}, dumps({"prompt": prompt, "password": password})
        )
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

    def _who(self):
        """Which request asks, if it is not the cell of the main shell."""
        return {}

    def ask(self, what, words=(), afterwards=False, known=None):
        """Asks the front for something that it publishes itself: now, or with `afterwards` at the end of the cell.

        `known` is what only we know. Returns when it has, or has noted it: an empty text, or why it cannot.
        """
        if what == "findings" and getattr(self, "_look_wanted", False):
            self.look_if_wanted(bool)  # it is waited for
        question = {"op": "ask", "what": what, "words": list(words), "afterwards": afterwards}
        self.channel.send({**question, **self._who()}, b"" if known is None else dumps(known))
        return bytes(self._await("told")[0]).decode()

    def order(self, what, words=()):
        """Has the front do something; returns the text that it tells when it has. An error is raised as a UsageError."""
        self.channel.send({"op": "do", "what": what, "words": list(words)})
        told = _loads(bytes(self._await("told")[0]))
        if "error" in told:
            raise UsageError(told["error"])
        return told["text"]

    def _await(self, operation):
        """The sections of the next frame of this kind; other frames wait until the cell is over."""
        while True:
            envelope, sections = self.channel.receive()
            if envelope["op"] == operation:
                return sections
            if envelope["op"] in ("survey", "step"):
                self.take(envelope, sections)  # a part of the answer
                continue
            self._backlog.append((envelope, sections))
            if self.server.loop is not None and self._cell_task is not None:
                self.server.loop.call_soon(
                    self._take_backlog
                )  # an async cell goes on: nobody else may wake the loop
