"""A request as the agent has it, and the contents of replies."""

import json
from datetime import datetime

_loads = json.loads  # bound here: a cell may replace it in its module


class Request:
    """One request from the front: the message as a dictionary, and its header as it came."""

    __slots__ = (
        "channel",
        "count",
        "facts",
        "id",
        "interrupted_before",
        "keep",
        "message",
        "raw_header",
        "type",
    )

    def __init__(self, envelope, sections):
        header, parent, metadata, content, *buffers = sections
        self.type = envelope["type"]
        self.id = envelope["id"]
        self.channel = envelope.get("channel", "shell")
        self.count = envelope.get("count")  # of a cell, once there are subshells
        self.facts = envelope.get("facts", False)
        self.keep = envelope.get("keep", False)  # cleanup steps leave the cell's results alone
        self.interrupted_before = envelope.get("interrupted_before", False)  # an earlier cell, a moment ago
        self.raw_header = bytes(header)
        head = _dated(_loads(self.raw_header))
        self.message = {
            "header": head,
            "msg_id": head.get("msg_id"),
            "msg_type": head.get("msg_type"),
            "parent_header": _dated(_loads(bytes(parent) or b"{}")),
            "metadata": _loads(bytes(metadata) or b"{}"),
            "content": _loads(bytes(content)),
            "buffers": buffers,
        }


def _dated(header):
    """The header with its date as a `datetime` in the zone that it names, or else ours; what is no date stays as it is."""
    date = header.get("date") if isinstance(header, dict) else None
    if isinstance(date, str):
        try:
            # up to 3.10 `fromisoformat` knows no Z
            date = datetime.fromisoformat(date[:-1] + "+00:00" if date.endswith("Z") else date)
            header["date"] = date if date.tzinfo is not None else date.astimezone()
        except ValueError:
            pass
    return header


def text_of(error):
    """`str(error)`, whatever the user's exception class does."""
    try:
        return str(error)
    except BaseException:
        return f"<{type(error).__name__}: its str() failed>"


def error_of(result):
    """What ended a cell, or None."""
    return result.error_before_exec if result.error_before_exec is not None else result.error_in_exec


def error_reply(name, value):
    return {"status": "error", "ename": name, "evalue": value, "traceback": [f"{name}: {value}"]}


def field(content, name, kind):
    value = content.get(name)
    if not isinstance(value, kind):
        raise ValueError(f"the field {name!r} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def code_and_cursor(content):
    """The code and the cursor in it, counted in code points."""
    code = field(content, "code", str)
    cursor = content.get("cursor_pos")
    if cursor is None:
        return code, len(code)
    return code, min(max(0, field(content, "cursor_pos", int)), len(code))


def check_execute(content):
    """None, or the error reply that says which field is wrong."""
    try:
        field(content, "code", str)
        if not isinstance(content.get("user_expressions") or {}, dict):
            raise ValueError("the field 'user_expressions' must be an object")
    except ValueError as error:
        return {
            **error_reply("ValueError", f"bad execute_request: {error}"),
            "payload": [],
            "user_expressions": {},
        }
    return None
