"""Requests that are no cells: completion, inspection, history, comms."""

import logging
import sys

from .replies import code_and_cursor, field

log = logging.getLogger("rust_hygiene")


class Answers:
    """The part of the kernel that answers them; each `do_x` takes a content and returns the reply's."""

    def do_complete(self, content):
        """Completions at a place in the code."""
        from IPython.core.completer import provisionalcompleter, rectify_completions

        code, cursor = code_and_cursor(content)
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

        code, cursor = code_and_cursor(content)
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
        status, indent = self.shell.input_transformer_manager.check_complete(field(content, "code", str))
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
            if all(isinstance(content.get(name), str) for name in named) and not isinstance(
                content.get("data"), (str, int)
            ):
                self._allow_stdin = self._allow_stdin and self._cell_task is not None
                self._guarded(getattr(self.comm_manager, request.type), None, None, request.message)
            else:
                log.warning("a %s without a text in each of %s", request.type, named)
        finally:
            leaving, self.shell.exit_now = self.shell.exit_now, False  # `exit` in a callback
            self._reply(request.id, "", {}, exit=bool(leaving))
