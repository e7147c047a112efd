"""Requests that are no cells: completion, inspection, history, comms."""

import logging
import sys

from .replies import code_and_cursor, field

log = logging.getLogger("ipykernel.comm")  # which tells users what is wrong with a message


class Answers:
    """The part of the kernel that answers them.

    `answer_x` takes a request's content and returns the reply's; `do_x` does the work, with the parameters of ipykernel's method.
    """

    def answer_complete(self, content):
        """Completions at a place in the code."""
        return self.do_complete(*code_and_cursor(content))

    def do_complete(self, code, cursor_pos):
        """Completions of `code` at `cursor_pos`, code points; None is its end."""
        from IPython.core.completer import provisionalcompleter, rectify_completions

        cursor = len(code) if cursor_pos is None else cursor_pos
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
            "matches": [one.text for one in found],
            "cursor_end": found[0].end if found else cursor,
            "cursor_start": found[0].start if found else cursor,
            "metadata": {"_jupyter_types_experimental": types},
            "status": "ok",
        }

    def answer_inspect(self, content):
        """Documentation of the object at a place in the code."""
        code, cursor = code_and_cursor(content)
        level = 1 if content.get("detail_level", 0) else 0
        return self.do_inspect(code, cursor, level, set(content.get("omit_sections") or ()))

    def do_inspect(self, code, cursor_pos, detail_level=0, omit_sections=()):
        """Documentation of the object at `cursor_pos`; with `detail_level` 1 its source too."""
        from IPython.utils.tokenutil import token_at_cursor

        reply = {"status": "ok", "data": {}, "metadata": {}, "found": False}
        try:
            data = self.shell.object_inspect_mime(
                token_at_cursor(code, cursor_pos), detail_level=detail_level, omit_sections=omit_sections
            )
        except KeyError:
            return reply
        if not self.shell.enable_html_pager:
            data.pop("text/html", None)
        return {**reply, "data": data, "found": True}

    def answer_is_complete(self, content):
        """Whether the code is ready to run."""
        return self.do_is_complete(field(content, "code", str))

    def do_is_complete(self, code):
        """Whether `code` is ready to run."""
        status, indent = self.shell.input_transformer_manager.check_complete(code)
        return (
            {"status": status, "indent": " " * (indent or 0)}
            if status == "incomplete"
            else {"status": status}
        )

    def answer_history(self, content):
        """Earlier input: the tail, a range of a session, or what matches a pattern."""
        return self.do_history(
            content.get("hist_access_type", "tail"),
            bool(content.get("output", False)),
            bool(content.get("raw", True)),
            content.get("session", 0),
            content.get("start", 0) or 0,
            content.get("stop"),
            content.get("n", 10 if content.get("hist_access_type", "tail") == "tail" else None),
            content.get("pattern", "*"),
            bool(content.get("unique", False)),
        )

    def do_history(
        self,
        hist_access_type,
        output,
        raw,
        session=0,
        start=0,
        stop=None,
        n=None,
        pattern=None,
        unique=False,
    ):
        """Earlier input; nothing, if `hist_access_type` is none of tail, range and search."""
        self.settle()
        history = self.shell.history_manager
        found = ()
        if hist_access_type == "tail":
            found = history.get_tail(n, raw=raw, output=output, include_latest=True)
        elif hist_access_type == "range":
            found = history.get_range(session, start, stop, raw=raw, output=output)
        elif hist_access_type == "search":
            found = history.search(pattern, raw=raw, output=output, n=n, unique=unique)
        return {"status": "ok", "history": list(found)}

    def answer_comm_info(self, content):
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

    subshell_id = None

    def _is_for_another(self, request):
        """Gives a comm message back that another subshell, or the main shell, is to take."""
        content = request.message["content"]
        comm = self.comm_manager.comms.get(content.get("comm_id"))
        if comm is None or request.type == "comm_open":
            return False
        from .comms import user_of

        user = user_of(comm, content.get("data"), self.subshell_id)
        if user == self.subshell_id or (user is not None and user not in self.subshells):
            return False
        comm._subshell = user
        self.channel.send({"op": "elsewhere", "id": request.id, "what": user or ""})
        return True

    def _comm(self, request):
        content = request.message["content"]
        if self.subshells and self._is_for_another(request):
            return
        named = ("comm_id", "target_name") if request.type == "comm_open" else ("comm_id",)
        try:
            if all(isinstance(content.get(name), str) for name in named):
                self._allow_stdin = self._allow_stdin and self._cell_task is not None
                self._guarded(getattr(self.comm_manager, request.type), None, None, request.message)
            else:
                log.warning("a %s without a text in each of %s", request.type, named)
        finally:
            leaving, self.shell.exit_now = self.shell.exit_now, False  # `exit` in a callback
            self._reply(request.id, "", {}, exit=bool(leaving))
