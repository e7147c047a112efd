"""What a cell asks of the front: input from the person, or something that the front knows."""

import _thread
import builtins
import getpass
import itertools
import json

from IPython.core.error import StdinNotImplementedError, UsageError

from .frames import dumps
from .streams import flush_replaced

_NOBODY_TO_ASK = "a forked process cannot ask: the front end answers the notebook's own process alone"

# Bound here: a cell may replace them in their modules.
_loads, _thread_id, _new_lock = json.loads, _thread.get_ident, _thread.allocate_lock


class Asking:
    """The part of the kernel that waits for an answer while a cell runs."""

    def _init_asking(self):
        self._allow_stdin = False
        self._numbers_of_questions = itertools.count(1)
        self._asking_threads = {}  # number of a question: [a lock, the answer]
        self._may_ask = set()  # shells that run a cell
        self._pythons_own = builtins.input, getpass.getpass
        self._that_ask = self.raw_input, self.getpass  # of the main kernel: they find out whose thread calls

    def _begin_asking(self):
        """While a cell runs, `input` and `getpass` ask the front end; between cells they are Python's own, as in ipykernel."""
        self._may_ask.add(self.subshell_id)
        builtins.input, getpass.getpass = self._that_ask

    def _end_asking(self):
        self._may_ask.discard(self.subshell_id)
        if not self._may_ask:
            builtins.input, getpass.getpass = self._pythons_own

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
        for name, given in (("stream", stream), ("echo_char", echo_char)):
            if given is not None:
                import warnings

                warnings.warn(
                    f"The `{name}` parameter of `getpass.getpass` will have no effect when using ipykernel",
                    UserWarning,
                    stacklevel=2,
                )
        return here._input_request(str(prompt), password=True)

    def _input_request(self, prompt, password):
        if not self.channel.has_front:
            raise EOFError(_NOBODY_TO_ASK)
        flush_replaced()
        question = dumps({"prompt": prompt, "password": password})
        if _thread_id() != self.thread.ident:
            content = self._ask_from_thread(question)
        else:
            self.channel.send({"op": "input_request", **self._who()}, question)
            try:
                content = bytes(self._await("input_reply")[0])
            except KeyboardInterrupt:
                raise KeyboardInterrupt("Interrupted by user") from None
        if not content:
            raise EOFError("EOF when reading a line")  # nobody is there to be asked
        try:
            value = _loads(content)["value"]
        except (ValueError, KeyError, TypeError):
            value = ""
        if value == "\x04":
            raise EOFError
        return value

    def _ask_from_thread(self, question):
        """The answer to a question of a thread that reads no channel: it comes through the door."""
        number, answered = next(self._numbers_of_questions), _new_lock()
        answered.acquire()
        waiting = self._asking_threads[number] = [answered, b""]
        self.channel.send({"op": "input_request", "thread": number}, question)
        answered.acquire()
        return waiting[1]

    def answer_thread(self, number, content):
        """Lets a thread go on that asked the person."""
        waiting = self._asking_threads.pop(number, None)
        if waiting is not None:
            waiting[1] = content
            waiting[0].release()

    def _who(self):
        """Which request asks, if it is not the cell of the main shell."""
        return {}

    def ask(self, what, words=(), afterwards=False, known=None):
        """Asks the front for something that it publishes itself: now, or with `afterwards` at the end of the cell.

        `known` is what only we know. Returns when it has, or has noted it: an empty text, or why it cannot.
        """
        if not self.channel.has_front:
            return _NOBODY_TO_ASK
        if what == "findings" and getattr(self, "_look_wanted", False):
            self.look_if_wanted(bool)  # it is waited for
        question = {"op": "ask", "what": what, "words": list(words), "afterwards": afterwards}
        self.channel.send({**question, **self._who()}, b"" if known is None else dumps(known))
        return bytes(self._await("told")[0]).decode()

    def order(self, what, words=()):
        """Has the front do something; returns the text that it tells when it has. An error is raised as a UsageError."""
        if not self.channel.has_front:
            raise UsageError(_NOBODY_TO_ASK)
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
